"""The vocabulary: where, when and what a scene is, and why a row is let go. Knows no machinery."""
