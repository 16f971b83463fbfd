"""What keeps passwords out of sight: text that prints as ``***``, and loggers that do not tell what
was sent.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

_made: set[str] = set()
"""Every secret that this process has held, so that none of them is written into a traceback."""


class Secret(str):
    """Text that prints as ``***``.

    Its characters are there for whoever joins, encodes or reveals it.
    """

    __slots__ = ()

    def __new__(cls, text: object = "") -> Secret:
        """Text that is remembered as one that nothing may show."""
        made = super().__new__(cls, text)
        _made.add(made.reveal)
        return made

    def __repr__(self) -> str:
        return "'***'"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return format("***", spec)

    @property
    def reveal(self) -> str:
        """The text itself, as a plain string."""
        return str.__str__(self)


def hide_secrets(text: str, options: Mapping[str, object]) -> str:
    """The text with every secret of ``options`` replaced by ``***``."""
    for value in options.values():
        secret = value if isinstance(value, Secret) else getattr(value, "secret", None)
        if isinstance(secret, Secret) and secret:
            text = text.replace(secret.reveal, "***")
    return text


def hide_every_secret(text: str) -> str:
    """The text with every secret that this process has held replaced by ``***``.

    Every value of a client.properties file is one, so that the shortest, such as ``1``, are
    replaced where they stand alone: else nobody could read what is left.
    """
    forms = {form for made in _made if made for form in (made, repr(made)[1:-1])}
    for form in sorted(forms, key=len, reverse=True):
        found = re.escape(form)
        text = re.sub(found if len(form) > 3 else rf"(?<!\w){found}(?!\w)", "***", text)
    return text


def keep_secrets_out_of_logs() -> None:
    """Make kafka-python's loggers tell how much was sent instead of the bytes, and hide what SASL
    requests hold.

    At DEBUG kafka-python 3.0 writes every request and its bytes to the log; one of them carries the
    password. Calling this again changes nothing.
    """
    for name in ("kafka.protocol.parser", "kafka.net.connection"):
        logging.getLogger(name).addFilter(_without_secrets)


def _without_secrets(record: logging.LogRecord) -> bool:
    if isinstance(record.args, tuple):
        record.args = tuple(_shown(value) for value in record.args)
    return True


def _shown(value: object) -> object:
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    name = type(value).__name__
    return f"<{name}>" if name.startswith("Sasl") else value
