"""manifest.json, the audit trail of a run: what ran, on what, by whom, what it left, and how it
ended.

It is written last, so a folder without one holds no whole run, whatever else lies there.
"""

from __future__ import annotations

import getpass
import hashlib
import platform
import socket
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from recovery_kit._keep import read_json
from recovery_kit.errors import RunError
from recovery_kit.run.settings import Settings

NAME = "manifest.json"

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
_INPUTS = ("expected", "opening", "processed")
_BLOCK = 1 << 20
_KINDS = {"exit_code": int, "started": str, "ended": str, "outputs": list, "parameters": dict}
"""What a manifest has at the least."""


def begun(settings: Settings) -> dict[str, Any]:
    """What is known of a run when it begins: what it reads, who runs it, where, with which code.

    Of ``client_config``, which holds secrets, the path is told and nothing else.
    """
    return {
        "started": now(),
        "by": _user(),
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "code": code_state(),
        "versions": {name: version(name) for name in _PACKAGES},
        "parameters": settings.to_dict(),
        "inputs": inputs(settings),
    }


def inputs(settings: Settings) -> list[dict[str, Any]]:
    """The files that a run reads besides the log: ``parameter``, ``path``, ``bytes``, ``sha256``.

    These two None where there is none.
    """
    found = []
    for name in _INPUTS:
        if path := getattr(settings, name):
            size, digest = _input_digest(path)
            found.append({"parameter": name, "path": path, "bytes": size, "sha256": digest})
    return found


def outputs(folder: Path, files: Iterable[Path]) -> list[dict[str, Any]]:
    """What a run left, a row a file: ``file``, ``bytes``, ``sha256``, and the ``rows`` of a Parquet
    file.
    """
    found = []
    for path in files:
        name = path.relative_to(folder).as_posix()
        size, digest = _digest(path)
        rows = {"rows": pq.read_metadata(path).num_rows} if path.suffix == ".parquet" else {}
        found.append({"file": name, "bytes": size, "sha256": digest} | rows)
    return found


def captured(folder: Path) -> dict[str, Any]:
    """What a run read of the log: ``replay`` (source, verdict, window) and ``coverage``, a row a
    partition with its offsets.
    """
    step = folder / "steps" / "replay"
    if (step / "step.json").exists():
        facts = read_json(step / "step.json")["facts"]
        about = {name: facts[name] for name in ("source", "verdict", "window")}
        return {"replay": about, "coverage": pq.read_table(step / "coverage.parquet").to_pylist()}
    if (folder / "incomplete.json").exists():
        told = read_json(folder / "incomplete.json")
        return {"replay": {"verdict": told["verdict"]}, "coverage": told["coverage"]}
    return {"replay": {}, "coverage": []}


def code_state() -> dict[str, Any]:
    """The kit's ``version``, and in a checkout its ``commit`` and whether it is ``clean``.

    None where that cannot be told.
    """
    root = Path(__file__).parents[2]
    commit, changes = (
        _git(root, "rev-parse", "HEAD"),
        _git(root, "status", "--porcelain", "--", "recovery_kit", "notebooks"),
    )
    in_checkout = (root / ".git").exists() and commit is not None
    return {
        "version": version("recovery-kit"),
        "commit": commit if in_checkout else None,
        "clean": not changes if in_checkout and changes is not None else None,
    }


def read(folder: Path) -> dict[str, Any]:
    """The manifest of a whole run.

    Raises
    ------
    RunError
        The folder holds no whole run: there is no manifest, or it is damaged.
    """
    path = folder / NAME
    if not path.is_file():
        raise RunError(f"{folder} holds no whole run: it has no {NAME}, which is written last")
    found = read_json(path)
    if missing := [name for name in _KINDS if name not in found]:
        raise RunError(
            f"{path} is not what a run of this kit writes: it lacks {', '.join(missing)}"
        )
    wrong = [name for name, kind in _KINDS.items() if not isinstance(found[name], kind)]
    if not wrong and "topic" not in found["parameters"]:
        wrong = ["parameters"]
    if wrong:
        raise RunError(f"{path} is not what a run of this kit writes: see {', '.join(wrong)}")
    return found


def altered(folder: Path, manifest: Mapping[str, Any], *names: str) -> list[str]:
    """Those of a run's files that are no longer what the run left.

    All of them are looked at when none is named.
    """
    told = {row["file"]: row["sha256"] for row in manifest["outputs"]}
    look = names or tuple(told)
    return [
        n
        for n in look
        if n not in told or not (folder / n).is_file() or _digest(folder / n)[1] != told[n]
    ]


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _input_digest(path: str) -> tuple[int | None, str | None]:
    if "://" in path:
        return _remote_digest(path)
    found = Path(path)
    if found.is_file():
        return _digest(found)
    if found.is_dir():  # a Parquet data set: its files' names and digests
        parts = [
            (p.relative_to(found).as_posix(), *_digest(p))
            for p in sorted(found.rglob("*"))
            if p.is_file()
        ]
        names = "".join(f"{digest}  {name}\n" for name, _, digest in parts)
        return sum(size for _, size, _ in parts), hashlib.sha256(names.encode()).hexdigest()
    return None, None  # reading it will say so


def _remote_digest(url: str) -> tuple[int | None, str | None]:
    from pyarrow import fs

    try:
        filesystem, path = fs.FileSystem.from_uri(url)
        with filesystem.open_input_stream(path, compression=None) as stream:
            return _hashed(iter(lambda: stream.read(_BLOCK), b""))
    except (OSError, ValueError):  # Arrow's errors among them; reading it will say so
        return None, None


def _digest(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        return _hashed(iter(lambda: file.read(_BLOCK), b""))


def _hashed(blocks: Iterator[bytes]) -> tuple[int, str]:
    size, digest = 0, hashlib.sha256()
    for block in blocks:
        size += len(block)
        digest.update(block)
    return size, digest.hexdigest()


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):  # no git here, or a slow disk
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name for this user id, as in many containers
        return "unknown"
