"""A bounded read: what is captured, what is asked twice, and how it ends."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from recovery_kit.errors import KafkaError
from recovery_kit.kafka import log, wire
from recovery_kit.kafka.deliver import decode
from recovery_kit.kafka.log import Bounds, look
from recovery_kit.payload.messages import Messages
from recovery_kit.sandbox import Kafka
from recovery_kit.sources.span import Span, Tally

ONE, TWO = TopicPartition("t", 0), TopicPartition("t", 1)


def answering(
    *answers: dict[TopicPartition, Bounds],
) -> Callable[[list[TopicPartition]], dict[TopicPartition, Bounds]]:
    """What a broker says, one time after the other; asked more often than that is an error."""
    left = list(answers)

    def ask(partitions: list[TopicPartition]) -> dict[TopicPartition, Bounds]:
        answer = left.pop(0)
        return {tp: answer[tp] for tp in partitions}

    return ask


def test_bounds_that_can_be_are_asked_for_once() -> None:
    for one in (Bounds(0, 5, 7), Bounds(7, 5, 7)):
        answer = {ONE: one, TWO: Bounds(3, 3, 3)}
        assert look(answering(answer), [ONE, TWO], pause=0) == answer


def test_fault_06_an_end_before_the_log_start_is_looked_at_again() -> None:
    odd, right = {ONE: Bounds(9, 4, 4), TWO: Bounds(0, 1, 1)}, {ONE: Bounds(9, 20, 20)}
    assert look(answering(odd, right), [ONE, TWO], pause=0) == {
        ONE: Bounds(9, 20, 20),
        TWO: Bounds(0, 1, 1),
    }


@pytest.mark.parametrize(
    "odd", [Bounds(9, 4, 4), Bounds(0, 5, 4), Bounds(-1, 4, 4), Bounds(0, -1, 4)]
)
def test_fault_06_an_end_before_the_log_start_twice_is_an_error(odd: Bounds) -> None:
    said = rf"t-0: the broker says that the log starts at offset {odd.start}, is stable to {odd.stable} and ends at {odd.high}"
    with pytest.raises(KafkaError, match=said):
        look(answering({ONE: odd}, {ONE: odd}), [ONE], pause=0)


def test_fault_06_a_spurious_zero_is_looked_at_again() -> None:
    zero, right = {ONE: Bounds(0, 0, 0), TWO: Bounds(0, 8, 8)}, {ONE: Bounds(0, 20, 20)}
    assert look(answering(zero, right), [ONE, TWO], pause=0) == {
        ONE: Bounds(0, 20, 20),
        TWO: Bounds(0, 8, 8),
    }


def test_fault_06_zero_twice_is_an_empty_partition() -> None:
    zero = {ONE: Bounds(0, 0, 0)}
    assert look(answering(zero, zero), [ONE], pause=0) == zero


def test_fault_06_a_spurious_zero_at_the_second_look_is_an_error() -> None:
    odd, zero = {ONE: Bounds(9, 4, 7)}, {ONE: Bounds(0, 0, 0)}
    with pytest.raises(
        KafkaError, match="ends at 0, and just before that it ends at 7; that cannot be"
    ):
        look(answering(odd, zero), [ONE], pause=0)


# --- on a broker


@pytest.fixture(scope="module")
def topic(broker: Kafka) -> str:
    """Two partitions of 100 records each, in ten batches."""
    broker.create_topic("log-100", partitions=2)
    with KafkaProducer(bootstrap_servers=broker.bootstrap_servers, linger_ms=20) as producer:
        for i in range(100):
            for partition in (0, 1):
                producer.send("log-100", b"%d" % i, partition=partition)
            if i % 10 == 9:
                producer.flush()
    return "log-100"


@pytest.fixture
def consumer(broker: Kafka) -> Iterator[KafkaConsumer]:
    small = {"max_partition_fetch_bytes": 1, "fetch_max_bytes": 1}
    with wire.connected(broker.bootstrap_servers, None, timeout=10, more=small) as made:
        yield made


def spans(topic: str, *ends: int) -> list[Span]:
    return [Span(topic, i, 0, 0, end, end, end, Tally(0)) for i, end in enumerate(ends)]


def offsets(consumer: KafkaConsumer, wanted: list[Span], timeout: float = 10) -> list[list[int]]:
    got: dict[str, list[int]] = {str(span): [] for span in wanted}
    for span, delivery in log.read_spans(consumer, wanted, timeout=timeout, go_on=False):
        got[str(span)] += decode(delivery).offset.tolist()
    return list(got.values())


def test_a_consumer_can_read_again(consumer: KafkaConsumer, topic: str) -> None:
    for ends in ((100, 100), (37, 100), (0, 55), (0, 0)):
        wanted = spans(topic, *ends)
        assert offsets(consumer, wanted) == [list(range(end)) for end in ends]
        assert all(span.done and not span.timed_out for span in wanted)


def test_a_fetch_that_got_lost_is_asked_for_again(
    consumer: KafkaConsumer, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must not look like a hole that a cleaner left."""
    poll, lost = wire.poll, []

    def forgetful(*args: Any) -> list[Any]:
        fetches = poll(*args)
        if fetches and len(lost) < 3:
            lost.extend(fetches)
            return []
        return fetches

    monkeypatch.setattr(wire, "poll", forgetful)
    wanted = spans(topic, 100, 100)
    assert offsets(consumer, wanted) == [list(range(100))] * 2
    assert len(lost) >= 3
    assert [span.tally.removed for span in wanted] == [0, 0]


def test_a_slow_reader_is_not_a_time_out(consumer: KafkaConsumer, topic: str) -> None:
    wanted = spans(topic, 100, 0)
    read = 0
    for _, delivery in log.read_spans(consumer, wanted, timeout=2.0, go_on=False):
        read += len(decode(delivery))
        time.sleep(2.5 if read <= 10 else 0)
    assert (read, wanted[0].timed_out) == (100, False)


def test_an_end_that_does_not_come_times_out(consumer: KafkaConsumer, topic: str) -> None:
    wanted = spans(topic, 10**6, 100)
    start = time.monotonic()
    assert offsets(consumer, wanted, timeout=2) == [list(range(100))] * 2
    assert 2 <= time.monotonic() - start < 20
    assert [span.timed_out for span in wanted] == [True, False]


def test_an_interrupt_ends_a_read_at_once_and_leaves_nothing_behind(
    broker: Kafka, topic: str
) -> None:
    before = set(threading.enumerate())
    interrupt = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    start = time.monotonic()

    def read() -> None:
        with wire.connected(broker.bootstrap_servers, None, timeout=60) as consumer:
            interrupt.start()
            offsets(consumer, spans(topic, 10**6), timeout=60)

    # A shell starts what runs behind it deaf to interrupts.
    was = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            read()
    finally:
        signal.signal(signal.SIGINT, was)
    interrupt.join()
    assert time.monotonic() - start < 20
    assert set(threading.enumerate()) <= before


def test_the_times_of_the_ends(broker: Kafka, consumer: KafkaConsumer) -> None:
    broker.create_topic("log-times", partitions=2)
    with KafkaProducer(bootstrap_servers=broker.bootstrap_servers) as producer:
        for ms in (1_000_005, 1_000_003, 1_000_009, 1_000_007):
            producer.send("log-times", b"x", partition=0, timestamp_ms=ms).get(timeout=10)
    wanted = log.capture(
        consumer, [TopicPartition("log-times", p) for p in (0, 1)], {}, {}, whole=True, timeout=10
    )
    assert log.batch_times(consumer, wanted, timeout=10) == {"log-times-0": 1_000_005}
    assert log.batch_times(consumer, wanted, last=True, timeout=10) == {"log-times-0": 1_000_007}


def test_messages_come_in_order_whatever_the_order_of_partitions(
    consumer: KafkaConsumer, topic: str
) -> None:
    seen: dict[str, list[Messages]] = {}
    for span, delivery in log.read_spans(consumer, spans(topic, 100, 100), timeout=10, go_on=False):
        seen.setdefault(str(span), []).append(decode(delivery))
    for some in seen.values():
        assert [int(m.value(i) or b"") for m in some for i in range(len(m))] == list(range(100))
