"""What charts draw, worked out in whole columns: events into bins of time, and what a system
applied against the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import polars as pl

_S, _MIN, _H, _D = 1_000, 60_000, 3_600_000, 86_400_000
_UNITS = ((_D, "d"), (_H, "h"), (_MIN, "min"), (_S, "s"), (1, "ms"))
_STEPS = [
    *(n * u for u in (1, 10, 100, _S, 10 * _S, _MIN, 10 * _MIN) for n in (1, 2, 5)),
    *(n * u for u in (_S, _MIN) for n in (15, 30)),
    *(n * _H for n in (1, 2, 3, 6, 12)),
    *(n * _D for n in (1, 2, 7, 14, 28, 91)),
    *(n * 365 * _D for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 5_000)),
]
_FIRST, _LAST = -62_072_000_000_000, 253_340_000_000_000
"""Milliseconds that matplotlib's dates can draw with room to spare: years 3 to 9998."""

_FAR = 20
"""A span of time this many times that of all but its outermost 0.1 % at each end is drawn without
those.
"""


def polars(frame: Any, *columns: str) -> pl.DataFrame:
    """The named columns of a pandas, polars or pyarrow frame; all of them when none is named."""
    import narwhals as nw

    table = nw.from_native(frame, eager_only=True)
    made: pl.DataFrame = (table.select(*columns) if columns else table).to_polars()
    return made


def processed(source: Any) -> pl.DataFrame:
    """What a system processed, in any form that `tables.read_processed` takes."""
    from recovery_kit.tables.given import read_processed

    return polars(read_processed(source))


def floats(amounts: pl.Series | list[Decimal]) -> npt.NDArray[np.float64]:
    """Exact amounts as the floats that a picture can place; nothing is computed with them."""
    import numpy as np

    return np.array([float(a) for a in amounts], dtype="float64")


def total(amounts: pl.Series) -> Decimal:
    """The exact sum; zero when there is none."""
    return Decimal(amounts.sum() or 0)


@dataclass(frozen=True)
class Bins:
    """Bins of time of one round duration.

    Attributes
    ----------
    start, step : int
        The first edge since the epoch, and the length of a bin, both in milliseconds.
    count : int
        The number of bins.
    """

    start: int
    step: int
    count: int

    @property
    def duration(self) -> str:
        """The length of a bin in words, such as ``"5 min"``."""
        size, unit = next((s, u) for s, u in _UNITS if self.step % s == 0)
        return f"{self.step // size:,} {unit}"

    @property
    def edges(self) -> npt.NDArray[np.datetime64]:
        """The ``count + 1`` edges."""
        import numpy as np

        return (self.start + self.step * np.arange(self.count + 1, dtype="int64")).astype(
            "datetime64[ms]"
        )

    @property
    def span(self) -> str:
        """The first and the last edge in words."""
        return f"from {self.moment(0)} to {self.moment(-1)}"

    def moment(self, at: int) -> str:
        """One edge in words, in UTC."""
        edge = self.edges[at].astype("datetime64[s]" if self.step % _S == 0 else "datetime64[ms]")
        return str(edge).replace("T", " ") + "Z"

    def place(self, *, clamp: bool = False) -> pl.Expr:
        """The bin of each `time`; for a time that no bin holds null or, with `clamp`, the nearest
        bin.
        """
        import polars as pl

        at = pl.col("time").dt.timestamp("ms").sub(self.start).floordiv(self.step)
        return (
            at.clip(0, self.count - 1)
            if clamp
            else pl.when(at.is_between(0, self.count - 1)).then(at)
        )


def bins(times: pl.Series, most: int = 60) -> Bins:
    """At most `most` (3 or more) bins over the times.

    Over the middle ones alone when a few wild ones would hide the rest.
    """
    ms = times.drop_nulls().dt.timestamp("ms")
    ms = ms.filter(ms.is_between(_FIRST, _LAST))
    if ms.is_empty():
        return Bins(0, _S, 1)
    rare = min(max(0.001, 2 / len(ms)), 0.25)  # one time at each end, at least
    ends = [ms.min(), ms.quantile(rare, "lower"), ms.quantile(1 - rare, "higher"), ms.max()]
    low, near, far, high = (int(end) for end in ends if isinstance(end, int | float))
    if high - low > _FAR * max(far - near, _MIN):
        low, high = near, far
    step = next(s for s in sorted(_STEPS) if high // s - low // s < most)
    return Bins(low // step * step, step, high // step - low // step + 1)


def counts(frame: pl.DataFrame, by: list[str]) -> dict[tuple[Any, ...], int]:
    """Rows by the values of some columns, in their order; rows with a null among them left out."""
    import polars as pl

    found = frame.group_by(by).agg(pl.len()).drop_nulls()
    return {row[:-1]: row[-1] for row in sorted(found.iter_rows())}


def places(frame: pl.DataFrame) -> list[tuple[str, int]]:
    """Every (topic, partition) that the rows come from, sorted."""
    return sorted(frame.select("topic", "partition").drop_nulls().unique().iter_rows())


def place_names(found: list[tuple[str, int]]) -> list[str]:
    """Partitions as people say them: with the topic only when there are several topics."""
    several = len({topic for topic, _ in found}) > 1
    return [
        f"{topic} {partition}" if several else f"partition {partition}"
        for topic, partition in found
    ]


def deltas(unique: pl.DataFrame, processed: pl.DataFrame) -> pl.DataFrame:
    """What the system applied for each event, less what the log says: the events where the two
    differ.

    Parameters
    ----------
    unique : polars.DataFrame
        Events table, one row an event.
    processed : polars.DataFrame
        event_id, optional effect, optional time; one row each time that the system applied an
        event. Without `effect` each is taken to have been applied as the log says it.

    Returns
    -------
    polars.DataFrame
        owner (the key), time (the event's own), topic, partition, delta (exact, never zero). An id
        that the log does not hold is an owner of its own, at the time of its processing if that is
        known, without topic and partition.
    """
    import polars as pl

    log = unique.select("event_id", "key", "time", "topic", "partition", "effect")
    if "effect" not in processed.columns:
        processed = processed.join(log.select("event_id", "effect"), on="event_id")
    when = (
        pl.col("time").min()
        if "time" in processed.columns
        else pl.lit(None, dtype=log.schema["time"])
    )
    applied = processed.group_by("event_id").agg(applied=pl.col("effect").sum(), when=when)
    paired = log.join(applied, on="event_id", how="full", coalesce=True)
    return paired.select(
        "topic",
        "partition",
        owner=pl.coalesce("key", pl.lit("not in the log: ") + pl.col("event_id")),
        time=pl.coalesce("time", pl.col("when").cast(log.schema["time"])),
        delta=pl.col("applied").fill_null(0) - pl.col("effect").fill_null(0),
    ).filter(pl.col("delta") != 0)
