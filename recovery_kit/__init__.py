"""Replay an event log, work running totals out again, and show where the system of record differs."""
