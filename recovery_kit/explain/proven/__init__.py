"""What a list of what the system processed proves."""
