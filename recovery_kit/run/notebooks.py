"""One run: the notebooks, in order, through papermill, into a run directory.

What came of it, as an exit code.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from recovery_kit import errors
from recovery_kit._keep import read_json, write_json, write_text
from recovery_kit._progress import IN_LAB
from recovery_kit.errors import ParameterError, RunError
from recovery_kit.run import manifest, metrics
from recovery_kit.run.judge import FailOn, judge
from recovery_kit.run.logs import Relay
from recovery_kit.run.outcome import Outcome
from recovery_kit.run.pseudonym import pseudonyms
from recovery_kit.run.purge import alone, clear, kept, mark, refuse_foreign
from recovery_kit.run.settings import Settings

NOTEBOOKS = ("01_replay", "02_dedup", "03_reconcile", "04_divergences")
CELL_TIMEOUT = 3600
"""Seconds that one cell may take. papermill's default is no limit at all."""

_log = logging.getLogger(__package__)


def run(
    settings: Settings, *, cell_timeout: int = CELL_TIMEOUT, fail_on: FailOn | None = None
) -> Outcome:
    """Run the notebooks into ``settings.run_dir``.

    Leaves there the executed notebooks, the Parquet of each step, ``divergences.csv``,
    ``summary.json``, ``report.html``, ``metrics.prom`` and, written last, ``manifest.json``. What
    an earlier run left there is removed first. SIGTERM ends it as Ctrl-C does, with a manifest that
    says so.

    Parameters
    ----------
    settings : Settings
        With absolute paths, as `Settings.of` makes them when strict.
    cell_timeout : int
        Seconds that one cell may take.
    fail_on : FailOn, optional
        What makes the run fail; not given: any divergence, a replay that is not complete, and one
        reject in a hundred messages.

    Returns
    -------
    Outcome
        Also when the replay was not complete or a notebook failed.

    Raises
    ------
    ParameterError
        No run directory is named, or a setting cannot work.
    RunError
        Another run is under way in this directory, or it holds what no run wrote.
    """
    if not settings.run_dir:
        raise ParameterError("run_dir is empty; expected the folder to keep the run in")
    names = pseudonyms(settings)
    if not settings.wants_demo:
        settings.source  # noqa: B018  (a setting that cannot work is told before anything is removed)
    folder = Path(settings.run_dir)
    refuse_foreign(folder)
    with _terminable(), alone(folder):
        clear(folder)
        mark(folder)
        if settings.wants_demo:
            from recovery_kit.sandbox import demo

            settings = settings.on_demo(demo())
        return _run(
            settings, folder, cell_timeout, fail_on or FailOn(), names.about if names else None
        )


def _run(
    settings: Settings,
    folder: Path,
    cell_timeout: int,
    fail_on: FailOn,
    names: dict[str, str] | None,
) -> Outcome:
    began = time.monotonic()
    facts = manifest.begun(settings)
    code, error, taken = _notebooks(settings, folder, cell_timeout)
    summary = read_json(folder / "summary.json") if (folder / "summary.json").exists() else {}
    if not code:
        code, error = _judged(settings, facts, summary, fail_on)
    facts = {
        "exit_code": code,
        "error": error,
        "started": facts.pop("started"),
        "ended": manifest.now(),
        "seconds": round(time.monotonic() - began, 1),
        "fail_on": str(fail_on),
        **facts,
        "pseudonyms": names or {},
        "notebooks": taken,
        **manifest.captured(folder),
    }
    write_text(folder / metrics.NAME, metrics.exposition(facts, summary))
    _report(folder, facts)
    facts["outputs"] = manifest.outputs(folder, kept(folder))
    write_json(folder / manifest.NAME, facts)
    _log.info("ended with exit code %d after %.1f s: %s", code, facts["seconds"], folder)
    return Outcome(code, folder, summary, error, facts)


def _notebooks(
    settings: Settings, folder: Path, cell_timeout: int
) -> tuple[int, str, list[dict[str, Any]]]:
    """Execute the notebooks until one fails: the exit code so far, the error, and how long each one
    took.
    """
    taken: list[dict[str, Any]] = []
    try:
        for name in NOTEBOOKS:
            began = time.monotonic()
            _log.info("%s begins", name)
            code, error = execute(
                notebooks_dir() / f"{name}.ipynb", settings, folder, cell_timeout=cell_timeout
            )
            taken.append({"name": name, "seconds": round(time.monotonic() - began, 1)})
            if code:
                _log.log(logging.WARNING if code != errors.ERROR else logging.ERROR, "%s", error)
                return code, error, taken
    except KeyboardInterrupt:
        return errors.INTERRUPTED, "interrupted", taken
    return errors.MATCHED, "", taken


def _judged(
    settings: Settings, facts: dict[str, Any], summary: dict[str, Any], fail_on: FailOn
) -> tuple[int, str]:
    """The exit code of notebooks that all came to their end, by what they left and not by that
    alone.
    """
    if not summary:
        return (
            errors.ERROR,
            "the notebooks came to their end but left no summary.json: what they did cannot be "
            "relied on",
        )
    if changed := [
        now["parameter"] for now in manifest.inputs(settings) if now not in facts["inputs"]
    ]:
        return (
            errors.ERROR,
            f"{', '.join(changed)}: the file changed while the run read it; run again",
        )
    return judge(summary, fail_on)


def _report(folder: Path, facts: dict[str, Any]) -> None:
    """Draw report.html. A run whose report cannot be drawn is whole all the same: its tables are
    there.
    """
    try:
        from recovery_kit.report import write_report

        write_report(folder, manifest=facts)
    except Exception as error:
        _log.exception("report.html could not be written")
        facts["report_error"] = f"{type(error).__name__}: {error}"


def notebooks_dir() -> Path:
    """Where the kit's notebooks are: beside the package in a checkout, or where an installed wheel
    put them.
    """
    places = (
        Path(__file__).parents[2] / "notebooks",
        Path(sys.prefix) / "share" / "recovery-kit" / "notebooks",
    )
    for place in places:
        if (place / f"{NOTEBOOKS[0]}.ipynb").exists():
            return place
    raise RunError(
        f"the notebooks are neither in {places[0]} nor in {places[1]}; install the kit again"
    )


def demo(folder: str | Path) -> Outcome:
    """Run the notebooks on the embedded demo into ``folder``."""
    return run(replace(Settings(), run_dir=str(Path(folder).resolve())))


def execute(
    source: Path, settings: Settings, folder: Path, *, cell_timeout: int
) -> tuple[int, str]:
    """Execute one notebook into a run directory.

    Parameters
    ----------
    source : Path
        The notebook; the settings that are parameters of it are passed on.
    settings : Settings
    folder : Path
        The run directory.
    cell_timeout : int
        Seconds that one cell may take.

    Returns
    -------
    tuple of (int, str)
        The exit code, 0 where every cell came to its end, and what went wrong.
    """
    import papermill as pm
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    name, known = source.stem, pm.inspect_notebook(str(source))
    if settings.pseudonymize and "bootstrap_servers" in known and "pseudonymize" not in known:
        return (
            errors.ERROR,
            f"{name} has no parameter pseudonymize, and would show keys in clear; add it",
        )
    values = {n: v for n, v in settings.to_dict().items() if n in known}
    target = folder / "notebooks" / f"{name}.ipynb"
    target.parent.mkdir(parents=True, exist_ok=True)
    # Over a socket in a folder of its own: a TCP port could be taken between its choice and the
    # kernel's start.
    sockets = Path(
        tempfile.mkdtemp(prefix="rk", dir="/tmp")
    )  # short, for a socket's path has 107 bytes at the most
    watched = os.environ.pop(IN_LAB, None)  # of the notebook that this may be run from
    try:
        pm.execute_notebook(
            str(source),
            str(target),
            values,
            progress_bar=False,
            execution_timeout=cell_timeout,
            kernel_name="python3",
            stderr_file=Relay(_log) if _log.isEnabledFor(logging.INFO) else None,
            config=Config({"KernelManager": {"transport": "ipc", "ip": str(sockets / "k")}}),
        )
    except PapermillExecutionError as error:
        if error.ename == "KeyboardInterrupt":
            return errors.INTERRUPTED, "interrupted"
        kind = getattr(errors, error.ename, None)
        code = (
            kind.exit_code
            if isinstance(kind, type) and issubclass(kind, errors.RecoveryKitError)
            else errors.ERROR
        )
        return code, f"{name}: {error.ename}: {error.evalue}"
    except KeyboardInterrupt:
        return errors.INTERRUPTED, "interrupted"
    except (
        Exception
    ) as error:  # a dead kernel, a cell over its time, a notebook that is none: the run has failed
        kind = type(error).__name__
        then = (
            ". If the system killed it, there was too little memory"
            if kind == "DeadKernelError"
            else ""
        )
        return errors.ERROR, f"{name}: {kind}: {error}{then}"
    finally:
        if watched is not None:
            os.environ[IN_LAB] = watched
        shutil.rmtree(sockets, ignore_errors=True)
    return errors.MATCHED, ""


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM, which a scheduler ends a run with, interrupt as Ctrl-C does: the kernel ends and
    the manifest tells.
    """
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield
        return

    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
