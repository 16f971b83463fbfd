"""One run: the notebooks, in order, through papermill, into a run directory; what came of it, as an exit code."""

from __future__ import annotations

import fcntl
import getpass
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from recovery_kit import _show, errors
from recovery_kit.errors import RunError
from recovery_kit.settings import Settings
from recovery_kit.steps import read_json, write_json

NOTEBOOKS = ("01_replay", "02_dedup", "03_reconcile", "04_divergences")
CELL_TIMEOUT = 3600
"""Seconds that one cell may take. papermill's default is no limit at all."""

_WORDS = {
    errors.MATCHED: "all matched",
    errors.DIVERGED: "DIVERGENCES",
    errors.ERROR: "ERROR",
    errors.INCOMPLETE: "REPLAY NOT COMPLETE",
    errors.INTERRUPTED: "interrupted",
}
_PACKAGES = (
    "recovery-kit",
    "kafka-python",
    "pandas",
    "pyarrow",
    "polars",
    "narwhals",
    "numba",
    "papermill",
    "matplotlib",
)


@dataclass(frozen=True, repr=False)
class Outcome:
    """What came of a run.

    Attributes
    ----------
    exit_code : int
        0 all matched (or nothing to compare with), 1 divergences, 2 error, 3 replay not complete, 130 interrupted.
    folder : Path
        The run directory.
    summary : dict
        What ``summary.json`` holds; empty where the run did not come so far.
    error : str
        What went wrong, for people; empty when nothing did.
    """

    exit_code: int
    folder: Path
    summary: dict[str, Any]
    error: str = ""

    def __repr__(self) -> str:
        facts: list[tuple[str, object]] = []
        if self.summary:
            log, told, r = (self.summary[name] for name in ("replay", "dedup", "reconciliation"))
            counts = ", ".join(f"{log[n]:,} {n}" for n in ("events", "rejects", "tombstones", "outside") if log[n])
            statuses = ", ".join(f"{n:,} {status}" for status, n in r["statuses"].items() if n)
            facts = [
                ("log", f"{log['source']}, {log['partitions']} partitions, {log['verdict']}"),
                ("messages", f"{log['delivered']:,}: {counts}"),
                (
                    "events",
                    f"{told['unique']:,} unique, {told['redelivered']:,} redelivered, {told['conflicting']:,} conflicting",
                ),
                ("keys", f"{r['keys']:,}: {statuses}"),
            ]
            if r["divergent"]:
                facts += [
                    ("net difference", f"{_money(r['net_difference'])} (expected - recovered)"),
                    ("absolute differences", _money(r["absolute_difference"])),
                    *(
                        (f"  {_show.shorten(d['key'], 24)}", f"{_money(d['difference'])}  {d['status']}")
                        for d in self.summary["largest"]
                    ),
                ]
        facts.append(("files", self.folder))
        word = _WORDS.get(self.exit_code, "ERROR")
        return _show.text_card(
            f"recovery-kit: {word} (exit code {self.exit_code})", facts, [self.error] if self.error else []
        )


def run(settings: Settings, *, cell_timeout: int = CELL_TIMEOUT) -> Outcome:
    """Run the notebooks into ``settings.run_dir``.

    Leaves there the executed notebooks, the Parquet of each step, ``divergences.csv``, ``summary.json`` and, written
    last, ``manifest.json``. What an earlier run left there is removed first.

    Parameters
    ----------
    settings : Settings
        With absolute paths, as `Settings.of` makes them when strict.
    cell_timeout : int
        Seconds that one cell may take.

    Returns
    -------
    Outcome
        Also when the replay was not complete or a notebook failed.

    Raises
    ------
    ParameterError
        No run directory is named.
    RunError
        Another run is under way in this directory.
    """
    if not settings.run_dir:
        raise errors.ParameterError("run_dir is empty; expected the folder to keep the run in")
    if not settings.wants_demo:
        settings.source  # noqa: B018  (a setting that cannot work is told before anything is removed)
    folder = Path(settings.run_dir)
    started = _now()
    with _alone(folder):
        _clear(folder)
        if settings.wants_demo:
            from recovery_kit.sandbox import demo

            settings = settings.on_demo(demo())
        code, error = errors.MATCHED, ""
        for name in NOTEBOOKS:
            code, error = _execute(name, settings, folder, cell_timeout)
            if code:
                break
        summary = read_json(folder / "summary.json") if (folder / "summary.json").exists() else {}
        if not code and summary:
            code = _judge(summary)
        manifest = {
            "exit_code": code,
            "error": error,
            "started": started,
            "ended": _now(),
            "by": _user(),
            "python": platform.python_version(),
            "versions": {name: version(name) for name in _PACKAGES},
            "parameters": settings.to_dict(),
            "notebooks": [name for name in NOTEBOOKS if (folder / "notebooks" / f"{name}.ipynb").exists()],
        }
        write_json(folder / "manifest.json", manifest)
    return Outcome(code, folder, summary, error)


def notebooks_dir() -> Path:
    """Where the kit's notebooks are: beside the package in a checkout, or where an installed wheel put them."""
    places = (Path(__file__).parent.parent / "notebooks", Path(sys.prefix) / "share" / "recovery-kit" / "notebooks")
    for place in places:
        if (place / f"{NOTEBOOKS[0]}.ipynb").exists():
            return place
    raise RunError(f"the notebooks are neither in {places[0]} nor in {places[1]}; install the kit again")


def demo(folder: str | Path) -> Outcome:
    """Run the notebooks on the embedded demo into ``folder``."""
    return run(replace(Settings(), run_dir=str(Path(folder).resolve())))


def _judge(summary: dict[str, Any]) -> int:
    """The exit code of a run that came to its end."""
    if summary["replay"]["verdict"] != "complete":
        return errors.INCOMPLETE
    return errors.DIVERGED if summary["reconciliation"]["divergent"] else errors.MATCHED


def _execute(name: str, settings: Settings, folder: Path, cell_timeout: int) -> tuple[int, str]:
    import papermill as pm
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    source = notebooks_dir() / f"{name}.ipynb"
    known = pm.inspect_notebook(str(source))
    values = {n: v for n, v in settings.to_dict().items() if n in known}
    target = folder / "notebooks" / f"{name}.ipynb"
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        pm.execute_notebook(
            str(source),
            str(target),
            values,
            progress_bar=False,
            execution_timeout=cell_timeout,
            kernel_name="python3",
            # ipykernel warns of a kernel that talks over TCP in the clear.
            config=Config({"KernelManager": {"transport_encryption": "auto"}}),
        )
    except PapermillExecutionError as error:
        if error.ename == "KeyboardInterrupt":
            return errors.INTERRUPTED, "interrupted"
        kind = getattr(errors, error.ename, None)
        code = kind.exit_code if isinstance(kind, type) and issubclass(kind, errors.RecoveryKitError) else errors.ERROR
        return code, f"{name}: {error.ename}: {error.evalue}"
    except KeyboardInterrupt:
        return errors.INTERRUPTED, "interrupted"
    except Exception as error:  # a dead kernel, a cell over its time, a notebook that is none: the run has failed
        return errors.ERROR, f"{name}: {type(error).__name__}: {error}"
    return errors.MATCHED, ""


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the run directory's lock, which the system drops when this process ends in whatever way."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"another run is under way in {folder}; wait for it, or name another run_dir") from None
        yield


def _clear(folder: Path) -> None:
    """Remove what an earlier run left, its manifest first, so that nothing stale looks whole."""
    for name in ("manifest.json", "summary.json", "divergences.csv"):
        (folder / name).unlink(missing_ok=True)
    for name in ("totals", "reconciliation", "divergences"):
        (folder / f"{name}.parquet").unlink(missing_ok=True)
    for name in ("steps", "notebooks"):
        shutil.rmtree(folder / name, ignore_errors=True)


def _money(text: str) -> str:
    from decimal import Decimal

    return f"{Decimal(text):,f}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name for this user id, as in many containers
        return "unknown"
