"""recovery-kit demo | run | history | purge | check | sandbox: the commands, and the exit codes as
a contract.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import json
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from recovery_kit import _show, errors
from recovery_kit._keep import write_text
from recovery_kit.errors import ParameterError, RecoveryKitError, RunError
from recovery_kit.run import unexpected
from recovery_kit.run.logs import LEVELS, log_to_stderr
from recovery_kit.run.settings import Settings

_EPILOG = (
    "exit codes: 0 all matched, or no expected totals given; 1 divergences; 2 error, nothing "
    "compared, or too many rejects; 3 replay not complete; 130 interrupted (also by SIGTERM)"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may lack a character
    given, code, why = argparse.Namespace(name="", json=False), errors.ERROR, ""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            given = _parse(arguments)
            code = given.command(given)
    except RecoveryKitError as error:
        code, why = error.exit_code, _show.clean(error)
    except KeyboardInterrupt:
        code, why = errors.INTERRUPTED, "interrupted"
    except Exception as error:
        why = unexpected.told(error, command=given.name)
    if why:
        _tell(why)
        if getattr(given, "json", False):
            line = {"event": f"recovery-kit {given.name}", "exit_code": code, "error": why}
            with contextlib.suppress(RunError):  # that too is in the exit code
                _print(json.dumps(line))
    return code


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    try:
        given = _parser().parse_args(arguments)
    except SystemExit:  # told already, or helped
        _print("", end="")
        raise
    log_to_stderr(given.log_level)
    return given


def _print(what: object, *, end: str = "\n") -> None:
    """Print the answer of a command. Who could not read it must not read 0 or 1 either."""
    try:
        print(what, end=end, flush=True)
    except OSError as error:
        _give_up(sys.stdout)
        raise RunError(f"the output could not be written: {error.strerror}") from None


def _tell(what: str) -> None:
    """A line on standard error; nobody may be there to read it."""
    try:
        print(f"recovery-kit: {what}", file=sys.stderr, flush=True)
    except OSError:
        _give_up(sys.stderr)


def _give_up(stream: TextIO) -> None:
    """Let a stream that takes nothing more lead nowhere: else Python would try again when it ends,
    and choose the exit code itself.
    """
    with contextlib.suppress(OSError), Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    """A warning is a line for whoever gave the command, without the line of code that it comes
    from.
    """
    _tell(_show.clean(message))


def _demo(given: argparse.Namespace) -> int:
    from recovery_kit.run.notebooks import demo

    _print(
        "recovery-kit demo: starts an Apache Kafka on this machine and simulates an incident on it"
    )
    outcome = demo(given.run_dir)
    _print(outcome)
    if outcome.exit_code != errors.DIVERGED:  # the incident is there to be found
        return outcome.exit_code or errors.ERROR
    _print(
        f"The demo went well. Open {given.run_dir}/report.html, or `make lab` and change a "
        "notebook's parameters."
    )
    return 0


def _run(given: argparse.Namespace) -> int:
    from recovery_kit.run.judge import fail_on
    from recovery_kit.run.metrics import NAME, json_line
    from recovery_kit.run.notebooks import run

    values = _values(given)
    values.setdefault("run_dir", f"runs/{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    settings, by = Settings.of(values, strict=True), fail_on(given.fail_on)
    outcome = run(settings, cell_timeout=given.cell_timeout, fail_on=by)
    _print(json_line(outcome.manifest, outcome.summary) if given.json else outcome)
    given.json = False  # its one line is out
    if given.metrics:
        write_text(Path(given.metrics), (outcome.folder / NAME).read_text(encoding="utf-8"))
    return outcome.exit_code


def _history(given: argparse.Namespace) -> int:
    from recovery_kit.run.history import history

    _print(history(given.runs, topic=given.topic))
    return 0


def _purge(given: argparse.Namespace) -> int:
    from recovery_kit.run.purge import is_run, purge

    folder = Path(given.run_dir)
    if is_run(folder) and not given.yes:
        if not sys.stdin.isatty():
            raise ParameterError("nobody is there to ask whether to delete; say --yes")
        if input(f"Delete what runs kept in {folder}? [y/N] ").strip().lower() not in ("y", "yes"):
            _print("Nothing was deleted.")
            return errors.ERROR
    left = purge(folder)
    _print(
        f"Deleted what runs kept in {folder}."
        + (f" Still there: {', '.join(map(_show.clean, left))}" if left else "")
    )
    return 0


def _check(given: argparse.Namespace) -> int:
    from recovery_kit.kafka.check import check

    named = {n: v for n, v in vars(given).items() if n in _CHECKED and v is not None}
    settings = Settings.of(_values(given) | named, strict=True)
    found = check(settings.source, timeout=settings.timeout)
    _print(found)
    return found.exit_code


def _sandbox(given: argparse.Namespace) -> int:
    from recovery_kit.sandbox import demo

    with demo() as broker:
        if given.during:
            try:
                return subprocess.call(given.during)
            except OSError as error:
                raise ParameterError(
                    f"{given.during[0]!r} cannot be started: {error.strerror}"
                ) from None
        _print(
            f"Apache Kafka with the simulated incident: {broker.bootstrap_servers}, topic "
            f"{broker.topic}"
        )
        _print(
            "Point a notebook at it with these parameters (or leave bootstrap_servers empty, which "
            "means the same):"
        )
        defaults = Settings()
        for name, value in Settings().on_demo(broker).to_dict().items():
            if value != getattr(defaults, name):
                _print(f"    {name} = {value!r}")
        _print("It stays up until Ctrl-C.")
        threading.Event().wait()
    return 0


def _values(given: argparse.Namespace) -> dict[str, Any]:
    """Parameters from ``-f`` files, then ``-p`` pairs, the later winning."""
    import yaml

    values: dict[str, Any] = {}
    for path in given.file:
        try:
            found = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            # Dates and numbers that cannot be are a ValueError of Python's own.
            raise ParameterError(f"{path} cannot be read as YAML: {error}") from None
        if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
            raise ParameterError(
                f"{path} holds no parameters; expected lines such as `topic: ledger-events`"
            )
        values |= found
    return values | {name: Settings.parse(name, text) for name, text in given.parameter}


_CHECKED = ("bootstrap_servers", "topic", "client_config")


class _Parameter(argparse.Action):
    """``-p NAME VALUE`` or ``-p NAME=VALUE``."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        pair = values[0].split("=", 1) if len(values) == 1 else values
        if len(pair) != 2:
            name = values[0].partition("=")[0]  # without the rest, which may be a secret
            parser.error(f"-p {_show.shorten(name)}: expected NAME VALUE or NAME=VALUE")
        setattr(namespace, self.dest, [*getattr(namespace, self.dest), pair])


def _seconds(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number of seconds; a run always has a limit"
        )
    return int(text)


def _how_to_run(run: argparse.ArgumentParser) -> None:
    run.add_argument(
        "--fail-on",
        action="append",
        default=[],
        metavar="THRESHOLD",
        help="what makes the run fail, instead of any divergence and a replay that is not "
        "complete: keys=10 (so many keys or more), amount=1000.00 (absolute differences of so "
        "much or more), incomplete; and rejects=10 or rejects=5%% (so many rejects or more), 1%% "
        "where not named; may be given again. A run that compared nothing fails in any case",
    )
    run.add_argument(
        "--cell-timeout",
        type=_seconds,
        default=3600,
        help="seconds a cell may take (default: %(default)s)",
    )
    run.add_argument(
        "--json",
        action="store_true",
        help="print one line of JSON, for log collectors, and nothing else",
    )
    run.add_argument(
        "--metrics",
        help="where to write metrics.prom a second time, for Prometheus' textfile collector",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="recovery-kit", description=__doc__, epilog=_EPILOG)
    told = "what to tell on standard error (default: %(default)s); info tells how a run comes along"
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--log-level", choices=LEVELS, default="warning", help=told)
    commands = parser.add_subparsers(required=True, metavar="command", dest="name")

    demo = commands.add_parser(
        "demo",
        help="start a Kafka, simulate an incident on it, run the notebooks on that",
        parents=[common],
    )
    demo.add_argument(
        "--run-dir", default="runs/demo", help="folder to keep the run in (default: %(default)s)"
    )
    demo.set_defaults(command=_demo)

    run = commands.add_parser(
        "run", help="run the notebooks into a run directory", epilog=_EPILOG, parents=[common]
    )
    _how_to_run(run)

    history = commands.add_parser(
        "history",
        help="what is new, resolved and persisting over a folder of run directories",
        parents=[common],
    )
    history.add_argument("runs", help="folder of run directories")
    history.add_argument(
        "--topic", default="", help="look at the runs of this topic (default: that of the last run)"
    )
    history.set_defaults(command=_history)

    purge = commands.add_parser(
        "purge", help="delete what runs kept in a run directory", parents=[common]
    )
    purge.add_argument("run_dir", help="the run directory")
    purge.add_argument("--yes", action="store_true", help="do not ask")
    purge.set_defaults(command=_purge)

    check = commands.add_parser(
        "check",
        help="look whether a topic can be read, and whether its messages fit",
        parents=[common],
    )
    check.add_argument(
        "--bootstrap-servers", help="host:port of the cluster, several joined by commas"
    )
    check.add_argument("--topic", help="topic to look at, several joined by commas")
    check.add_argument("--client-config", help="path of a client.properties file")
    for command, what in ((run, _run), (check, _check)):
        command.formatter_class = argparse.RawDescriptionHelpFormatter
        command.description = "parameters:\n" + "\n".join(
            f"  {f.name:<18} {f.metadata['help']}" for f in dataclasses.fields(Settings)
        )
        command.add_argument(
            "-f", "--file", action="append", default=[], help="YAML file with parameters"
        )
        command.add_argument(
            "-p",
            "--parameter",
            nargs="+",
            action=_Parameter,
            default=[],
            metavar=("NAME", "VALUE"),
            help="one parameter; NAME=VALUE does as well",
        )
        command.set_defaults(command=what)

    sandbox = commands.add_parser(
        "sandbox", help="keep a Kafka with the simulated incident up", parents=[common]
    )
    sandbox.add_argument(
        "during", nargs="*", metavar="-- command", help="run this while it is up, then end"
    )
    sandbox.set_defaults(command=_sandbox)
    return parser


if __name__ == "__main__":
    sys.exit(main())
