"""What this process has room for: asked before memory is taken, for the kernel's killer does not
say what it was taken for.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from recovery_kit.errors import LogTooLarge

EVERY = 32 << 20
"""Bytes taken between two looks, and before the first."""


class Room(NamedTuple):
    """Bytes that this process may still take, and what sets the limit."""

    free: int
    limit: str


def room() -> Room:
    """What there is room for: what the machine has, a control group (a container's) allows, or the
    address space.
    """
    import psutil

    found = [
        Room(psutil.virtual_memory().available, "what this machine has available"),
        *control_groups(),
    ]
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if most != resource.RLIM_INFINITY:
        left = most - psutil.Process().memory_info().vms
        found.append(Room(left, "what is left of this process's address space (ulimit -v)"))
    return min(found)


# The limit, the use, and what of it the kernel takes back when it must: pages of files that were
# not used of late.
_FILES = {
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def control_groups(
    own: Path = Path("/proc/self/cgroup"), mounted: Path = Path("/sys/fs/cgroup")
) -> Iterator[Room]:
    """What each control group that this process is in, or that holds such a one, leaves.

    Of version 1 or 2.

    Limits of Linux's cgroups: a container has its own, a scheduler's job too. One without a limit
    is left out.
    """
    for line in own.read_text().splitlines() if own.exists() else ():
        _, controllers, path = line.split(":", 2)
        for controller in {*controllers.split(",")} & _FILES.keys():
            base, names = mounted / controller, _FILES[controller]
            group = base / path.lstrip("/")
            for folder in (g for g in (group, *group.parents) if g.is_relative_to(base)):
                # In a container the path is often the host's, and only the mounted folder itself is
                # there.
                if (free := _left(folder, *names)) is not None:
                    yield Room(
                        free,
                        "what the memory limit of its control group (of a container, or a job) "
                        "leaves",
                    )


def _left(group: Path, limit: str, use: str, idle: str) -> int | None:
    try:
        most, used = (group / limit).read_text().strip(), int((group / use).read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except OSError:  # no such group, or no such limit in it
        return None
    return None if most == "max" else int(most) - used + int(stat.get(idle, 0))


def require(count: int, what: str, *, instead: str = "") -> None:
    """Ask for room for so many bytes more.

    Parameters
    ----------
    count : int
    what : str
        What takes them, as the beginning of a sentence that says so.
    instead : str
        How to go on where there is no such room, other than with more memory: the beginning of a
        sentence.

    Raises
    ------
    LogTooLarge
        There is none.
    """
    if count >= EVERY and count > (found := room()).free:
        way = f"{instead}, or use" if instead else "Use"
        raise LogTooLarge(
            f"{what} takes {gigabytes(count)} more, and there are {gigabytes(found.free)}: "
            f"{found.limit}. {way} a machine with more memory"
        )


def gigabytes(count: int) -> str:
    """A number of bytes, for people."""
    return f"{max(count, 0) / 1e9:,.2f} GB"
