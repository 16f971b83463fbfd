"""What a read brought, collected partition by partition, and what can be said of it: coverage and
verdict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from recovery_kit import memory
from recovery_kit._arrow import to_pandas
from recovery_kit.errors import IdentityError, IncompleteReplay
from recovery_kit.payload import Read, Reader
from recovery_kit.schema import EventSchema
from recovery_kit.window import Window

if TYPE_CHECKING:
    from recovery_kit.kafka.log import Span

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


class Gather:
    """Collects what the spans deliver, and says in the end what it amounts to."""

    def __init__(
        self, schema: EventSchema, cut: Window, spans: list[Span], allow_incomplete: bool
    ) -> None:
        self.schema, self.window, self.spans, self.allow = schema, cut, spans, allow_incomplete
        self.reader = Reader(schema, cut.since_ms, cut.until_ms)
        self.events: dict[str, list[pa.RecordBatch]] = {str(s): [] for s in spans}
        self.rejects: dict[str, list[dict[str, object]]] = {str(s): [] for s in spans}
        self.tombstones: dict[str, list[dict[str, object]]] = {str(s): [] for s in spans}
        self.outside = dict.fromkeys(self.events, 0)
        self.kept = dict.fromkeys(self.events, 0)  # bytes
        self.first_times: dict[str, int] = {}
        self.log_start_after: dict[str, int] = {}
        self.notes: list[str] = []

    def add(self, span: Span, read: Read) -> None:
        """Keep what became of some messages of a span; in offset order within each partition."""
        name = str(span)
        if read.events.num_rows:
            self.events[name].append(read.events)
        self.rejects[name] += read.rejects
        self.tombstones[name] += read.tombstones
        self.outside[name] += read.outside
        self.kept[name] += memory.size(read)
        if read.first_time is not None:
            self.first_times.setdefault(name, read.first_time)

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

    def coverage(self) -> list[Row]:
        """A row a partition, as in `Replay.coverage`.

        Raises IdentityError where an identity does not hold.
        """
        rows: list[Row] = []
        for s in self.spans:
            t, name = s.tally, str(s)
            events = sum(batch.num_rows for batch in self.events[name])
            rejects, tombstones, outside = (
                len(self.rejects[name]),
                len(self.tombstones[name]),
                self.outside[name],
            )
            unread = s.end - t.position
            offsets = (t.delivered, t.control, t.aborted, t.removed, s.lost, unread)
            if sum(offsets) != s.end - s.start or min(offsets) < 0:
                raise IdentityError(
                    f"{s}: {t} with {s.lost} lost and {unread} unread do not add up to "
                    f"{s.end - s.start} offsets"
                )
            if events + outside + rejects + tombstones != t.delivered:
                raise IdentityError(
                    f"{s}: {events} events, {outside} outside the window, {rejects} rejects and "
                    f"{tombstones} tombstones are not the {t.delivered} messages delivered"
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
                    "events": events,
                    "outside": outside,
                    "rejects": rejects,
                    "tombstones": tombstones,
                    "high_watermark": s.high_watermark,
                    "behind_open_transaction": s.high_watermark - s.stable,
                    "log_start_after": self.log_start_after.get(name),
                    "verdict": self.verdict(s),
                }
            )
        return rows

    def incomplete(self) -> IncompleteReplay:
        """The error for a replay that is not whole, with where the first trouble is and how to go
        on.
        """
        coverage = self.coverage()
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
