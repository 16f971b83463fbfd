"""replay(): the one way in. From a log to the events table, with the coverage that says whether it
is whole.
"""

from __future__ import annotations

import time as clock
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from recovery_kit import _show, kernels, memory
from recovery_kit._arrow import Frame
from recovery_kit._loading import ahead, loading
from recovery_kit._threads import in_order
from recovery_kit.coverage import MEANING, Gather, table, worst
from recovery_kit.errors import ParameterError
from recovery_kit.payload import REJECT_SCHEMA, TOMBSTONE_SCHEMA, Read, Reader
from recovery_kit.progress import Progress
from recovery_kit.schema import EventSchema
from recovery_kit.window import Moment, Window, window

if TYPE_CHECKING:
    from kafka import KafkaConsumer

    from recovery_kit.kafka.batches import Delivery
    from recovery_kit.kafka.log import Span


_ALWAYS = ("partition", "start", "end", "position", "delivered", "events")


@dataclass(frozen=True, repr=False, kw_only=True)
class Replay:
    """What a log held, as columns.

    Attributes
    ----------
    events : pandas.DataFrame
        One row a delivered event inside the window, ordered by topic, partition and offset; columns
        as in `EventSchema.arrow_types`.
    rejects : pandas.DataFrame
        Messages that could not be read: topic, partition, offset, time, reason, key, value, headers
        (as bytes).
    tombstones : pandas.DataFrame
        Messages with a null value: topic, partition, offset, time, key, headers.
    coverage : pandas.DataFrame
        One row a partition. Offsets: log_start, start, end, position, high_watermark,
        log_start_after. Counts of offsets: delivered + control + aborted + removed + lost + unread
        = end - start. Counts of delivered messages: events + outside + rejects + tombstones =
        delivered. behind_open_transaction: records between the last stable offset and the high
        watermark. verdict ("not read" where an `IncompleteReplay` came before the end).
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

    events: Frame = Frame()
    rejects: Frame = Frame()
    tombstones: Frame = Frame()
    coverage: Frame = Frame()
    verdict: str
    schema: EventSchema
    source: str
    window: Window
    notes: tuple[str, ...] = field(default=())

    @property
    def arrow(self) -> pa.Table:
        """The events as Arrow columns, as they were read.

        A process that asks for no other table is not held up by pandas.
        """
        held = self.__dict__["_events"]
        return (
            held if isinstance(held, pa.Table) else pa.Table.from_pandas(held, preserve_index=False)
        )

    def _facts(self) -> _show.Facts:
        total = self.coverage.sum(numeric_only=True)
        names = (
            "delivered",
            "events",
            "outside",
            "rejects",
            "tombstones",
            "control",
            "aborted",
            "removed",
            "lost",
        )
        labels = {
            "delivered": "messages delivered",
            "events": "events inside the window",
            "outside": "outside the window",
        }
        facts: list[tuple[str, object]] = [("coverage", f"{self.verdict}: {MEANING[self.verdict]}")]
        facts += [("window", str(self.window)), ("partitions", len(self.coverage))]
        facts += [
            (labels.get(n, n), int(total[n]))
            for n in names
            if n in ("delivered", "events") or total[n]
        ]
        return facts

    def _repr_html_(self) -> str:
        told = [
            n
            for n, column in self.coverage.items()
            if n in _ALWAYS or column.dtype.kind not in "iu" or column.any()
        ]
        tables = [
            (
                "Coverage, by partition (offsets and counts; what is 0 throughout is left out)",
                self.coverage[told],
            )
        ]
        if len(self.rejects):
            reasons = (
                self.rejects.groupby("reason")
                .size()
                .sort_values(ascending=False)
                .reset_index(name="messages")
            )
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

    The end of each partition is captured once, at the start; what is written later is left out
    exactly there. Joins no consumer group and commits nothing. Reads committed records only.

    Parameters
    ----------
    topic : str or list of str
        One topic, or several (a retry or dead-letter topic beside the main one).
    bootstrap_servers : str or list of str, optional
        ``host:port``, several joined by commas. Not given: ``bootstrap.servers`` of
        ``client_config``.
    schema : EventSchema, optional
        How to read a message; ``EventSchema()`` reads ``{"id": "e1", "type": "add", "value": 5}``.
    client_config : path, optional
        A client.properties file with the connection's security settings.
    since, until : optional
        The window, from ``since`` to before ``until``. A time (ISO 8601 with a zone, or a pandas
        Timestamp with one) cuts by the events' own time; a mapping of partition, or (topic,
        partition), to an offset cuts by place in the log. A time window still reads the whole log
        and filters, for timestamps in a log are not in order.
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
        Cannot connect, no such topic or partition, not authorised, the log was cut shorter or the
        topic made anew.
    ParameterError
        A time without a zone, an offset behind the end.
    CorruptLog
        A record batch fails its CRC or cannot be taken apart.
    LogTooLarge
        What was asked for, with the steps after it, would not fit in memory.
    IncompleteReplay
        The verdict is not "complete" and ``allow_incomplete`` is false.
    """
    with loading():
        from kafka import TopicPartition
        from kafka.errors import KafkaError as LibraryError

        from recovery_kit.kafka import changes, inquire, log, wire
        from recovery_kit.kafka.waiting import NEXT_WORD

    ahead(kernels.load)
    schema = schema or EventSchema()
    topics = [topic] if isinstance(topic, str) else sorted(set(topic))
    cut = window(since, until, topics)
    with wire.connected(bootstrap_servers, client_config, timeout=timeout) as consumer:
        found = log.find(consumer, topics, partitions, timeout)
        for t, p in (*cut.since_offsets, *cut.until_offsets):
            if p not in found[t].partitions:
                raise ParameterError(
                    f"since or until names {t}-{p}; {t!r} has the partitions "
                    f"{sorted(found[t].partitions)}"
                )
        wanted = [
            TopicPartition(t, p)
            for t in topics
            for p in sorted(set(partitions or found[t].partitions))
        ]
        offsets = (
            {TopicPartition(*place): offset for place, offset in bound.items()}
            for bound in (cut.since_offsets, cut.until_offsets)
        )
        tell = Progress(timeout, enabled=progress)
        spans = log.capture(
            consumer,
            wanted,
            *offsets,
            whole=cut.since_ms is None,
            timeout=timeout,
            on_wait=tell.waiting,
        )
        gather = Gather(schema, cut, spans, allow_incomplete)
        tell.spans = spans
        for note in inquire.compaction(consumer, spans):
            tell.say(note)
            gather.notes.append(note)
        gather.notes += inquire.open_tails(consumer, spans)
        if any(s.lost for s in spans) and not allow_incomplete:
            _look_ahead(consumer, gather, min(timeout, 10.0))
            raise gather.incomplete()

        def on_wait(seconds: float, what: str) -> None:
            tell.waiting(seconds, what)
            # A topic made anew, or gone, would be waited for in vain; brokers that are coming up
            # may not know it yet.
            with suppress(LibraryError):
                changes.same_topics(consumer, found, 1.0, patient=seconds < NEXT_WORD)

        def on_doubt() -> None:
            changes.same_topics(consumer, found, timeout)

        reading = log.read_spans(
            consumer,
            spans,
            timeout=timeout,
            go_on=allow_incomplete,
            on_wait=on_wait,
            on_doubt=on_doubt,
        )
        watch = memory.Watch(spans, gather.kept, until=cut.until_ms is not None)
        for (span, delivery), (count, read) in in_order(partial(_read, gather.reader), reading):
            span.tally.book(delivery, count)
            gather.add(span, read)
            tell.step()
            watch.step()
        if all(span.done for span in spans):
            gather.notes += changes.new_partitions(consumer, found, timeout)
            gather.log_start_after = changes.look_back(consumer, spans, timeout, tell.waiting)
    return _result(gather, ", ".join(topics))


def _read(reader: Reader, found: tuple[Span, Delivery]) -> tuple[int, Read]:
    """Decode and read what a fetch delivers: how many messages it holds, and what became of
    them.
    """
    from recovery_kit.kafka.batches import decode

    messages = decode(found[1])
    return len(messages), reader.read(messages)


def _look_ahead(consumer: KafkaConsumer, gather: Gather, timeout: float) -> None:
    """Find the time of the first event still held in each partition, for an error that says where
    one can begin.
    """
    from recovery_kit.kafka import log

    deadline = clock.monotonic() + timeout
    ahead = [log.whole(span) for span in gather.spans]
    for span, delivery in log.read_spans(consumer, ahead, timeout=timeout):
        _, read = _read(gather.reader, (span, delivery))
        first = read.first_time
        if first is not None:
            gather.first_times[str(span)] = first
        if first is not None or clock.monotonic() > deadline:
            span.end = span.tally.position


def _result(gather: Gather, source: str) -> Replay:
    coverage = gather.coverage()
    verdict = worst(coverage)
    if verdict != "complete":
        error = gather.incomplete()
        if not gather.allow:
            raise error
        gather.notes.insert(0, str(error).split(" Or pass allow_incomplete")[0])
    if behind := [
        s for s in gather.spans if gather.window.since_ms is not None and s.log_start > 0 and s.done
    ]:
        gather.notes.append(
            f"the head of {len(behind)} partition(s) is gone; it is taken to be older than since, "
            "because the first event still held is"
        )
    types = pa.schema(gather.schema.arrow_types)
    events = pa.Table.from_batches(
        [b for s in gather.spans for b in gather.events.pop(str(s))], types
    )
    rejects = [row for s in gather.spans for row in gather.rejects[str(s)]]
    tombstones = [row for s in gather.spans for row in gather.tombstones[str(s)]]
    return Replay(
        events=events,
        rejects=partial(pa.Table.from_pylist, rejects, REJECT_SCHEMA),
        tombstones=partial(pa.Table.from_pylist, tombstones, TOMBSTONE_SCHEMA),
        coverage=partial(table, coverage),
        verdict=verdict,
        schema=gather.schema,
        source=source,
        window=gather.window,
        notes=tuple(gather.notes),
    )
