"""kafka-python, json and a dict.

crc32c is installed: without it, its CRCs take as long as all the rest.
"""

import json
import sys
from collections import defaultdict

from answer import say
from kafka import KafkaConsumer, TopicPartition

servers, topic = sys.argv[1:]
consumer = KafkaConsumer(
    bootstrap_servers=servers,
    enable_auto_commit=False,
    auto_offset_reset="earliest",
    isolation_level="read_committed",
    fetch_max_bytes=64 << 20,
    max_partition_fetch_bytes=8 << 20,
    max_poll_records=50_000,
)
places = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic)]
consumer.assign(places)
consumer.seek_to_beginning()
ends = consumer.end_offsets(places)

seen = set()
cents, events = defaultdict(int), defaultdict(int)
while any(consumer.position(place) < ends[place] for place in places):
    for place, records in consumer.poll(timeout_ms=1000).items():
        for record in records:
            if record.offset >= ends[place]:
                break
            event = json.loads(record.value)
            if event["id"] in seen:
                continue
            seen.add(event["id"])
            # A float of less than 2**53 cents comes back to the very cents it was written from.
            amount = round(event["value"] * 100)
            cents[event["account"]] += amount if event["type"] == "add" else -amount
            events[event["account"]] += 1
consumer.close(autocommit=False)
say((key, cents[key], events[key]) for key in cents)
