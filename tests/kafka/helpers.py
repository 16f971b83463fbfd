"""What the tests of secured connections share."""

from __future__ import annotations

import traceback
from pathlib import Path


def kept(folder: Path, *lines: str, name: str = "client.properties") -> Path:
    """A file of these lines that its owner alone may read."""
    path = folder / name
    path.write_text("\n".join(lines), encoding="utf-8")
    path.chmod(0o600)
    return path


def assert_unseen(secret: str, error: BaseException) -> None:
    """Not in the error, nor in its traceback with every variable of every frame of the kit
    shown.
    """
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None:
        chain.append(link)
        link = link.__cause__ or link.__context__
    for one in chain:
        whole = traceback.TracebackException(
            type(one), one, one.__traceback__, capture_locals=True, compact=False
        )
        frames = [
            f for f in whole.stack if "recovery_kit" in f.filename and "tests" not in f.filename
        ]
        shown = "".join(traceback.format_exception(one)) + repr([f.locals for f in frames])
        assert secret not in shown
