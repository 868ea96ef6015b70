"""What an observation costs and what it buys."""
