"""Runs one contender as a whole process, and measures it with all that it starts.

Reads /proc, so Linux only.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

EVERY = 0.02


@dataclass(frozen=True)
class Measured:
    """One run: seconds of wall clock and of CPU, CPU seconds of everything else, peak memory, and
    what it printed last.

    CPU is user and system time of the process and of all it waited for (``wait4``). Memory is the
    larger of two: the resident memory of the whole process tree, summed up every 20 ms, and the
    peak of its largest process as the kernel keeps it (VmHWM; not ``ru_maxrss``, which a process
    inherits from whoever starts it). A page that two processes share counts twice.
    """

    wall: float
    cpu: float
    others: float
    memory: int
    said: str

    def figures(self) -> dict[str, float]:
        """What reports hold of it; memory in MB."""
        return {
            "wall": self.wall,
            "cpu": self.cpu,
            "memory_mb": self.memory / 1e6,
            "others": self.others,
        }


def run(command: list[str]) -> Measured:
    """Run to the end; a RuntimeError with the end of its standard error when it fails.

    Byte code may be written and read, whatever the caller's own setting: a package of this checkout
    would else be compiled anew in each process, and installed ones not.
    """
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    begun, before = time.perf_counter(), busy()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env
    ) as process:
        sizes, over = [0], threading.Event()
        sampler = threading.Thread(target=_sample, args=(process.pid, sizes, over))
        sampler.start()
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begun
        over.set()
        sampler.join()
        process.returncode = os.waitstatus_to_exitcode(status)
        said, complained = process.stdout.read().decode(), process.stderr.read().decode()
    if process.returncode:
        raise RuntimeError(
            f"{' '.join(command)} ended with {process.returncode}:\n{complained[-3000:]}"
        )
    last = said.splitlines()[-1] if said else ""
    cpu = used.ru_utime + used.ru_stime
    return Measured(wall, cpu, busy() - before - cpu, max(sizes), last)


def busy(pid: int | None = None) -> float:
    """CPU seconds so far, of one process or of the whole machine."""
    if pid is not None:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
    else:
        user, nice, system, _, _, irq, softirq, *_ = map(
            int, Path("/proc/stat").read_text().split()[1:9]
        )
        ticks = user + nice + system + irq + softirq
    return ticks / os.sysconf("SC_CLK_TCK")


def _sample(pid: int, sizes: list[int], over: threading.Event) -> None:
    while not over.wait(EVERY):
        with contextlib.suppress(
            FileNotFoundError, ProcessLookupError
        ):  # a process may end as we look
            now, peak = zip(*(_memory(p) for p in _tree(pid)), strict=True)
            sizes += sum(now), max(peak)


def _memory(pid: int) -> tuple[int, int]:
    """Resident bytes of one process, now and at most so far; 0 of one that has ended."""
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    now, peak = (int(fields.get(name, "0 kB").split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
    return now, peak


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in thread.read_text().split():
            yield from _tree(int(child))
