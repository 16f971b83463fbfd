"""Seeds a topic with deposits and withdrawals, the same ones for the same settings, and knows the
totals.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

START = 1_772_438_400_000  # 2026-03-02T08:00:00Z, in ms
CHUNK = 100_000

PLAIN = '{"id":"%s","type":"%s","value":%d.%02d,"account":"%s","ts":%d}'

WIDE = (
    '{"specversion":"1.0","source":"/payments/eu-central/ledger","id":"%s","traceparent":"00-%s-01","type":"%s",'
    '"channel":"mobile","merchant":{"name":"Corner Bakery & Café","category":5462,"country":"DE","city":"Düsseldorf"},'
    '"value":%d.%02d,"currency":"EUR","fx_rate":1.0,"account":"%s","branch":"0417","reversed":false,"approved_by":null,'
    '"ts":%d,"device":"Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Mobile",'
    '"tags":["retail","contactless","recurring"],"note":"%s","limits":{"daily":250000,"weekly":1000000,"used":%d},'
    '"sequence":%d}'
)
NOTE = (
    "Card payment, settled overnight; in case of doubt ask the branch that is named above, on "
    "working days from nine to five, and quote the slip. The merchant's own reference follows, as "
    "it was printed there, with neither blanks nor dashes in it: "
)


@dataclass(frozen=True)
class Log:
    """What a topic holds.

    ``copies`` of a thousand events are delivered twice, the second time some thousand events later.
    """

    events: int
    partitions: int
    payload: str = "plain"
    keys: int = 300
    copies: int = 30
    compression: str = "none"


def chunks(log: Log) -> Iterator[list[tuple[str, bytes]]]:
    """The messages as (key, value), some 100,000 at a time."""
    for number in range(-(-log.events // CHUNK)):
        keys, types, cents, times, again, ids = _columns(log, number)
        rows = []
        for i, (key, type_, amount, time) in enumerate(zip(keys, types, cents, times, strict=True)):
            a = ids[32 * i : 32 * i + 32]
            id_ = f"{a[:8]}-{a[8:12]}-{a[12:16]}-{a[16:20]}-{a[20:]}"
            if log.payload == "plain":
                text = PLAIN % (id_, type_, amount // 100, amount % 100, key, time)
            else:
                note = NOTE + a[::-1] + a
                trace = a[16:] + a[:16] + "-" + a[8:24]
                text = WIDE % (
                    id_,
                    trace,
                    type_,
                    amount // 100,
                    amount % 100,
                    key,
                    time,
                    note,
                    amount * 7,
                    time - START,
                )
            rows.append((key, text.encode()))
        yield rows + [rows[i] for i in again]


def answer(log: Log) -> dict[str, object]:
    """The totals, as contenders must say them: keys, unique events, digest."""
    cents: Counter[str] = Counter()
    events: Counter[str] = Counter()
    for number in range(-(-log.events // CHUNK)):
        keys, types, amounts, *_ = _columns(log, number)
        for key, type_, amount in zip(keys, types, amounts, strict=True):
            cents[key] += amount if type_ == "add" else -amount
            events[key] += 1
    text = "".join(f"{key}\t{cents[key]}\t{events[key]}\n" for key in sorted(events))
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {"keys": len(events), "unique": log.events, "digest": digest}


def _columns(log: Log, number: int) -> tuple[list, list, list, list, list, str]:
    """One chunk: keys, types, cents, times, which of its rows are delivered again, ids as one long
    text.
    """
    n = min(CHUNK, log.events - number * CHUNK)
    rng = np.random.default_rng([2026, log.keys, number])
    keys = np.char.add("acct-", np.char.zfill(rng.integers(0, log.keys, n).astype(str), 4)).tolist()
    types = np.where(rng.random(n) < 0.6, "add", "subtract").tolist()
    cents = rng.integers(1, 100_000, n).tolist()
    times = (START + np.sort(rng.integers(0, 100_000, n)) + number * 100_000).tolist()
    again = np.flatnonzero(rng.random(n) < log.copies / 1000).tolist()
    return keys, types, cents, times, again, rng.bytes(16 * n).hex()


def seed(servers: str, topic: str, log: Log) -> int:
    """Write the messages to a topic that is there and empty; returns how many it then holds."""
    placed = (
        [(int(key[5:]) % log.partitions, key, value) for key, value in rows] for rows in chunks(log)
    )
    return write(servers, topic, placed, log.partitions, log.compression)


def write(
    servers: str,
    topic: str,
    placed: Iterable[list[tuple[int, str, bytes]]],
    partitions: int,
    compression: str = "none",
) -> int:
    """Write messages, some at a time as (partition, key, value), to an empty topic.

    Returns how many it then holds.
    """
    from confluent_kafka import Consumer, Producer, TopicPartition

    producer = Producer(
        {
            "bootstrap.servers": servers,
            "compression.type": compression,
            "enable.idempotence": True,
            "log_level": 3,
            "linger.ms": 50,
            "batch.size": 500_000,
            "queue.buffering.max.messages": 500_000,
            "queue.buffering.max.kbytes": 512 << 10,
        }
    )
    count = 0
    for rows in placed:
        for partition, key, value in rows:
            while True:
                try:
                    producer.produce(topic, value, key, partition=partition)
                    break
                except BufferError:
                    producer.poll(0.1)
        count += len(rows)
        producer.poll(0)
    producer.flush(120)
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "bench"})
    places = [TopicPartition(topic, p) for p in range(partitions)]
    held = sum(consumer.get_watermark_offsets(place, timeout=10)[1] for place in places)
    consumer.close()
    if held != count:
        raise RuntimeError(f"{count:,} messages were written to {topic}, but it holds {held:,}")
    return count
