"""Registered experiments: a protocol that is fixed first, a runner, and a report of all that it found."""
