"""What any source of events gives, how it is read, and what can be said of the read."""
