"""What the kit knows of kafka-python's insides, all in this one place but for how it receives
(`receive`).

A consumer's poll makes a Python object a record. The kit wants the fetched bytes as they came: it
puts `_Undecoded` in the place of the one inner class that takes them apart
(``Fetcher.PartitionRecords``), and leaves fetch sessions, leaders, retries and epochs to the
library. ``tests/kafka/test_wire.py`` fails when a new kafka-python changes what is used here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError as LibraryError
from kafka.errors import (
    KafkaTimeoutError,
    LeaderNotAvailableError,
    RetriableError,
    TopicAuthorizationFailedError,
    UnknownBrokerIdError,
    UnknownTopicOrPartitionError,
)
from kafka.net.compat import KafkaNetClient
from kafka.protocol.consumer import IsolationLevel

from recovery_kit.errors import KafkaError
from recovery_kit.kafka.batches import MOST, Fetch, split
from recovery_kit.kafka.client.connection import client_options, explain_failure, require_connection
from recovery_kit.kafka.receive import in_place
from recovery_kit.kafka.thread import close, release, watch, watched
from recovery_kit.kafka.waiting import OnWait, Waiting, unheard

if TYPE_CHECKING:
    from recovery_kit.sources.span import Span

FETCH_BYTES = 16 << 20
PARTITION_BYTES = 4 << 20
WAIT_MS = 20
"""How long a broker may hold back the answer about partitions that are read to their end.

What is asked next waits behind it.
"""
_PATIENCE = 5.0
"""Seconds for one look-up of offsets, of which there may be several within a time-out."""


def where(span: Span) -> TopicPartition:
    """A span's topic and partition, as kafka-python wants them."""
    return TopicPartition(span.topic, span.partition)


class _Undecoded:
    """Stands in for PartitionRecords: hands the bytes of one partition of one fetch on as a single
    "record".
    """

    def __init__(
        self,
        fetch_offset: int,
        tp: TopicPartition,
        records: Any,
        *,
        most: int = MOST,
        **options: Any,
    ) -> None:
        self.fetch_offset = self.next_fetch_offset = fetch_offset
        self.topic_partition = tp
        self.leader_epoch = -1
        self.bytes_read = records.size_in_bytes()
        self._records = memoryview(records._buffer)
        self._aborted = [
            (t.first_offset, t.producer_id) for t in options.get("aborted_transactions") or []
        ]
        self._on_drain, self._most = options["on_drain"], most
        self._whole = False

    def __bool__(self) -> bool:
        return not self._whole

    def take(self, n: int | None = None) -> list[Fetch]:  # noqa: ARG002
        tp = self.topic_partition
        fetches = []
        # A segment that was begun before a topic's message format was raised holds the old one,
        # then the new.
        for _, same in groupby(
            split(self._records, f"{tp.topic}-{tp.partition}"), key=lambda batch: batch.magic < 2
        ):
            batches = list(same)
            fetches.append(
                Fetch(
                    tp.topic,
                    tp.partition,
                    self.next_fetch_offset,
                    self._records,
                    batches,
                    self._aborted,
                    self._most,
                )
            )
            self.next_fetch_offset = batches[-1].last_offset + 1
            self.leader_epoch = batches[-1].leader_epoch
        self.drain()
        return fetches

    def drain(self) -> None:
        if not self._whole:
            self._whole = True
            self._on_drain(self)


def open_consumer(
    options: dict[str, object], *, committed: bool = True, timeout: float = 30.0, most: int = MOST
) -> KafkaConsumer:
    """A consumer that belongs to no group, commits nothing, creates nothing, and hands on undecoded
    fetches, each to decompress to ``most`` bytes at most.

    Raises whatever kafka-python raises when it cannot bootstrap within ``timeout`` seconds.
    """
    clients, failed = [], []

    def client(**config: Any) -> KafkaNetClient:
        clients.append(KafkaNetClient(**config))
        in_place(clients[0]._manager)
        failed.append(watch(clients[0], options))
        return clients[0]

    try:
        consumer = _make(client, options, committed=committed, timeout=timeout)
    except BaseException:
        for one in clients:  # kafka-python 3.0.12 leaves its thread running
            release(one)
        raise
    fetcher = consumer._fetcher
    fetcher.PartitionRecords = partial(_Undecoded, most=most)
    fetcher._handle_fetch_response = watched(fetcher._handle_fetch_response, failed[0])
    # kafka-python 3.0.12 does not hand allow_auto_create_topics on to its metadata requests.
    consumer._cluster.config["allow_auto_create_topics"] = False
    return consumer


def _make(
    client: object, options: Mapping[str, object], *, committed: bool, timeout: float
) -> KafkaConsumer:
    return KafkaConsumer(
        **{
            "kafka_client": client,
            "group_id": None,
            "enable_auto_commit": False,
            "auto_offset_reset": "none",
            "allow_auto_create_topics": False,
            "isolation_level": "read_committed" if committed else "read_uncommitted",
            "fetch_max_bytes": FETCH_BYTES,
            "max_partition_fetch_bytes": PARTITION_BYTES,
            "fetch_max_wait_ms": WAIT_MS,
            "metrics_enabled": False,
            "bootstrap_timeout_ms": int(timeout * 1000),
            **options,
        }
    )


@contextmanager
def connected(
    bootstrap_servers: str | list[str] | None,
    client_config: str | Path | None,
    *,
    timeout: float,
    most: int = MOST,
    more: Mapping[str, object] = MappingProxyType({}),
) -> Iterator[KafkaConsumer]:
    """A consumer for the length of a with block.

    A cluster that cannot be reached, then or later, is a KafkaError.

    ``most`` as for `open_consumer`; ``more`` are settings of kafka-python that take precedence.
    """
    options = client_options(bootstrap_servers, client_config)
    require_connection(options, min(timeout, 10.0))
    try:
        consumer = open_consumer({**options, **more}, timeout=min(timeout, 10.0), most=most)
        try:
            yield consumer
        finally:
            close(consumer)
    except LibraryError as error:
        raise explain_failure(error, options) from None


def poll(consumer: KafkaConsumer, timeout: float) -> list[Fetch]:
    """Fetches that have arrived, at the latest after ``timeout`` seconds.

    The next ones are then already asked for.
    """
    try:
        arrived = consumer.poll(timeout_ms=int(timeout * 1000))
    except (
        UnknownBrokerIdError
    ) as error:  # kafka-python 3.0.12: the leader that it knows of has left the cluster
        consumer._cluster.request_update()
        raise LeaderNotAvailableError(str(error)) from None
    if arrived:
        # So that the next ones are on the wire while these are decoded: kafka-python 3.0.12 asks
        # for them itself only where it did not have to wait for these. What cannot be asked for now
        # is asked for, and told, by the next poll.
        with suppress(LibraryError):
            consumer._fetcher.send_fetches()
    return [fetch for fetches in arrived.values() for fetch in fetches]


def log_starts(
    consumer: KafkaConsumer,
    partitions: list[TopicPartition],
    *,
    timeout: float,
    on_wait: OnWait = unheard,
) -> dict[TopicPartition, int]:
    """First offsets that the brokers still have."""
    return _offsets(consumer, consumer.beginning_offsets, partitions, timeout, on_wait)


def end_offsets(
    consumer: KafkaConsumer,
    partitions: list[TopicPartition],
    *,
    committed: bool,
    timeout: float,
    on_wait: OnWait = unheard,
) -> dict[TopicPartition, int]:
    """Last stable offsets (``committed``) or high watermarks, whichever way the consumer itself
    reads.
    """
    fetcher = consumer._fetcher
    kept = fetcher._isolation_level
    fetcher._isolation_level = (
        IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
    )
    try:
        return _offsets(consumer, consumer.end_offsets, partitions, timeout, on_wait)
    finally:
        fetcher._isolation_level = kept


def _offsets(
    consumer: KafkaConsumer,
    ask: Callable[..., dict[TopicPartition, int]],
    partitions: list[TopicPartition],
    timeout: float,
    on_wait: OnWait = unheard,
) -> dict[TopicPartition, int]:
    waiting = Waiting(on_wait)
    while True:
        left = timeout - waiting.seconds
        try:
            return ask(partitions, timeout_ms=int(1000 * max(0.1, min(left, _PATIENCE))))
        except (KafkaTimeoutError, UnknownBrokerIdError) as error:
            if left <= (_PATIENCE if isinstance(error, KafkaTimeoutError) else 0):
                raise
            # The leader that was asked may have frozen or left, and another may lead by now: look,
            # and ask again.
            consumer._cluster.request_update()
        except (
            KeyError
        ) as without:  # kafka-python 3.0.12 leaves out a partition that has no leader just now
            tp = without.args[0]
            if left <= 0:
                raise KafkaError(
                    f"{tp.topic}-{tp.partition} has no leader, so that it cannot be read; look at "
                    "the brokers"
                ) from None
        waiting.tell(consumer, partitions)
        waiting.pause(timeout - waiting.seconds)


def ask(consumer: KafkaConsumer, request: Any, *, node: int | None = None, timeout: float) -> Any:
    """Send a request of any kind over the consumer's own connections, to one broker or to the one
    least busy.
    """
    manager = consumer._manager

    async def exchange() -> Any:
        return await manager.wait_for(manager.send(request, node_id=node), int(timeout * 1000))

    return consumer._net.run(exchange)


def nodes(consumer: KafkaConsumer) -> list[int]:
    """The brokers' ids."""
    return [broker.node_id for broker in consumer._cluster.brokers()]


def validate(consumer: KafkaConsumer, timeout: float) -> None:
    """Hold what was read against the leaders' epochs, as last heard.

    A log that was cut shorter is a LogTruncationError; leaders that do not tell in time, a
    KafkaTimeoutError.
    """
    fetcher = consumer._fetcher
    fetcher.maybe_validate_positions()
    for _ in range(2):  # the second call raises what the first one found
        if (task := fetcher.validate_offsets_if_needed(int(timeout * 1000))) is not None:
            consumer._net.run(consumer._manager.wait_for, task, int(timeout * 1000))
    left = [
        tp for tp, state in consumer._subscription.assignment.items() if state.awaiting_validation
    ]
    if left:
        raise KafkaTimeoutError(
            f"the leader of {left[0].topic}-{left[0].partition} did not tell in time whether its "
            "log is still the one that was read"
        )


class Topic(NamedTuple):
    """What the cluster says of a topic: its id (None where brokers are too old for ids) and its
    partitions.
    """

    id: object
    partitions: frozenset[int]


def describe(consumer: KafkaConsumer, topic: str, timeout: float) -> Topic | None:
    """The topic as the cluster has it now, asked afresh; None where there is no such topic.

    Raises kafka.errors.TopicAuthorizationFailedError, or ValueError for a name that no topic can
    have.
    """
    cluster = consumer._cluster
    cluster.add_topic(topic)
    cluster._last_refresh_ms = (
        0  # a look at once: the bootstrap's own, just before, would hold this one up for 0.1 s
    )
    waiting = Waiting()
    looks = 0
    while looks < 3:  # a look already under way may not have asked for this topic
        time.sleep(0.1 * looks)
        try:
            consumer._net.run(
                consumer._manager.wait_for, cluster.request_update(), int(timeout * 1000)
            )
        except UnknownTopicOrPartitionError:
            pass
        except RetriableError:
            if waiting.seconds > timeout:
                raise
            waiting.pause(timeout - waiting.seconds)
            continue
        if topic in cluster.unauthorized_topics:
            raise TopicAuthorizationFailedError({topic})
        if found := cluster.partitions_for_topic(topic):
            return Topic(cluster.topic_id(topic), frozenset(found))
        looks += 1
    return None
