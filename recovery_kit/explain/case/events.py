"""The log's events as columns in the order of their places, made when they are asked for.

Whole rows only of a few.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from recovery_kit.errors import TableError
from recovery_kit.explain.case.arrays import Ints, ranked
from recovery_kit.tables import columns, decimals
from recovery_kit.tables.arrow import values

if TYPE_CHECKING:
    import polars as pl

EVENT = ("event_id", "type", "effect", "key", "time", "topic", "partition", "offset")


class Place(NamedTuple):
    """A partition that has events: their rows are ``low`` to before ``high``."""

    topic: str
    partition: int
    low: int
    high: int


@dataclass(frozen=True, eq=False)
class Events:
    """Events by topic, partition and offset; a row is an event's number in this order.

    Attributes
    ----------
    kept : Kept
        The table they stand in.
    at : int64 array
        By row, the event's row in the table.
    places : list of Place
        The partitions that have events, in order.
    """

    kept: columns.Kept
    at: Ints
    places: list[Place]

    @classmethod
    def of(cls, kept: columns.Kept, *, what: str) -> Events:
        """The events of a table; a TableError where it lacks a column."""
        needed(kept.table, EVENT, what=what)
        kept = replace(kept, table=kept.table.select(EVENT))
        at = np.delete(np.arange(len(kept.table)), kept.dropped)
        topic, topics = columns.numbered(kept.table["topic"])
        topic, partition = topic[at], _whole(kept.table["partition"])[at]
        least, most = int(partition.min(initial=0)), int(partition.max(initial=0))
        place = columns.ranks(topics)[topic] * (most - least + 1) + (partition - least)
        order = ranked(place, len(topics) * (most - least + 1))
        place, offset = place[order], _whole(kept.table["offset"])[at[order]]
        if ((place[1:] == place[:-1]) & (offset[1:] < offset[:-1])).any():
            again = np.lexsort((offset, place))
            order, place = order[again], place[again]
        firsts = np.flatnonzero(np.diff(place, prepend=-1))
        ends = np.append(firsts[1:], len(at))[: len(firsts)]
        named = (topic[order[firsts]], partition[order[firsts]], firsts, ends)
        edges = zip(*(column.tolist() for column in named), strict=True)
        places = [Place(topics[t].as_py(), p, low, high) for t, p, low, high in edges]
        return cls(kept, at[order], places)

    def __len__(self) -> int:
        return len(self.at)

    def only(self, chosen: np.ndarray) -> Events:
        """The chosen ones of these, by a bool a row."""
        ends = np.append(0, np.cumsum(chosen))
        moved = (
            place._replace(low=int(ends[place.low]), high=int(ends[place.high]))
            for place in self.places
        )
        places = [place for place in moved if place.high > place.low]
        return Events(self.kept, self.at[chosen], places)

    def whole(self, name: str) -> Ints:
        """A column of whole numbers, or of times as they stand."""
        return _whole(self.kept.table[name])[self.at]

    def numbers(self, name: str) -> tuple[Ints, pa.Array]:
        """A column of texts as numbers of distinct values, and these values.

        There may be more of them than occur.
        """
        numbers, distinct = columns.numbered(self.kept.table[name])
        return numbers[self.at].astype(np.int64), distinct

    def effects(self, scale: int) -> tuple[Ints, Ints]:
        """The effects as whole numbers of 10**-scale: their low halves, and their high ones."""
        low, high = decimals.words(self.kept.table["effect"], scale).T
        return low[self.at], high[self.at]

    @cached_property
    def ids(self) -> tuple[pa.Array, Ints]:
        """The ids as one column of large strings in the table's order, and the row of each.

        -1 of those that are left out.
        """
        column = self.kept.table["event_id"].cast(pa.large_string()).combine_chunks()
        rows = np.full(len(column), -1)
        rows[self.at] = np.arange(len(self))
        return column, rows

    def frame(self, rows: Ints, *names: str) -> pl.DataFrame:
        """Some rows of some columns, or of all of them; texts as such."""
        import polars as pl

        wanted = self.at[rows]
        order = np.argsort(wanted, kind="stable")
        taken = pl.DataFrame(pl.from_arrow(self.kept.rows(wanted[order]).select(names or EVENT)))
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        texts = [name for name in ("event_id", "type", "key", "topic") if name in taken.columns]
        return taken[back].with_columns(pl.col(texts).cast(pl.String))


def needed(table: Any, names: tuple[str, ...], *, what: str) -> None:
    """A TableError where a table lacks a column."""
    for name in names:
        if name not in table.column_names:
            raise TableError(f"{what} has no column {name!r}; explain needs {', '.join(names)}")


def _whole(column: pa.ChunkedArray) -> Ints:
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("ms", column.type.tz), safe=False)
    made: Ints = values(column.cast(pa.int64()))
    return made
