"""The two tables of a Diagnosis: what a row of each holds, and how they are sorted, summed and
handed back.
"""

from __future__ import annotations

from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from recovery_kit._show import number
from recovery_kit.explain.case.case import Case
from recovery_kit.explain.evidence import GRADES
from recovery_kit.tables import decimals

if TYPE_CHECKING:
    import polars as pl


IDS = 5
"""Event ids told of one cause."""


class Row(NamedTuple):
    """A row of causes; ``code`` is the key's number, ``amount`` a whole number of the case's
    unit.
    """

    code: int
    cause: str
    amount: int
    grade: str
    events: int
    event_ids: list[str]
    incident: int | None
    topic: str | None
    partition: int | None
    first: Any
    last: Any
    evidence: str


class Incident(NamedTuple):
    """A row of incidents, but for its keys and amounts, which its causes tell."""

    incident: int
    cause: str
    type: str | None
    topic: str | None
    partition: int | None
    partitions: int
    first: Any
    last: Any
    first_offset: int | None
    last_offset: int | None
    events: int
    grade: str
    confidence: str
    said: str


def decimal(amount: int, scale: int) -> Decimal:
    """A whole number of the unit as an exact amount."""
    return Decimal(amount).scaleb(-scale, Context(prec=60))


def plain(code: int, cause: str, amount: int, evidence: str, *, grade: str = "unexplained") -> Row:
    """A cause without events.

    Parameters
    ----------
    code : int
        The key's number.
    cause : str
    amount : int
        A whole number of 10**-scale.
    evidence : str
        A sentence.
    grade : str
        One of `GRADES`.
    """
    return Row(code, cause, amount, grade, 0, [], None, None, None, None, None, evidence)


def told(
    case: Case, rows: list[Row], incidents: list[Incident], notes: list[str]
) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, Any]]:
    """The tables of causes and incidents, sorted, and the summary: what they come to.

    Parameters
    ----------
    case : Case
    rows : list of Row
    incidents : list of Incident
        By the numbers that the rows have for them; the tables number them anew, by money.
    notes : list of str
        Sentences that the summary is to hold.
    """
    import polars as pl

    exact = pl.Decimal(decimals.DIGITS, case.scale)
    names, gaps = case.keys["key"], case.difference
    time = case.events.frame(np.empty(0, np.int64), "time").schema["time"]
    rows = sorted(
        rows, key=lambda row: (-abs(gaps[row.code]), row.code, -abs(row.amount), row.cause)
    )
    columns: dict[str, Any] = {
        name: [getattr(row, name) for row in rows] for name in Row._fields[1:]
    }
    columns["amount"] = [decimal(amount, case.scale) for amount in columns["amount"]]
    columns["event_ids"] = pl.Series(pa.array(columns["event_ids"], pa.list_(pa.large_string())))
    key = names.gather([row.code for row in rows]) if rows else pl.Series([], dtype=pl.String)
    schema: dict[str, Any] = {
        "cause": pl.String,
        "amount": exact,
        "grade": pl.String,
        "events": pl.Int64,
        "event_ids": pl.List(pl.String),
        "incident": pl.Int64,
        "topic": pl.String,
        "partition": pl.Int64,
        "first": time,
        "last": time,
        "evidence": pl.String,
    }
    causes = pl.DataFrame(columns, schema=schema).insert_column(0, key.alias("key"))
    table = _incidents(causes, incidents, exact, time)
    numbers = {old: new for new, old in enumerate(table["incident"].to_list(), start=1)}
    causes, table = (t.with_columns(pl.col("incident").replace(numbers)) for t in (causes, table))
    return causes, table, _summary(case, causes, table, notes)


def _incidents(
    causes: pl.DataFrame, incidents: list[Incident], exact: Any, time: Any
) -> pl.DataFrame:
    """The table of incidents, those worth most first.

    Parameters
    ----------
    causes : polars.DataFrame
        The table of causes, by the incidents' own numbers.
    incidents : list of Incident
    exact, time : polars.DataType
        The types of amounts and of times.
    """
    import polars as pl

    whole = pl.Int64
    schema = {
        "incident": whole,
        "cause": pl.String,
        "type": pl.String,
        "topic": pl.String,
        "partition": whole,
        "partitions": whole,
        "first": time,
        "last": time,
        "first_offset": whole,
        "last_offset": whole,
        "events": whole,
        "grade": pl.String,
        "confidence": pl.String,
        "said": pl.String,
    }
    told = pl.DataFrame(incidents, schema=schema, orient="row")
    sums = causes.group_by("incident").agg(
        keys=pl.col("key").n_unique().cast(whole),
        amount=pl.col("amount").sum(),
        money=pl.col("amount").abs().sum(),
    )
    joined = told.join(sums, on="incident", how="left").with_columns(
        pl.col("keys").fill_null(0),
        pl.col("amount", "money").fill_null(pl.lit(Decimal(0), dtype=exact)),
    )
    words = [
        f"{row['said']}: {row['keys']:,} keys, {number(row['amount'])} net; {row['confidence']}"
        for row in joined.iter_rows(named=True)
    ]
    joined = joined.with_columns(evidence=pl.Series(words, dtype=pl.String)).sort(
        "money", descending=True, maintain_order=True
    )
    return joined.select(
        "incident",
        "cause",
        "type",
        "topic",
        "partition",
        "partitions",
        "first",
        "last",
        "first_offset",
        "last_offset",
        "keys",
        "events",
        "amount",
        "money",
        "grade",
        "confidence",
        "evidence",
    )


def _summary(
    case: Case, causes: pl.DataFrame, incidents: pl.DataFrame, notes: list[str]
) -> dict[str, Any]:
    """What the tables come to, as `Diagnosis` tells it.

    Parameters
    ----------
    case : Case
    causes, incidents : polars.DataFrame
        The two tables.
    notes : list of str
        Sentences that the summary is to hold.
    """
    import polars as pl

    size = pl.col("amount").abs()
    by_cause = causes.group_by("cause").agg(
        keys=pl.col("key").n_unique(), amount=pl.col("amount").sum(), money=size.sum()
    )
    by_grade = dict(causes.group_by("grade").agg(size.sum()).iter_rows())
    grades = {grade: Decimal(by_grade.get(grade) or 0) for grade in GRADES}
    return {
        "keys": causes["key"].n_unique(),
        "incidents": len(incidents),
        "causes": {
            row.pop("cause"): row
            for row in by_cause.sort("money", "cause", descending=[True, False]).iter_rows(
                named=True
            )
        },
        "grades": grades,
        "difference": decimal(sum(case.difference), case.scale),
        "money": _sum(case, *grades.values()),
        "explained": _sum(case, grades["proven"], grades["consistent"]),
        "notes": notes,
    }


def _sum(case: Case, *amounts: Decimal) -> Decimal:
    return decimal(sum(decimals.unscaled(a, case.scale) for a in amounts), case.scale)
