"""Single events that would account for what is left of a key."""
