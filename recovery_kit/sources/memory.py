"""Whether a log fits in memory: told early, while it is read, and not by the kernel's killer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from recovery_kit._room import EVERY, Room, gigabytes, room
from recovery_kit.errors import LogTooLarge
from recovery_kit.payload.messages import apart

if TYPE_CHECKING:
    from recovery_kit.payload.messages import Read
    from recovery_kit.sources.span import Span

AFTER = 1.3
"""What the steps after the replay take besides, as a multiple of the events' bytes.

Dedup and totals take 0.2, at their peak less what the process held before, of 10.3 million events
of 113 bytes; `Dedup.unique`, which a run directory and charts ask for, is a copy."""

SAMPLE = 0.05
"""Nothing is said of the whole before what was kept has this share of what there is room for."""

SAME = 10_000
"""A partition of which not many more offsets than these have been read is taken to be like all of
them together.
"""


def size(read: Read) -> int:
    """Bytes that what became of some messages takes."""
    taken: int = read.events.get_total_buffer_size()
    return taken + sum(map(apart, read.rejects)) + sum(map(apart, read.tombstones))


class Part(NamedTuple):
    """How far one partition has been read: offsets behind, offsets ahead, bytes of what was
    kept.
    """

    done: int
    ahead: int
    kept: int


def to_come(parts: Iterable[Part]) -> int:
    """Bytes that the offsets ahead will take, going by what was kept of those behind, partition by
    partition.
    """
    parts = list(parts)
    done = sum(p.done for p in parts)
    usual = sum(p.kept for p in parts) / done if done else 0.0
    return round(sum(p.ahead * (p.kept + SAME * usual) / (p.done + SAME) for p in parts))


class Watch:
    """Looks, every so often during a read, whether the whole will fit.

    Parameters
    ----------
    spans : list of Span
        What is read; brought forward by the read.
    kept : mapping of str to int
        Bytes kept so far, by ``str(span)``; brought forward by the read.
    until : bool
        Whether the events wanted end at a time. How many of those ahead are older than it cannot be
        known, so none is counted: only what is there already must leave room for the steps after.
    room : callable
        Tells what there is room for.
    """

    def __init__(
        self,
        spans: Sequence[Span],
        kept: Mapping[str, int],
        *,
        until: bool,
        room: Callable[[], Room] = room,
    ) -> None:
        self._spans, self._kept, self._until, self._room = spans, kept, until, room
        self._next = EVERY

    def step(self) -> None:
        """Raise LogTooLarge where what was kept, and what is to come at the same rate, will not
        fit.
        """
        kept = sum(self._kept.values())
        if kept < self._next:
            return
        self._next = kept + EVERY
        parts = [
            Part(
                s.tally.accounted, s.end - s.start - s.lost - s.tally.accounted, self._kept[str(s)]
            )
            for s in self._spans
        ]
        found, ahead = self._room(), 0 if self._until else to_come(parts)
        need = ahead + round(AFTER * (kept + ahead))
        if need > found.free and kept >= SAMPLE * found.free:
            raise LogTooLarge(self._said(parts, kept, need, found))

    def _said(self, parts: list[Part], kept: int, need: int, found: Room) -> str:
        done, ahead = sum(p.done for p in parts), sum(p.ahead for p in parts)
        delivered = sum(s.tally.delivered for s in self._spans)
        what = (
            "the steps after the replay alone"
            if self._until
            else "the rest, and the steps after the replay,"
        )
        fewer = "fewer partitions at a time (partitions), " if len(parts) > 1 else ""
        return (
            f"the log does not fit in memory: {delivered:,} messages were read from {done:,} of "
            f"{done + ahead:,} offsets, and what is kept of them takes {gigabytes(kept)}, "
            f"{kept / delivered:,.0f} bytes a message; {what} would take {gigabytes(need)} more, "
            f"and there are {gigabytes(found.free)}: {found.limit}. Read a shorter window (since "
            f"and until; totals of a log without its head need opening), {fewer}or use a machine "
            "with more memory"
        )
