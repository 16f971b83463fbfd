"""copies(): one key under the lens, every copy of every one of its events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import narwhals as nw

from recovery_kit.tables import decimals, frames

if TYPE_CHECKING:
    from recovery_kit.dedup import Dedup

COLUMNS = ("event_id", "type", "value", "effect", "time", "topic", "partition", "offset", "verdict")


def copies(dedup: Dedup, *, key: str) -> Any:
    """Every copy of every event of one key, by time and place in the log.

    Parameters
    ----------
    dedup : Dedup
    key : str

    Returns
    -------
    DataFrame or Table
        A row a copy, of the kind that ``dedup.unique`` is: ``event_id``, ``type``, ``value``,
        ``effect``, ``time``, ``topic``, ``partition``, ``offset``, ``verdict`` (``"chosen"``,
        ``"redelivered"`` or ``"conflicting"``) and ``running``, the key's total after it, from
        zero: only chosen copies move it.
    """
    import polars as pl

    unique, back = frames.opened(dedup.unique, what="unique")
    chosen = _of(unique, key).with_columns(verdict=pl.lit("chosen"))
    redelivered = _of(frames.opened(dedup.redelivered, what="redelivered")[0], key).with_columns(
        verdict=pl.lit("redelivered")
    )
    conflicts = _of(frames.opened(dedup.conflicts, what="conflicts")[0], key).filter(
        pl.col("verdict") == "conflicting"
    )
    made = pl.concat([frame.select(COLUMNS) for frame in (chosen, redelivered, conflicts)])
    made = made.sort("time", "topic", "partition", "offset")
    moves = (
        pl.when(pl.col("verdict") == "chosen")
        .then("effect")
        .otherwise(pl.lit(0).cast(made.schema["effect"]))
    )
    wide = pl.Decimal(decimals.DIGITS, getattr(made.schema["effect"], "scale", 0))
    return back(nw.from_native(made.with_columns(running=moves.cast(wide).cum_sum()).lazy()))


def _of(table: Any, key: str) -> Any:
    import polars as pl

    frame = nw.to_native(table.filter(nw.col("key").cast(nw.String) == key).collect("polars"))
    return frame.with_columns(pl.col("type", "topic").cast(pl.String))
