"""Every error the kit raises on purpose, and the exit code that each ends a run with.

::

    RecoveryKitError          2  whatever the kit raises on purpose
    ├── SchemaError           2  an EventSchema that cannot work
    ├── ParameterError        2  a parameter that is missing, unknown or malformed
    ├── KafkaError            2  the cluster: cannot connect, no such topic or partition, not
      authorised
    ├── CorruptLog            2  a record batch fails its CRC or cannot be taken apart
    ├── LogTooLarge           2  what was asked for does not fit in memory, or a batch is a bomb
    ├── IncompleteReplay      3  part of the log could not be read; carries the coverage
    ├── ConflictError         2  one event id with two contents, and on_conflict="raise"
    ├── AmountError           2  a sum or difference that exact decimals cannot hold
    ├── TableError            2  totals given by the user (expected, opening) that cannot be read
      exactly
    ├── IdentityError         2  one of the kit's own identities does not hold: a defect in the kit
    ├── SandboxError          2  the sandbox's Kafka cannot start
    └── RunError              2  a run directory or a notebook run that went wrong
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

MATCHED, DIVERGED, ERROR, INCOMPLETE, INTERRUPTED = 0, 1, 2, 3, 130


class RecoveryKitError(Exception):
    """Whatever the kit raises on purpose."""

    exit_code = ERROR


class SchemaError(RecoveryKitError, ValueError):
    """An EventSchema that cannot work."""


class ParameterError(RecoveryKitError, ValueError):
    """A parameter that is missing, unknown or malformed."""


class KafkaError(RecoveryKitError):
    """The cluster: it cannot be reached, lacks the topic or partition, or refuses us.

    Attributes
    ----------
    layer : str
        What failed, where one layer did: ``"name lookup"``, ``"TCP"``, ``"TLS"``, ``"SASL"``,
        ``"Kafka"``, ``"ACL"`` or ``"topic"``; else empty.
    """

    def __init__(self, message: str, *, layer: str = "") -> None:
        super().__init__(message)
        self.layer = layer


class CorruptLog(RecoveryKitError):  # noqa: N818  (named for what was found, as IncompleteReplay is)
    """A record batch fails its CRC or cannot be taken apart."""


class LogTooLarge(RecoveryKitError, MemoryError):  # noqa: N818
    """What was asked for does not fit in memory, or in the bounds that were set.

    Says how much it is, and what would fit.
    """


class IncompleteReplay(RecoveryKitError):  # noqa: N818
    """Part of the log could not be read.

    Attributes
    ----------
    verdict : str
        One of ``"truncated"``, ``"raced"``, ``"compacted"``, ``"timed out"``.
    coverage : pandas.DataFrame
        What was and was not read, a row per partition, as in ``Replay.coverage``.
    """

    exit_code = INCOMPLETE

    def __init__(self, message: str, *, verdict: str, coverage: pd.DataFrame) -> None:
        super().__init__(message)
        self.verdict = verdict
        self.coverage = coverage


class ConflictError(RecoveryKitError):
    """One event id with two contents, and the caller asked to be stopped by it."""


class AmountError(RecoveryKitError, ArithmeticError):
    """A sum or difference that exact decimals cannot hold."""


class TableError(RecoveryKitError, ValueError):
    """Totals given by the user that cannot be read exactly; names the row and the column."""


class IdentityError(RecoveryKitError, AssertionError):
    """One of the kit's own identities does not hold: a defect in the kit, please report it."""


class SandboxError(RecoveryKitError):
    """The sandbox's Kafka cannot start; says what to do."""


class RunError(RecoveryKitError):
    """A run directory or a notebook run that went wrong."""


def did_you_mean(wrong: str, known: list[str]) -> str:
    """Suggest the nearest known name, as the end of an error's sentence.

    Empty when nothing is near.
    """
    near = difflib.get_close_matches(wrong, known, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
