"""What is done to a cluster of one's own, such as the sandbox's: ask it, make topics, write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError as LibraryError


def working_brokers(bootstrap_servers: str, *, timeout: float) -> set[int]:
    """The numbers of the brokers that the cluster counts as working; none where it does not answer.

    Parameters
    ----------
    bootstrap_servers : str
    timeout : float
        Seconds for the connection, and for the answer.
    """
    ms = round(timeout * 1000)
    try:
        with KafkaAdminClient(
            bootstrap_servers=bootstrap_servers, bootstrap_timeout_ms=ms, request_timeout_ms=ms
        ) as admin:
            brokers = admin.describe_cluster()["brokers"]
    except LibraryError:
        return set()
    return {broker["broker_id"] for broker in brokers if not broker.get("is_fenced")}


def create_topic(
    bootstrap_servers: str,
    name: str,
    *,
    partitions: int,
    replicas: int,
    config: Mapping[str, str],
) -> None:
    """Make a topic, and wait until every partition of it has a leader."""
    options = {
        "num_partitions": partitions,
        "replication_factor": replicas,
        "configs": dict(config),
    }
    with KafkaAdminClient(bootstrap_servers=bootstrap_servers) as admin:
        admin.create_topics({name: options}, wait_for_metadata=True)


def write(
    bootstrap_servers: str,
    topic: str,
    records: Iterable[tuple[int, bytes | None, bytes | None, int]],
) -> dict[int, int]:
    """Write records in their order; where each partition that was written to ends afterwards.

    Parameters
    ----------
    bootstrap_servers, topic : str
    records : iterable of (partition, key, value, timestamp in ms)
    """
    written: set[int] = set()
    with KafkaProducer(
        bootstrap_servers=bootstrap_servers, linger_ms=20, batch_size=1 << 18
    ) as producer:
        for partition, key, value, timestamp in records:
            producer.send(topic, value, key=key, partition=partition, timestamp_ms=timestamp)
            written.add(partition)
        producer.flush()
    with KafkaConsumer(bootstrap_servers=bootstrap_servers, enable_auto_commit=False) as consumer:
        ends = consumer.end_offsets([TopicPartition(topic, partition) for partition in written])
    return {place.partition: end for place, end in ends.items()}
