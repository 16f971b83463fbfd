"""What a run keeps in its directory, by name: cleared before the next run there, and deleted on
demand.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recovery_kit._keep import left_aside
from recovery_kit.errors import RunError
from recovery_kit.run import manifest

LOCK = ".lock"
_MARK = "recovery-kit run directory"
_TABLES = (
    "totals",
    "reconciliation",
    "divergences",
    "diagnosis",
    "causes",
    "incidents",
    "corrections",
)
_FILES = (
    *(
        "summary.json",
        "incomplete.json",
        "divergences.csv",
        "corrections.csv",
        "report.html",
        "metrics.prom",
    ),
    *(f"{name}.parquet" for name in _TABLES),
)
_FOLDERS = ("notebooks", "steps")


def purge(folder: Path) -> list[str]:
    """Delete what runs kept in a folder, and the folder itself when nothing else is in it.

    Parameters
    ----------
    folder : Path
        A run directory, of a whole run or of one that was killed.

    Returns
    -------
    list of str
        What is still there, for the kit did not write it.

    Raises
    ------
    RunError
        It is no run directory, or a run is under way in it.
    """
    if not is_run(folder):
        raise RunError(
            f"{folder} is no run directory: nothing in it says that a run was made there. Nothing "
            "was deleted"
        )
    with alone(folder):
        clear(folder)
        left = sorted(path.name for path in folder.iterdir() if path.name != LOCK)
        if not left:
            (folder / LOCK).unlink()
            folder.rmdir()
    return left


def kept(folder: Path) -> list[Path]:
    """The files of a run, but its manifest, by name: what else lies in the folder is somebody
    else's.
    """
    steps = (
        path for step in (folder / "steps").glob("*/step.json") for path in step.parent.iterdir()
    )
    found = [
        *(folder / name for name in _FILES),
        *(folder / "notebooks").glob("[0-9][0-9]_*.ipynb"),
        *steps,
    ]
    return sorted(path for path in found if path.is_file() and not path.is_symlink())


def is_run(folder: Path) -> bool:
    """Whether a run was made in this folder, or at least begun."""
    try:
        return (folder / LOCK).read_text(encoding="utf-8").startswith(_MARK)
    except (OSError, UnicodeDecodeError):
        return False


def refuse_foreign(folder: Path) -> None:
    """Stop before a run that would replace what no run wrote.

    Raises
    ------
    RunError
        No run was ever made in this folder, but it holds something of a name that a run would
        write.
    """
    for name in () if is_run(folder) else (manifest.NAME, *_FOLDERS, *_FILES):
        if (folder / name).exists():
            raise RunError(
                f"{folder} holds {name}, but no run was made there, and a run would replace it. "
                "Name another run_dir"
            )


def clear(folder: Path) -> None:
    """Remove what an earlier run left, its manifest first, so that nothing stale looks whole."""
    (folder / manifest.NAME).unlink(missing_ok=True)
    for path in kept(folder):
        path.unlink()
    steps = [path for path in (folder / "steps").glob("*") if path.is_dir()]
    for inside in (folder, folder / "notebooks", folder / "steps", *steps):
        for path in left_aside(inside):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for inside in (*steps, *(folder / name for name in _FOLDERS)):
        if inside.is_dir() and not inside.is_symlink() and not any(inside.iterdir()):
            inside.rmdir()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a run directory's lock, which the system drops when this process ends in whatever way.

    Raises
    ------
    RunError
        Another process holds it, or the folder cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        opened = (folder / LOCK).open("a", encoding="utf-8")
    except OSError as error:
        raise RunError(
            f"{folder} cannot be a run directory: {error.strerror}. Name another run_dir, or put "
            "that right"
        ) from None
    with opened as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(
                f"another run is under way in {folder}; wait for it, or name another run_dir"
            ) from None
        yield


def mark(folder: Path) -> None:
    """Say in a folder that runs are made there; its lock must be held."""
    (folder / LOCK).write_text(f"{_MARK}\n", encoding="utf-8")
