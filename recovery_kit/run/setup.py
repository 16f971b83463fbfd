"""Whether this Python has what the kit needs: the first thing that a notebook asks."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from recovery_kit.errors import RunError


def check_setup() -> None:
    """Hold what is installed against what the kit asks for, as its own metadata has it.

    Raises
    ------
    RunError
        A package is missing or of another version; says the command that mends it.
    """
    wrong = []
    for line in requires("recovery-kit") or ():
        wanted = Requirement(line)
        if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(wanted.name)
        except PackageNotFoundError:
            found = ""
        if not found or not wanted.specifier.contains(found, prereleases=True):
            wrong.append(f"{wanted.name} {found or 'is missing'} (needed: {wanted.specifier})")
    if wrong:
        raise RunError(
            f"This kernel's Python, {sys.executable}, lacks what recovery-kit needs: "
            f"{'; '.join(wrong)}. Choose the kernel that `make lab` offers, or run: "
            f"{sys.executable} -m pip install --upgrade recovery-kit"
        )
