"""Replay an event log, work running totals out again, and show where the system of record differs."""

from recovery_kit import charts, sandbox
from recovery_kit.dedup import Dedup, dedup
from recovery_kit.errors import IncompleteReplay, RecoveryKitError
from recovery_kit.explain import Diagnosis, copies, explain
from recovery_kit.reconcile import Reconciliation, reconcile
from recovery_kit.replay import Replay, replay
from recovery_kit.schema import EventSchema
from recovery_kit.steps import Run, open_run
from recovery_kit.tables import read_processed, read_totals
from recovery_kit.totals import Totals, totals

__all__ = [
    "Dedup",
    "Diagnosis",
    "EventSchema",
    "IncompleteReplay",
    "Reconciliation",
    "RecoveryKitError",
    "Replay",
    "Run",
    "Totals",
    "charts",
    "copies",
    "dedup",
    "explain",
    "open_run",
    "read_processed",
    "read_totals",
    "reconcile",
    "replay",
    "sandbox",
    "totals",
]
