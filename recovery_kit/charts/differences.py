"""Charts of a reconciliation: how many keys differ, which most, and by how much."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING

from recovery_kit._show import number
from recovery_kit.charts import columns, draw

if TYPE_CHECKING:
    import polars as pl

    from recovery_kit.charts.figure import Chart
    from recovery_kit.reconcile import Reconciliation

STATUSES = ("matched", "diverged", "missing from expected", "unknown to the log", "indeterminate")


@draw.drawn
def statuses(reconciliation: Reconciliation) -> Chart:
    """How many keys have each status.

    Parameters
    ----------
    reconciliation : Reconciliation

    Returns
    -------
    matplotlib.figure.Figure
        One bar a status, labelled with its number of keys and its share.
    """
    keys = len(reconciliation.table)
    if not keys:
        return draw.nothing(
            "No keys",
            "Neither the log nor the expected totals hold a key, so there is nothing to draw.",
        )
    found = {
        status: n
        for (status,), n in columns.counts(
            columns.polars(reconciliation.table, "status"), ["status"]
        ).items()
    }
    rows = [status for status in STATUSES if status != "not compared" or status in found]
    numbers = [found.get(row, 0) for row in rows]
    title = (
        f"{keys - numbers[0]:,} of {draw.some(keys, 'key')} not matched"
        if numbers[0] != keys
        else f"All {keys:,} keys match"
    )
    if found.get("indeterminate"):
        title = (
            f"{found['indeterminate']:,} of {draw.some(keys, 'key')} cannot be "
            f"settled{caveat(reconciliation)}"
        )
    if numbers[0] == keys and not reconciliation.summary["compared"]:
        title = "Nothing compared: every total is zero, and no key is on both sides"
    if found.get("not compared"):
        title = f"{draw.some(keys, 'key')} recovered, and nothing to compare with"
    texts = [f"{n:,} ({100 * n / keys:.1f} %)" for n in numbers]
    fig = draw.chart(
        title,
        "Keys: " + ", ".join(f"{s} {t}" for s, t in zip(rows, texts, strict=True)) + ".",
        height=2.6,
    )
    ax = fig.add_subplot()
    for at, n in enumerate(numbers):
        colour, hatch = draw.LOOKS[at % len(draw.LOOKS)]
        ax.barh(at, n, height=0.7, color=colour, hatch=hatch, edgecolor=draw.EDGE)
    draw.named_rows(ax, rows, texts=texts)
    draw.count_axis(ax.xaxis)
    ax.set_xlabel("keys")
    ax.grid(axis="x")
    return fig


@draw.drawn
def largest(reconciliation: Reconciliation, *, most: int = 20) -> Chart:
    """The largest differences, signed, each with its exact amount.

    Parameters
    ----------
    reconciliation : Reconciliation
    most : int
        Bars at most.

    Returns
    -------
    matplotlib.figure.Figure
        A bar a key, expected − recovered, largest first; its hatch says the key's status.
    """
    import polars as pl

    look = divergent(reconciliation)
    table = look.filter(pl.col("difference") != 0)
    equal = f"; {len(look) - len(table):,} more diverge though their totals are equal" * (
        len(look) > len(table)
    )
    if not len(table):
        return draw.nothing(
            "No differences", none_differs(reconciliation).replace(", so", f"{equal}, so")
        )
    rows = table.head(most).to_dicts()
    names = [draw.label(row["key"]) for row in rows]
    title = (
        f"{len(table):,} of {draw.some(len(reconciliation.table), 'key')} differ; the largest "
        f"difference is {draw.signed(rows[0]['difference'])}"
    )
    shown = (
        f"all {len(rows):,}"
        if len(rows) == len(table)
        else f"the {len(rows):,} largest of {len(table):,}"
    )
    told = "; ".join(
        f"{n}: {draw.signed(row['difference'])}" for n, row in zip(names[:5], rows[:5], strict=True)
    )
    fig = draw.chart(
        title + equal + caveat(reconciliation),
        f"Differences, {shown}, largest first. {told}.",
        height=1.9 + 0.26 * len(rows),
    )
    ax = fig.add_subplot()
    draw.amount_bars(
        ax, names, [row["difference"] for row in rows], [row["status"] for row in rows]
    )
    ax.set_title(
        f"{shown} differences; right: the system holds more than the log gives, left: less"
    )
    ax.set_xlabel("expected − recovered (amount)")
    return fig


@draw.drawn
def distribution(reconciliation: Reconciliation) -> Chart:
    """How large the differences are: the non-zero ones in logarithmic bins, negative and positive
    apart.

    Parameters
    ----------
    reconciliation : Reconciliation

    Returns
    -------
    matplotlib.figure.Figure
        One bar a bin, labelled with its number of keys.
    """
    import numpy as np

    exact = columns.polars(reconciliation.table, "difference")["difference"]
    exact = exact.filter(exact != 0)
    if not len(exact):
        return draw.nothing("No differences", none_differs(reconciliation))
    sizes = exact.abs()
    edges = _edges(sizes)
    less, more = (
        _counts(side, edges) for side in (sizes.filter(exact < 0), sizes.filter(exact > 0))
    )
    title = (
        f"The system holds less than the log gives for {draw.some(sum(less), 'key')}, more for "
        f"{sum(more):,}"
    )
    middle = number(sizes.sort()[len(sizes) // 2])
    fig = draw.chart(
        title + caveat(reconciliation),
        f"Distribution of the non-zero differences; half of them are {middle} or more in size.",
    )
    ax = fig.add_subplot()
    centres = np.arange(1, len(edges))
    for look, (x, keys, name) in enumerate(((-centres, less, "less"), (centres, more, "more"))):
        colour, hatch = draw.LOOKS[look]
        bars = ax.bar(x, keys, width=1, color=colour, hatch=hatch, edgecolor=draw.EDGE, label=name)
        ax.bar_label(bars, [f"{n:,}" if n else "" for n in keys], fontsize=8, padding=1)
    names = [draw.brief(edge) for edge in columns.floats(edges)]
    ticks = [*(-centres[::-1] - 0.5), -0.5, 0, 0.5, *(centres + 0.5)]
    every = -(-len(names) // 9)
    shown = [n if i % every == 0 else "" for i, n in enumerate(names)]
    ax.set_xticks(ticks, [*(f"-{n}" if n else "" for n in shown[::-1]), "0", *shown], fontsize=9)
    ax.set_xlabel(
        "expected − recovered (amount); each bin from one edge up to, not with, the next one away "
        "from 0"
    )
    ax.set_ylabel("keys")
    ax.set_title(
        f"the {len(exact):,} non-zero differences, logarithmic bins; half are {middle} or more in "
        "size"
    )
    draw.count_axis(ax.yaxis)
    ax.grid(axis="y")
    ax.margins(y=0.12)
    return fig


def _edges(sizes: pl.Series) -> list[Decimal]:
    """Edges 1, 2, 5 of every decade (1 alone when there are many decades) around all the sizes."""
    ordered = sizes.sort()
    least, most = ordered[0], ordered[-1]
    low, high = least.adjusted(), most.adjusted()
    steps = (1, 2, 5) if high - low < 4 else (1,)
    # Written out, for polars 2.1 compares wrongly with a Decimal that is written 1E+1.
    made = [
        Decimal(f"{Decimal(step).scaleb(decade):f}")
        for decade in range(low, high + 2)
        for step in steps
    ]
    first = max(at for at, edge in enumerate(made) if edge <= least)
    last = min(at for at, edge in enumerate(made) if edge > most)
    return made[first : last + 1]


def _counts(sizes: pl.Series, edges: list[Decimal]) -> list[int]:
    """How many sizes are at or above each edge but below the next.

    Exact, for an amount may lie on an edge.
    """
    below = [0, *(int((sizes < edge).sum()) for edge in edges[1:-1]), len(sizes)]
    return [after - before for before, after in pairwise(below)]


def divergent(reconciliation: Reconciliation) -> pl.DataFrame:
    """The keys to look at, largest difference first."""
    return columns.polars(reconciliation.divergences, "key", "difference", "status")


def caveat(reconciliation: Reconciliation) -> str:
    """A replay that is not complete, to end a title with."""
    return (
        ""
        if reconciliation.verdict in (None, "complete")
        else f"; the replay is not complete, but {reconciliation.verdict}"
    )


def none_differs(reconciliation: Reconciliation) -> str:
    """That there is nothing to draw, in words."""
    if (columns.polars(reconciliation.table, "status")["status"] == "not compared").any():
        return (
            f"No expected totals were given for the {draw.some(len(reconciliation.table), 'key')}, "
            "so there is nothing to draw."
        )
    return (
        "Expected and recovered totals agree for all "
        f"{draw.some(len(reconciliation.table), 'key')}, so there is nothing to draw."
    )
