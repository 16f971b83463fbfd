"""The log of the incident: a day's ledger events as their producers wrote them, copies and rubbish
included.

Only ``random.Random.random`` and whole-number or plain arithmetic make the numbers, so that one
seed gives the same bytes with every Python on every machine.
"""

from __future__ import annotations

import bisect
import datetime
import random
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

START = 1_772_442_000_000
"""2026-03-02 09:00 UTC, when the day's first event may happen; epoch milliseconds."""

MINUTE = 60_000
SPAN = 6 * 60 * MINUTE
"""How long events go on, milliseconds."""

EFFECTS = {"add": 1, "subtract": -1, "refund": 1, "fee": -1}
"""What each type does to its account's total."""

BATCH_AFTER = START + 158 * MINUTE
"""From here, 11:38, one batch of a partition is delivered a second time, BATCH_DELAY later."""

BATCH_DELAY = 15 * MINUTE

BATCH_PARTITION = 1
BATCH_SIZE = 40

_SHARES = ("add", 0.48), ("subtract", 0.928), ("refund", 0.94), ("fee", 1.0)  # cumulative
_FEES = 50, 120, 250, 499
_SOURCES = "web", "app", "till", "import"


class Record(NamedTuple):
    """One message as it is produced; ``timestamp`` is its CreateTime in epoch milliseconds."""

    partition: int
    key: bytes | None
    value: bytes | None
    timestamp: int


class Event(NamedTuple):
    """One thing that happened to an account.

    ``cents`` is its amount, ``time`` epoch milliseconds.
    """

    id: str
    type: str
    cents: int
    account: str
    time: int

    @property
    def effect(self) -> int:
        """What it does to its account's total, in cents."""
        return EFFECTS[self.type] * self.cents


class Delivery(NamedTuple):
    """A message on its way into the log: when it gets there, and the event in it (None: unreadable,
    or none).
    """

    arrival: int
    record: Record
    event: Event | None
    copy: str = ""  # "", "redelivery", "batch" or "conflict"


def account_name(number: int) -> str:
    """The key of an account, counted from 1."""
    return f"acct-{number:04d}"


def partition_of(account: str, partitions: int) -> int:
    """Where an account's events go: by CRC-32 of the key, as librdkafka's default partitioner does
    it.
    """
    return zlib.crc32(account.encode()) % partitions


def make_log(rng: random.Random, *, events: int, accounts: int, partitions: int) -> list[Delivery]:
    """Every message of the day in the order of the log: events, copies, conflicts, tombstones,
    unreadable ones.
    """
    happened = make_events(rng, events, accounts)
    log = [_deliver(rng, event, partitions) for event in happened]
    log += _redeliveries(rng, log, partitions)
    log += _batch(log)
    log += _conflicts(rng, log, partitions)
    log += _tombstones(rng, accounts, partitions)
    log += _unreadable(rng, happened, partitions)
    return sorted(log, key=lambda delivery: delivery.arrival)


def make_events(rng: random.Random, count: int, accounts: int) -> list[Event]:
    """What happened, by time. A few accounts are busy and most are not.

    The last one opens in the last half minute.
    """
    busy = list(_running(1 / (rank + 6) for rank in range(accounts - 1)))
    made = [
        _event(rng, bisect.bisect_left(busy, rng.random() * busy[-1]) + 1, _busy_time(rng))
        for _ in range(count - 3)
    ]
    made += [_event(rng, accounts, START + SPAN - part * 8_000) for part in (3, 2, 1)]
    return sorted(made, key=lambda event: (event.time, event.id))


def payload(event: Event, rng: random.Random, *, value: str | None = None) -> bytes:
    """The message of an event, with fields beside those that count.

    ``value`` replaces its amount's text.
    """
    amount = value if value is not None else money(event.cents)
    source = _SOURCES[int(rng.random() * len(_SOURCES))]
    return (
        f'{{"id":"{event.id}","type":"{event.type}","account":"{event.account}",'
        f'"value":{amount},"currency":"EUR","ts":"{iso(event.time)}","source":"{source}",'
        f'"trace":"{_hex(rng, 8)}"}}'
    ).encode()


def money(cents: int) -> str:
    """Cents as a decimal text with two places."""
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}"


def iso(time: int) -> str:
    """Epoch milliseconds as ISO 8601 in UTC."""
    moment = datetime.datetime.fromtimestamp(time // 1000, tz=datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time % 1000:03d}Z"


def _running(parts: Iterator[float]) -> Iterator[float]:
    total = 0.0
    for part in parts:
        yield (total := total + part)


def _busy_time(rng: random.Random) -> int:
    """A time of the day, likelier around noon."""
    while True:
        part = rng.random()
        if rng.random() < 0.4 + 2.4 * part * (1 - part):
            return START + int(part * SPAN)


def _event(rng: random.Random, account: int, time: int) -> Event:
    share, size = rng.random(), rng.random()
    kind = next(name for name, upto in _SHARES if share < upto)
    cents = {
        "add": 500 + int(size**3 * 95_000),
        "subtract": 100 + int(size**3 * 60_000),
        "refund": 300 + int(size**2 * 30_000),
        "fee": _FEES[int(size * len(_FEES))],
    }[kind]
    return Event(_hex(rng, 16), kind, cents, account_name(account), time)


def _hex(rng: random.Random, digits: int) -> str:
    return f"{rng.getrandbits(4 * digits):0{digits}x}"


def _deliver(rng: random.Random, event: Event, partitions: int) -> Delivery:
    """Most messages come within the tenth of a second; one in a hundred takes seconds."""
    created = event.time + int(rng.random() * 25)
    arrival = (
        created
        + 2
        + int(rng.random() * 60)
        + (int(rng.random() * 4_000) if rng.random() < 0.01 else 0)
    )
    partition = partition_of(event.account, partitions)
    return Delivery(
        arrival, Record(partition, event.account.encode(), payload(event, rng), created), event
    )


def _again(delivery: Delivery, *, after: int, copy: str, partition: int | None = None) -> Delivery:
    """A delivery's copy: the same bytes, later, with a CreateTime of its own."""
    record = delivery.record._replace(timestamp=delivery.arrival + after - 1)
    if partition is not None:
        record = record._replace(partition=partition)
    return delivery._replace(arrival=delivery.arrival + after, record=record, copy=copy)


def _redeliveries(
    rng: random.Random, log: Sequence[Delivery], partitions: int
) -> Iterator[Delivery]:
    """Copies of one message in fifty, soon after it.

    One in twenty-five of them in another partition.
    """
    for delivery in log:
        if rng.random() < 0.02 and delivery.arrival < START + SPAN - 10 * MINUTE:
            elsewhere = (
                (delivery.record.partition + 1) % partitions if rng.random() < 0.04 else None
            )
            after = 200 + int(rng.random() ** 2 * 90_000)
            yield _again(delivery, after=after, copy="redelivery", partition=elsewhere)


def _batch(log: Sequence[Delivery]) -> list[Delivery]:
    """A whole batch that a producer sent again: the messages of one partition from BATCH_AFTER
    on.
    """
    there = [
        d
        for d in log
        if d.record.partition == BATCH_PARTITION and d.arrival >= BATCH_AFTER and not d.copy
    ]
    first = sorted(there, key=lambda delivery: delivery.arrival)[:BATCH_SIZE]
    return [_again(delivery, after=BATCH_DELAY, copy="batch") for delivery in first]


def _conflicts(rng: random.Random, log: Sequence[Delivery], partitions: int) -> Iterator[Delivery]:
    """Twelve ids that are used twice, with another amount; for two of them on another account."""
    copied = {delivery.event.id for delivery in log if delivery.copy and delivery.event}
    early = [
        d for d in log if d.arrival < START + 120 * MINUTE and d.event and d.event.id not in copied
    ]
    for number in range(min(12, len(early))):
        event = early.pop(int(rng.random() * len(early))).event
        assert event is not None
        account = account_name(1 + number) if number < 2 else event.account
        other = event._replace(
            cents=event.cents + 100 * (1 + int(rng.random() * 80)), account=account
        )
        delivered = _deliver(
            rng, other._replace(time=event.time + 5_000 + int(rng.random() * 60_000)), partitions
        )
        yield delivered._replace(copy="conflict")


def _tombstones(rng: random.Random, accounts: int, partitions: int) -> Iterator[Delivery]:
    for _ in range(24):
        account, time = account_name(1 + int(rng.random() * accounts)), _busy_time(rng)
        yield Delivery(
            time + 5, Record(partition_of(account, partitions), account.encode(), None, time), None
        )


def _unreadable(
    rng: random.Random, happened: Sequence[Event], partitions: int
) -> Iterator[Delivery]:
    """Four messages of each kind that nobody can read.

    None of them was ever delivered in a form that can be.
    """
    for spoil in UNREADABLE.values():
        for _ in range(4):
            event = happened[int(rng.random() * len(happened))]._replace(id=_hex(rng, 16))
            good = _deliver(rng, event, partitions)
            assert good.record.value is not None
            yield good._replace(
                record=good.record._replace(value=spoil(good.record.value, event)), event=None
            )


UNREADABLE: dict[str, Callable[[bytes, Event], bytes]] = {
    "not JSON": lambda _, __: b"<html><body><h1>502 Bad Gateway</h1></body></html>",
    "cut short": lambda text, _: text[: len(text) // 2],
    "empty": lambda _, __: b"",
    "not UTF-8": lambda text, _: text.replace(b'"EUR"', b'"\xa4\xff"'),
    "an array": lambda text, _: b"[" + text + b"]",
    "no value": lambda text, event: text.replace(
        b'"value":' + money(event.cents).encode() + b",", b""
    ),
    "null value": lambda text, event: text.replace(
        b":" + money(event.cents).encode() + b",", b":null,"
    ),
    "not a number": lambda text, event: text.replace(
        b":" + money(event.cents).encode() + b",", b":NaN,"
    ),
    "three decimals": lambda text, event: text.replace(
        b":" + money(event.cents).encode() + b",", b":10.125,"
    ),
    "no account": lambda text, event: text.replace(
        b'"account":"' + event.account.encode() + b'",', b""
    ),
    "empty id": lambda text, event: text.replace(event.id.encode(), b""),
    "unknown type": lambda text, event: text.replace(
        f'"type":"{event.type}"'.encode(), b'"type":"transfer"'
    ),
}
"""Kinds of unreadable message: what makes one out of a good message and its event."""
