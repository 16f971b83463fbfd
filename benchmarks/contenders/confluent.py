"""What the two contenders on confluent-kafka share: a bounded read, in lists of messages."""

from collections.abc import Iterator

from confluent_kafka import Consumer, Message, TopicPartition


def messages(servers: str, topic: str, at_once: int) -> Iterator[list[Message]]:
    """Every message of a topic up to its present end, some ``at_once``."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "bench",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "fetch.max.bytes": 64 << 20,
            "max.partition.fetch.bytes": 8 << 20,
            "queued.min.messages": 1_000_000,
            "queued.max.messages.kbytes": 256 << 10,
        }
    )
    partitions = sorted(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
    ends = {
        p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10)[1]
        for p in partitions
    }
    consumer.assign([TopicPartition(topic, p, 0) for p in partitions if ends[p]])
    left = {p: end for p, end in ends.items() if end}
    while left:
        found = consumer.consume(at_once, timeout=1.0)
        for message in found:
            if message.error():
                raise RuntimeError(message.error())
        yield found
        for at in consumer.position([TopicPartition(topic, p) for p in left]):
            if (
                at.offset >= left[at.partition]
            ):  # nobody writes to the topic meanwhile, so nothing lies beyond
                del left[at.partition]
    consumer.close()
