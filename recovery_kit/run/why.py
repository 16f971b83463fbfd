"""Why totals differ, as ``summary.json`` holds it: incidents and causes, with their money and
grade.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import narwhals as nw

from recovery_kit import _show
from recovery_kit.tables import frames

if TYPE_CHECKING:
    from recovery_kit.explain.diagnosis import Diagnosis

MOST = 10
"""Incidents that a summary holds, those worth most; ``incidents.parquet`` has every one."""

_INCIDENT = ("incident", "cause", "grade", "keys", "amount", "money", "evidence")


def told(diagnosis: Diagnosis) -> dict[str, Any]:
    """What ``summary.json`` says of a diagnosis.

    Parameters
    ----------
    diagnosis : Diagnosis

    Returns
    -------
    dict
        ``incidents``, at most `MOST`, by money, each with ``incident``, ``cause``, ``grade``,
        ``keys``, ``amount`` (net), ``money`` (the sum of every key's absolute amount) and
        ``evidence``; ``more_incidents``, how many are left out; ``causes``, a row a cause and
        grade, by money, with ``keys``, ``amount`` and ``money``; ``money`` of all causes, and
        ``explained``, that of the proven and consistent ones.
    """
    incidents, causes = (
        frames.opened(getattr(diagnosis, name), what=name)[0].collect("polars")
        for name in ("incidents", "causes")
    )
    amount = nw.col("amount")
    sums = causes.group_by("cause", "grade").agg(
        keys=nw.col("key").n_unique(), amount=amount.sum(), money=amount.abs().sum()
    )
    by_money = sums.sort("money", "cause", "grade", descending=[True, False, False])
    return {
        "incidents": list(incidents.select(*_INCIDENT).head(MOST).iter_rows(named=True)),
        "more_incidents": max(len(incidents) - MOST, 0),
        "causes": list(by_money.iter_rows(named=True)),
        **{name: diagnosis.summary[name] for name in ("money", "explained")},
    }


def facts(why: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The lines of a terminal: each incident, then each cause by its grade, with their money."""
    if not why["causes"]:
        return
    money, explained = (f"{Decimal(why[name]):,f}" for name in ("money", "explained"))
    yield "why", f"{explained} of {money} are proven or consistent (absolute amounts of causes)"
    for row in why["incidents"]:
        yield f"  incident {row['incident']}", f"{_worth(row)}: {row['cause']}. {row['evidence']}"
    if more := why["more_incidents"]:
        yield "  more incidents", f"{more:,}; incidents.parquet has every one"
    for row in why["causes"]:
        yield f"  {_show.shorten(row['cause'], 26)}", _worth(row)


def _worth(row: Mapping[str, Any]) -> str:
    amount, money = (f"{Decimal(row[name]):,f}" for name in ("amount", "money"))
    return f"{row['grade']}, {row['keys']:,} keys, {amount} net, {money} absolute"
