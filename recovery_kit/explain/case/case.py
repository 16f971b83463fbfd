"""What the search works on: the divergent keys and the log as arrays of whole numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recovery_kit._show import shorten
from recovery_kit.errors import TableError
from recovery_kit.explain.case.arrays import Bools, Ints, arrivals, ranked, wrapped
from recovery_kit.explain.case.events import EVENT, Events, Place, needed
from recovery_kit.explain.case.ids import span
from recovery_kit.explain.case.tracks import Track, track
from recovery_kit.tables import columns, decimals, frames
from recovery_kit.tables.arrow import column, values

if TYPE_CHECKING:
    import polars as pl

_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Case:
    """A reconciliation and the log it came from, as the search reads them.

    Attributes
    ----------
    keys : polars.DataFrame
        Every key, sorted: key, difference, status, and code, its number: its row.
    events : Events
        Each event once.
    copies : Events
        The redelivered copies.
    conflicts : polars.DataFrame
        Every copy of every conflicted id by topic, partition and offset, with code, verdict and
        chosen_effect.
    scale : int
        Decimals; an amount is a whole number of 10**-scale.
    slack : int
        The tolerance, in that unit.
    doubts : tuple of str
        Why the ids may not be unique.
    verdict : str or None
        Of the replay that the totals came from, where it is known.
    """

    keys: pl.DataFrame
    events: Events
    copies: Events
    conflicts: pl.DataFrame
    scale: int
    slack: int
    doubts: tuple[str, ...] = ()
    verdict: str | None = None

    @cached_property
    def difference(self) -> list[int]:
        """Expected - recovered by key, exactly."""
        return [decimals.unscaled(d, self.scale) for d in self.keys["difference"].to_list()]

    @cached_property
    def left(self) -> Ints:
        """The same, modulo 2**64."""
        return np.array([wrapped(d) for d in self.difference], np.int64)

    @cached_property
    def code(self) -> Ints:
        """Each event's key's number; -1 for a key that the reconciliation does not know."""
        return self.codes(*self.events.numbers("key"))

    def codes(self, numbers: Ints, names: pa.Array) -> Ints:
        """Keys' numbers, of keys given as numbers of names."""
        return self.coded(names)[numbers]

    def coded(self, names: pa.Array | pa.ChunkedArray) -> Ints:
        """The numbers of keys of some names; -1 for one that the reconciliation does not know."""
        own = self.keys["key"].to_arrow().cast(pa.large_string())
        known = pc.index_in(names.cast(pa.large_string()), value_set=own)
        made: Ints = values(known.fill_null(-1)).astype(np.int64)
        return made

    @cached_property
    def busy(self) -> Ints:
        """How many events each key has."""
        return np.bincount(self.code, minlength=len(self.keys))

    @cached_property
    def effects(self) -> tuple[Ints, Ints]:
        """Each event's effect, exactly: its low and its high half."""
        return self.events.effects(self.scale)

    @property
    def effect(self) -> Ints:
        """Each event's effect, modulo 2**64."""
        return self.effects[0]

    @cached_property
    def _kinds(self) -> tuple[Ints, list[str]]:
        numbers, names = self.events.numbers("type")
        there = np.flatnonzero(np.bincount(numbers, minlength=len(names)))
        names = names.take(column(there)).to_pylist()
        rank = np.zeros(int(there.max(initial=0)) + 1, np.int64)
        rank[there] = np.argsort(np.argsort(names))
        return rank[numbers], sorted(names)

    @property
    def kind(self) -> Ints:
        """Each event's type as a number, by `kinds`."""
        return self._kinds[0]

    @property
    def kinds(self) -> list[str]:
        """The types, sorted."""
        return self._kinds[1]

    @property
    def places(self) -> list[Place]:
        """Topic, partition, first row and row after the last, of each partition's events."""
        return self.events.places

    @cached_property
    def span(self) -> tuple[Ints, Ints]:
        """For each event the first and the last row at which a copy of it stands in its partition.

        A window of rows [s, e) holds every copy where s <= first and last < e. An event with a copy
        in another partition has first = -1: a window on its own partition cannot have hidden it.
        """
        import polars as pl

        place = ("event_id", "topic", "partition", "offset")
        versions = self.conflicts.filter(pl.col("verdict") != "chosen").select(place)
        return span(
            self.events,
            pl.concat([self.copies.frame(np.arange(len(self.copies)), *place), versions]),
        )

    @cached_property
    def again(self) -> Bools:
        """Whether a copy or another version of each event stands in the log."""
        rows = np.arange(len(self.events))
        made: Bools = (self.span[0] != rows) | (self.span[1] != rows)
        return made

    @cached_property
    def copied(self) -> Case:
        """The redelivered copies in the place of the events.

        Those of keys that the reconciliation lacks are left out.
        """
        known = self.codes(*self.copies.numbers("key")) >= 0
        none = self.copies.only(np.zeros(len(known), bool))
        return replace(
            self, events=self.copies.only(known), copies=none, conflicts=self.conflicts.clear()
        )

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
        low, high = self.effects
        size = float(np.abs(low.astype(float)).sum()) if (high == low >> 63).all() else math.inf
        return max([size, *map(abs, self.difference)]) * 1000 >= 2**62

    @cached_property
    def by_arrival(self) -> Ints:
        """The rows of all partitions by arrival."""
        since = self.arrival - self.arrival.min(initial=_NEVER)
        return ranked(since, int(since.max(initial=0)) + 1)

    @cached_property
    def arrival(self) -> Ints:
        """About when each event arrived, ms: late events do not turn it back, and a wild time does
        not push it on.
        """
        made, time = np.empty(len(self.events), np.int64), self.events.whole("time")
        for place in self.places:
            made[place.low : place.high] = arrivals(time[place.low : place.high])
        return made

    @cached_property
    def tracks(self) -> list[Track]:
        """The orders in which windows are looked for: by partition, and where there are several, of
        all by arrival.
        """
        about, rows = (self.code, self.kind, len(self.keys)), np.arange(len(self.events))
        made = [track(rows, *about, np.array([0, *(end for *_, end in self.places)]), merged=False)]
        if len(self.places) > 1:
            made.append(track(self.by_arrival, *about, np.array([0, len(rows)]), merged=True))
        return made


def open_case(reconciliation: Any, dedup: Any) -> Case:
    """Take a Reconciliation and a Dedup apart."""
    import polars as pl

    table = _polars(reconciliation.table, ("key", "difference", "status"), "reconciliation")
    events = Events.of(dedup.kept, what="unique")
    copies = Events.of(
        columns.Kept.whole(dedup.redelivered, what="redelivered"), what="redelivered"
    )
    conflicts = _polars(dedup.conflicts, (*EVENT, "verdict", "chosen_effect"), "conflicts")
    keys = (
        table.sort("key")
        .with_columns(
            pl.col("key").cast(pl.String), pl.col("difference").fill_null(0)
        )  # null: nothing to compare with
        .with_row_index("code")
        .with_columns(pl.col("code").cast(pl.Int64))
    )
    conflicts = (
        conflicts.with_columns(pl.col("event_id", "key", "type", "topic").cast(pl.String))
        .join(keys.select("key", "code"), on="key", how="left")
        .sort("topic", "partition", "offset")
    )
    scale = max(scale_of(table, "difference"), events.kept.table.schema.field("effect").type.scale)
    case = Case(
        keys,
        events,
        copies,
        conflicts,
        scale,
        decimals.unscaled(reconciliation.tolerance, scale),
        tuple(getattr(dedup, "doubts", ())),
        getattr(reconciliation, "verdict", None),
    )
    strange = np.flatnonzero(case.code < 0)
    if strange.size:
        raise TableError(
            f"unique has the key '{shorten(events.frame(strange[:1], 'key').item())}', which the "
            "reconciliation lacks; give the Dedup that its totals came from"
        )
    return case


def _polars(frame: Any, names: tuple[str, ...], what: str) -> pl.DataFrame:
    table, _ = columns.entered(frame, what=what)
    needed(table, names, what=what)
    made: pl.DataFrame = nw.to_native(
        frames.opened(table.select(names), what=what)[0].collect("polars")
    )
    return made


def scale_of(frame: pl.DataFrame, name: str) -> int:
    """Decimal places of a column of exact amounts."""
    import polars as pl

    kind = frame.schema[name]
    return kind.scale if isinstance(kind, pl.Decimal) else 0
