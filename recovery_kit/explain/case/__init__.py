"""The case to explain: the log as arrays, its keys, and by how much each of them is off."""
