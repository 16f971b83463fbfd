"""What the kit uses of kafka-python's insides.

A new kafka-python that changes it fails here, and says what.
"""

from __future__ import annotations

import ast
import inspect
import socket
import textwrap
import threading
from types import SimpleNamespace
from typing import Any

import kafka
import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.consumer.fetcher import Fetcher
from kafka.errors import KafkaTimeoutError
from kafka.net.manager import KafkaConnectionManager
from kafka.record import MemoryRecords

from recovery_kit.errors import CorruptLog, KafkaError
from recovery_kit.kafka import log, wire
from recovery_kit.kafka.deliver import decode
from recovery_kit.replay import replay
from recovery_kit.sandbox import Kafka
from tests.kafka.build import GZIP, Record, batch, legacy
from tests.messages import NOON

PARTITION = TopicPartition("t", 0)


def undecoded(data: bytes, asked: int = 0, aborted: Any = None) -> wire._Undecoded:
    return wire._Undecoded(
        asked, PARTITION, MemoryRecords(data), on_drain=lambda _: None, aborted_transactions=aborted
    )


# --- what a new kafka-python must still have


def test_the_version_is_one_that_was_looked_at() -> None:
    """A new minor version: read its consumer/fetcher.py against wire.py, then raise this."""
    assert kafka.__version__.split(".")[:2] == ["3", "0"]


def test_the_fetcher_makes_its_partition_records_as_it_did() -> None:
    assert list(inspect.signature(Fetcher.PartitionRecords.__init__).parameters) == [
        "self",
        "fetch_offset",
        "tp",
        "records",
        "key_deserializer",
        "value_deserializer",
        "check_crcs",
        "isolation_level",
        "aborted_transactions",
        "metric_aggregator",
        "on_drain",
    ]
    assert "self.PartitionRecords(fetch_offset, tp, records," in inspect.getsource(
        Fetcher._parse_fetched_data
    )


def test_the_stand_in_has_all_that_the_fetcher_asks_of_partition_records() -> None:
    tree = ast.parse(textwrap.dedent(inspect.getsource(Fetcher)))
    body = [node for node in tree.body[0].body if not isinstance(node, ast.ClassDef)]
    names = {"part", "parked", "partition_records", "self._next_partition_records"}
    asked = {
        node.attr
        for method in body
        for node in ast.walk(method)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in names
    }
    assert asked == {
        "take",
        "drain",
        "next_fetch_offset",
        "leader_epoch",
        "topic_partition",
        "bytes_read",
    }
    assert asked <= set(dir(undecoded(b"")))


def test_append_takes_and_then_goes_on_from_the_next_fetch_offset() -> None:
    source = inspect.getsource(Fetcher._append)
    steps = [
        "part.next_fetch_offset == position.offset",
        "part_records = part.take(max_records)",
        "drained[tp].extend(part_records)",
        "part.next_fetch_offset, '', part.leader_epoch)",
        "return len(part_records)",
        "part.drain()",
    ]
    places = [source.find(step) for step in steps]
    assert -1 not in places
    assert places == sorted(places)


def test_what_is_used_of_a_consumer_is_there(broker: Kafka) -> None:
    with wire.connected(broker.bootstrap_servers, None, timeout=10) as consumer:
        assert consumer._fetcher.PartitionRecords.func is wire._Undecoded
        assert (
            consumer._fetcher._isolation_level
            == kafka.protocol.consumer.IsolationLevel.READ_COMMITTED
        )
        assert callable(consumer._net.run)
        assert callable(consumer._manager.wait_for)
        assert isinstance(consumer._cluster.unauthorized_topics, set)
        for name in ("add_topic", "request_update", "partitions_for_topic", "topic_id"):
            assert callable(getattr(consumer._cluster, name))
        assert "retry_age = now - self._last_refresh_ms" in inspect.getsource(
            type(consumer._cluster).ttl
        )
        assert isinstance(MemoryRecords(b"")._buffer, bytes)


# --- what the stand-in makes of fetched bytes


def test_a_fetch_is_handed_on_as_it_came() -> None:
    data = bytes(batch([Record(5), Record(7)], base=4, last=8) + batch([Record(9)]))
    part = undecoded(data + data[:30], 5)
    assert part
    (fetch,) = part.take()
    assert (fetch.asked, len(fetch.batches), bytes(fetch.records[: len(data)])) == (5, 2, data)
    assert (part.next_fetch_offset, part.leader_epoch, bool(part)) == (10, 7, False)


def test_a_fetch_with_no_whole_batch_hands_on_nothing() -> None:
    part = undecoded(bytes(batch([Record(5)]))[:-1], 5)
    assert (part.take(), part.next_fetch_offset, bool(part)) == ([], 5, False)


def test_a_fetch_of_two_formats_is_handed_on_in_two() -> None:
    data = (
        legacy([Record(0), Record(1)], 1)
        + legacy([Record(2, b"x" * 50), Record(3)], 1, GZIP)
        + batch([Record(4)])
    )
    one, two = undecoded(bytes(data), 0).take()
    assert [b.last_offset for b in one.batches] == [0, 1, 3]
    assert (one.asked, two.asked, two.batches[0].base_offset) == (0, 4, 4)


def test_damage_names_the_partition() -> None:
    data = batch([Record(5)])
    data[16] = 9
    with pytest.raises(CorruptLog, match=r"t-0: .* format v9"):
        undecoded(bytes(data)).take()


# --- on a broker


@pytest.fixture(scope="module")
def topic(broker: Kafka) -> str:
    broker.create_topic("wire", partitions=2)
    with KafkaProducer(bootstrap_servers=broker.bootstrap_servers) as producer:
        for _ in range(3):
            producer.send(
                "wire", b'{"id":"e","type":"add","value":1}', partition=0, timestamp_ms=NOON
            ).get(timeout=10)
    return "wire"


def test_nothing_is_made_joined_or_committed(
    broker: Kafka, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    send = KafkaConnectionManager.send

    def spy(self: Any, request: Any, *args: Any, **options: Any) -> Any:
        asked.append(request)
        return send(self, request, *args, **options)

    monkeypatch.setattr(KafkaConnectionManager, "send", spy)
    with KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers) as admin:
        before = admin.list_groups(), admin.list_topics()
        asked.clear()
        replay(topic, bootstrap_servers=broker.bootstrap_servers)
        with pytest.raises(KafkaError, match="no topic 'wire-never'"):
            replay("wire-never", bootstrap_servers=broker.bootstrap_servers)
        kinds = {type(request).__name__ for request in asked}
        looks = [r for r in asked if type(r).__name__ == "MetadataRequest" and r.topics]
        assert (admin.list_groups(), admin.list_topics()) == before
    assert {"MetadataRequest", "ListOffsetsRequest", "FetchRequest"} <= kinds
    assert all(
        kind.startswith(("Metadata", "ListOffsets", "Fetch", "Describe", "OffsetForLeaderEpoch"))
        for kind in kinds
    )
    assert looks
    assert not any(r.allow_auto_topic_creation for r in looks)


def test_a_replay_leaves_no_thread_behind(broker: Kafka, topic: str) -> None:
    before = set(threading.enumerate())
    replay(topic, bootstrap_servers=broker.bootstrap_servers)
    with pytest.raises(KafkaError):
        replay("wire-never", bootstrap_servers=broker.bootstrap_servers)
    assert set(threading.enumerate()) <= before


@pytest.mark.usefixtures("dead_brokers")
def test_a_consumer_that_cannot_bootstrap_leaves_no_thread_behind() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        options: dict[str, object] = {"bootstrap_servers": [f"127.0.0.1:{closed.getsockname()[1]}"]}
        before = set(threading.enumerate())
        with pytest.raises(KafkaTimeoutError):
            wire.open_consumer(options, timeout=0.2)
        assert set(threading.enumerate()) <= before


def test_an_error_of_the_library_becomes_one_of_ours(broker: Kafka) -> None:
    before = set(threading.enumerate())
    with (
        pytest.raises(
            KafkaError, match=r"KafkaTimeoutError: no answer\. A connection of its own works now"
        ),
        wire.connected(broker.bootstrap_servers, None, timeout=10),
    ):
        raise KafkaTimeoutError("no answer")
    assert set(threading.enumerate()) <= before


def test_topics_as_the_cluster_has_them(broker: Kafka, topic: str) -> None:
    with wire.connected(broker.bootstrap_servers, None, timeout=10) as consumer:
        found = wire.describe(consumer, topic, 10)
        assert found is not None
        assert (found.partitions, found.id is not None) == ({0, 1}, True)
        assert wire.describe(consumer, "wire-never", 10) is None
        assert wire.describe(consumer, topic, 10) == found
        with pytest.raises(ValueError, match="a b"):
            wire.describe(consumer, "a b", 10)


def test_ends_before_and_behind_an_open_transaction(broker: Kafka) -> None:
    broker.create_topic("wire-open")
    places = [TopicPartition("wire-open", 0)]
    with KafkaProducer(
        bootstrap_servers=broker.bootstrap_servers, transactional_id="wire"
    ) as producer:
        producer.init_transactions()
        producer.begin_transaction()
        producer.send("wire-open", b"x", partition=0).get(timeout=10)
        with wire.connected(broker.bootstrap_servers, None, timeout=10) as consumer:
            ends = [
                wire.end_offsets(consumer, places, committed=c, timeout=10)[places[0]]
                for c in (True, False, True)
            ]
            assert ends == [0, 1, 0]
            assert (
                consumer._fetcher._isolation_level
                == kafka.protocol.consumer.IsolationLevel.READ_COMMITTED
            )
        producer.abort_transaction()


def test_a_partition_without_a_leader_is_asked_for_again_and_then_named() -> None:
    """kafka-python leaves it out of the answer, and then does not find it there."""
    answers: list[dict[TopicPartition, int] | KeyError] = [
        KeyError(PARTITION),
        KeyError(PARTITION),
        {PARTITION: 7},
    ]

    def ask(_: list[TopicPartition], *, timeout_ms: int) -> dict[TopicPartition, int]:
        assert timeout_ms <= 5000
        answer = answers.pop(0)
        if isinstance(answer, KeyError):
            raise answer
        return answer

    assert wire._offsets(None, ask, [PARTITION], 5.0) == {PARTITION: 7}

    def never(*_: object, **__: object) -> dict[TopicPartition, int]:
        raise KeyError(PARTITION)

    with pytest.raises(KafkaError, match="t-0 has no leader"):
        wire._offsets(None, never, [PARTITION], 0.2)


def test_a_leader_that_has_left_the_cluster_is_looked_for_again(
    broker: Kafka, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kafka-python raises what is no error to retry, out of a poll and out of a look-up."""
    with wire.connected(broker.bootstrap_servers, None, timeout=10) as consumer:
        for name in ("poll", "end_offsets"):
            real, left = getattr(consumer, name), [kafka.errors.UnknownBrokerIdError(7)]

            def gone(
                *args: Any, real: Any = real, left: list[Exception] = left, **options: Any
            ) -> Any:
                if left:
                    raise left.pop()
                return real(*args, **options)

            monkeypatch.setattr(consumer, name, gone)
        (span,) = log.capture(consumer, [TopicPartition(topic, 0)], {}, {}, whole=True, timeout=10)
        read = sum(len(decode(d)) for _, d in log.read_spans(consumer, [span], timeout=10))
    assert (read, span.done) == (3, True)


def test_leaders_that_do_not_tell_whether_the_log_is_the_same_are_a_time_out(
    broker: Kafka, topic: str
) -> None:
    place = TopicPartition(topic, 0)
    with wire.connected(broker.bootstrap_servers, None, timeout=10) as consumer:
        consumer.assign([place])
        consumer.seek(place, 0)
        while not wire.poll(consumer, 0.5):
            pass
        wire.validate(consumer, 10)
        consumer._subscription.assignment[place].request_position_validation()
        with pytest.raises(KafkaTimeoutError, match=f"{topic}-0 did not tell in time"):
            wire.validate(consumer, 0)
        wire.validate(consumer, 10)


def test_a_look_up_that_hangs_is_asked_again_of_whoever_leads_by_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wire, "_PATIENCE", 0.1)
    looked = []
    consumer = SimpleNamespace(_cluster=SimpleNamespace(request_update=lambda: looked.append(True)))

    def ask(_: list[TopicPartition], *, timeout_ms: int) -> dict[TopicPartition, int]:
        if len(looked) < 2:
            raise kafka.errors.KafkaTimeoutError(f"nothing in {timeout_ms} ms")
        return {PARTITION: 7}

    assert wire._offsets(consumer, ask, [PARTITION], 60.0) == {PARTITION: 7}
    looked.clear()
    with pytest.raises(kafka.errors.KafkaTimeoutError):
        wire._offsets(consumer, ask, [PARTITION], 0.1)
