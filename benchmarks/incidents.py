"""Random incidents: a random log, and a system that consumed it and got some of it wrong, with the
truth kept.

Everything is drawn anew for each seed: how many keys, events and partitions, how amounts repeat,
whether a key stays in one partition, how far out of order events come, and none to six causes out
of all that there are, which may overlap.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from recovery_kit.schema import EventSchema

START = 1_772_442_000_000
MINUTE = 60_000
TYPES = np.array(["add", "subtract", "refund", "fee"])
SIGNS = np.array([1, -1, 1, -1])


@dataclass
class Case:
    """One incident: the log as an events table, what the system holds and processed, and why (key,
    cause, cents).

    ``alone`` has, by key, the cents of mistakes made on single events and not by windows,
    ``lonely`` those of windows that touch no other key; ``kinds`` the kinds of mistakes drawn.
    """

    seed: int
    story: str
    events: pd.DataFrame
    expected: pa.Table
    processed: pa.Table
    truth: dict[tuple[str, str], int]
    alone: dict[str, list[int]]
    lonely: dict[str, int]
    kinds: tuple[str, ...]


def make(
    seed: int, *, events: int | None = None, keys: int | None = None, causes: int | None = None
) -> Case:
    """One incident out of one seed; the sizes are drawn too where they are not given."""
    rng = np.random.default_rng(seed)
    n = events or int(np.exp(rng.uniform(np.log(2_000), np.log(200_000))))
    keys = keys or int(np.exp(rng.uniform(np.log(20), np.log(min(5_000, n // 4)))))
    partitions = int(rng.choice([1, 2, 4, 8, 16]))
    keyed = bool(rng.random() < 0.75)
    span = int(np.exp(rng.uniform(np.log(60), np.log(24 * 60))) * MINUTE)
    amounts = str(rng.choice(["cents", "cents", "cents", "prices", "integers"]))
    log = _log(rng, n, keys, partitions, keyed, span, amounts)
    drawn = rng.integers(0, 7) if causes is None else causes
    kinds = rng.choice(list(_CAUSES), size=int(drawn), p=_WEIGHTS)
    state = _State(log, rng, partitions, span, keys)
    told = [_CAUSES[str(kind)](state) for kind in kinds]
    story = (
        f"{n:,} events, {keys:,} keys, {partitions} partitions {'by key' if keyed else 'spread'}, "
        f"{amounts}, {span // MINUTE} min"
    )
    return _case(
        seed,
        f"{story}: {'; '.join(told) or 'nothing wrong'}",
        log,
        state,
        keys,
        tuple(kinds.tolist()),
    )


def _log(
    rng: np.random.Generator,
    n: int,
    keys: int,
    partitions: int,
    keyed: bool,
    span: int,
    amounts: str,
) -> dict[str, Any]:
    skew = rng.choice([0.0, 0.6, 1.1])
    weight = 1 / (np.arange(keys) + rng.integers(1, 10)) ** skew
    key = rng.choice(keys, n, p=weight / weight.sum())
    kind = rng.choice(4, n, p=rng.dirichlet([6, 4, 2, 1]))
    time = np.sort(START + (rng.random(n) * span).astype(np.int64))
    cents = _cents(rng, n, amounts)
    arrival = time + 2 + (rng.random(n) * rng.choice([20, 80, 400])).astype(np.int64)
    late = rng.random(n) < rng.choice([0.0, 0.01])
    arrival[late] += (rng.random(late.sum()) * 4_000).astype(np.int64)
    place = (
        rng.permutation(partitions)[key % partitions] if keyed else rng.integers(0, partitions, n)
    )
    # Copies: harmless redeliveries of single messages, in one log in three a whole batch sent
    # again; and conflicts.
    again = np.flatnonzero(rng.random(n) < rng.choice([0.0, 0.01, 0.03]))
    after = 200 + (rng.random(len(again)) ** 2 * 90_000).astype(np.int64)
    batch = np.empty(0, np.int64)
    if rng.random() < 0.35:
        of = int(rng.integers(partitions))
        there = np.flatnonzero(place == of)
        if len(there) > 40:
            size = int(rng.integers(20, max(21, min(2_000, len(there) // 4))))
            begin = int(rng.integers(0, max(1, len(there) - size)))
            batch = there[np.argsort(arrival[there], kind="stable")][begin : begin + size]
    other = rng.choice(n, int(rng.integers(0, 13)), replace=False)
    first = np.arange(n)
    event = np.concatenate([first, again, batch, other])
    copy = np.repeat([0, 1, 2, 3], [n, len(again), len(batch), len(other)])
    when = np.concatenate(
        [
            arrival,
            arrival[again] + after,
            arrival[batch] + int(rng.integers(20_000, 30 * MINUTE)),
            arrival[other] + 5_000 + (rng.random(len(other)) * 60_000).astype(np.int64),
        ]
    )
    changed = cents[other] + 100 * rng.integers(1, 80, len(other))
    where = place[event]
    elsewhere = (copy == 1) & (rng.random(len(event)) < 0.04)
    where = np.where(elsewhere, (where + 1) % partitions, where)
    value = np.concatenate([cents, cents[again], cents[batch], changed])
    order = np.lexsort((np.arange(len(event)), when))
    row = {"event": event, "copy": copy, "arrival": when, "partition": where, "cents": value}
    row = {name: column[order] for name, column in row.items()}
    row["effect"] = row["cents"] * SIGNS[kind[row["event"]]]
    return {**row, "n": n, "key": key, "kind": kind, "time": time, "plain": cents * SIGNS[kind]}


def _cents(rng: np.random.Generator, n: int, amounts: str) -> Any:
    if amounts == "prices":
        prices = rng.choice(np.arange(99, 20_000, 50), int(rng.integers(5, 40)), replace=False)
        return rng.choice(prices, n, p=rng.dirichlet(np.ones(len(prices))))
    if amounts == "integers":
        return 100 * (1 + (rng.random(n) ** 2 * 1_000).astype(np.int64))
    return 100 + (rng.random(n) ** 3 * 95_000).astype(np.int64)


class _State:
    """What the system does with each record of the log, before it is run."""

    def __init__(
        self, log: dict[str, Any], rng: np.random.Generator, partitions: int, span: int, keys: int
    ) -> None:
        self.log, self.rng, self.partitions, self.span, self.keys = log, rng, partitions, span, keys
        records = len(log["event"])
        self.unseen = np.zeros(records, bool)
        self.lagging = np.zeros(records, bool)
        self.again = np.zeros(records, bool)
        self.sign = np.zeros(log["n"], bool)
        self.factor = np.ones(log["n"], dtype=object)
        self.later: set[int] = set()
        self.alone: set[int] = set()
        self.windows: list[Any] = []
        self.hand: list[tuple[int, int]] = []

    def window(self, *, one: bool | None = None) -> tuple[Any, str]:
        """The records of one partition, or of all, from one arrival to another.

        1 min to hours, within the log.
        """
        length = int(
            np.exp(self.rng.uniform(np.log(MINUTE), np.log(min(self.span / 2, 4 * 60 * MINUTE))))
        )
        since = START + int(self.rng.random() * (self.span - length))
        arrival = self.log["arrival"]
        inside = (arrival >= since) & (arrival < since + length)
        one = bool(self.rng.random() < 0.75) if one is None else one
        where = int(self.rng.integers(self.partitions))
        if one:
            inside &= self.log["partition"] == where
        told = (
            f"{length / MINUTE:.0f} min of {f'partition {where}' if one else 'all'} from "
            f"{(since - START) / MINUTE:.1f}"
        )
        return inside, told

    def some(self, most: int = 10) -> Any:
        chosen = self.rng.choice(self.log["n"], int(self.rng.integers(1, most + 1)), replace=False)
        self.alone |= set(chosen.tolist())
        return chosen


def _missed(s: _State) -> str:
    inside, told = s.window()
    s.unseen |= inside
    s.windows.append(np.unique(s.log["event"][inside]))
    return f"missed {told}"


def _rewound(s: _State) -> str:
    inside, told = s.window(one=True)
    s.again |= inside & (s.log["copy"] == 0)
    s.windows.append(s.log["event"][inside & (s.log["copy"] == 0)])
    return f"applied twice {told}"


def _batch(s: _State) -> str:
    s.again |= s.log["copy"] == 2
    return f"batch twice ({(s.log['copy'] == 2).sum()})"


def _sign(s: _State) -> str:
    inside, told = s.window(one=False)
    kind = int(s.rng.integers(4))
    events = s.log["event"][inside & (s.log["copy"] == 0)]
    s.sign[events[s.log["kind"][events] == kind]] = True
    s.windows.append(events[s.log["kind"][events] == kind])
    return f"wrong sign of {TYPES[kind]} in {told}"


def _scaled(s: _State) -> str:
    inside, told = s.window(one=False)
    kind = int(s.rng.integers(4))
    events = s.log["event"][inside & (s.log["copy"] == 0)]
    s.factor[events[s.log["kind"][events] == kind]] = 100
    s.windows.append(events[s.log["kind"][events] == kind])
    return f"hundredfold {TYPES[kind]} in {told}"


def _lag(s: _State) -> str:
    where = int(s.rng.integers(s.partitions))
    behind = int(np.exp(s.rng.uniform(np.log(5_000), np.log(min(30 * MINUTE, s.span / 3)))))
    tail = s.log["arrival"] >= s.log["arrival"].max() - behind
    if s.rng.random() < 0.7:
        tail &= s.log["partition"] == where
    s.lagging |= tail
    s.windows.append(np.unique(s.log["event"][tail]))
    return f"lag {behind / 1000:.0f} s of {where}"


def _single_missed(s: _State) -> str:
    chosen = s.some()
    s.unseen |= np.isin(s.log["event"], chosen)
    return f"{len(chosen)} missed"


def _single_twice(s: _State) -> str:
    copies = np.flatnonzero(s.log["copy"] == 1)
    chosen = copies[s.rng.permutation(len(copies))[: int(s.rng.integers(1, 20))]]
    s.again[chosen] = True
    s.alone |= set(s.log["event"][chosen].tolist())
    return f"{len(chosen)} redelivered twice"


def _single_factor(s: _State) -> str:
    chosen = s.some()
    s.factor[chosen] = int(s.rng.choice([10, 100, 1000]))
    return f"{len(chosen)} by a factor"


def _single_sign(s: _State) -> str:
    chosen = s.some(5)
    s.sign[chosen] = True
    return f"{len(chosen)} wrong sign"


def _conflict(s: _State) -> str:
    conflicts = np.unique(s.log["event"][s.log["copy"] == 3])
    s.later |= set(s.rng.permutation(conflicts)[:4].tolist())
    s.alone |= s.later
    return f"{len(s.later)} conflicts"


def _by_hand(s: _State) -> str:
    count = int(s.rng.integers(1, 6))
    for key in s.rng.integers(0, s.keys, count):
        amount = int(
            s.rng.choice([s.rng.integers(1, 60) * 500, s.rng.integers(100, 60_000)])
        ) * int(s.rng.choice([-1, 1]))
        s.hand.append((int(key), amount))
    return f"{count} by hand"


_CAUSES = {
    "missed": _missed,
    "rewound": _rewound,
    "batch": _batch,
    "sign": _sign,
    "scaled": _scaled,
    "lag": _lag,
    "one missed": _single_missed,
    "one twice": _single_twice,
    "one factor": _single_factor,
    "one sign": _single_sign,
    "conflict": _conflict,
    "hand": _by_hand,
}
WINDOWS = ("missed", "rewound", "batch", "sign", "scaled", "lag")
_WEIGHTS = np.array([4, 1.5, 1, 3, 0.5, 2, 1.5, 1.5, 1.5, 1, 1, 1]) / 19.5


def _case(
    seed: int, story: str, log: dict[str, Any], s: _State, keys: int, kinds: tuple[str, ...]
) -> Case:
    names = [f"k{number:05d}" for number in range(keys)]
    applied: dict[int, int] = {}
    lines: list[tuple[str, str, int]] = []
    truth: dict[tuple[str, str], int] = defaultdict(int)
    alone: dict[str, list[int]] = defaultdict(list)
    lonely: dict[str, int] = defaultdict(int)
    s.alone.update(event for window in s.windows if len(window) <= FEW for event in window.tolist())
    apart = {
        event
        for window in s.windows
        if len(np.unique(log["key"][window])) == 1
        for event in window.tolist()
    }
    skipped: dict[int, str] = {}
    key, plain = log["key"], log["plain"]

    def off(event: int, cause: str, amount: int) -> None:
        truth[names[key[event]], cause] += amount
        if event in s.alone:
            alone[names[key[event]]].append(amount)
        elif event in apart:
            lonely[names[key[event]]] += amount

    hold = s.unseen | s.lagging
    last = np.full(
        s.partitions, -1
    )  # the last record that each partition's consumer got to: what comes after it is lag
    came = np.flatnonzero(~hold & (log["copy"] == 0))
    np.maximum.at(last, log["partition"][came], came)
    for at, (event, copy) in enumerate(
        zip(log["event"].tolist(), log["copy"].tolist(), strict=True)
    ):
        if hold[at]:
            skipped.setdefault(
                event, "lag" if s.lagging[at] or at > last[log["partition"][at]] else "missed"
            )
            continue
        effect, name = int(plain[event]), names[key[event]]
        if copy == 3 and event not in s.later:
            if event in applied:
                continue
            effect = int(
                log["effect"][at]
            )  # the first was never seen, so the other version is what it knows
        elif event in s.later and copy != 3:
            continue
        elif event in s.later:
            effect = int(log["effect"][at])
        if event not in applied:
            base = effect
            if copy != 3:
                if s.sign[event]:
                    base = -effect
                    off(event, "wrong_sign", -2 * effect)
                elif s.factor[event] != 1:
                    base = effect * int(s.factor[event])
                    off(event, "wrong_factor", base - effect)
            applied[event] = base
            lines.append((f"e{event:07d}", name, base))
            if copy == 3:
                off(event, "conflict", effect - int(plain[event]))
            if s.again[at] and copy != 3:
                lines.append((f"e{event:07d}", name, effect))
                off(event, "applied_twice", effect)
        elif s.again[at]:
            lines.append((f"e{event:07d}", name, effect))
            off(event, "applied_twice", effect)
    for event, why in skipped.items():
        if event not in applied:
            off(event, why, -int(plain[event]))
    for event in s.later:
        if event not in applied and event not in skipped:
            raise AssertionError(f"seed {seed}: event {event} vanished")
    for number, (owner, amount) in enumerate(s.hand):
        lines.append((f"manual-{number}", names[owner], amount))
        truth[names[owner], "by hand"] += amount
    totals: dict[str, int] = defaultdict(int)
    for _, name, effect in lines:
        totals[name] += effect
    return Case(
        seed,
        story,
        _events(log, names),
        _totals(totals),
        _processed(lines),
        dict(truth),
        dict(alone),
        dict(lonely),
        kinds,
    )


MISTAKES = (-1, 1, -2, 9, 99, 999)
"""What a missed event adds to its key's total, in its own amount.

One applied twice, with its sign turned, ten-, hundred-, thousandfold.
"""

CHANCE = 0.02

FEW = 3
"""Events of a window that says no more of itself than as many single events would."""


def not_to_be_told(case: Case) -> dict[str, int]:
    """By key, the cents of mistakes on single events, or on windows of as few, that no method can
    tell from chance by totals alone.

    An argument of its own, that knows nothing of what a search finds: as many random mistakes on
    random events of other keys are added up, and it is counted how often as many events of this
    key, or fewer, come to just that sum. Where more than one in fifty strange sums would be
    explained so, that the true one is explained says nothing. Three mistakes and more on one key
    are not tried: hundreds of events, taken three at a time, come to any sum. A window that touches
    one key alone is one of all the windows on that key's events, and is tried against strange sums
    of as many events likewise.
    """
    rng = np.random.default_rng(case.seed)
    unique = case.events.drop_duplicates("event_id")
    effects = (unique["effect"].astype("float64").to_numpy() * 100).round().astype(np.int64)
    owners = unique["key"].to_numpy()
    found = {}
    for key, amounts in case.alone.items():
        own = np.unique(np.multiply.outer(effects[owners == key], MISTAKES))
        if len(amounts) > 2:
            found[key] = sum(map(abs, amounts))
            continue
        strange = rng.choice(effects, (200, len(amounts))) * rng.choice(
            MISTAKES, (200, len(amounts))
        )
        sums = strange.sum(axis=1)
        met = np.isin(sums, own)
        if len(amounts) == 2:
            met |= np.array([np.isin(total - own, own).any() for total in sums])
        if met.mean() > CHANCE:
            found[key] = sum(map(abs, amounts))
    for key, amount in case.lonely.items():
        run = np.append(0, np.cumsum(effects[owners == key][:1_000]))
        windows = np.unique(np.subtract.outer(run, run))
        length = max(1, abs(amount) // max(int(np.median(np.abs(effects))), 1))
        strange = rng.choice(effects, (200, min(length, 500))).sum(axis=1)
        if np.isin(strange, windows).mean() > CHANCE:
            found[key] = found.get(key, 0) + abs(amount)
    return found


def _events(log: dict[str, Any], names: list[str]) -> pd.DataFrame:
    order = np.lexsort((log["arrival"], log["partition"]))
    event, partition = log["event"][order], log["partition"][order]
    counts = np.bincount(partition)
    offset = np.concatenate([np.arange(c) for c in counts]) if len(counts) else partition
    types = EventSchema(effects={"add": 1, "subtract": -1, "refund": 1, "fee": -1}).arrow_types
    kind = pa.DictionaryArray.from_arrays(
        pa.array(log["kind"][event], pa.int32()), pa.array(TYPES.tolist())
    )
    time = log["time"][event] + np.where(log["copy"][order] == 3, 5_000, 0)
    columns = {
        "event_id": pa.array([f"e{e:07d}" for e in event.tolist()], pa.large_string()),
        "type": kind,
        "value": decimals(log["cents"][order]),
        "effect": decimals(log["effect"][order]),
        "key": pa.array([names[k] for k in log["key"][event].tolist()], pa.large_string()),
        "time": pa.array(time, pa.int64()).cast(types["time"]),
        "topic": pa.DictionaryArray.from_arrays(
            pa.array(np.zeros(len(event)), pa.int32()), pa.array(["log"])
        ),
        "partition": pa.array(partition, pa.int32()),
        "offset": pa.array(offset, pa.int64()),
    }
    return pa.table({n: columns[n] for n in types}).to_pandas(types_mapper=pd.ArrowDtype)


def decimals(cents: Any, digits: int = 28) -> pa.Array:
    """Whole cents as decimals with two places, exactly."""
    words = np.empty((len(cents), 2), np.int64)
    words[:, 0], words[:, 1] = cents, np.asarray(cents) >> 63
    return pa.Array.from_buffers(
        pa.decimal128(digits, 2), len(cents), [None, pa.py_buffer(words.tobytes())]
    )


def _totals(totals: dict[str, int]) -> pa.Table:
    names = sorted(totals)
    return pa.table(
        {"key": names, "total": decimals(np.array([totals[n] for n in names], np.int64), 38)},
        schema=pa.schema([("key", pa.large_string()), ("total", pa.decimal128(38, 2))]),
    )


def _processed(lines: list[tuple[str, str, int]]) -> pa.Table:
    ids, names, effects = (
        (list(column) for column in zip(*lines, strict=True)) if lines else ([], [], [])
    )
    return pa.table(
        {
            "event_id": pa.array(ids, pa.large_string()),
            "key": pa.array(names, pa.large_string()),
            "effect": decimals(np.array(effects, np.int64), 38),
        }
    )


def cents(amount: Decimal) -> int:
    """A decimal with two places as whole cents."""
    return int(amount * 100)
