"""Replay an event log, work running totals out again, and show where the system of record differs.

The hall, in order; each verb takes what the one before it gave::

    log > replay > dedup > totals > reconcile > explain
             |        |        |         |           |
         coverage verdicts  running divergences causes, evidence        charts draw any of them

A name is loaded when it is first used, with what it needs: a process that reads a log pays for no
charts.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from recovery_kit._loading import loading

if TYPE_CHECKING:  # the same as in _HOMES, for type checkers and editors
    from recovery_kit import charts, sandbox
    from recovery_kit.dedup import Dedup, dedup
    from recovery_kit.errors import IncompleteReplay, RecoveryKitError
    from recovery_kit.explain import Diagnosis, explain
    from recovery_kit.explain.copies import copies
    from recovery_kit.reconcile import Reconciliation, reconcile
    from recovery_kit.replay import Replay, replay
    from recovery_kit.run.history import History, history
    from recovery_kit.run.steps import Run, open_run
    from recovery_kit.schema import EventSchema
    from recovery_kit.tables.given import read_processed, read_totals
    from recovery_kit.totals import Totals, totals

__all__ = [
    "Dedup",
    "Diagnosis",
    "EventSchema",
    "History",
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
    "history",
    "open_run",
    "read_processed",
    "read_totals",
    "reconcile",
    "replay",
    "sandbox",
    "totals",
]

_HOMES = {
    "dedup": ("Dedup", "dedup"),
    "errors": ("IncompleteReplay", "RecoveryKitError"),
    "explain": ("Diagnosis", "explain"),
    "explain.copies": ("copies",),
    "reconcile": ("Reconciliation", "reconcile"),
    "replay": ("Replay", "replay"),
    "schema": ("EventSchema",),
    "run.history": ("History", "history"),
    "run.steps": ("Run", "open_run"),
    "tables.given": ("read_processed", "read_totals"),
    "totals": ("Totals", "totals"),
}


class _Package(ModuleType):
    """Loads public names when they are asked for.

    A class, as Python's data model has it for modules, and not a plain ``__getattr__`` in the
    module, for two reasons: a type checker would then let any name pass, and the import system sets
    ``replay`` to the module of that name, whoever imports it first, where the verb must stand.
    """

    def __getattr__(self, name: str) -> Any:
        if name in ("charts", "sandbox"):
            return import_module(f"{__name__}.{name}")
        for home, names in _HOMES.items():
            if name in names:
                with loading():
                    found = getattr(import_module(f"{__name__}.{home}"), name)
                setattr(self, name, found)
                return found
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=self)

    def __setattr__(self, name: str, value: object) -> None:
        if isinstance(value, ModuleType) and name in _HOMES.get(name, ()):
            value = getattr(value, name)
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})


sys.modules[__name__].__class__ = _Package
