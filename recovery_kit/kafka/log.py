"""A bounded read of a log: capture where each partition ends, read to there by position, account
for every offset.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import (
    AuthorizationError,
    CorruptRecordError,
    LogTruncationError,
    OffsetOutOfRangeError,
    RetriableError,
)
from kafka.errors import KafkaError as LibraryError

from recovery_kit.errors import CorruptLog, KafkaError, ParameterError
from recovery_kit.kafka import wire
from recovery_kit.kafka.batches import Fetch
from recovery_kit.kafka.changes import cut_shorter
from recovery_kit.kafka.deliver import Delivery, take
from recovery_kit.kafka.waiting import OnWait, Waiting, obstacles, unheard
from recovery_kit.sources.span import Span, Tally

Offsets = Mapping[TopicPartition, int]


def find(
    consumer: KafkaConsumer, topics: list[str], wanted: list[int] | None, timeout: float
) -> dict[str, wire.Topic]:
    """Look the topics up; an unknown one, or a partition that it lacks, is a KafkaError."""
    found = {}
    for name in topics:
        try:
            topic = wire.describe(consumer, name, timeout)
        except ValueError as error:
            raise ParameterError(f"{name!r} cannot be the name of a topic: {error}") from None
        except AuthorizationError:
            raise KafkaError(
                f"not authorised to read topic {name!r}; it needs the ACL operations Describe and "
                "Read",
                layer="ACL",
            ) from None
        if topic is None:
            raise KafkaError(
                f"the cluster has no topic {name!r}, or does not show it to this user; it was not "
                "created",
                layer="topic",
            )
        missing = sorted(set(wanted or ()) - topic.partitions)
        if missing:
            raise KafkaError(
                f"topic {name!r} has no partition {', '.join(map(str, missing))}; it has 0 to "
                f"{max(topic.partitions)}",
                layer="topic",
            )
        found[name] = topic
    return found


def capture(
    consumer: KafkaConsumer,
    partitions: list[TopicPartition],
    since: Offsets,
    until: Offsets,
    *,
    whole: bool,
    timeout: float,
    on_wait: OnWait = unheard,
) -> list[Span]:
    """Capture the bounds of each partition, once.

    A partition that ``since`` does not name starts at offset 0 when the ``whole`` log is asked for,
    so that a head that retention has taken counts as lost; else at the first offset still held.
    ``on_wait`` as in `read_spans`.

    Raises
    ------
    ParameterError
        A requested start lies behind the end, or a requested end behind the log's.
    KafkaError
        The broker says, twice, that a log ends before it starts.
    """
    bounds = look(partial(_ask, consumer, timeout=timeout, on_wait=on_wait), partitions)
    spans = []
    for tp in partitions:
        log_start, stable, high = bounds[tp]
        # Records may be deleted while a transaction that began before them is open: what is left
        # lies behind it.
        stable = max(stable, log_start)
        end = until.get(tp, stable)
        start = since.get(tp, 0 if whole else min(log_start, end))
        if end > stable:
            why = "an open transaction" if end <= high else "what is not written yet"
            raise ParameterError(
                f"{tp.topic}-{tp.partition}: until is offset {end}, but the log can be read to "
                f"offset {stable}, not behind it: {why} cannot be read"
            )
        if start > end:
            raise ParameterError(
                f"{tp.topic}-{tp.partition}: since is offset {start}, behind the end at offset "
                f"{end}"
            )
        lost = max(0, min(log_start, end) - start)
        spans.append(
            Span(
                tp.topic,
                tp.partition,
                log_start,
                start=start,
                end=end,
                high_watermark=high,
                stable=stable,
                tally=Tally(start + lost),
                lost=lost,
            )
        )
    return spans


class Bounds(NamedTuple):
    """Where a partition's log starts, is stable to, and ends."""

    start: int
    stable: int
    high: int

    @property
    def possible(self) -> bool:
        """Whether a log can have these bounds.

        It may start behind where it is stable to, see `capture`.
        """
        return 0 <= self.start <= self.high and 0 <= self.stable <= self.high


def look(
    ask: Callable[[list[TopicPartition]], dict[TopicPartition, Bounds]],
    partitions: list[TopicPartition],
    pause: float = 0.1,
) -> dict[TopicPartition, Bounds]:
    """Ask for the bounds of some partitions, and ask again about those that look odd or empty.

    Some brokers have been seen to answer 0, or an offset before the log's start (Jepsen, Bufstream
    0.1).
    """
    found = ask(partitions)
    doubtful = [tp for tp in partitions if not (found[tp].possible and found[tp].high)]
    if doubtful:
        time.sleep(pause)
        again = ask(doubtful)
        for tp in doubtful:
            first, b = found[tp], again[tp]
            if not b.possible or b.high < first.high:
                raise KafkaError(
                    f"{tp.topic}-{tp.partition}: the broker says that the log starts at offset "
                    f"{b.start}, is stable to {b.stable} and ends at {b.high}, and just before "
                    f"that it ends at {first.high}; that cannot be, so nothing was read. Look at "
                    "the broker"
                )
        found.update(again)
    return found


def _ask(
    consumer: KafkaConsumer, partitions: list[TopicPartition], *, timeout: float, on_wait: OnWait
) -> dict[TopicPartition, Bounds]:
    # In this order, so that what is written between the two questions is not taken to lie behind an
    # open transaction.
    high = wire.end_offsets(consumer, partitions, committed=False, timeout=timeout, on_wait=on_wait)
    stable = wire.end_offsets(
        consumer, partitions, committed=True, timeout=timeout, on_wait=on_wait
    )
    starts = wire.log_starts(consumer, partitions, timeout=timeout, on_wait=on_wait)
    return {tp: Bounds(starts[tp], stable[tp], max(high[tp], stable[tp])) for tp in partitions}


def read_spans(
    consumer: KafkaConsumer,
    spans: Sequence[Span],
    *,
    timeout: float,
    go_on: bool = True,
    on_wait: OnWait = unheard,
    on_doubt: Callable[[], object] = lambda: None,
    committed: bool = True,
) -> Iterator[tuple[Span, Delivery]]:
    """Read every span to its end.

    What a restart, a new leader or a cut connection holds up is tried again from the position.

    Parameters
    ----------
    consumer : KafkaConsumer
        As `wire.open_consumer` makes it.
    spans : list of Span
        Brought forward in place; those that have nothing to read are left alone.
    timeout : float
        Seconds without any progress after which the spans that are not done are marked timed out.
    go_on : bool
        Whether to read on where records went during the read; else it ends there.
    on_wait : callable
        Told every few seconds without progress how many they are and what is waited for; it may
        raise.
    on_doubt : callable
        Called before an offset that the broker does not have is taken to be lost; raises where it
        is another log by now.
    committed : bool
        Leave out records of aborted transactions.

    Yields
    ------
    (Span, Delivery)
        In offset order within each partition. The span's tally has moved over it; what it holds is
        still to be booked.
    """
    open_spans = {wire.where(span): span for span in spans if not span.done}
    if not open_spans:
        return
    consumer.assign(list(open_spans))
    consumer.resume(*open_spans)  # an earlier read with this consumer may have paused them
    for tp, span in open_spans.items():
        consumer.seek(tp, span.tally.position)
    waiting = Waiting(on_wait)
    while open_spans:
        if waiting.seconds >= timeout:
            for tp, why in obstacles(consumer, open_spans).items():
                open_spans[tp].timed_out, open_spans[tp].obstacle = True, why
            return
        waiting.tell(consumer, open_spans)
        reached = sum(span.tally.position for span in spans)
        try:
            fetches = _poll(consumer, open_spans, waiting, timeout - waiting.seconds)
        except OffsetOutOfRangeError as error:
            on_doubt()
            for tp in error.args[0]:
                _skip_lost(consumer, open_spans[tp], timeout)
            if not go_on:
                return
            fetches = []
        for fetch in fetches:
            at = open_spans.get(TopicPartition(fetch.topic, fetch.partition))
            if at is None or at.done:
                continue
            if (
                fetch.asked != at.tally.position
            ):  # what lies between was fetched and lost; it is not a hole in the log
                consumer.seek(wire.where(at), at.tally.position)
                continue
            delivery = take(fetch, at.tally, at.end, committed=committed)
            if delivery is not None:
                yield at, delivery
        if sum(span.tally.position for span in spans) > reached:
            waiting.over()
        for tp in [tp for tp, span in open_spans.items() if span.done]:
            consumer.pause(tp)
            del open_spans[tp]


def _poll(
    consumer: KafkaConsumer,
    open_spans: Mapping[TopicPartition, Span],
    waiting: Waiting,
    left: float,
) -> list[Fetch]:
    try:
        return wire.poll(consumer, max(0.0, min(left, 1.0)))
    except LogTruncationError as error:
        raise cut_shorter(error) from None
    except CorruptRecordError:
        places = ", ".join(
            f"{span} from offset {span.tally.position}" for span in open_spans.values()
        )
        raise CorruptLog(
            f"the broker says that a log is damaged: one of {places}. Restore the segment from a "
            "replica, or read around it with since and until as offsets"
        ) from None
    except AuthorizationError as error:
        topics = ", ".join(sorted({tp.topic for tp in open_spans}))
        raise KafkaError(f"not authorised to read {topics}: {error}", layer="ACL") from None
    except RetriableError:
        waiting.pause(left)
    return []


def _skip_lost(consumer: KafkaConsumer, span: Span, timeout: float) -> None:
    """Retention took records that were still to be read: count them and go on behind them."""
    tp = wire.where(span)
    log_start = wire.log_starts(consumer, [tp], timeout=timeout)[tp]
    first, behind = span.tally.position, min(log_start, span.end)
    if behind <= first:
        raise KafkaError(
            f"{span}: the broker does not have offset {first}, though its log starts at "
            f"{log_start}; the log was cut shorter or the topic made anew while it was read"
        )
    span.lost += behind - first
    span.raced.append((first, behind))
    span.tally.position = behind
    consumer.seek(tp, behind)


def batch_times(
    consumer: KafkaConsumer, spans: list[Span], *, last: bool = False, timeout: float
) -> dict[str, int]:
    """Timestamp, in ms, of the first record still held, or of the ``last`` one, by ``str(span)``.

    As the batch's header tells it: that of its first record, or the latest in it. A span with no
    record, or whose record has no time, or that did not answer within ``timeout`` seconds, is left
    out.
    """
    found: dict[str, int] = {}
    waiting = {wire.where(span): span for span in spans if span.log_start < span.stable}
    if not waiting:
        return found
    consumer.assign(list(waiting))
    for tp, span in waiting.items():
        consumer.seek(tp, span.stable - 1 if last else span.log_start)
    deadline = time.monotonic() + timeout
    while waiting and time.monotonic() < deadline:
        try:
            fetches = wire.poll(consumer, 0.5)
        except LibraryError:
            break
        for fetch in fetches:
            at = waiting.pop(TopicPartition(fetch.topic, fetch.partition), None)
            if at is not None:
                batch = fetch.batches[0]
                ms = batch.max_timestamp if last or batch.all_at >= 0 else batch.first_timestamp
                if ms >= 0:
                    found[str(at)] = ms
    return found
