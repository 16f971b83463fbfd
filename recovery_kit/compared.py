"""What a reconciliation comes to: the rows to look at, their sums, and how much there was to
compare.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_FLOOR, Context, Decimal
from typing import TYPE_CHECKING, Any

import narwhals as nw

from recovery_kit.tables import decimals, frames

if TYPE_CHECKING:
    from recovery_kit.tables.frames import Table

STATUSES = (
    "matched",
    "diverged",
    "missing from expected",
    "unknown to the log",
    "indeterminate",
    "not compared",
)

COUNTERS = ("events", "added", "subtracted")
"""What is compared beside the total where the expected side has it, for a missing +x and a missing
-x cancel.
"""


def at_scale(allowed: Decimal, scale: int) -> nw.Expr:
    """The tolerance as a literal.

    Cut to the scale, which changes no comparison, for differences are multiples of it.
    """
    context = Context(prec=120, rounding=ROUND_FLOOR)
    most = Decimal(10**decimals.DIGITS - 1).scaleb(-scale, context)
    return frames.exactly(
        min(allowed, most).quantize(Decimal(1).scaleb(-scale), context=context), scale
    )


def divergent(table: Table, allowed: Decimal) -> Table:
    """The rows to look at: all but the matched, and of the indeterminate those that differ."""
    schema = table.collect_schema()
    status = nw.col("status")
    differs = nw.col("difference").abs() > at_scale(allowed, frames.scale_of(schema, "difference"))
    if "differs" in schema:
        differs = differs | (nw.col("differs") != "")
    settled = status.is_in(["matched", "not compared"])
    look = table.filter(~settled & ((status != "indeterminate") | differs))
    return frames.by_size(look, "difference", "key")


def summed(table: nw.DataFrame[Any], allowed: Decimal) -> dict[str, Any]:
    """Counts, and sums over all keys and over the divergences, as `Reconciliation` tells them."""
    difference = nw.col("difference")
    sums = table.select(
        nw.col("expected", "recovered").sum(),
        net_difference=difference.sum(),
        absolute_difference=difference.abs().sum(),
        expected_above=nw.when(difference > 0).then(difference).sum(),
        expected_below=nw.when(difference < 0).then(difference).sum(),
    )
    counts = dict(table.group_by("status").agg(keys=nw.len()).iter_rows())
    look = divergent(table.lazy(), allowed).collect("polars")
    sizes = look["difference"].abs()
    return {
        "keys": len(table),
        "statuses": {status: counts.get(status, 0) for status in STATUSES},
        "divergent": len(look),
        **_rests_on(table),
        **next(sums.iter_rows(named=True)),
        "largest_difference": look["difference"][0] if len(look) else None,
        "largest_key": look["key"][0] if len(look) else None,
        # By nearest rank; the sizes descend.
        "median_difference": sizes[len(look) // 2] if len(look) else None,
        "p90_difference": sizes[len(look) // 10] if len(look) else None,
    }


def _rests_on(table: nw.DataFrame[Any]) -> dict[str, Any]:
    """How much there was to compare, and what matches without being equal."""
    expected, recovered = nw.col("expected"), nw.col("recovered")
    matched = nw.col("status") == "matched"
    lacking = expected.is_null() | recovered.is_null()
    pairs = [(f"expected_{name}", name) for name in COUNTERS if f"expected_{name}" in table.columns]
    unequal = nw.col("difference") != 0
    for one, other in pairs:
        unequal = unequal | (nw.col(one) != nw.col(other))
    compared = nw.col("status").is_in(["matched", "diverged"]) & ~lacking
    found = table.select(
        recovered_keys=(~recovered.is_null()).sum(),
        expected_keys=(~expected.is_null()).sum(),
        compared=compared.sum(),
        absent_zeros=(matched & lacking).sum(),
        within_tolerance=(matched & ~lacking & unequal).sum(),
        largest_expected=expected.abs().max(),
        largest_recovered=recovered.abs().max(),
    )
    told = next(found.iter_rows(named=True))
    sides = [told.pop(name) for name in ("largest_expected", "largest_recovered")]
    known = any(side is not None for side in sides)
    return told | {"largest_total": decimals.largest(sides) if known else None}


def told(said: Mapping[str, Any]) -> list[str]:
    """What a reader must know who sees how many keys match."""
    notes, allowed = [], said["tolerance"]
    if not said["compared"] and said["verdict"] in (None, "complete"):
        notes.append(
            f"Nothing was compared: the log gives {said['recovered_keys']:,} keys, the expected "
            f"totals hold {said['expected_keys']:,}, and none is on both sides"
        )
    if n := said["absent_zeros"]:
        notes.append(
            f"{n:,} of the matched keys have a total of zero on one side and no row on the other; "
            "with strict_keys they are divergences"
        )
    if allowed and said["largest_total"] is not None and allowed >= said["largest_total"]:
        notes.append(
            f"The tolerance of {allowed} is no smaller than the largest total of either side, "
            f"{said['largest_total']:,f}: {said['within_tolerance']:,} keys match only thanks to it"
        )
    elif n := said["within_tolerance"]:
        notes.append(f"{n:,} of the matched keys are equal only within the tolerance of {allowed}")
    return notes
