"""What a read brought, counted partition by partition, and what can be said of it.

Of the messages themselves nothing is kept here, so that a read that keeps none in memory counts by
the same code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from recovery_kit.errors import IdentityError, IncompleteReplay
from recovery_kit.sources.window import Window
from recovery_kit.tables.arrow import to_pandas

if TYPE_CHECKING:
    from recovery_kit.payload.messages import Read
    from recovery_kit.sources.span import Span

VERDICTS = ("timed out", "raced", "truncated", "compacted", "complete")
"""What can be said of a replay, worst first; that of a replay is the worst of its partitions'."""

MEANING = {
    "complete": "every offset from start to end is accounted for",
    "truncated": "the head of the log was gone before the read",
    "raced": "records were removed while they were being read",
    "compacted": (
        "records inside the range had been cleaned away, so totals cannot be worked out from what "
        "is left"
    ),
    "timed out": "the end was not reached in time",
}


Row = dict[str, Any]


def worst(coverage: list[Row]) -> str:
    """The verdict of a replay: the worst of its partitions'."""
    said = {row["verdict"] for row in coverage}
    return next(v for v in VERDICTS if v in said)


def table(coverage: list[Row]) -> pa.Table:
    """The rows as Arrow columns."""
    types = {n: pa.int64() if isinstance(v, int) else pa.string() for n, v in coverage[0].items()}
    types |= {"partition": pa.int32(), "log_start_after": pa.int64()}
    return pa.Table.from_pylist(coverage, pa.schema(types))


@dataclass
class Counts:
    """How many of one partition's messages became what; together they are those delivered."""

    events: int = 0
    outside: int = 0
    rejects: int = 0
    tombstones: int = 0


class Coverage:
    """Counts what the spans deliver, and says in the end what it amounts to.

    Parameters
    ----------
    spans : sequence of Span
    cut : Window

    Attributes
    ----------
    counts : dict of str to Counts
        By ``str(span)``, as the two below.
    first_times : dict of str to int
        Time of the first event that was read, inside the window or not, in ms.
    log_start_after : mapping of str to int
        Where each partition started after the read; empty where nobody looked back.
    """

    def __init__(self, spans: Sequence[Span], cut: Window) -> None:
        self.spans, self.window = spans, cut
        self.counts = {str(s): Counts() for s in spans}
        self.first_times: dict[str, int] = {}
        self.log_start_after: Mapping[str, int] = {}

    def count(self, span: Span, read: Read) -> None:
        """Count what became of some messages of a span; in offset order within each partition."""
        counts = self.counts[str(span)]
        counts.events += read.events.num_rows
        counts.outside += read.outside
        counts.rejects += len(read.rejects)
        counts.tombstones += len(read.tombstones)
        if read.first_time is not None:
            self.first_times.setdefault(str(span), read.first_time)

    def verdict(self, span: Span) -> str:
        """What can be said of one partition: one of VERDICTS, or "not read" where the read stopped
        before it.
        """
        if span.timed_out:
            return "timed out"
        if span.raced:
            return "raced"
        if span.lost or (span.done and self.uncovered(span)):
            return "truncated"
        if not span.done:
            return "not read"
        return "compacted" if span.tally.removed else "complete"

    def uncovered(self, span: Span) -> bool:
        """Whether records at or after a ``since`` that is a time may have gone with the head of the
        log.
        """
        since, first = self.window.since_ms, self.first_times.get(str(span))
        # What is gone may be as old as the first event still held, to the millisecond.
        return since is not None and span.log_start > 0 and (first is None or first >= since)

    def headless(self) -> list[Span]:
        """Spans read to their end whose head is gone, and yet nothing that is wanted: since is a
        time, and the first event still held is older.
        """
        if self.window.since_ms is None:
            return []
        return [
            span
            for span in self.spans
            if span.log_start > 0 and span.done and not self.uncovered(span)
        ]

    def rows(self) -> list[Row]:
        """A row a partition, as in `Replay.coverage`.

        Raises IdentityError where an identity does not hold.
        """
        rows: list[Row] = []
        for s in self.spans:
            t, c = s.tally, self.counts[str(s)]
            unread = s.end - t.position
            offsets = (t.delivered, t.control, t.aborted, t.removed, s.lost, unread)
            if sum(offsets) != s.end - s.start or min(offsets) < 0:
                raise IdentityError(
                    f"{s}: {t} with {s.lost} lost and {unread} unread do not add up to "
                    f"{s.end - s.start} offsets"
                )
            if sum(astuple(c)) != t.delivered:
                raise IdentityError(
                    f"{s}: {c.events} events, {c.outside} outside the window, {c.rejects} rejects "
                    f"and {c.tombstones} tombstones are not the {t.delivered} messages delivered"
                )
            rows.append(
                {
                    "topic": s.topic,
                    "partition": s.partition,
                    "log_start": s.log_start,
                    "start": s.start,
                    "end": s.end,
                    "position": t.position,
                    "delivered": t.delivered,
                    "control": t.control,
                    "aborted": t.aborted,
                    "removed": t.removed,
                    "lost": s.lost,
                    "unread": unread,
                    **asdict(c),
                    "high_watermark": s.high_watermark,
                    "behind_open_transaction": s.high_watermark - s.stable,
                    "log_start_after": self.log_start_after.get(str(s)),
                    "verdict": self.verdict(s),
                }
            )
        return rows

    def incomplete(self) -> IncompleteReplay:
        """The error for a replay that is not whole, with where the first trouble is and how to go
        on.
        """
        coverage = self.rows()
        verdict = worst(coverage)
        bad = [s for s in self.spans if self.verdict(s) == verdict]
        shown = "; ".join(self._trouble(s, verdict) for s in bad[:4]) + (
            f"; and {len(bad) - 4} more" if len(bad) > 4 else ""
        )
        return IncompleteReplay(
            f"{verdict}: {MEANING[verdict]} ({shown}). {self._way_on(verdict, bad)} Or pass "
            "allow_incomplete=True to see what is there; no key is then called matched.",
            verdict=verdict,
            coverage=to_pandas(table(coverage)),
        )

    def _trouble(self, s: Span, verdict: str) -> str:
        if verdict == "truncated":
            first = self.first_times.get(str(s))
            held = f", of {_iso(first)}" if first is not None else ""
            return (
                f"{s}: offsets 0 to {s.log_start - 1} are gone, the first still held is "
                f"{s.log_start}{held}"
            )
        if verdict == "raced":
            ranges = ", ".join(f"{first} to {behind - 1}" for first, behind in s.raced[:4])
            return f"{s}: offsets {ranges} went during the read"
        if verdict == "compacted":
            return (
                f"{s}: {s.tally.removed:,} of {s.end - s.start:,} offsets hold no record any more"
            )
        return f"{s}: stopped at offset {s.tally.position} of {s.end}, {s.obstacle}"

    def _way_on(self, verdict: str, bad: list[Span]) -> str:
        if verdict == "truncated":
            times = [self.first_times[str(s)] for s in bad if str(s) in self.first_times]
            if len(times) < len(bad):
                held = ", ".join(f"'{s}': {s.log_start}" for s in bad[:4])
                return (
                    f"Give since={{{held}}}, the first offsets still held, and opening=the totals "
                    "as of then."
                )
            return f"Give since={_iso(max(times) + 1)} or later and opening=the totals as of then."
        if verdict == "compacted":
            return (
                "Read a topic that is not compacted, or give since and opening from behind the "
                "cleaned part."
            )
        if verdict == "raced":
            return (
                "Run again with since and opening from behind it, or lengthen the topic's "
                "retention first."
            )
        return "Look at the brokers, or give a longer timeout."


def _iso(ms: int) -> str:
    import pandas as pd

    return pd.Timestamp(ms, unit="ms", tz="UTC").isoformat()
