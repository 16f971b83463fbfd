"""The same from hand-written polars: each event's first delivery, what the other copies are,
totals, differences.
"""

import sys

import polars as pl
from answer import say

ORDER = ["time", "topic", "partition", "offset"]
CONTENT = ["type", "value", "key"]

events, expected = sys.argv[1:]
frame = pl.read_ipc(events)

again = pl.col("event_id").is_duplicated()
copies = frame.with_row_index("row").filter(again).sort(ORDER)
first = copies.unique("event_id", keep="first", maintain_order=True)
later = copies.join(first.select("event_id", *CONTENT), on="event_id", suffix="_first").filter(
    ~pl.col("row").is_in(first["row"].implode())
)
same = pl.all_horizontal(pl.col(name) == pl.col(f"{name}_first") for name in CONTENT)
redelivered, conflicting = later.filter(same), later.filter(~same)
dropped = pl.Series([False]).new_from_index(0, len(frame)).scatter(later["row"], True)
unique = frame.filter(~dropped)

effect = pl.col("effect")
totals = (
    unique.lazy()
    .group_by("key")
    .agg(
        effect.sum().alias("recovered"),
        pl.len().alias("events"),
        effect.filter(effect > 0).sum().alias("added"),
        effect.filter(effect < 0).sum().alias("subtracted"),
        pl.col("time").min().alias("first"),
        pl.col("time").max().alias("last"),
    )
)
exact = pl.Decimal(38, 2)
table = (
    totals.join(pl.scan_parquet(expected), on="key", how="full", coalesce=True)
    .with_columns(
        difference=pl.col("total").cast(exact).fill_null(0)
        - pl.col("recovered").cast(exact).fill_null(0)
    )
    .with_columns(
        status=pl.when(pl.col("difference") == 0)
        .then(pl.lit("matched"))
        .otherwise(pl.lit("diverged"))
    )
    .sort("key")
    .collect()
)
print(len(redelivered), len(conflicting), dict(table.group_by("status").len().iter_rows()))
say((key, total * 100, 0) for key, total in table.select("key", "recovered").iter_rows())
