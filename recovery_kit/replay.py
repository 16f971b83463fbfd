"""replay(): the one way in. From a log to the events table, with the coverage that says whether it is whole."""

from __future__ import annotations

import sys
import time as clock
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa

from recovery_kit import _show
from recovery_kit.errors import IdentityError, IncompleteReplay, KafkaError, ParameterError
from recovery_kit.payload import REJECT_SCHEMA, TOMBSTONE_SCHEMA, Reader
from recovery_kit.schema import EventSchema
from recovery_kit.window import Moment, Window, window

if TYPE_CHECKING:
    from kafka import KafkaConsumer

    from recovery_kit.kafka.log import Span
    from recovery_kit.kafka.wire import Topic

VERDICTS = ("timed out", "raced", "truncated", "compacted", "complete")
"""What can be said of a replay, worst first; that of a replay is the worst of its partitions'."""

_ALWAYS = ("partition", "start", "end", "position", "delivered", "events")

_MEANING = {
    "complete": "every offset from start to end is accounted for",
    "truncated": "the head of the log was gone before the read",
    "raced": "records were removed while they were being read",
    "compacted": "records inside the range had been cleaned away, so totals cannot be worked out from what is left",
    "timed out": "the end was not reached in time",
}


@dataclass(frozen=True, repr=False)
class Replay:
    """What a log held, as columns.

    Attributes
    ----------
    events : pandas.DataFrame
        One row a delivered event inside the window, ordered by topic, partition and offset; columns as in
        `EventSchema.arrow_types`.
    rejects : pandas.DataFrame
        Messages that could not be read: topic, partition, offset, time, reason, key, value, headers (as bytes).
    tombstones : pandas.DataFrame
        Messages with a null value: topic, partition, offset, time, key, headers.
    coverage : pandas.DataFrame
        One row a partition. Offsets: log_start, start, end, position, high_watermark, log_start_after. Counts of
        offsets: delivered + control + aborted + removed + lost + unread = end - start. Counts of delivered messages:
        events + outside + rejects + tombstones = delivered. behind_open_transaction: records between the last stable
        offset and the high watermark. verdict ("not read" where an `IncompleteReplay` came before the end).
    verdict : str
        The worst of the partitions': "complete", "truncated", "raced", "compacted" or "timed out".
    schema : EventSchema
    source : str
        What was read, for people.
    window : Window
        What ``since`` and ``until`` said.
    notes : tuple of str
        What a reader of the result must know besides.
    """

    events: pd.DataFrame
    rejects: pd.DataFrame
    tombstones: pd.DataFrame
    coverage: pd.DataFrame
    verdict: str
    schema: EventSchema
    source: str
    window: Window
    notes: tuple[str, ...] = field(default=())

    def _facts(self) -> _show.Facts:
        total = self.coverage.sum(numeric_only=True)
        names = ("delivered", "events", "outside", "rejects", "tombstones", "control", "aborted", "removed", "lost")
        labels = {
            "delivered": "messages delivered",
            "events": "events inside the window",
            "outside": "outside the window",
        }
        facts: list[tuple[str, object]] = [("coverage", f"{self.verdict}: {_MEANING[self.verdict]}")]
        facts += [("window", str(self.window)), ("partitions", len(self.coverage))]
        facts += [(labels.get(n, n), int(total[n])) for n in names if n in ("delivered", "events") or total[n]]
        return facts

    def _repr_html_(self) -> str:
        told = [n for n, column in self.coverage.items() if n in _ALWAYS or column.dtype.kind not in "iu" or column.any()]
        tables = [("Coverage, by partition (offsets and counts; what is 0 throughout is left out)", self.coverage[told])]
        if len(self.rejects):
            reasons = self.rejects.groupby("reason").size().sort_values(ascending=False).reset_index(name="messages")
            tables.append(("Rejects, by reason (messages)", reasons))
        return _show.html_card(f"Replay of {self.source}", self._facts(), tables, self.notes)

    def __repr__(self) -> str:
        return _show.text_card(f"Replay of {self.source}", self._facts(), self.notes)


def replay(
    topic: str | list[str],
    *,
    bootstrap_servers: str | list[str] | None = None,
    schema: EventSchema | None = None,
    client_config: str | Path | None = None,
    since: Moment = None,
    until: Moment = None,
    partitions: list[int] | None = None,
    allow_incomplete: bool = False,
    timeout: float = 60.0,
    progress: bool = True,
) -> Replay:
    """Read a log from its start, or a window of it, into columns.

    The end of each partition is captured once, at the start; what is written later is left out exactly there. Joins no
    consumer group and commits nothing. Reads committed records only.

    Parameters
    ----------
    topic : str or list of str
        One topic, or several (a retry or dead-letter topic beside the main one).
    bootstrap_servers : str or list of str, optional
        ``host:port``, several joined by commas. Not given: ``bootstrap.servers`` of ``client_config``.
    schema : EventSchema, optional
        How to read a message; ``EventSchema()`` reads ``{"id": "e1", "type": "add", "value": 5}``.
    client_config : path, optional
        A client.properties file with the connection's security settings.
    since, until : optional
        The window, from ``since`` to before ``until``. A time (ISO 8601 with a zone, or a pandas Timestamp with one)
        cuts by the events' own time; a mapping of partition, or (topic, partition), to an offset cuts by place in the
        log. A time window still reads the whole log and filters, for timestamps in a log are not in order.
    partitions : list of int, optional
        Read these partitions only.
    allow_incomplete : bool
        Return what could be read, with its verdict, where `IncompleteReplay` would be raised.
    timeout : float
        Seconds without progress after which the read gives up.
    progress : bool
        Tell on standard error how far a long read has come, every few seconds.

    Returns
    -------
    Replay

    Raises
    ------
    KafkaError
        Cannot connect, no such topic or partition, not authorised, the log was cut shorter or the topic made anew.
    ParameterError
        A time without a zone, an offset behind the end.
    CorruptLog
        A record batch fails its CRC or cannot be taken apart.
    IncompleteReplay
        The verdict is not "complete" and ``allow_incomplete`` is false.
    """
    from kafka import TopicPartition
    from kafka.errors import KafkaError as LibraryError

    from recovery_kit.kafka import log, wire

    schema = schema or EventSchema()
    topics = [topic] if isinstance(topic, str) else sorted(set(topic))
    cut = window(since, until, topics)
    with wire.connected(bootstrap_servers, client_config, timeout=timeout) as consumer:
        found = log.find(consumer, topics, partitions, timeout)
        for t, p in (*cut.since_offsets, *cut.until_offsets):
            if p not in found[t].partitions:
                raise ParameterError(
                    f"since or until names {t}-{p}; {t!r} has the partitions {sorted(found[t].partitions)}"
                )
        wanted = [TopicPartition(t, p) for t in topics for p in sorted(set(partitions or found[t].partitions))]
        offsets = (
            {TopicPartition(*place): offset for place, offset in bound.items()}
            for bound in (cut.since_offsets, cut.until_offsets)
        )
        spans = log.capture(consumer, wanted, *offsets, whole=cut.since_ms is None, timeout=timeout)
        gather = _Gather(schema, cut, spans, allow_incomplete)
        tell = _Progress(spans, enabled=progress)
        gather.notes += _inquire(consumer, spans, tell)
        if any(s.lost for s in spans) and not allow_incomplete:
            gather.look_ahead(consumer, min(timeout, 10.0))
            raise gather.incomplete()

        def on_wait(seconds: float, what: str) -> None:
            tell.say(f"waiting for {what} for {seconds:.0f} s; it gives up after {timeout:.0f} s without progress")
            # A topic made anew, or gone, would be waited for in vain; brokers that are coming up may not know it yet.
            with suppress(LibraryError):
                _same_topic(consumer, found, 1.0, patient=seconds < log.NEXT_WORD)

        def on_doubt() -> None:
            _same_topic(consumer, found, timeout)

        reading = log.read_spans(
            consumer, spans, timeout=timeout, on_lost=gather.lost, on_wait=on_wait, on_doubt=on_doubt
        )
        for span, messages in reading:
            gather.add(span, messages)
            tell.step()
        if all(span.done for span in spans):
            _look_back(consumer, gather, found, timeout)
    return gather.result(", ".join(topics))


def _look_back(consumer: KafkaConsumer, gather: _Gather, found: dict[str, Topic], timeout: float) -> None:
    """Note what changed while the log was read; where it is another log by now, what was read is of no use."""
    from recovery_kit.kafka import log, wire

    for name, now in _same_topic(consumer, found, timeout).items():
        before = found[name]
        if added := sorted(now.partitions - before.partitions):
            gather.notes.append(
                f"topic {name!r} got {len(added)} new partition(s) during the read ({', '.join(map(str, added))}); "
                "they are outside what was captured: run again to read them"
            )
    places = [s.where for s in gather.spans]
    starts = wire.log_starts(consumer, places, timeout=timeout)
    ends = wire.end_offsets(consumer, places, committed=False, timeout=timeout)
    for s in gather.spans:
        if starts[s.where] < s.log_start or ends[s.where] < s.end:
            raise KafkaError(
                f"{s}: the log held the offsets {s.log_start} to {s.high_watermark} before it was read, and {starts[s.where]} "
                f"to {ends[s.where]} afterwards; it was cut shorter or made anew, and what was read is of no use"
            )
    gather.log_start_after = {str(s): starts[s.where] for s in gather.spans}
    log.require_the_same(consumer, timeout)


def _same_topic(
    consumer: KafkaConsumer, found: dict[str, Topic], timeout: float, *, patient: bool = False
) -> dict[str, Topic]:
    """The topics as they are now; an error where one is gone (unless ``patient``) or is another one by now."""
    from recovery_kit.kafka import wire

    topics = {}
    for name, before in found.items():
        now = wire.describe(consumer, name, timeout)
        if (now is None and not patient) or (now is not None and now.id != before.id):
            raise KafkaError(f"topic {name!r} was deleted or made anew while it was read; what was read is of no use")
        if now is not None:
            topics[name] = now
    return topics


def _inquire(consumer: KafkaConsumer, spans: list[Span], tell: _Progress) -> list[str]:
    """Notes on what stands before the read begins: topics with compaction on, transactions still open at the tail."""
    from recovery_kit.kafka import inquire

    notes = [
        f"topic {name!r} has compaction on (cleanup.policy={policy}): a total is right only while its cleaner has taken nothing"
        for name, policy in inquire.cleanup_policies(consumer, sorted({s.topic for s in spans})).items()
        if "compact" in policy
    ]
    for note in notes:
        tell.say(note)
    behind = [s for s in spans if s.high_watermark > s.stable and s.end == s.stable]
    holders = inquire.open_transactions(consumer, [s.where for s in behind]) if behind else {}
    for s in behind:
        held = f"; it is held open by {holders[s.where]}" if s.where in holders else ""
        notes.append(
            f"{s}: {s.high_watermark - s.stable:,} records lie behind an open transaction, from offset {s.stable} on; "
            f"the read is complete up to there{held}"
        )
    return notes


class _Gather:
    """Collects what the spans deliver, and says in the end what it amounts to."""

    def __init__(self, schema: EventSchema, cut: Window, spans: list[Span], allow_incomplete: bool) -> None:
        self.schema, self.window, self.spans, self.allow = schema, cut, spans, allow_incomplete
        self.reader = Reader(schema, cut.since_ms, cut.until_ms)
        self.events: dict[str, list[pa.RecordBatch]] = {str(s): [] for s in spans}
        self.rejects: dict[str, list[dict[str, object]]] = {str(s): [] for s in spans}
        self.tombstones: dict[str, list[dict[str, object]]] = {str(s): [] for s in spans}
        self.outside = dict.fromkeys(self.events, 0)
        self.first_times: dict[str, int] = {}
        self.log_start_after: dict[str, int] = {}
        self.notes: list[str] = []

    def add(self, span: Span, messages: object) -> None:
        name = str(span)
        read = self.reader.read(messages)  # type: ignore[arg-type]
        if read.events.num_rows:
            self.events[name].append(read.events)
        self.rejects[name] += read.rejects
        self.tombstones[name] += read.tombstones
        self.outside[name] += read.outside
        if read.first_time is not None:
            self.first_times.setdefault(name, read.first_time)

    def look_ahead(self, consumer: KafkaConsumer, timeout: float) -> None:
        """Find the time of the first event still held in each partition, for an error that says where one can begin."""
        from recovery_kit.kafka import log

        deadline = clock.monotonic() + timeout
        ahead = [log.whole(span) for span in self.spans]
        for span, messages in log.read_spans(consumer, ahead, timeout=timeout, on_lost=lambda _: None):
            first = self.reader.read(messages).first_time
            if first is not None:
                self.first_times[str(span)] = first
            if first is not None or clock.monotonic() > deadline:
                span.end = span.tally.position

    def lost(self, _: Span) -> None:
        if not self.allow:
            raise self.incomplete()

    def verdict(self, span: Span) -> str:
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
        """Whether records at or after a ``since`` that is a time may have gone with the head of the log."""
        since, first = self.window.since_ms, self.first_times.get(str(span))
        # What is gone may be as old as the first event still held, to the millisecond.
        return since is not None and span.log_start > 0 and (first is None or first >= since)

    def coverage(self) -> pd.DataFrame:
        rows = []
        for s in self.spans:
            t, name = s.tally, str(s)
            events = sum(batch.num_rows for batch in self.events[name])
            rejects, tombstones, outside = len(self.rejects[name]), len(self.tombstones[name]), self.outside[name]
            unread = s.end - t.position
            offsets = (t.delivered, t.control, t.aborted, t.removed, s.lost, unread)
            if sum(offsets) != s.end - s.start or min(offsets) < 0:
                raise IdentityError(
                    f"{s}: {t} with {s.lost} lost and {unread} unread do not add up to {s.end - s.start} offsets"
                )
            if events + outside + rejects + tombstones != t.delivered:
                raise IdentityError(
                    f"{s}: {events} events, {outside} outside the window, {rejects} rejects and {tombstones} tombstones "
                    f"are not the {t.delivered} messages delivered"
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
        types = {n: pa.int64() if isinstance(v, int) else pa.string() for n, v in rows[0].items()}
        types |= {"partition": pa.int32(), "log_start_after": pa.int64()}
        return _show.to_pandas(pa.Table.from_pylist(rows, pa.schema(types)))

    def incomplete(self) -> IncompleteReplay:
        """The error for a replay that is not whole, with where the first trouble is and how to go on."""
        coverage = self.coverage()
        verdict = next(v for v in VERDICTS if (coverage["verdict"] == v).any())
        bad = [s for s in self.spans if self.verdict(s) == verdict]
        shown = "; ".join(self._trouble(s, verdict) for s in bad[:4]) + (
            f"; and {len(bad) - 4} more" if len(bad) > 4 else ""
        )
        return IncompleteReplay(
            f"{verdict}: {_MEANING[verdict]} ({shown}). {self._way_on(verdict, bad)} Or pass allow_incomplete=True to see "
            "what is there; no key is then called matched.",
            verdict=verdict,
            coverage=coverage,
        )

    def _trouble(self, s: Span, verdict: str) -> str:
        if verdict == "truncated":
            first = self.first_times.get(str(s))
            held = f", of {_iso(first)}" if first is not None else ""
            return f"{s}: offsets 0 to {s.log_start - 1} are gone, the first still held is {s.log_start}{held}"
        if verdict == "raced":
            ranges = ", ".join(f"{first} to {behind - 1}" for first, behind in s.raced[:4])
            return f"{s}: offsets {ranges} went during the read"
        if verdict == "compacted":
            return f"{s}: {s.tally.removed:,} of {s.end - s.start:,} offsets hold no record any more"
        return f"{s}: stopped at offset {s.tally.position} of {s.end}, {s.obstacle}"

    def _way_on(self, verdict: str, bad: list[Span]) -> str:
        if verdict == "truncated":
            times = [self.first_times[str(s)] for s in bad if str(s) in self.first_times]
            if len(times) < len(bad):
                held = ", ".join(f"'{s}': {s.log_start}" for s in bad[:4])
                return f"Give since={{{held}}}, the first offsets still held, and opening=the totals as of then."
            return f"Give since={_iso(max(times) + 1)} or later and opening=the totals as of then."
        if verdict == "compacted":
            return "Read a topic that is not compacted, or give since and opening from behind the cleaned part."
        if verdict == "raced":
            return "Run again with since and opening from behind it, or lengthen the topic's retention first."
        return "Look at the brokers, or give a longer timeout."

    def result(self, source: str) -> Replay:
        coverage = self.coverage()
        verdict = next(v for v in VERDICTS if (coverage["verdict"] == v).any())
        if verdict != "complete":
            error = self.incomplete()
            if not self.allow:
                raise error
            self.notes.insert(0, str(error).split(" Or pass allow_incomplete")[0])
        if behind := [s for s in self.spans if self.window.since_ms is not None and s.log_start > 0 and s.done]:
            self.notes.append(
                f"the head of {len(behind)} partition(s) is gone; it is taken to be older than since, because the first event "
                "still held is"
            )
        types = pa.schema(self.schema.arrow_types)
        events = pa.Table.from_batches([b for s in self.spans for b in self.events.pop(str(s))], types)
        rejects = [row for s in self.spans for row in self.rejects[str(s)]]
        tombstones = [row for s in self.spans for row in self.tombstones[str(s)]]
        return Replay(
            events=_show.to_pandas(events),
            rejects=_show.to_pandas(pa.Table.from_pylist(rejects, REJECT_SCHEMA)),
            tombstones=_show.to_pandas(pa.Table.from_pylist(tombstones, TOMBSTONE_SCHEMA)),
            coverage=coverage,
            verdict=verdict,
            schema=self.schema,
            source=source,
            window=self.window,
            notes=tuple(self.notes),
        )


class _Progress:
    """A line every few seconds on standard error; on a terminal the same line again and again."""

    def __init__(self, spans: list[Span], *, enabled: bool, every: float = 5.0) -> None:
        self.spans, self.every = spans, every
        # Counted from the first step on: what comes before may be the one-time compilation.
        self.next = 0.0 if enabled else float("inf")

    def say(self, what: str) -> None:
        """Tell something that is not how far it has come; at once, and on a line of its own."""
        if self.next < float("inf"):
            print(f"replay: {what}", file=sys.stderr)

    def step(self) -> None:
        now = clock.monotonic()
        if now < self.next:
            return
        first, self.next = not self.next, now + self.every
        if first:
            return
        ahead = sum(s.end - min(s.start + s.lost, s.end) for s in self.spans)
        done = ahead - sum(s.end - s.tally.position for s in self.spans)
        open_ = sum(not s.done for s in self.spans)
        end = "\r" if sys.stderr.isatty() else "\n"
        print(
            f"replay: {done:,} of {ahead:,} offsets ({done / ahead:.0%}), {open_} partitions to go",
            end=end,
            file=sys.stderr,
        )


def _iso(ms: int) -> str:
    return pd.Timestamp(ms, unit="ms", tz="UTC").isoformat()
