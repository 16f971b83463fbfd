"""What was found, told: rows of causes and incidents, each with its evidence."""
