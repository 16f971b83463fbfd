"""What brokers say besides the records, asked over the connections that the consumer has."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaTimeoutError

from recovery_kit.kafka import inquire, log, wire
from recovery_kit.kafka.waiting import obstacles
from recovery_kit.sandbox import Kafka


@pytest.fixture
def consumer(broker: Kafka) -> Iterator[KafkaConsumer]:
    with wire.connected(broker.bootstrap_servers, None, timeout=10) as made:
        yield made


def test_what_is_used_of_kafka_python_is_there(consumer: KafkaConsumer) -> None:
    assert callable(consumer._manager.send)
    assert isinstance(consumer._manager._conns, dict)
    assert consumer.config["security_protocol"] == "PLAINTEXT"
    for name in ("brokers", "leader_for_partition", "broker_metadata"):
        assert callable(getattr(consumer._cluster, name))
    for name in ("maybe_validate_positions", "validate_offsets_if_needed"):
        assert callable(getattr(consumer._fetcher, name))


def test_cleanup_policies_are_asked_for_on_a_connection_that_is_there(
    broker: Kafka, consumer: KafkaConsumer
) -> None:
    broker.create_topic("inquired", config={"cleanup.policy": "compact"})
    broker.create_topic("inquired-too")
    before = set(threading.enumerate())
    found = inquire.cleanup_policies(consumer, ["inquired", "inquired-too", "never-made"])
    assert found == {"inquired": "compact", "inquired-too": "delete"}
    assert set(threading.enumerate()) == before


def test_whoever_gets_no_answer_learns_nothing(broker: Kafka, consumer: KafkaConsumer) -> None:
    broker.create_topic("unanswered")
    place = TopicPartition("unanswered", 0)
    assert inquire.cleanup_policies(consumer, ["unanswered"], timeout=0) == {}
    assert (
        inquire.open_transactions(consumer, [place, TopicPartition("never-made", 0)], timeout=0)
        == {}
    )
    with pytest.raises(KafkaTimeoutError):
        wire.end_offsets(consumer, [TopicPartition("never-made", 0)], committed=True, timeout=0)


def test_a_partition_without_transactions_names_nobody(
    broker: Kafka, consumer: KafkaConsumer
) -> None:
    broker.create_topic("no-transactions")
    assert wire.describe(consumer, "no-transactions", 10)
    assert inquire.open_transactions(consumer, [TopicPartition("no-transactions", 0)]) == {}


def test_what_a_partition_waits_for(broker: Kafka, consumer: KafkaConsumer) -> None:
    broker.create_topic("waited-for")
    place = TopicPartition("waited-for", 0)
    assert obstacles(consumer, [place]) == {place: "the cluster does not name it any more"}
    assert wire.describe(consumer, "waited-for", 10)
    assert obstacles(consumer, [place])[place].endswith(f" broker 1 at {broker.bootstrap_servers}")
    wire.log_starts(consumer, [place], timeout=10)
    assert obstacles(consumer, [place]) == {
        place: f"no answer from broker 1 at {broker.bootstrap_servers}"
    }


def test_what_is_written_between_two_questions_is_not_behind_an_open_transaction(
    broker: Kafka, consumer: KafkaConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.create_topic("written-meanwhile")
    place, end_offsets = TopicPartition("written-meanwhile", 0), wire.end_offsets
    with KafkaProducer(bootstrap_servers=broker.bootstrap_servers) as producer:

        def and_write(*args: Any, **options: Any) -> Any:
            producer.send("written-meanwhile", b"x", partition=0).get(timeout=10)
            return end_offsets(*args, **options)

        monkeypatch.setattr(wire, "end_offsets", and_write)
        assert wire.describe(consumer, "written-meanwhile", 10)
        (span,) = log.capture(consumer, [place], {}, {}, whole=True, timeout=10)
    assert (span.end, span.stable, span.high_watermark) == (2, 2, 2)
