"""The system of record of the incident: a consumer that keeps totals by account, and what it got
wrong.

The story. At 11:40 the consumer of one partition crashed with offsets committed ahead of its work,
and what came in the next twelve minutes was never applied there. The restart also lost its memory
of ids, so a batch that the producer sent again was applied a second time. A release at 13:05 booked
refunds with the wrong sign until it was rolled back. A client sent a few amounts that were taken a
hundredfold. For some ids used twice the later amount was kept. Some accounts were put right, or
wrong, by hand. And the last partition is half a minute behind.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from recovery_kit.sandbox.ledger import (
    BATCH_PARTITION,
    MINUTE,
    SPAN,
    START,
    Delivery,
    Event,
    account_name,
)

LOST = BATCH_PARTITION, START + 160 * MINUTE, START + 172 * MINUTE
"""Partition, from, until (epoch ms): deliveries that were never applied."""

RELEASE = START + 245 * MINUTE, START + 260 * MINUTE
"""From, until (epoch ms): refunds applied in between have the wrong sign."""

LAG = 45_000
"""Milliseconds by which the lagging partition, that of the newest account, is behind at the end."""


class Applied(NamedTuple):
    """One line of the system's own journal.

    ``effect`` in cents, ``time`` its own, epoch milliseconds.
    """

    event_id: str
    key: str
    effect: int
    time: int


class Cause(NamedTuple):
    """By how many cents one mistake put a key's expected total off, and the event it was made
    on.
    """

    key: str
    cause: str
    cents: int
    event_id: str


def consume(
    rng: random.Random, log: Sequence[Delivery], *, accounts: int
) -> tuple[list[Applied], list[Cause]]:
    """The journal of what the system applied, in its order, and every mistake in it."""
    newest = account_name(accounts)
    lagging = next(d.record.partition for d in log if d.event and d.event.account == newest)
    enlarged, kept_later = _singled_out(rng, log)
    journal: list[Applied] = []
    causes: list[Cause] = []
    applied: set[str] = set()
    skipped: dict[str, tuple[str, Event]] = {}
    clock = START
    for delivery in log:
        event, clock = (
            delivery.event,
            max(clock + 1, delivery.arrival + 20 + int(rng.random() * 200)),
        )
        if event is None or (event.id in applied and delivery.copy != "batch"):
            continue
        if why := _not_seen(delivery, lagging):
            skipped.setdefault(event.id, (why, event))
            continue
        if event.id in kept_later and delivery.copy != "conflict":
            continue
        effect = event.effect
        if event.id in applied:
            causes.append(Cause(event.account, "applied twice", effect, event.id))
        elif delivery.copy == "conflict" and event.id in kept_later:
            causes.append(
                Cause(
                    event.account, "kept the later", effect - kept_later[event.id].effect, event.id
                )
            )
        elif event.type == "refund" and RELEASE[0] <= clock < RELEASE[1]:
            causes.append(Cause(event.account, "wrong sign", -2 * effect, event.id))
            effect = -effect
        elif event.id in enlarged:
            causes.append(Cause(event.account, "hundredfold", 99 * effect, event.id))
            effect = 100 * effect
        applied.add(event.id)
        journal.append(Applied(event.id, event.account, effect, clock))
    causes += [
        Cause(e.account, why, -e.effect, e.id)
        for e_id, (why, e) in skipped.items()
        if e_id not in applied
    ]
    _by_hand(causes, journal, accounts)
    return journal, causes


def _not_seen(delivery: Delivery, lagging: int) -> str:
    """Why the system never got to see a delivery; empty when it did."""
    partition, since, until = LOST
    if delivery.record.partition == partition and since <= delivery.arrival < until:
        return "lost window"
    if delivery.record.partition == lagging and delivery.arrival >= START + SPAN - LAG:
        return "lag"
    return ""


def _singled_out(rng: random.Random, log: Sequence[Delivery]) -> tuple[set[str], dict[str, Event]]:
    """Ids of seven events taken a hundredfold, and of four conflicts whose later copy was kept,
    with the first.
    """
    copied = {d.event.id for d in log if d.copy and d.event}
    later = {d.event.id: d.event for d in log if d.copy == "conflict" and d.event}
    firsts = [d.event for d in log if d.event and not d.copy and d.event.id in later]
    kept = {e.id: e for e in [e for e in firsts if e.account == later[e.id].account][:4]}
    plain = [
        d.event for d in log if d.event and d.event.id not in copied and d.event.type != "refund"
    ]
    seen = [
        e
        for e in plain
        if e.time < LOST[1] - MINUTE or LOST[2] < e.time < START + SPAN - 2 * MINUTE
    ]
    small = [e for e in seen if 1_000 <= e.cents < 6_000]
    return {small[int(rng.random() * len(small))].id for _ in range(7)}, kept


def _by_hand(causes: list[Cause], journal: list[Applied], accounts: int) -> None:
    """Corrections that somebody booked: on accounts already wrong, on accounts that were right, on
    a mistyped one.
    """
    hurt = [cause.key for cause in causes if cause.cause == "lost window"]
    wrong = {cause.key for cause in causes}
    right = [line.key for line in journal if line.key not in wrong]
    keys = [*hurt[:1], *hurt[-1:], *right[:1], *right[-1:], account_name(accounts + 117)]
    time = max(line.time for line in journal)
    for number, (key, cents) in enumerate(
        zip(keys, (15_000, -8_000, 5_000, -2_000, 10_000), strict=False), start=1
    ):
        line = Applied(f"manual-{number:04d}", key, cents, time + number * MINUTE)
        journal.append(line)
        causes.append(Cause(key, "by hand", cents, line.event_id))
