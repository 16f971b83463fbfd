"""What the search works on: the divergent keys and the log as arrays of whole numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np
import numpy.typing as npt

from recovery_kit import _frames
from recovery_kit._show import shorten
from recovery_kit.errors import TableError

if TYPE_CHECKING:
    import polars as pl

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

EVENT = ("event_id", "type", "effect", "key", "time", "topic", "partition", "offset")


@dataclass(frozen=True)
class Case:
    """A reconciliation and the log it came from, as the search reads them.

    Attributes
    ----------
    keys : polars.DataFrame
        Every key, sorted: key, difference, status; a key's number is its row.
    events : polars.DataFrame
        Each event once, by topic, partition and offset, with ``code``, its key's number.
    copies : polars.DataFrame
        The redelivered copies, likewise.
    conflicts : polars.DataFrame
        Every copy of every conflicted id, with verdict and chosen_effect.
    scale : int
        Decimals; an amount is a whole number of 10**-scale.
    slack : int
        The tolerance, in that unit.
    """

    keys: pl.DataFrame
    events: pl.DataFrame
    copies: pl.DataFrame
    conflicts: pl.DataFrame
    scale: int
    slack: int

    @cached_property
    def difference(self) -> list[int]:
        """Expected - recovered by key, exactly."""
        return [_frames.unscaled(d, self.scale) for d in self.keys["difference"].to_list()]

    @cached_property
    def left(self) -> Ints:
        """The same, modulo 2**64."""
        return np.array([wrapped(d) for d in self.difference], np.int64)

    @cached_property
    def code(self) -> Ints:
        """Each event's key's number."""
        return codes(self.events)

    @cached_property
    def effect(self) -> Ints:
        """Each event's effect, modulo 2**64."""
        return units(self.events["effect"], self.scale)

    @cached_property
    def kind(self) -> Ints:
        """Each event's type as a number, by `kinds`."""
        return self.events["type"].cast(_enum(self.kinds)).to_physical().cast(_int()).to_numpy()

    @cached_property
    def kinds(self) -> list[str]:
        """The types, sorted."""
        return sorted(self.events["type"].cast(_text()).unique().to_list())

    @cached_property
    def time(self) -> Ints:
        """Each event's time, ms since the epoch."""
        return self.events["time"].dt.timestamp("ms").to_numpy()

    @cached_property
    def places(self) -> list[tuple[str, int, int, int]]:
        """Topic, partition, first row and row after the last, of each partition's events."""
        counts = self.events.group_by("topic", "partition").len().sort("topic", "partition").rows()
        ends = np.cumsum([rows for *_, rows in counts]).tolist()
        return [(t, p, end - rows, end) for (t, p, rows), end in zip(counts, ends, strict=True)]

    @cached_property
    def span(self) -> tuple[Ints, Ints]:
        """For each event the first and the last row at which a copy of it stands in its partition.

        A window of rows [s, e) holds every copy where s <= first and last < e. An event with a copy in another
        partition has first = -1: a window on its own partition cannot have hidden it.
        """
        return _span(self)

    @cached_property
    def copied(self) -> Case:
        """The redelivered copies in the place of the events; those of keys that the reconciliation lacks are left out."""
        known = self.copies.filter(self.copies["code"].is_not_null())
        return replace(self, events=known, copies=known.clear(), conflicts=self.conflicts.clear())

    @cached_property
    def amounts(self) -> tuple[Ints, Ints]:
        """The effects that occur, sorted, and how often each does."""
        return np.unique(self.effect, return_counts=True)

    @cached_property
    def unit(self) -> int:
        """What all effects are multiples of."""
        return max(int(np.gcd.reduce(self.amounts[0])), 1) if len(self.effect) else 1

    @cached_property
    def variety(self) -> float:
        """Bits that one exact sum of effects says at most: less where amounts repeat."""
        share = self.amounts[1] / max(len(self.effect), 1)
        return 4 - math.log2(float((share**2).sum())) if len(share) else 0.0

    @cached_property
    def usual(self) -> float:
        """The size of a usual effect: its median, modulo 2**64; at least 8."""
        return max(float(np.median(np.abs(self.effect))), 8.0) if len(self.effect) else 8.0

    @cached_property
    def wide(self) -> bool:
        """Whether a multiple of a sum may pass 64 bits, so that only plain sums can be compared."""
        size = _frames.unscaled(Decimal(self.events["effect"].abs().sum() or 0), self.scale) if len(self.events) else 0
        return max([size, *map(abs, self.difference)]) * 1000 >= 2**62

    @cached_property
    def by_arrival(self) -> Ints:
        """The rows of all partitions by arrival."""
        return np.argsort(self.arrival, kind="stable")

    @cached_property
    def arrival(self) -> Ints:
        """About when each event arrived, ms: late events do not turn it back, and a wild time does not push it on."""
        made = np.empty(len(self.events), np.int64)
        for _, _, begin, end in self.places:
            made[begin:end] = arrivals(self.time[begin:end])
        return made


def open_case(r: Any, d: Any) -> Case:
    """Take a Reconciliation and a Dedup apart."""
    import polars as pl

    table = _polars(r.table, ("key", "difference", "status"), "reconciliation")
    events = _polars(d.unique, EVENT, "unique")
    copies = _polars(d.redelivered, EVENT, "redelivered")
    conflicts = _polars(d.conflicts, (*EVENT, "verdict", "chosen_effect"), "conflicts")
    keys = (
        table.sort("key")
        .with_columns(pl.col("key").cast(pl.String), pl.col("difference").fill_null(0))  # null: nothing to compare with
        .with_row_index("code")
        .with_columns(pl.col("code").cast(pl.Int64))
    )
    scale = max(decimals(table, "difference"), decimals(events, "effect"))
    named = keys.select("key", "code")
    text = pl.col("key", "type", "topic").cast(pl.String)
    events, copies, conflicts = (
        frame.with_columns(text).join(named, on="key", how="left").sort("topic", "partition", "offset")
        for frame in (events, copies, conflicts)
    )
    for key in events.filter(pl.col("code").is_null())["key"].head(1):
        raise TableError(
            f"unique has the key '{shorten(key)}', which the reconciliation lacks; give the Dedup that its totals came from"
        )
    return Case(keys, events, copies, conflicts, scale, _frames.unscaled(r.tolerance, scale))


def _polars(frame: Any, names: tuple[str, ...], what: str) -> pl.DataFrame:
    table, _ = _frames.opened(frame, what=what)
    missing = [name for name in names if name not in table.collect_schema()]
    if missing:
        raise TableError(f"{what} has no column {missing[0]!r}; explain needs {', '.join(names)}")
    made: pl.DataFrame = nw.to_native(table.select(*names).collect("polars"))
    return made


def decimals(frame: pl.DataFrame, name: str) -> int:
    """Decimal places of a column of exact amounts."""
    import polars as pl

    kind = frame.schema[name]
    return kind.scale if isinstance(kind, pl.Decimal) else 0


def units(amounts: pl.Series, scale: int) -> Ints:
    """Exact amounts as whole numbers of 10**-scale, modulo 2**64."""
    import pyarrow as pa

    array = amounts.to_arrow().cast(pa.decimal128(_frames.DIGITS, scale))
    if not len(array):
        return np.empty(0, np.int64)
    words = np.frombuffer(array.buffers()[1], np.int64)
    made: Ints = words[2 * array.offset : 2 * (array.offset + len(array)) : 2].copy()  # the low half of each
    return made


def wrapped(amount: int) -> int:
    """A whole number modulo 2**64, as a signed one."""
    return (amount + 2**63) % 2**64 - 2**63


def codes(frame: pl.DataFrame) -> Ints:
    """The keys' numbers; -1 for a key that the reconciliation does not know."""
    return frame["code"].fill_null(-1).to_numpy()


def arrivals(time: Ints, *, block: int = 64) -> Ints:
    """When records of one partition arrived, as far as their own times tell: never backwards, in log order.

    A record is there no later than those after it, so the highest time so far is the best guess; a time far beyond
    what the next block of records shows is a wrong clock, and is cut.
    """
    if len(time) <= block:
        return np.maximum.accumulate(time)
    whole = len(time) // block
    middle = np.partition(time[: whole * block].reshape(whole, block), block // 2)[:, block // 2]
    limit = np.maximum.accumulate(np.append(middle[1:], np.median(time[-block // 2 :]).astype(np.int64)))
    limit[-1] = max(limit[-1], np.partition(time[-block:], -2)[-2])
    return np.maximum.accumulate(
        np.minimum(time, np.append(np.repeat(limit, block), np.full(len(time) % block, limit[-1])))
    )


def _span(case: Case) -> tuple[Ints, Ints]:
    import polars as pl

    rows = np.arange(len(case.events), dtype=np.int64)
    first, last = rows.copy(), rows.copy()
    others = pl.concat(
        [case.copies.select("event_id", "topic", "partition", "offset"),
         case.conflicts.filter(pl.col("verdict") != "chosen").select("event_id", "topic", "partition", "offset")]
    )  # fmt: skip
    if not len(others):
        return first, last
    ids = case.events.select("event_id", "topic", "partition").with_row_index("row")
    met = others.join(ids, on="event_id", suffix="_own")
    offsets = case.events["offset"].to_numpy()
    begins = {(t, p): (begin, end) for t, p, begin, end in case.places}
    for topic, partition, offset, row, own_topic, own_partition in met.select(
        "topic", "partition", "offset", "row", "topic_own", "partition_own"
    ).iter_rows():
        if (topic, partition) != (own_topic, own_partition):
            first[row] = -1
            continue
        begin, end = begins[topic, partition]
        at = begin + int(np.searchsorted(offsets[begin:end], offset))  # between the rows at - 1 and at
        if first[row] >= 0:
            first[row] = min(first[row], at - 1)
        last[row] = max(last[row], at - 1)
    return first, last


def _enum(names: list[str]) -> Any:
    import polars as pl

    return pl.Enum(names)


def _int() -> Any:
    import polars as pl

    return pl.Int64


def _text() -> Any:
    import polars as pl

    return pl.String
