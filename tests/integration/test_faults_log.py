"""Faults 17 to 22: what stands in a log besides plain records."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient

from recovery_kit.errors import CorruptLog, IncompleteReplay, ParameterError
from recovery_kit.kafka import log, wire
from recovery_kit.kafka.deliver import decode
from recovery_kit.replay import replay
from recovery_kit.sandbox import Kafka
from tests.integration.conftest import NewTopic, Send, event, events, numbers, one
from tests.messages import NOON

Transaction = Callable[..., None]


@pytest.fixture(scope="module")
def transactional(broker: Kafka) -> Iterator[Callable[[str], KafkaProducer]]:
    """Producers with a transactional id, by a letter."""
    made: dict[str, KafkaProducer] = {}
    with ExitStack() as stack:

        def make(letter: str) -> KafkaProducer:
            if letter not in made:
                one = KafkaProducer(
                    bootstrap_servers=broker.bootstrap_servers, transactional_id=letter, linger_ms=0
                )
                made[letter] = stack.enter_context(one)
                one.init_transactions()
            return made[letter]

        yield make


def write(producer: KafkaProducer, topic: str, values: list[bytes], partition: int = 0) -> None:
    for value in values:
        producer.send(topic, value, key=b"k", partition=partition)
    producer.flush()


def transaction(producer: KafkaProducer, topic: str, values: list[bytes], *, commit: bool) -> None:
    producer.begin_transaction()
    write(producer, topic, values)
    producer.commit_transaction() if commit else producer.abort_transaction()


def settled(broker: Kafka, topic: str) -> str:
    """Wait for the markers of transactions that have ended: a broker writes them a moment after it
    says so.
    """
    places, ends = [TopicPartition(topic, 0)], partial(wire.end_offsets, timeout=10)
    deadline = time.monotonic() + 60
    with wire.connected(broker.bootstrap_servers, None, timeout=10) as consumer:
        while ends(consumer, places, committed=True) != ends(consumer, places, committed=False):
            assert time.monotonic() < deadline, "the transaction has no marker yet"
            time.sleep(0.05)
    return topic


@contextmanager
def damaged(broker: Kafka, topic: str, at: int, flip: int) -> Iterator[None]:
    """One byte of a segment on disk changed."""
    (path,) = broker.log_dir(topic, 0).glob("*.log")
    with path.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ flip]))
        file.flush()
        yield
        file.seek(at)
        file.write(bytes([byte]))


def test_fault_17_a_damaged_segment_is_told(broker: Kafka, new_topic: NewTopic, send: Send) -> None:
    topic = new_topic()
    for i in (0, 10, 20):
        send(topic, events(*range(i, i + 10)))
    (path,) = broker.log_dir(topic, 0).glob("*.log")
    data = path.read_bytes()
    size = len(data) // 3 + 1
    second = next(
        at for at in range(size // 2, 2 * size) if data[at : at + 8] == (10).to_bytes(8, "big")
    )
    for at, said in (
        (100, r"the CRC of the record batch at offsets 10 to \d+ does not match"),
        # No CRC covers its offset, nor its format.
        (7, r"it holds the offsets \d+ to \d+, and the one before it ends at \d+"),
        (16, r"format v[03]|the CRC of the message at offset 10"),
    ):
        with damaged(broker, topic, second + at, 0x10 if at == 7 else 1):
            with pytest.raises(CorruptLog, match=rf"{topic}-0: .*({said})"):
                replay(topic, bootstrap_servers=broker.bootstrap_servers)
            around = {"since": {0: 20}} if at != 7 else {"until": {0: 10}}
            assert (
                replay(topic, bootstrap_servers=broker.bootstrap_servers, **around).verdict
                == "complete"
            )
    assert replay(topic, bootstrap_servers=broker.bootstrap_servers).verdict == "complete"


def test_fault_18_a_record_larger_than_the_fetch(
    broker: Kafka, new_topic: NewTopic, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = new_topic(2, max_message_bytes=6 << 20)
    for partition in (0, 1):
        send(topic, events(1, 2), partition=partition)
        send(topic, [event(3, note="x" * (5 << 20))], partition=partition)
        send(topic, events(4), partition=partition)
    monkeypatch.setattr(wire, "PARTITION_BYTES", 1 << 20)
    monkeypatch.setattr(wire, "FETCH_BYTES", 1 << 20)
    found = replay(topic, bootstrap_servers=broker.bootstrap_servers)
    assert (found.verdict, numbers(found.events)) == ("complete", [1, 2, 3, 4] * 2)


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_fault_19_codecs_of_python_and_of_java(
    broker: Kafka, new_topic: NewTopic, send: Send, codec: str
) -> None:
    """The broker, which is Java, compresses anew where a topic names a codec.

    Else the producer's bytes stay.
    """
    pythons, javas = new_topic(), new_topic(compression_type=codec)
    many = events(*range(3000))  # over one block of snappy or lz4
    with KafkaProducer(
        bootstrap_servers=broker.bootstrap_servers,
        compression_type=codec,
        linger_ms=50,
        batch_size=1 << 20,
    ) as producer:
        for value in many:
            producer.send(pythons, value, partition=0)
    send(javas, many)
    for topic in (pythons, javas):
        found = replay(topic, bootstrap_servers=broker.bootstrap_servers)
        assert (found.verdict, numbers(found.events)) == ("complete", list(range(3000)))
        (path,) = broker.log_dir(topic, 0).glob("*.log")
        number = {"gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}[codec]
        assert path.read_bytes()[22] & 7 == number


def test_fault_20_the_last_offset_is_a_control_batch(
    broker: Kafka, new_topic: NewTopic, transactional: Callable[[str], KafkaProducer]
) -> None:
    topic = new_topic()
    transaction(transactional("a"), topic, events(1, 2), commit=True)
    settled(broker, topic)
    start = time.monotonic()
    found = replay(topic, bootstrap_servers=broker.bootstrap_servers)
    assert time.monotonic() - start < 20
    assert (found.verdict, numbers(found.events)) == ("complete", [1, 2])
    assert one(found.coverage, "end", "position", "delivered", "control") == (3, 3, 2, 1)


@pytest.mark.parametrize("small", [False, True])
def test_fault_21_aborted_transactions_are_counted_and_are_not_events(
    broker: Kafka,
    new_topic: NewTopic,
    send: Send,
    transactional: Callable[[str], KafkaProducer],
    request: pytest.FixtureRequest,
    small: bool,
) -> None:
    if small:  # then an aborted transaction spans several fetches
        request.getfixturevalue("small_fetches")
    topic = new_topic()
    a, b = transactional("a"), transactional("b")
    transaction(a, topic, events(1, 2), commit=True)
    a.begin_transaction()
    b.begin_transaction()
    for i in range(10, 20, 2):  # interleaved, in batches of their own
        write(a, topic, events(i))
        send(topic, events(100 + i))
        write(b, topic, events(i + 1))
    a.abort_transaction()
    write(b, topic, events(21))
    b.commit_transaction()
    transaction(a, topic, events(30), commit=True)
    transaction(b, topic, events(31), commit=False)
    found = replay(settled(broker, topic), bootstrap_servers=broker.bootstrap_servers)
    assert found.verdict == "complete"
    kept = [1, 2, 110, 11, 112, 13, 114, 15, 116, 17, 118, 19, 21, 30]
    assert numbers(found.events) == kept
    assert one(found.coverage, "delivered", "aborted", "control", "removed") == (len(kept), 6, 5, 0)


def test_fault_21_any_bounds_inside_transactions(
    broker: Kafka, new_topic: NewTopic, transactional: Callable[[str], KafkaProducer]
) -> None:
    topic = new_topic()
    a = transactional("a")
    for i, commit in enumerate((False, True, False)):
        transaction(a, topic, events(*range(4 * i, 4 * i + 3)), commit=commit)
    settled(broker, topic)
    kind = "aaac" + "dddc" + "aaac"  # aborted, delivered, control, by offset
    with wire.connected(broker.bootstrap_servers, None, timeout=10) as consumer:
        place = TopicPartition(topic, 0)
        for since in range(13):
            for until in range(since, 13):
                (span,) = log.capture(
                    consumer, [place], {place: since}, {place: until}, whole=True, timeout=10
                )
                got = []
                for _, delivery in log.read_spans(consumer, [span], timeout=10):
                    messages = decode(delivery)
                    span.tally.book(len(messages), offsets=delivery.offsets)
                    got += messages.offset.tolist()
                assert got == [o for o in range(since, until) if kind[o] == "d"]
                tally = span.tally
                assert [tally.delivered, tally.aborted, tally.control] == [
                    kind[since:until].count(k) for k in "dac"
                ]


@pytest.mark.usefixtures("small_fetches")
def test_fault_21_a_topic_of_nothing_but_aborted_ones(
    broker: Kafka, new_topic: NewTopic, transactional: Callable[[str], KafkaProducer]
) -> None:
    topic = new_topic()
    for i in range(4):
        transaction(transactional("a"), topic, events(i, i, i), commit=False)
    settled(broker, topic)
    start = time.monotonic()
    found = replay(topic, bootstrap_servers=broker.bootstrap_servers)
    assert time.monotonic() - start < 20
    assert (found.verdict, len(found.events)) == ("complete", 0)
    assert one(found.coverage, "end", "aborted", "control") == (16, 12, 4)


def test_fault_22_an_open_transaction_at_the_tail(
    broker: Kafka, new_topic: NewTopic, send: Send, transactional: Callable[[str], KafkaProducer]
) -> None:
    topic = new_topic()
    send(topic, events(1, 2))
    a = transactional("a")
    a.begin_transaction()
    write(a, topic, events(3))
    send(topic, events(4, 5, 6))
    try:
        found = replay(topic, bootstrap_servers=broker.bootstrap_servers)
    finally:
        a.commit_transaction()
    assert (found.verdict, numbers(found.events)) == ("complete", [1, 2])
    assert one(found.coverage, "end", "high_watermark", "behind_open_transaction") == (2, 6, 4)
    (note,) = found.notes
    assert f"{topic}-0: 4 records lie behind an open transaction, from offset 2 on" in note
    found = replay(settled(broker, topic), bootstrap_servers=broker.bootstrap_servers)
    assert (numbers(found.events), found.notes) == ([1, 2, 3, 4, 5, 6], ())


def test_fault_22_records_deleted_that_lie_behind_an_open_transaction(
    broker: Kafka,
    new_topic: NewTopic,
    send: Send,
    admin: KafkaAdminClient,
    transactional: Callable[[str], KafkaProducer],
) -> None:
    """Then the log starts behind its last stable offset, and nothing of it can be read yet."""
    topic, servers = new_topic(), broker.bootstrap_servers
    send(topic, events(0, 1, 2))
    a = transactional("a")
    a.begin_transaction()
    write(a, topic, events(3))
    send(topic, events(4, 5, 6))
    admin.delete_records({TopicPartition(topic, 0): 5})
    try:
        with pytest.raises(
            IncompleteReplay, match=f"truncated: .*{topic}-0: offsets 0 to 4 are gone"
        ):
            replay(topic, bootstrap_servers=servers)
        for since, lost in ((None, 5), ({0: 5}, 0)):
            found = replay(topic, bootstrap_servers=servers, since=since, allow_incomplete=True)
            assert found.verdict == ("truncated" if lost else "complete")
            assert one(
                found.coverage, "end", "lost", "high_watermark", "behind_open_transaction"
            ) == (5, lost, 7, 2)
            assert (
                f"{topic}-0: 2 records lie behind an open transaction, from offset 5 on"
                in found.notes[-1]
            )
            assert len(found.events) == 0
    finally:
        a.abort_transaction()
    assert numbers(
        replay(settled(broker, topic), bootstrap_servers=servers, since={0: 5}).events
    ) == [5, 6]


def test_an_open_transaction_and_until_behind_it(
    broker: Kafka, new_topic: NewTopic, send: Send, transactional: Callable[[str], KafkaProducer]
) -> None:
    topic = new_topic()
    send(topic, events(1))
    a = transactional("a")
    a.begin_transaction()
    write(a, topic, events(2))
    try:
        with pytest.raises(
            ParameterError,
            match=r"until is offset 2, .* read to offset 1, .*an open transaction cannot",
        ):
            replay(topic, bootstrap_servers=broker.bootstrap_servers, until={0: 2})
        found = replay(topic, bootstrap_servers=broker.bootstrap_servers, until={0: 1})
        assert (found.verdict, numbers(found.events)) == ("complete", [1])
    finally:
        a.abort_transaction()


@pytest.mark.parametrize("kind", ["CreateTime", "LogAppendTime"])
def test_times_that_the_producer_or_the_broker_sets(
    broker: Kafka, new_topic: NewTopic, send: Send, kind: str
) -> None:
    topic = new_topic(message_timestamp_type=kind)
    before = time.time()
    for i in (5, 3, 9):
        send(topic, [event(i)], time=NOON + i)
    found = replay(topic, bootstrap_servers=broker.bootstrap_servers)
    times = [int(t.value) // 10**6 for t in found.events["time"]]
    if kind == "CreateTime":
        assert times == [NOON + 5, NOON + 3, NOON + 9]
    else:
        assert times == sorted(times)
        assert before * 1000 - 1000 <= times[0] <= times[-1] <= time.time() * 1000 + 1000
