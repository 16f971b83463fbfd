"""A run: its parameters, its directory, its steps, and what is told of it."""
