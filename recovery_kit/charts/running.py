"""The running totals of single keys: the log's, the system's, the one expected in the end."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from recovery_kit._show import number
from recovery_kit.charts import columns, draw
from recovery_kit.charts.differences import caveat, divergent, none_differs

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.axes import Axes

    from recovery_kit.charts.figure import Chart
    from recovery_kit.dedup import Dedup
    from recovery_kit.reconcile import Reconciliation


@draw.drawn
def running(
    reconciliation: Reconciliation,
    dedup: Dedup,
    *,
    keys: Sequence[str] | None = None,
    most: int = 6,
    processed: Any = None,
) -> Chart:
    """The running totals of the worst keys: what the log gives, what the system is expected to hold
    in the end.

    Parameters
    ----------
    reconciliation : Reconciliation
    dedup : Dedup
        The events that its recovered totals came from.
    keys : str or sequence of str, optional
        The keys to draw. Not given: the `most` with the largest differences.
    most : int
        Panels at most, also of `keys`.
    processed : DataFrame or path, optional
        As for `divergence_over_time`; draws the system's own running total too, each step at the
        time of its processing when that is known, else at the event's.

    Returns
    -------
    matplotlib.figure.Figure
        A panel a key: totals against time in UTC.

    Raises
    ------
    TableError
        When `processed` cannot be read exactly.
    """
    import polars as pl

    table = columns.polars(
        reconciliation.table, "key", "expected", "recovered", "difference", "status"
    )
    wanted = [keys] if isinstance(keys, str) else keys
    chosen = (
        divergent(reconciliation)["key"].head(most).to_list()
        if wanted is None
        else list(wanted)[:most]
    )
    if not chosen:
        return draw.nothing("No running totals", none_differs(reconciliation))
    facts = {row["key"]: row for row in table.filter(pl.col("key").is_in(chosen)).to_dicts()}
    events = columns.polars(dedup.unique, "event_id", "key", "time", "effect").filter(
        pl.col("key").is_in(chosen)
    )
    applied = None if processed is None else _applied(events, processed)
    if not len(events):
        return draw.nothing(
            "No running totals",
            "The log as read holds no event of these keys that counts: nothing to draw.",
        )
    over = columns.bins(
        events["time"] if applied is None else pl.concat([events["time"], applied["time"]]),
        most=600,
    )
    title = f"Running totals of {draw.some(len(chosen), 'chosen key')}"
    if keys is None:
        theirs = sum((abs(fact["difference"]) for fact in facts.values()), Decimal(0))
        whole = number(columns.total(table["difference"].abs()))
        title = (
            f"{draw.some(len(chosen), 'worst key')}: {number(theirs)} of the {whole} by which all "
            "keys differ"
        )
    lines = f"Recovered{', applied by the system' * (applied is not None)} and expected"
    rows = -(-len(chosen) // 2)
    fig = draw.chart(
        title + caveat(reconciliation), f"{lines}, {over.span}.", height=1.0 + 2.2 * rows
    )
    panels = fig.subplots(rows, min(2, len(chosen)), squeeze=False).ravel()
    steps = _steps(events, over), None if applied is None else _steps(applied, over)
    for at, key in enumerate(chosen):
        _panel(panels[at], over, key, facts.get(key), *steps)
        if at + 2 < len(chosen):
            panels[at].set_xlabel("")
        fig.alt += f" {draw.label(key)}: {_told(facts.get(key))}."
    for ax in panels[len(chosen) :]:
        ax.remove()
    handles = {
        name: handle
        for ax in fig.axes
        for handle, name in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    fig.legend(handles.values(), handles, loc="outside lower left", ncols=3)
    return fig


def _told(fact: dict[str, Any] | None) -> str:
    if fact is None:
        return "neither in the log nor among the expected totals"
    return (
        f"expected {number(fact['expected'])}, recovered {number(fact['recovered'])}, "
        f"{draw.signed(fact['difference'])}"
    )


def _panel(
    ax: Axes,
    over: columns.Bins,
    key: str,
    fact: dict[str, Any] | None,
    ours: pl.DataFrame,
    theirs: pl.DataFrame | None,
) -> None:
    """One key: its recovered running total, the system's, and the total expected in the end."""
    draw.time_axis(ax, over, ticks=5)
    draw.amount_axis(ax.yaxis)
    ax.grid()
    ax.set_title(draw.label(key, 24), fontsize=9)
    if fact is None:
        ax.text(0.5, 0.5, _told(fact), transform=ax.transAxes, ha="center", fontsize=8)
        return
    # On its own, so that a key written from right to left does not turn the amount around.
    ax.set_title(draw.signed(fact["difference"]), loc="right", fontsize=9)
    mine = ours.filter(key=key)
    # The final total is what reconcile found, so what the steps do not explain is the opening
    # total.
    opening = (fact["recovered"] or Decimal(0)) - (mine["run"][-1] if len(mine) else Decimal(0))
    _line(ax, over, mine, opening, color="#0072B2", label="recovered from the log")
    if theirs is not None:
        steps = theirs.filter(key=key)
        _line(
            ax, over, steps, opening, color="#D55E00", linestyle="--", marker="o", markersize=3.5,
            markevery=max(1, len(steps) // 12), label="applied by the system",
        )  # fmt: skip
    if fact["expected"] is not None:
        height = float(fact["expected"])
        ax.axhline(height, color="black", linestyle=":", linewidth=1.4, label="expected in the end")
        ax.annotate(
            f"expected {number(fact['expected'])}",
            (0.01, height),
            xycoords=("axes fraction", "data"),
            xytext=(0, 2),
            textcoords="offset points",
            va="bottom",
            fontsize=8,
            bbox={"color": "white", "alpha": 0.8, "pad": 0.5},
            zorder=5,
        )
    ax.margins(y=0.16)


def _line(ax: Axes, over: columns.Bins, steps: pl.DataFrame, opening: Decimal, **look: Any) -> None:
    totals = [opening, *(opening + run for run in steps["run"])]
    x = draw.edges(over)[[0, *(steps["at"] + 1), -1]]
    ax.step(x, columns.floats([*totals, totals[-1]]), where="post", linewidth=1.5, **look)


def _steps(effects: pl.DataFrame, over: columns.Bins) -> pl.DataFrame:
    """Each key's running sum at the end of every bin in which it moved.

    Times beyond the bins go to the outer ones.
    """
    import polars as pl

    moved = (
        effects.group_by("key", over.place(clamp=True).alias("at"))
        .agg(pl.col("effect").sum())
        .sort("at")
    )
    return moved.select("key", "at", run=pl.col("effect").cum_sum().over("key"))


def _applied(events: pl.DataFrame, processed: Any) -> pl.DataFrame:
    """What the system applied to the keys of these events: key, time, effect."""
    import polars as pl

    told = columns.processed(processed)
    # Where the list does not tell the effect or the time, the log's own stand in.
    return told.join(
        events.select("event_id", "key", pl.exclude("key", *told.columns)), on="event_id"
    )
