"""The floor: kafka-python fetches the topic, and nobody looks at what came but to see how far it
goes.

It shares no code with the kit and imports nothing but kafka-python: no CRC, no decompression, no
record.
"""

import struct
import sys

from kafka import KafkaConsumer, TopicPartition


class Unread:
    """In the place of kafka-python's own PartitionRecords: one fetch of one partition, as a single
    record.
    """

    def __init__(self, fetch_offset, tp, records, *, on_drain, **_):
        self.fetch_offset = self.next_fetch_offset = fetch_offset
        self.topic_partition, self.leader_epoch, self.bytes_read = tp, -1, records.size_in_bytes()
        self._batches, self._on_drain, self._taken = memoryview(records._buffer), on_drain, False

    def __bool__(self):
        return not self._taken

    def take(self, n=None):  # noqa: ARG002
        at = 0
        while at + 61 <= len(self._batches):
            base, length, _, _, _, _, delta = struct.unpack_from(">qiibIhi", self._batches, at)
            at += 12 + length
            if at > len(self._batches):  # cut short by the fetch size
                break
            self.next_fetch_offset = base + delta + 1
        self.drain()
        return [self]

    def drain(self):
        if not self._taken:
            self._taken = True
            self._on_drain(self)


servers, topic = sys.argv[1:]
consumer = KafkaConsumer(
    bootstrap_servers=servers,
    enable_auto_commit=False,
    isolation_level="read_committed",
    fetch_max_bytes=64 << 20,
    max_partition_fetch_bytes=8 << 20,
)
consumer._fetcher.PartitionRecords = Unread
places = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic)]
consumer.assign(places)
consumer.seek_to_beginning()
ends = consumer.end_offsets(places)
while any(consumer.position(place) < ends[place] for place in places):
    consumer.poll(timeout_ms=1000)
consumer.close(autocommit=False)
