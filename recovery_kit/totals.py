"""totals(): running totals by key, worked out from unique events and what they started from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import narwhals as nw
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from recovery_kit import _frames
from recovery_kit._show import Facts, html_card, text_card
from recovery_kit.dedup import Dedup
from recovery_kit.errors import TableError
from recovery_kit.repeats import repeated
from recovery_kit.tables import read_totals

if TYPE_CHECKING:
    from recovery_kit._frames import Table


@dataclass(frozen=True, repr=False, eq=False)
class Totals:
    """What each key's total must be.

    Attributes
    ----------
    table : DataFrame or Table
        A row a key, sorted by key: ``key``, ``opening``, ``total``, ``events`` (a count), ``added``,
        ``subtracted`` (amounts, both as positive numbers), ``first``, ``last`` (times of the first and the last
        event; null where there is none). total = opening + added - subtracted. Amounts are exact decimals of 38
        digits, in the log's own unit.
    opening : bool
        Whether opening totals were given; otherwise every total starts from zero.
    """

    table: Any
    opening: bool

    def __repr__(self) -> str:
        return text_card("Totals", self._facts())

    def _repr_html_(self) -> str:
        return html_card("Totals", self._facts(), _frames.shown("Recovered totals, by key", self.table))

    def _facts(self) -> Facts:
        table, _ = _frames.opened(self.table, what="totals")
        amounts = ("opening", "added", "subtracted", "total") if self.opening else ("added", "subtracted", "total")
        found = _frames.measured(
            table,
            ("key",),
            what="totals",
            **{name: nw.col(name).sum() for name in ("events", *amounts)},
            first=nw.col("first").min(),
            last=nw.col("last").max(),
        )
        return [
            ("keys", found["rows"]),
            ("events", found["events"]),
            *((f"{name}, over all keys", found[name]) for name in amounts),
            *((f"{name} event", pd.Timestamp(found[name]) if found[name] else None) for name in ("first", "last")),
        ]


def totals(unique: Dedup | Any, *, opening: Any = None) -> Totals:
    """Work out each key's total: what it started from, and the sum of its events' effects.

    Parameters
    ----------
    unique : Dedup, DataFrame or Table
        What dedup found; or events, each once: pandas, polars or pyarrow, with the columns ``effect`` (decimals),
        ``key`` and ``time``, and ``event_id`` to see that none stands twice.
    opening : DataFrame, Table, Totals, str or Path, optional
        Totals by key as of the first event: whatever ``read_totals`` takes, an earlier run's totals among it.
        Not given: every total starts from zero.

    Returns
    -------
    Totals
        Its table is of the kind that was given. A key that only ``opening`` has is kept, with no events.

    Raises
    ------
    TableError
        When a column is missing, of the wrong kind or holds a null, when an event id stands twice, or when
        ``opening`` cannot be read exactly.
    AmountError
        When the sums could need more digits than an exact decimal holds.

    Notes
    -----
    To total every delivery as it came, duplicates and all, as a consumer without dedup would, leave the column
    ``event_id`` out.
    """
    kept = unique.kept if isinstance(unique, Dedup) else _frames.Kept.whole(unique, what="unique")
    needs = ("effect", "key", "time")
    schema = _frames.require(nw.from_native(kept.table), needs, what="unique")
    _frames.require_no_nulls(kept.table, needs, what="unique")
    if "event_id" in schema and not isinstance(unique, Dedup) and _frames.known_unique.get(id(unique)) is not unique:
        _require_once(kept.table["event_id"])
    rows, most = len(kept), _frames.largest(pc.min_max(kept.table["effect"]).as_py().values())
    start, scale = None, _frames.scale_of(schema, "effect")
    if opening is not None:
        given = read_totals(opening, what="opening").select(["key", "total"])
        scale = max(scale, given["total"].type.scale)
        rows, most = rows + len(given), _frames.largest([most, *pc.min_max(given["total"]).as_py().values()])
        start, _ = _frames.opened(given, what="opening")
    _frames.guard(most, rows, scale=scale, what="totals")
    table = _with_opening(_moved(kept.select(needs)), start, scale)
    return Totals(_frames.in_form(table, kept.form), opening is not None)


def _require_once(ids: pa.ChunkedArray) -> None:
    rows = repeated(ids)
    again = len(rows) - len(pc.unique(ids.take(pa.array(rows)))) if len(rows) else 0
    if again:
        raise TableError(
            f"unique: {again:,} of {len(ids):,} rows repeat an event id that stands in another row, and would be "
            f"counted again. Pass dedup(events), or leave the column event_id out to total every delivery"
        )


def _moved(events: Table) -> Table:
    """Sum what the events did to each key."""
    effect = nw.col("effect")
    return events.group_by("key").agg(
        change=effect.sum(),
        added=nw.when(effect > 0).then(effect).sum(),
        events=nw.len(),
        first=nw.col("time").min(),
        last=nw.col("time").max(),
    )


def _with_opening(moved: Table, start: Table | None, scale: int) -> Table:
    zero, exact = _frames.exactly(0, scale), nw.Decimal(_frames.DIGITS, scale)
    moved = moved.with_columns(nw.col("key").cast(nw.String))
    if start is None:
        joined = moved.with_columns(opening=zero)
    else:
        start = start.rename({"key": "start_key", "total": "opening"})
        joined = moved.join(start, left_on="key", right_on="start_key", how="full")
        joined = joined.with_columns(key=nw.coalesce("key", "start_key"))
    opening, change, added = (nw.col(name) for name in ("opening", "change", "added"))
    return (
        joined.with_columns(nw.coalesce(column.cast(exact), zero) for column in (opening, change, added))
        .select(
            "key",
            "opening",
            (opening + change).alias("total"),
            nw.coalesce(nw.col("events").cast(nw.Int64), nw.lit(0, dtype=nw.Int64)),
            "added",
            (added - change).alias("subtracted"),
            "first",
            "last",
        )
        .sort("key")
    )
