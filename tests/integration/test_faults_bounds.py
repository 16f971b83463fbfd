"""Faults 1 to 7, 10 and 13: where a log begins and ends, and what is asked of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient

from recovery_kit.errors import IncompleteReplay, KafkaError, ParameterError
from recovery_kit.kafka import wire
from recovery_kit.replay import replay
from recovery_kit.sandbox import Kafka
from tests.integration.conftest import NewTopic, Send, event, events, numbers, one
from tests.messages import NOON


def at(ms: int) -> pd.Timestamp:
    return pd.Timestamp(ms, unit="ms", tz="UTC")


def test_fault_01_an_unknown_topic_is_an_error(broker: Kafka, admin: KafkaAdminClient) -> None:
    with pytest.raises(
        KafkaError, match=r"the cluster has no topic 'never-made'.*; it was not created"
    ):
        replay("never-made", bootstrap_servers=broker.bootstrap_servers)
    assert "never-made" not in admin.list_topics()


def test_fault_01_one_unknown_topic_among_others(broker: Kafka, new_topic: NewTopic) -> None:
    with pytest.raises(KafkaError, match="no topic 'never-made'"):
        replay([new_topic(), "never-made"], bootstrap_servers=broker.bootstrap_servers)


@pytest.mark.parametrize("name", ["", "a b", "..", "x" * 250, "<script>"])
def test_fault_01_what_cannot_be_a_topic(broker: Kafka, name: str) -> None:
    with pytest.raises(ParameterError, match="cannot be the name of a topic"):
        replay(name, bootstrap_servers=broker.bootstrap_servers)


def test_fault_02_a_partition_that_is_not_there(broker: Kafka, new_topic: NewTopic) -> None:
    topic = new_topic(2)
    with pytest.raises(KafkaError, match=rf"'{topic}' has no partition 2, 7; it has 0 to 1"):
        replay(topic, bootstrap_servers=broker.bootstrap_servers, partitions=[0, 7, 2])
    for bound in ({"since": {2: 0}}, {"until": {(topic, 5): 1}}):
        with pytest.raises(
            ParameterError, match=rf"names {topic}-[25]; .*has the partitions \[0, 1\]"
        ):
            replay(topic, bootstrap_servers=broker.bootstrap_servers, **bound)


def test_fault_03_an_empty_topic_is_complete(broker: Kafka, new_topic: NewTopic) -> None:
    start = time.monotonic()
    found = replay(new_topic(3), bootstrap_servers=broker.bootstrap_servers)
    assert time.monotonic() - start < 20
    assert (found.verdict, len(found.events), found.coverage["end"].to_list()) == (
        "complete",
        0,
        [0, 0, 0],
    )
    assert list(found.events.columns) == list(found.schema.arrow_types)


def test_fault_03_empty_partitions_beside_full_ones(
    broker: Kafka, new_topic: NewTopic, send: Send
) -> None:
    topic = new_topic(4)
    send(topic, events(1, 2), partition=1)
    send(topic, events(3), partition=3)
    found = replay(topic, bootstrap_servers=broker.bootstrap_servers)
    assert found.verdict == "complete"
    assert found.coverage["delivered"].to_list() == [0, 2, 0, 1]
    assert numbers(found.events) == [1, 2, 3]


def test_fault_04_start_equals_end(broker: Kafka, new_topic: NewTopic, send: Send) -> None:
    topic = new_topic()
    send(topic, events(1, 2, 3))
    for since, until in (({0: 3}, None), ({0: 2}, {0: 2}), (None, {0: 0})):
        found = replay(topic, bootstrap_servers=broker.bootstrap_servers, since=since, until=until)
        assert found.verdict == "complete"
        assert (len(found.events), one(found.coverage, "delivered", "unread")) == (0, (0, 0))


def test_fault_05_start_after_end(broker: Kafka, new_topic: NewTopic, send: Send) -> None:
    topic = new_topic()
    send(topic, events(1, 2, 3))
    servers = broker.bootstrap_servers
    with pytest.raises(
        ParameterError, match=f"{topic}-0: since is offset 4, behind the end at offset 3"
    ):
        replay(topic, bootstrap_servers=servers, since={0: 4})
    with pytest.raises(
        ParameterError, match=f"{topic}-0: since is offset 2, behind the end at offset 1"
    ):
        replay(topic, bootstrap_servers=servers, since={0: 2}, until={0: 1})
    with pytest.raises(
        ParameterError, match=f"{topic}-0: until is offset 4, but the log can be read to offset 3"
    ):
        replay(topic, bootstrap_servers=servers, until={0: 4})
    with pytest.raises(ParameterError, match="is not before until"):
        replay(topic, bootstrap_servers=servers, since=at(NOON), until=at(NOON))


def test_fault_06_end_before_log_start(
    broker: Kafka, new_topic: NewTopic, send: Send, admin: KafkaAdminClient
) -> None:
    """An end that was asked for and has gone.

    A broker that itself says such a thing is in tests/kafka/test_log.py.
    """
    topic = new_topic()
    send(topic, events(*range(6)))
    admin.delete_records({TopicPartition(topic, 0): 4})
    for since in ({0: 1}, at(NOON)):
        with pytest.raises(IncompleteReplay, match="offsets 0 to 3 are gone") as caught:
            replay(topic, bootstrap_servers=broker.bootstrap_servers, since=since, until={0: 3})
        assert caught.value.verdict == "truncated"


@pytest.mark.parametrize("lies", [1, 2])
def test_fault_06_an_end_that_cannot_be_is_asked_for_again_by_a_replay(
    broker: Kafka, new_topic: NewTopic, send: Send, monkeypatch: pytest.MonkeyPatch, lies: int
) -> None:
    """The broker is a real one; what is not true is put into its mouth."""
    topic, ends, asked = new_topic(), wire.end_offsets, []
    send(topic, events(*range(6)))

    def lying(
        consumer: object, places: list[TopicPartition], *, committed: bool, **options: Any
    ) -> Any:
        asked.append(committed)
        lie = committed and asked.count(True) <= lies
        return (
            dict.fromkeys(places, -1)
            if lie
            else ends(consumer, places, committed=committed, **options)
        )

    monkeypatch.setattr(wire, "end_offsets", lying)
    if lies == 1:
        found = replay(topic, bootstrap_servers=broker.bootstrap_servers)
        assert (found.verdict, numbers(found.events)) == ("complete", list(range(6)))
    else:
        with pytest.raises(
            KafkaError, match=f"{topic}-0: the broker says .* is stable to -1 .*nothing was read"
        ):
            replay(topic, bootstrap_servers=broker.bootstrap_servers)


@pytest.mark.usefixtures("small_fetches")
def test_fault_07_records_appended_meanwhile_are_left_out_exactly_at_the_end(
    broker: Kafka, new_topic: NewTopic, send: Send
) -> None:
    topic = new_topic(2)
    for partition in (0, 1):
        for i in range(0, 300, 10):
            send(topic, events(*range(i, i + 10)), partition=partition)
    going, stop = threading.Event(), threading.Event()

    def append() -> None:
        with KafkaProducer(bootstrap_servers=broker.bootstrap_servers, linger_ms=0) as producer:
            i = 300
            while not stop.is_set():
                for partition in (0, 1):
                    producer.send(topic, event(i), key=b"k", partition=partition)
                producer.flush()
                going.set()
                i += 1

    thread = threading.Thread(target=append)
    thread.start()
    try:
        assert going.wait(10)
        found = replay(topic, bootstrap_servers=broker.bootstrap_servers)
    finally:
        stop.set()
        thread.join()
    ends = found.coverage["end"].to_list()
    later = replay(topic, bootstrap_servers=broker.bootstrap_servers).coverage["end"].to_list()
    assert found.verdict == "complete"
    assert all(300 < end < after for end, after in zip(ends, later, strict=True))
    assert numbers(found.events) == [i for end in ends for i in range(end)]
    assert found.coverage["delivered"].to_list() == ends


@pytest.fixture(scope="module")
def beheaded(new_topic: NewTopic, send: Send, admin: KafkaAdminClient) -> str:
    """Partition 0 begins at offset 5, in the middle of a batch, partition 1 at 0, and partition 2
    is empty behind 3.
    """
    topic = new_topic(3)
    for i in range(10):
        send(topic, [event(i)], time=NOON + i // 2)
        send(topic, [event(100 + i)], time=NOON + i // 2, partition=1)
    send(topic, events(200, 201, 202), time=NOON, partition=2)
    admin.delete_records({TopicPartition(topic, 0): 5, TopicPartition(topic, 2): 3})
    return topic


def test_fault_10_head_gone_before_the_read(broker: Kafka, beheaded: str) -> None:
    with pytest.raises(IncompleteReplay) as caught:
        replay(beheaded, bootstrap_servers=broker.bootstrap_servers, partitions=[0, 1])
    text = str(caught.value)
    assert caught.value.verdict == "truncated"
    assert (
        f"{beheaded}-0: offsets 0 to 4 are gone, the first still held is 5, of "
        "2026-03-02T12:00:00.002" in text
    )
    assert "Give since=2026-03-02T12:00:00.003000+00:00 or later and opening=" in text
    assert "allow_incomplete=True" in text
    assert caught.value.coverage["verdict"].to_list() == ["truncated", "not read"]


def test_fault_10_what_the_error_advises_is_accepted(broker: Kafka, beheaded: str) -> None:
    found = replay(
        beheaded,
        bootstrap_servers=broker.bootstrap_servers,
        partitions=[0, 1],
        since="2026-03-02T12:00:00.003+00:00",
    )
    assert found.verdict == "complete"
    assert numbers(found.events) == [6, 7, 8, 9, 106, 107, 108, 109]
    assert found.coverage["outside"].to_list() == [1, 6]
    assert "the head of 1 partition(s) is gone" in " ".join(found.notes)


def test_fault_10_since_as_old_as_the_first_event_still_held_does_not_cover(
    broker: Kafka, beheaded: str
) -> None:
    """Offset 4, which is gone, has the time of offset 5, which is held."""
    for since in (NOON + 2, NOON + 1, 0):
        with pytest.raises(
            IncompleteReplay, match=r"Give since=2026-03-02T12:00:00.003000\+00:00 or later"
        ):
            replay(
                beheaded,
                bootstrap_servers=broker.bootstrap_servers,
                partitions=[0, 1],
                since=at(since),
            )


def test_fault_10_nothing_left_of_a_partition(broker: Kafka, beheaded: str) -> None:
    """Nobody can say how old what is gone was: offsets are the way."""
    for since in (None, at(NOON + 10_000)):
        with pytest.raises(
            IncompleteReplay,
            match=rf"Give since=\{{'{beheaded}-2': 3\}}, the first offsets still held",
        ):
            replay(
                beheaded, bootstrap_servers=broker.bootstrap_servers, partitions=[2], since=since
            )
    found = replay(
        beheaded,
        bootstrap_servers=broker.bootstrap_servers,
        partitions=[2],
        since={f"{beheaded}-2": 3},
    )
    assert (found.verdict, len(found.events)) == ("complete", 0)


def test_fault_10_offsets_from_the_first_still_held_on_are_complete(
    broker: Kafka, beheaded: str
) -> None:
    servers = broker.bootstrap_servers
    found = replay(beheaded, bootstrap_servers=servers, partitions=[0], since={0: 5})
    assert (found.verdict, numbers(found.events)) == ("complete", [5, 6, 7, 8, 9])
    with pytest.raises(IncompleteReplay, match="offsets 0 to 4 are gone"):
        replay(beheaded, bootstrap_servers=servers, partitions=[0], since={0: 4})


def test_fault_10_counted_when_allowed(broker: Kafka, beheaded: str) -> None:
    found = replay(beheaded, bootstrap_servers=broker.bootstrap_servers, allow_incomplete=True)
    assert found.verdict == "truncated"
    assert found.coverage["verdict"].to_list() == ["truncated", "complete", "truncated"]
    assert found.coverage["lost"].to_list() == [5, 0, 3]
    assert numbers(found.events) == [*range(5, 10), *range(100, 110)]
    assert "offsets 0 to 4 are gone" in found.notes[0]
    assert "allow_incomplete" not in found.notes[0]


def test_fault_13_partitions_added_during_the_read_are_noted(
    broker: Kafka,
    new_topic: NewTopic,
    send: Send,
    admin: KafkaAdminClient,
    during_the_read: Callable[[Callable[[], object]], None],
) -> None:
    topic = new_topic(2)
    for i in range(5):
        send(topic, [event(i)], partition=i % 2)

    def add() -> None:
        admin.create_partitions({topic: 4})
        deadline = time.monotonic() + 10
        while not broker.log_dir(topic, 3).exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        with KafkaProducer(bootstrap_servers=broker.bootstrap_servers) as producer:
            producer.send(topic, event(9), key=b"k", partition=3).get(timeout=10)

    during_the_read(add)
    found = replay(topic, bootstrap_servers=broker.bootstrap_servers)
    assert found.verdict == "complete"
    assert numbers(found.events) == [0, 2, 4, 1, 3]
    (note,) = found.notes
    assert "got 2 new partition(s) during the read (2, 3)" in note
