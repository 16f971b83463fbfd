"""An error that nobody foresaw, told in one line: what it was, where its traceback is, and whom to
tell.
"""

from __future__ import annotations

import os
import platform
import tempfile
import traceback
from importlib.metadata import PackageNotFoundError, version

from recovery_kit._show import shorten

_PACKAGES = ("recovery-kit", "kafka-python", "pandas", "pyarrow", "polars", "numba", "papermill")

_THEN = {
    OSError: "The system refused it; put that right, and try again",
    MemoryError: "There is too little memory; read less of the log, or on a larger machine",
}
"""What is no defect of the kit's, and how to go on."""


def told(error: Exception, *, command: str) -> str:
    """One line about an error that is not the kit's own; its traceback goes to a file.

    Parameters
    ----------
    error : Exception
    command : str
        What was asked for, such as ``check``, without its arguments.
    """
    what = "".join(traceback.format_exception_only(error)).strip()
    what = shorten(_without_secrets(what), 300)
    kept = _keep(error, command)
    for kind, then in _THEN.items():
        if isinstance(error, kind):
            return f"{what}. {then}. {kept}"
    return (
        f"{what}. Nobody foresaw this error: it is a defect of recovery-kit. {kept}; report it to "
        "the maintainers with that file, but look through it first, for it may hold parts of "
        "messages"
    )


def _keep(error: Exception, command: str) -> str:
    """Write the traceback where its owner alone can read it; says where."""
    versions = ", ".join(f"{name} {_version(name)}" for name in _PACKAGES)
    lines = traceback.format_exception(error)
    text = (
        f"recovery-kit {command}\nPython {platform.python_version()} on {platform.platform()}\n"
        f"{versions}\n\n{''.join(lines)}"
    )
    try:
        # A name of its own, made anew, mode 0600: nobody else's link is followed.
        file, path = tempfile.mkstemp(prefix=f"recovery-kit-{command}-", suffix=".log")
        with os.fdopen(file, "w", encoding="utf-8", errors="backslashreplace") as log:
            log.write(_without_secrets(text))
    except OSError as refused:
        return f"Its traceback could not be kept in a file ({refused})"
    return f"Its traceback is in {path}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # a checkout that nobody installed
        return "unknown"


def _without_secrets(text: str) -> str:
    from recovery_kit.kafka.client.secret import hide_every_secret

    return hide_every_secret(text)
