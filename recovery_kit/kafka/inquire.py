"""What a broker can say of a log besides its records: whether it is compacted, and who holds a
transaction open.

None of it is needed for a verdict, so that whoever may not ask, or asks an old broker, simply
learns nothing.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError as LibraryError

from recovery_kit._show import shorten
from recovery_kit.kafka import wire
from recovery_kit.kafka.waiting import leader

if TYPE_CHECKING:
    from recovery_kit.sources.span import Span

_TOPIC = 2  # the number of this kind of resource in DescribeConfigs


def cleanup_policies(
    consumer: KafkaConsumer, topics: Iterable[str], *, timeout: float = 2.0
) -> dict[str, str]:
    """The cleanup.policy of those topics whose settings may be seen.

    One request on a connection that is there.
    """
    from kafka.protocol.admin import DescribeConfigsRequest

    wanted = [(_TOPIC, topic, ["cleanup.policy"]) for topic in topics]
    found = {}
    with suppress(LibraryError):
        answer = wire.ask(
            consumer, DescribeConfigsRequest(resources=wanted, min_version=0), timeout=timeout
        )
        for result in answer.results:
            for config in result.configs:
                found[result.resource_name] = str(config.value)
    return found


def open_transactions(
    consumer: KafkaConsumer, partitions: Iterable[TopicPartition], *, timeout: float = 5.0
) -> dict[TopicPartition, str]:
    """Who holds a transaction open on each partition, and since when, as far as the brokers tell.

    Brokers tell it since Apache Kafka 3.0: the producer to whoever may read the topic, the
    transactional id to whoever may Describe that.
    """
    found: dict[TopicPartition, str] = {}
    names: dict[int, str] = {}
    for partition in partitions:
        with suppress(LibraryError):
            holders = list(_producers(consumer, partition, timeout))
            if new := [p.producer_id for p in holders if p.producer_id not in names]:
                names |= _transactions(consumer, new, timeout)
            said = [names.get(p.producer_id) or _producer(p) for p in holders]
            if said:
                found[partition] = "; ".join(said[:3]) + (
                    f"; and {len(said) - 3} more" if len(said) > 3 else ""
                )
    return found


def _producers(consumer: KafkaConsumer, partition: TopicPartition, timeout: float) -> Iterator[Any]:
    """Those with a transaction open, the one that holds the last stable offset back first."""
    from kafka.protocol.admin import DescribeProducersRequest

    request = DescribeProducersRequest(
        topics=[
            DescribeProducersRequest.TopicRequest(
                name=partition.topic, partition_indexes=[partition.partition]
            )
        ]
    )
    answer = wire.ask(consumer, request, node=leader(consumer, partition), timeout=timeout)
    active = answer.topics[0].partitions[0].active_producers or []
    yield from sorted(
        (p for p in active if p.current_txn_start_offset >= 0),
        key=lambda p: p.current_txn_start_offset,
    )


def _producer(producer: Any) -> str:
    return (
        f"producer {producer.producer_id}, from offset {producer.current_txn_start_offset} on, "
        f"which last wrote at {_when(producer.last_timestamp)}"
    )


def _transactions(consumer: KafkaConsumer, producers: list[int], timeout: float) -> dict[int, str]:
    """Producer id to words about its transaction.

    Asked of every broker, for any may coordinate it.
    """
    from kafka.protocol.admin import DescribeTransactionsRequest, ListTransactionsRequest

    found = {}
    for node in wire.nodes(consumer):
        with suppress(LibraryError):
            listing = ListTransactionsRequest(
                state_filters=[], producer_id_filters=producers, min_version=0
            )
            answer = wire.ask(consumer, listing, node=node, timeout=timeout)
            listed = [t.transactional_id for t in answer.transaction_states]
            if not listed:
                continue
            asked = DescribeTransactionsRequest(transactional_ids=listed)
            for t in wire.ask(consumer, asked, node=node, timeout=timeout).transaction_states:
                if t.error_code == 0 and t.transaction_start_time_ms >= 0:
                    found[t.producer_id] = (
                        f"transactional id {shorten(t.transactional_id)!r} (producer "
                        f"{t.producer_id}), since {_when(t.transaction_start_time_ms)}; it times "
                        f"out after {t.transaction_timeout_ms / 1000:g} s"
                    )
    return found


def _when(ms: int) -> str:
    return (
        datetime.datetime.fromtimestamp(ms / 1000, datetime.UTC)
        .isoformat(timespec="seconds")
        .replace("+00:00", "Z")
    )


def compaction(consumer: KafkaConsumer, spans: list[Span]) -> list[str]:
    """Notes on topics that have compaction on."""
    return [
        f"topic {name!r} has compaction on (cleanup.policy={policy}): a total is right only while "
        "its cleaner has taken nothing"
        for name, policy in cleanup_policies(consumer, sorted({s.topic for s in spans})).items()
        if "compact" in policy
    ]


def open_tails(consumer: KafkaConsumer, spans: list[Span]) -> list[str]:
    """Notes on partitions that are read up to an open transaction, and on who holds it open."""
    behind = [s for s in spans if s.high_watermark > s.stable and s.end == s.stable]
    holders = open_transactions(consumer, [wire.where(s) for s in behind]) if behind else {}
    notes = []
    for s in behind:
        held = f"; it is held open by {holders[wire.where(s)]}" if wire.where(s) in holders else ""
        notes.append(
            f"{s}: {s.high_watermark - s.stable:,} records lie behind an open transaction, from "
            f"offset {s.stable} on; what is read ends there{held}"
        )
    return notes
