"""Windows of the log that were processed wrongly, one at a time, from totals alone."""
