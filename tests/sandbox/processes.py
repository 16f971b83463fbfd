"""Other processes that the sandbox's tests start, and whether they and their folders are gone."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path


def python(code: str) -> subprocess.Popen[str]:
    """Another process that runs some Python and says something."""
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def first_line(process: subprocess.Popen[str]) -> list[str]:
    """The words of the first line that a process says."""
    assert process.stdout is not None
    assert process.stderr is not None
    words = process.stdout.readline().split()
    assert words, process.stderr.read()
    return words


def running(pid: int) -> bool:
    """Whether a process is there and is not a zombie."""
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout
    return bool(state.strip()) and not state.startswith("Z")


def gone(*things: int | Path, within: float = 10.0) -> bool:
    """Whether processes (by id) and folders vanish in time."""
    deadline = time.monotonic() + within
    while any(running(thing) if isinstance(thing, int) else thing.exists() for thing in things):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
