"""totals(): running totals by key, worked out from unique events and what they started from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recovery_kit._show import Facts, html_card, text_card
from recovery_kit.dedup import Dedup
from recovery_kit.errors import TableError
from recovery_kit.kernels import address, load
from recovery_kit.tables import columns, decimals
from recovery_kit.tables.arrow import column, values
from recovery_kit.tables.repeats import repeated


@dataclass(frozen=True, repr=False, eq=False)
class Totals(columns.WorkedOut):
    """What each key's total must be.

    Attributes
    ----------
    table : DataFrame or Table
        A row a key, sorted by key: ``key``, ``opening``, ``total``, ``events`` (a count),
        ``added``, ``subtracted`` (amounts, both as positive numbers), ``first``, ``last`` (times of
        the first and the last event; null where there is none). total = opening + added -
        subtracted. Amounts are exact decimals of 38 digits, in the log's own unit.
    opening : bool
        Whether opening totals were given; otherwise every total starts from zero.
    notes : tuple of str
        What a reader must know of how the opening totals were read.
    """

    table: Any
    opening: bool
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return text_card("Totals", self._facts(), self.notes)

    def _repr_html_(self) -> str:
        from recovery_kit.tables import frames

        return html_card(
            "Totals",
            self._facts(),
            frames.shown("Recovered totals, by key", self.table),
            self.notes,
        )

    def _facts(self) -> Facts:
        import pandas as pd

        table, _ = columns.entered(self.table, what="totals")
        amounts = (
            ("opening", "added", "subtracted", "total")
            if self.opening
            else ("added", "subtracted", "total")
        )
        times = {"first": pc.min(table["first"]).as_py(), "last": pc.max(table["last"]).as_py()}
        return [
            ("keys", len(table)),
            ("events", pc.sum(table["events"]).as_py() or 0),
            *((f"{name}, over all keys", pc.sum(table[name]).as_py()) for name in amounts),
            *(
                (f"{name} event", pd.Timestamp(time) if time else None)
                for name, time in times.items()
            ),
        ]


def totals(unique: Dedup | Any, *, opening: Any = None) -> Totals:
    """Work out each key's total: what it started from, and the sum of its events' effects.

    Parameters
    ----------
    unique : Dedup, DataFrame or Table
        What dedup found; or events, each once: pandas, polars or pyarrow, with the columns
        ``effect`` (decimals), ``key`` and ``time``, and ``event_id`` to see that none stands twice.
    opening : DataFrame, Table, Totals, str or Path, optional
        Totals by key as of the first event: whatever ``read_totals`` takes, an earlier run's totals
        among it. Not given: every total starts from zero.

    Returns
    -------
    Totals
        Its table is of the kind that was given. A key that only ``opening`` has is kept, with no
        events.

    Raises
    ------
    TableError
        When a column is missing, of the wrong kind or holds a null, when an event id stands twice,
        or when ``opening`` cannot be read exactly.
    AmountError
        When the sums could need more digits than an exact decimal holds.

    Notes
    -----
    To total every delivery as it came, duplicates and all, as a consumer without dedup would, leave
    the column ``event_id`` out.
    """
    kept = unique.kept if isinstance(unique, Dedup) else columns.Kept.whole(unique, what="unique")
    needs = ("effect", "key", "time")
    columns.require(kept.table, needs, what="unique")
    if "event_id" in kept.table.column_names and not isinstance(unique, Dedup):
        columns.require(kept.table, ("event_id",), what="unique")
        _require_once(kept.table["event_id"])
    notes: list[str] = []
    start, scale = None, kept.table.schema.field("effect").type.scale
    rows, most = len(kept), [kept.largest_effect()]
    if opening is not None:
        from recovery_kit.tables.given import doubts, read_totals

        start = read_totals(opening, what="opening").select(["key", "total"])
        notes = doubts(start, scale, what="opening")
        scale = max(scale, start["total"].type.scale)
        rows, most = rows + len(start), [*most, *pc.min_max(start["total"]).as_py().values()]
    decimals.guard(decimals.largest(most), rows, scale=scale, what="totals")
    table = _with_opening(*_moved(kept, scale), start, scale, kept.table.schema.field("time").type)
    return Totals(columns.of_arrow(table, kept.form), opening is not None, tuple(notes))


def _moved(kept: columns.Kept, scale: int) -> tuple[pa.Array, np.ndarray]:
    """What the events did to each key: the keys that have events, and their rows as `kernels.tally`
    fills them.
    """
    table = kept.table.select(["effect", "key", "time"])
    numbers, keys = columns.codes(table["key"])
    sums = np.zeros((len(keys), 7), np.int64)
    coded = pa.chunked_array([column(chunk) for chunk in numbers], pa.int32())
    start = 0
    for batch in table.set_column(1, "key", coded).to_batches():
        effects, times = (
            decimals.words(batch["effect"], scale),
            values(batch["time"].view(pa.int64())),
        )
        first, behind = np.searchsorted(kept.dropped, (start, start + len(batch)))
        dropped = kept.dropped[first:behind] - start
        load().tally(
            address(values(batch["key"])), address(effects), address(times), len(batch),
            address(dropped), len(dropped), address(sums),
        )  # fmt: skip
        start += len(batch)
    there = sums[:, _EVENTS] > 0
    return keys.cast(pa.large_string()).filter(column(there)), sums[there]


_EVENTS, _FIRST, _LAST = 4, 5, 6


def _with_opening(
    keys: pa.Array, sums: np.ndarray, start: pa.Table | None, scale: int, time: pa.DataType
) -> pa.Table:
    if start is None:
        opening = np.zeros((len(keys), 2), np.int64)
    else:
        known = pc.index_in(start["key"], value_set=keys).combine_chunks()
        new = start["key"].filter(known.is_null()).combine_chunks()
        at = known.fill_null(0).to_numpy(zero_copy_only=False).copy()
        at[known.is_null().to_numpy(zero_copy_only=False)] = len(keys) + np.arange(len(new))
        keys = pa.concat_arrays([keys, new])
        sums = np.concatenate([sums, np.zeros((len(new), 7), np.int64)])
        opening = np.zeros((len(keys), 2), np.int64)
        opening[at] = decimals.words(start["total"], scale)
    change, added, events = sums[:, 0:2], sums[:, 2:4], sums[:, _EVENTS]
    table = pa.table(
        {
            "key": keys,
            "opening": decimals.decimals(opening, scale),
            "total": decimals.decimals(decimals.plus(opening, change), scale),
            "events": column(events),
            "added": decimals.decimals(added, scale),
            "subtracted": decimals.decimals(decimals.minus(added, change), scale),
            "first": column(sums[:, _FIRST], events > 0).cast(time),
            "last": column(sums[:, _LAST], events > 0).cast(time),
        }
    )
    return table.take(pc.sort_indices(keys))


def _require_once(ids: pa.ChunkedArray) -> None:
    rows = repeated(ids)
    again = len(rows) - len(pc.unique(ids.take(column(rows)))) if len(rows) else 0
    if again:
        raise TableError(
            f"unique: {again:,} of {len(ids):,} rows repeat an event id that stands in another "
            "row, and would be counted again. Pass dedup(events), or leave the column event_id out "
            "to total every delivery"
        )
