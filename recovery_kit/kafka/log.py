"""A bounded read of a log: capture where each partition ends, read to there by position, account for every offset."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import (
    AuthorizationError,
    LogTruncationError,
    OffsetOutOfRangeError,
    RetriableError,
)
from kafka.errors import KafkaError as LibraryError

from recovery_kit.errors import KafkaError, ParameterError
from recovery_kit.kafka import wire
from recovery_kit.kafka.batches import Tally, read
from recovery_kit.payload import Messages

Offsets = Mapping[TopicPartition, int]


@dataclass
class Span:
    """What is read of one partition, and how far it has come.

    Attributes
    ----------
    topic, partition : where
    log_start : first offset that the broker still has, when the span was captured
    start : first offset that was asked for; 0 where nothing was said
    end : offset to stop before: the last stable offset then, or an earlier one that was asked for
    high_watermark : behind the last record then; records from the last stable offset to here lie behind an open
        transaction
    stable : the last stable offset
    tally : what became of the offsets up to the position
    lost : offsets that retention had taken, before or during the read
    raced : of these, those that went during the read
    timed_out : the read gave up before the end
    """

    topic: str
    partition: int
    log_start: int
    start: int
    end: int
    high_watermark: int
    stable: int
    tally: Tally
    lost: int = 0
    raced: int = 0
    timed_out: bool = False

    @property
    def done(self) -> bool:
        """Whether the position has reached the end."""
        return self.tally.position >= self.end

    @property
    def where(self) -> TopicPartition:
        """Topic and partition, as kafka-python wants them."""
        return TopicPartition(self.topic, self.partition)

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"


def find(consumer: KafkaConsumer, topics: list[str], wanted: list[int] | None, timeout: float) -> dict[str, wire.Topic]:
    """Look the topics up; an unknown one, or a partition that it lacks, is a KafkaError."""
    found = {}
    for name in topics:
        try:
            topic = wire.describe(consumer, name, timeout)
        except ValueError as error:
            raise ParameterError(f"{name!r} cannot be the name of a topic: {error}") from None
        except AuthorizationError:
            raise KafkaError(
                f"not authorised to read topic {name!r}; it needs the ACL operations Describe and Read"
            ) from None
        if topic is None:
            raise KafkaError(f"the cluster has no topic {name!r}, or does not show it to this user; it was not created")
        missing = sorted(set(wanted or ()) - topic.partitions)
        if missing:
            raise KafkaError(
                f"topic {name!r} has no partition {', '.join(map(str, missing))}; it has 0 to {max(topic.partitions)}"
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
) -> list[Span]:
    """Capture the bounds of each partition, once.

    A partition that ``since`` does not name starts at offset 0 when the ``whole`` log is asked for, so that a head
    that retention has taken counts as lost; else at the first offset still held.

    Raises
    ------
    ParameterError
        A requested start lies behind the end, or a requested end behind the log's.
    KafkaError
        The broker says, twice, that a log ends before it starts.
    """
    starts, stable, high = _look(consumer, partitions, timeout)
    spans = []
    for tp in partitions:
        end = min(until.get(tp, stable[tp]), stable[tp])
        start = since.get(tp, 0 if whole else starts[tp])
        if until.get(tp, 0) > stable[tp]:
            raise ParameterError(
                f"{tp.topic}-{tp.partition}: until is offset {until[tp]}, but the log ends at {stable[tp]}; "
                "what is not written yet cannot be read"
            )
        if start > end:
            raise ParameterError(f"{tp.topic}-{tp.partition}: since is offset {start}, behind the end at offset {end}")
        first = max(start, starts[tp])
        lost = max(0, min(starts[tp], end) - start)
        spans.append(
            Span(tp.topic, tp.partition, starts[tp], start, end, high[tp], stable[tp], Tally(min(first, end)), lost)
        )
    return spans


def _look(
    consumer: KafkaConsumer, partitions: list[TopicPartition], timeout: float
) -> tuple[dict[TopicPartition, int], ...]:
    """Log starts, last stable offsets and high watermarks; looked at twice where they look odd.

    Some brokers have been seen to answer 0 or an offset before the log's start (Jepsen, Bufstream 0.1).
    """
    for again in (False, True):
        stable = wire.end_offsets(consumer, partitions, committed=True, timeout=timeout)
        high = wire.end_offsets(consumer, partitions, committed=False, timeout=timeout)
        starts = consumer.beginning_offsets(partitions, timeout_ms=int(timeout * 1000))
        odd = [tp for tp in partitions if not starts[tp] <= stable[tp] <= high[tp]]
        empty = [tp for tp in partitions if stable[tp] == 0]
        if not odd and (again or not empty):
            break
        if again:
            tp = odd[0]
            raise KafkaError(
                f"{tp.topic}-{tp.partition}: the broker says, twice, that the log starts at offset {starts[tp]}, is stable "
                f"to {stable[tp]} and ends at {high[tp]}; that cannot be, so nothing was read. Look at the broker"
            )
        time.sleep(0.1)
    return starts, stable, high


def read_spans(
    consumer: KafkaConsumer,
    spans: list[Span],
    *,
    timeout: float,
    on_lost: Callable[[Span], None],
    committed: bool = True,
) -> Iterator[tuple[Span, Messages]]:
    """Read every span to its end.

    Parameters
    ----------
    consumer : KafkaConsumer
        As `wire.open_consumer` makes it.
    spans : list of Span
        Brought forward in place; those that have nothing to read are left alone.
    timeout : float
        Seconds without any progress after which the spans that are not done are marked timed out.
    on_lost : callable
        Told of a span whose records went during the read; it may raise.
    committed : bool
        Leave out records of aborted transactions.

    Yields
    ------
    (Span, Messages)
        In offset order within each partition.
    """
    open_spans = {span.where: span for span in spans if not span.done}
    if not open_spans:
        return
    consumer.assign(list(open_spans))
    for tp, span in open_spans.items():
        consumer.seek(tp, span.tally.position)
    deadline = time.monotonic() + timeout
    while open_spans:
        left = deadline - time.monotonic()
        if left <= 0:
            for span in open_spans.values():
                span.timed_out = True
            return
        try:
            fetches = wire.poll(consumer, min(left, 1.0))
        except OffsetOutOfRangeError as error:
            for tp in error.args[0]:
                _skip_lost(consumer, open_spans[tp], timeout, on_lost)
            fetches = []
            deadline = time.monotonic() + timeout
        except LogTruncationError as error:
            raise KafkaError(
                f"the log was cut shorter while it was read (an unclean leader election?): {error}"
            ) from None
        except AuthorizationError as error:
            raise KafkaError(f"not authorised to read {', '.join(sorted({s.topic for s in spans}))}: {error}") from None
        except RetriableError:
            time.sleep(0.1)  # kafka-python has its own backoff; this only keeps a persistent error from spinning
            continue
        for fetch in fetches:
            span = open_spans.get(TopicPartition(fetch.topic, fetch.partition))
            if span is None:
                continue
            messages = read(fetch, span.tally, span.end, committed=committed)
            deadline = time.monotonic() + timeout
            if messages is not None:
                yield span, messages
        for tp in [tp for tp, span in open_spans.items() if span.done]:
            consumer.pause(tp)
            del open_spans[tp]


def _skip_lost(consumer: KafkaConsumer, span: Span, timeout: float, on_lost: Callable[[Span], None]) -> None:
    """Retention took records that were still to be read: count them and go on behind them."""
    tp = span.where
    log_start = consumer.beginning_offsets([tp], timeout_ms=int(timeout * 1000))[tp]
    gone = min(log_start, span.end) - span.tally.position
    if gone <= 0:
        raise KafkaError(
            f"{span}: the broker does not have offset {span.tally.position}, though its log starts at {log_start}; the log "
            "was cut shorter or the topic made anew while it was read"
        )
    span.lost += gone
    span.raced += gone
    span.tally.position += gone
    on_lost(span)
    consumer.seek(tp, span.tally.position)


def first_times(consumer: KafkaConsumer, spans: list[Span], timeout: float) -> dict[str, int]:
    """Timestamp, in ms, of the first record still held, by ``str(span)``; spans with no record are left out."""
    found: dict[str, int] = {}
    waiting = {span.where: span for span in spans if span.log_start < span.stable}
    if not waiting:
        return found
    consumer.assign(list(waiting))
    for tp, span in waiting.items():
        consumer.seek(tp, span.log_start)
    deadline = time.monotonic() + timeout
    while waiting and time.monotonic() < deadline:
        try:
            fetches = wire.poll(consumer, 0.5)
        except LibraryError:
            break
        for fetch in fetches:
            at = waiting.pop(TopicPartition(fetch.topic, fetch.partition), None)
            if at is not None:
                found[str(at)] = fetch.batches[0].first_timestamp
    return found
