"""The stages: plain functions from a table to an `Outcome`. They know no machinery."""
