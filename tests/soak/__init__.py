"""A soak: writers, faults and replays all at once on three brokers.

Each replay is right, or says what is missing.

``python -m tests.soak 600`` runs it for ten minutes and ends with 1 if a replay was wrong, refused
without cause, or hung.
"""
