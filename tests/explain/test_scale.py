"""explain() with a list of what was processed, on a log of many events: every cause and every event
of it, exactly.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recovery_kit.dedup import Dedup, dedup
from recovery_kit.explain import explain
from recovery_kit.reconcile import Reconciliation, reconcile
from recovery_kit.schema import EventSchema
from recovery_kit.tables.decimals import decimals
from recovery_kit.totals import totals
from tests.events import NOON, rows

KEYS, PARTITIONS = 300, 4
TYPES, SIGNS = ["add", "subtract"], np.array([1, -1])


class Made(NamedTuple):
    """A log and a list of what was processed, and by key and cause the cents and the number of
    events that are off.
    """

    r: Reconciliation
    d: Dedup
    processed: pa.Table
    cents: Counter[tuple[str, str]]
    events: Counter[tuple[str, str]]


def exact(cents: np.ndarray, digits: int = 28) -> pa.Array:
    return decimals(np.stack([cents, cents >> 63], axis=1), 2).cast(pa.decimal128(digits, 2))


def named(letter: str, numbers: np.ndarray) -> pa.Array:
    """Texts such as e12, a number each."""
    return pc.binary_join_element_wise(letter, pa.array(numbers).cast(pa.string()), "").cast(
        pa.large_string()
    )


def scattered(count: int, mistakes: int) -> Made:
    """Events of which one in a hundred came twice, and as many mistakes of each kind, on events
    anywhere in the log.
    """
    rng = np.random.default_rng(count)
    key, kind = rng.integers(0, KEYS, count), rng.integers(0, 2, count)
    cents = rng.integers(1, 10**7, count) * SIGNS[kind]
    lost, twice, turned, enlarged, moved = rng.choice(count, (5, mistakes), replace=False)

    applied, owner = cents.copy(), key.copy()
    applied[turned] *= -1
    applied[enlarged] *= 100
    owner[moved] = (key[moved] + 1) % KEYS
    strange = rng.integers(1, 10**7, mistakes)
    order = np.sort(np.concatenate([np.delete(np.arange(count), lost), twice]))
    ids = pa.concat_arrays([named("e", order), named("x", np.arange(mistakes))])
    owners = np.append(owner[order], strange % KEYS)
    amounts = np.append(applied[order], strange)
    processed = pa.table({"event_id": ids, "key": named("k", owners), "effect": exact(amounts)})
    held = np.zeros(KEYS, np.int64)
    np.add.at(held, owners, amounts)
    expected = pa.table({"key": named("k", np.arange(KEYS)), "total": exact(held)})

    truth: list[tuple[str, np.ndarray, np.ndarray]] = [
        ("missed", key[lost], -cents[lost]),
        ("applied_twice", key[twice], cents[twice]),
        ("wrong_sign", key[turned], -2 * cents[turned]),
        ("wrong_factor", key[enlarged], 99 * cents[enlarged]),
        ("wrong_key", key[moved], -cents[moved]),
        ("wrong_key", owner[moved], cents[moved]),
        ("not_in_log", strange % KEYS, strange),
    ]
    off: Counter[tuple[str, str]] = Counter()
    number: Counter[tuple[str, str]] = Counter()
    for cause, owners, amounts in truth:
        for k, amount in zip(owners.tolist(), amounts.tolist(), strict=True):
            off[f"k{k}", cause] += amount
            number[f"k{k}", cause] += 1
    d = dedup(log(np.append(np.arange(count), np.arange(0, count, 100)), key, kind, cents))
    return Made(reconcile(totals(d), expected), d, processed, off, number)


def log(event: np.ndarray, key: np.ndarray, kind: np.ndarray, cents: np.ndarray) -> pa.Table:
    """The events as they came, an event's number each."""
    event = event[np.argsort(key[event] % PARTITIONS, kind="stable")]
    partition = key[event] % PARTITIONS
    starts = np.searchsorted(partition, np.arange(PARTITIONS))
    types = EventSchema().arrow_types
    texts = {"type": (kind[event], TYPES), "topic": (np.zeros(len(event)), ["log"])}
    columns = {
        "event_id": named("e", event),
        "key": named("k", key[event]),
        "value": exact(np.abs(cents[event])),
        "effect": exact(cents[event]),
        "time": pa.array(NOON + event).cast(types["time"]),
        "partition": pa.array(partition).cast(types["partition"]),
        "offset": pa.array(np.arange(len(event)) - starts[partition]),
        **{
            n: pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), texts)
            for n, (codes, texts) in texts.items()
        },
    }
    return pa.table({name: columns[name].cast(kind) for name, kind in types.items()})


def test_scattered_mistakes_are_told_one_by_one_and_nothing_else_is() -> None:
    made = scattered(300_000, 400)
    found = explain(made.r, made.d, processed=made.processed)
    cents: Counter[tuple[str, str]] = Counter()
    events: Counter[tuple[str, str]] = Counter()
    grades: dict[str, int] = defaultdict(int)
    for row in rows(found.causes):
        cents[row["key"], row["cause"]] += int(row["amount"] * 100)
        events[row["key"], row["cause"]] += row["events"]
        grades[row["grade"]] += 1
    assert set(grades) == {"proven"}
    nothing = {
        name for name, amount in made.cents.items() if not amount
    }  # what comes to nothing is no cause
    assert cents == made.cents
    assert events == {name: number for name, number in made.events.items() if name not in nothing}
    assert not len(found.incidents)
