"""Faults 1, 16, 23, 24 and 26 on a broker of their own: one that makes topics on asking, cleans
quickly, and stops.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient

from recovery_kit.errors import IncompleteReplay, KafkaError
from recovery_kit.replay import Replay, replay
from recovery_kit.sandbox import Kafka
from recovery_kit.schema import EventSchema
from tests.integration.conftest import (
    NewTopic,
    Send,
    event,
    events,
    new_topic_on,
    numbers,
    one,
    send_to,
)
from tests.kafka.build import GZIP, Record, batch, legacy
from tests.messages import NOON


@pytest.fixture(scope="module")
def broker() -> Iterator[Kafka]:
    quick = {"log.cleaner.backoff.ms": 100, "log.retention.check.interval.ms": 1000}
    with Kafka({"auto.create.topics.enable": True, **quick}) as running:
        yield running


@pytest.fixture(scope="module")
def new_topic(broker: Kafka) -> NewTopic:
    return new_topic_on(broker)


@contextmanager
def writing(broker: Kafka) -> Iterator[Send]:
    """To write to a topic, with no producer left behind that would try to reach a broker that is
    down.
    """
    with KafkaProducer(bootstrap_servers=broker.bootstrap_servers, linger_ms=20) as producer:
        yield send_to(producer)


def test_fault_01_an_unknown_topic_is_not_made_by_asking(broker: Kafka) -> None:
    with KafkaProducer(bootstrap_servers=broker.bootstrap_servers) as producer:
        producer.send("made-by-asking", b"x").get(timeout=10)  # this broker does make topics
    start = time.monotonic()
    for topic in ("never-made", ["made-by-asking", "never-made"]):
        with pytest.raises(KafkaError, match=r"no topic 'never-made'.*it was not created"):
            replay(topic, bootstrap_servers=broker.bootstrap_servers)
    assert time.monotonic() - start < 20
    with KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers) as admin:
        assert "never-made" not in admin.list_topics()
        assert "made-by-asking" in admin.list_topics()


@pytest.fixture(scope="module")
def compacted(broker: Kafka, new_topic: NewTopic) -> str:
    """Keys a to j at offsets 0 to 9, a anew at 10, tombstones of b and c, d anew at 13, k at 14,
    and a cleaner that came by.

    What stays is 4 to 10, 13 and 14. The last one is in the active segment, which no cleaner
    touches.
    """
    topic = new_topic(
        cleanup_policy="compact",
        min_cleanable_dirty_ratio=0.001,
        segment_ms=300,
        max_compaction_lag_ms=100,
        delete_retention_ms=0,
    )
    with writing(broker) as send:
        for i in range(10):
            send(topic, [event(i)], key=b"abcdefghij"[i : i + 1])
        send(topic, [event(10)], key=b"a")
        send(topic, [None], key=b"b")
        send(topic, [None], key=b"c")
        for i, key, removed in (
            (13, b"d", 3),
            (14, b"k", 6),
        ):  # tombstones go at the second cleaning
            time.sleep(0.4)
            send(topic, [event(i)], key=key)
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline and one(
                whatever(broker, topic).coverage, "removed"
            ) != (removed,):
                time.sleep(0.1)
    return topic


def whatever(broker: Kafka, topic: str, **options: object) -> Replay:
    return replay(
        topic, bootstrap_servers=broker.bootstrap_servers, allow_incomplete=True, **options
    )


def test_fault_23_compaction_holes_are_an_error(broker: Kafka, compacted: str) -> None:
    with pytest.raises(
        IncompleteReplay, match=f"{compacted}-0: 6 of 15 offsets hold no record any more"
    ) as caught:
        replay(compacted, bootstrap_servers=broker.bootstrap_servers)
    assert caught.value.verdict == "compacted"


def test_fault_23_compaction_holes_are_counted_when_allowed(broker: Kafka, compacted: str) -> None:
    found = whatever(broker, compacted)
    assert (found.verdict, numbers(found.events)) == ("compacted", [4, 5, 6, 7, 8, 9, 10, 13, 14])
    assert one(found.coverage, "log_start", "end", "position", "delivered", "removed") == (
        0,
        15,
        15,
        9,
        6,
    )


@pytest.mark.parametrize(
    ("since", "until", "kept", "removed"),
    [
        (4, 11, [4, 5, 6, 7, 8, 9, 10], 0),
        (4, 12, [4, 5, 6, 7, 8, 9, 10], 1),  # ends inside a hole: nothing comes from there
        (0, 3, [], 3),
        (11, 13, [], 2),
        (12, 14, [13], 1),
    ],
)
def test_fault_23_bounds_inside_and_around_holes(
    broker: Kafka, compacted: str, since: int, until: int, kept: list[int], removed: int
) -> None:
    start = time.monotonic()
    found = whatever(broker, compacted, since={0: since}, until={0: until})
    assert time.monotonic() - start < 20
    assert numbers(found.events) == kept
    assert one(found.coverage, "position", "removed") == (until, removed)
    assert found.verdict == ("compacted" if removed else "complete")


def put_segment(broker: Kafka, topic: str, data: bytes) -> None:
    """Have a broker find these bytes as the log of partition 0."""
    broker.stop()
    segment = broker.log_dir(topic, 0) / f"{0:020}.log"
    segment.write_bytes(data)
    for suffix in (".index", ".timeindex"):
        segment.with_suffix(suffix).unlink(missing_ok=True)
    broker.start()


@pytest.mark.usefixtures("dead_brokers")
def test_fault_24_a_segment_from_before_kafka_0_11(broker: Kafka, new_topic: NewTopic) -> None:
    """Formats v0, v1 and v2 in one segment, as in a log that is older than the broker."""
    topic = new_topic()
    schema = EventSchema(time="ts")
    records = [Record(i, event(i, ts=NOON + i), b"k", NOON) for i in range(60)]
    data = (
        legacy(records[:5], 0)
        + legacy(records[5:10], 1)
        + legacy(records[10:40], 1, GZIP)
        + batch(records[40:])
    )
    put_segment(broker, topic, data)
    with writing(broker) as send:
        send(topic, [event(60, ts=NOON + 60)])
    found = replay(topic, bootstrap_servers=broker.bootstrap_servers, schema=schema)
    assert (found.verdict, numbers(found.events)) == ("complete", list(range(61)))
    found = replay(
        topic,
        bootstrap_servers=broker.bootstrap_servers,
        schema=schema,
        since={0: 20},
        until={0: 45},
    )
    assert (found.verdict, numbers(found.events)) == ("complete", list(range(20, 45)))
    without = replay(
        topic, bootstrap_servers=broker.bootstrap_servers
    )  # those of v0 have no time of their own
    assert numbers(without.events) == list(range(5, 61))
    assert set(without.rejects["reason"]) == {
        "the record has no timestamp and the schema names no time field"
    }


@pytest.mark.usefixtures("dead_brokers")
def test_fault_26_null_headers_stay_on_rejects_and_tombstones(
    broker: Kafka, new_topic: NewTopic
) -> None:
    """No producer at hand writes them."""
    topic = new_topic()
    headers: list[tuple[str, bytes | None]] = [("trace", None), ("trace", b"")]
    records = [
        Record(0, event(1)),
        Record(1, b"no JSON", headers=headers),
        Record(2, None, headers=headers),
    ]
    put_segment(broker, topic, batch([*records, Record(3, event(2), headers=headers)]))
    found = replay(topic, bootstrap_servers=broker.bootstrap_servers)
    assert (found.verdict, numbers(found.events)) == ("complete", [1, 2])
    expected = [{"name": name, "value": value} for name, value in headers]
    for table, offset in ((found.rejects, 1), (found.tombstones, 2)):
        assert (one(table)["offset"], list(one(table)["headers"])) == (offset, expected)


@pytest.fixture(scope="module")
def many(broker: Kafka, new_topic: NewTopic) -> str:
    topic = new_topic(2)
    with writing(broker) as send:
        for i in range(0, 200, 10):
            for partition in (0, 1):
                send(topic, events(*range(i, i + 10)), partition=partition)
    return topic


@pytest.fixture
def paused(broker: Kafka) -> Iterator[Callable[[], None]]:
    """Pause the broker: it keeps its connections, and answers nothing.

    It goes on after the test.
    """
    yield lambda: os.kill(broker.pid(), signal.SIGSTOP)
    os.kill(broker.pid(), signal.SIGCONT)


Arrange = Callable[[Callable[[], object]], None]


def test_fault_16_a_broker_that_does_not_answer_is_an_error_at_the_deadline(
    broker: Kafka, many: str, paused: Callable[[], None], during_the_read: Arrange
) -> None:
    during_the_read(paused)
    start = time.monotonic()
    with pytest.raises(
        IncompleteReplay, match=f"timed out: .*{many}-0: stopped at offset .* of 200"
    ) as caught:
        replay(many, bootstrap_servers=broker.bootstrap_servers, timeout=3)
    assert time.monotonic() - start < 20
    assert caught.value.verdict == "timed out"
    assert set(caught.value.coverage["verdict"]) == {"timed out"}
    assert (caught.value.coverage["unread"] > 0).all()


def test_fault_16_a_time_out_is_told_when_allowed(
    broker: Kafka, many: str, paused: Callable[[], None], during_the_read: Arrange
) -> None:
    during_the_read(paused)
    found = whatever(broker, many, timeout=3)
    assert found.verdict == "timed out"
    assert 0 < len(found.events) < 400
    assert found.coverage["delivered"].sum() == len(found.events)
    assert found.coverage["position"].to_list() == found.coverage["delivered"].to_list()
    assert found.coverage["log_start_after"].isna().all()
    assert "stopped at offset" in found.notes[0]


def test_fault_16_a_pause_shorter_than_the_deadline_does_no_harm(
    broker: Kafka, many: str, paused: Callable[[], None], during_the_read: Arrange
) -> None:
    def pause() -> None:
        paused()
        threading.Timer(1.0, lambda: os.kill(broker.pid(), signal.SIGCONT)).start()

    during_the_read(pause)
    found = replay(many, bootstrap_servers=broker.bootstrap_servers, timeout=20)
    assert (found.verdict, numbers(found.events)) == ("complete", [*range(200)] * 2)


@pytest.mark.usefixtures("dead_brokers")
def test_fault_16_a_broker_that_is_gone_during_the_read_or_from_the_start(
    broker: Kafka, many: str, during_the_read: Arrange
) -> None:
    during_the_read(broker.stop)
    try:
        with pytest.raises(IncompleteReplay, match="timed out"):
            replay(many, bootstrap_servers=broker.bootstrap_servers, timeout=3)
        start = time.monotonic()
        with pytest.raises(
            KafkaError, match=r"cannot connect to Kafka, TCP fails: .*Connection refused"
        ):
            replay(many, bootstrap_servers=broker.bootstrap_servers)
        assert time.monotonic() - start < 20
    finally:
        broker.start()


def test_fault_16_a_broker_that_does_not_answer_from_the_start(
    broker: Kafka, many: str, paused: Callable[[], None]
) -> None:
    paused()
    start = time.monotonic()
    with pytest.raises(KafkaError, match="took the connection but did not answer in time"):
        replay(many, bootstrap_servers=broker.bootstrap_servers, timeout=1.0)
    assert time.monotonic() - start < 20
