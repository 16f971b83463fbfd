"""Logging for unattended runs: lines on standard error, kafka-python quiet, no secret at any
level.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import TextIO

from recovery_kit._show import clean

LEVELS = ("debug", "info", "warning", "error")

_NOISY = ("kafka", "papermill", "asyncio", "matplotlib", "PIL", "numba", "traitlets")
"""Libraries that tell of their own workings: heard one level later than the kit, and at debug."""

_THEIRS = {"debug": "DEBUG", "info": "WARNING", "warning": "ERROR", "error": "CRITICAL"}


def log_to_stderr(level: str) -> None:
    """Send log records of a level and above to standard error, a line each, times in UTC.

    Parameters
    ----------
    level : {"debug", "info", "warning", "error"}
    """
    from recovery_kit.kafka.client.secret import keep_secrets_out_of_logs

    root = logging.getLogger()
    for handler in [h for h in root.handlers if isinstance(h, _ToStderr)]:
        root.removeHandler(handler)
    handler = _ToStderr()
    handler.setFormatter(
        _Line("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ")
    )
    root.addHandler(handler)
    root.setLevel(level.upper())
    keep_secrets_out_of_logs()
    for name in _NOISY:
        logging.getLogger(name).setLevel(_THEIRS[level])
    # kafka-python would log whole responses, and with them messages.
    logging.getLogger("kafka.protocol").setLevel(
        max(logging.INFO, logging.getLogger("kafka").level)
    )


class _ToStderr(logging.StreamHandler[TextIO]):
    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr  # as it is now
        super().emit(record)


class _Line(logging.Formatter):
    """What came out of a message cannot begin a line of its own, nor move a terminal's cursor."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        return time.strftime(datefmt or "", time.gmtime(record.created))

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(clean(line) for line in super().format(record).splitlines())


class Relay:
    """A file that a notebook's standard error is written to: each line becomes a log record."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def write(self, text: str) -> int:
        """Log the lines of some text."""
        for line in text.replace("\r", "\n").splitlines():
            if line.strip():
                self._logger.info("%s", line)
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""
