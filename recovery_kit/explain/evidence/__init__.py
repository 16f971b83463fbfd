"""What was found, told: rows of causes and incidents, each with its evidence."""

GRADES = ("proven", "consistent", "ambiguous", "unexplained")
"""How far a cause can be believed, the most first."""
