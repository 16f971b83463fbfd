"""Charts of when, and where in the log, the system of record and the log part ways."""

from __future__ import annotations

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

UNKNOWN = "without a list of what the system processed, the moment of an error is not known"
MOST_ROWS = 24
NONE_APPLIED_WRONG = (
    "The system applied every event exactly as the log says, so there is nothing to draw"
)


@draw.drawn
def divergence_over_time(
    reconciliation: Reconciliation, dedup: Dedup, *, processed: Any = None
) -> Chart:
    """How the difference grew: with `processed`, applied − recovered as it ran over time.

    Each event counts at its own time, so that a system that was only slow does not seem wrong.
    Without `processed` all that can be drawn is which share of the events belongs to divergent
    keys.

    Parameters
    ----------
    reconciliation : Reconciliation
    dedup : Dedup
        The events that its recovered totals came from.
    processed : DataFrame or path, optional
        What the system applied, in any form that `read_processed` takes: event_id, optional
        effect and time.

    Returns
    -------
    matplotlib.figure.Figure
        With `processed` two lines: the net amount over all keys, and the sum of every key's
        absolute amount.

    Raises
    ------
    TableError
        When `processed` cannot be read exactly.
    """
    return (
        _share_over_time(reconciliation, dedup)
        if processed is None
        else _amounts_over_time(reconciliation, dedup, processed)
    )


def _amounts_over_time(reconciliation: Reconciliation, dedup: Dedup, processed: Any) -> Chart:
    import polars as pl

    gaps, over, notes = _gaps(reconciliation, dedup, processed, most=240)
    if not len(gaps):
        return draw.nothing("No divergence over time", "; ".join([NONE_APPLIED_WRONG, *notes]))
    run = pl.col("delta").cum_sum().over("owner")
    placed = (
        gaps.drop_nulls("at")
        .sort("at")
        .with_columns(grown=run.abs() - (run - pl.col("delta")).abs())
    )
    steps = placed.group_by("at").agg(pl.col("delta", "grown").sum()).sort("at")
    net = columns.total(gaps["delta"])
    off = columns.total(gaps.group_by("owner").agg(pl.col("delta").sum().abs())["delta"])
    than = (
        f"{number(abs(net))} {'more' if net > 0 else 'less'} than" if net else "exactly as much as"
    )
    title = (
        f"Net, the system applied {than} the log gives; key by key it is off by "
        f"{number(off)}{caveat(reconciliation)}"
    )
    notes += _not_drawn(gaps)
    unknown = gaps.filter(pl.col("partition").is_null() & pl.col("at").is_not_null())
    if len(unknown):
        notes.append(
            f"{draw.some(len(unknown), 'processed id')} not in the log, each counted as a key of "
            "its own"
        )
    fig = draw.chart(title, f"{'; '.join([f'Running amounts {over.span}', *notes])}.", height=4.4)
    if len(steps):
        most = steps.sort(pl.col("grown").abs(), "at").row(-1, named=True)
        fig.alt += (
            f" Largest step key by key: {draw.signed(most['grown'])} at {over.moment(most['at'])}."
        )
    ax = fig.add_subplot()
    _two_lines(ax, over, steps)
    ax.axhline(0, color=draw.EDGE, linewidth=0.8)
    ax.set_title(
        f"applied − recovered, each event at its own time, in steps of {over.duration}"
        + "".join(f"\n{note}" for note in notes)
    )
    ax.set_ylabel("running amount")
    draw.amount_axis(ax.yaxis)
    draw.time_axis(ax, over)
    ax.grid()
    draw.legend(ax, columns=1)
    return fig


def _two_lines(ax: Axes, over: columns.Bins, steps: pl.DataFrame) -> None:
    """The running sums of both columns of `steps`, each from zero at the left to its end at the
    right.
    """
    x = draw.edges(over)[[0, *(steps["at"] + 1), -1]]
    lines = (
        ("sum of every key's absolute amount", "grown", "-", "s"),
        ("net over all keys", "delta", "--", "o"),
    )
    for (name, column, line, marker), colour in zip(lines, ("#0072B2", "#D55E00"), strict=True):
        amounts = [Decimal(0), *steps[column].cum_sum()]
        ax.step(
            x,
            columns.floats([*amounts, amounts[-1]]),
            where="post",
            color=colour,
            linestyle=line,
            marker=marker,
            markersize=4,
            markevery=max(1, len(x) // 24),
            label=f"{name}, ends at {draw.signed(amounts[-1])}",
        )


def _share_over_time(reconciliation: Reconciliation, dedup: Dedup) -> Chart:
    import numpy as np
    import polars as pl

    keys = divergent(reconciliation)["key"]
    if not len(keys):
        return draw.nothing("No divergence over time", none_differs(reconciliation))
    events = columns.polars(dedup.unique, "key", "time").with_columns(
        theirs=pl.col("key").is_in(keys.implode())
    )
    if not len(events):
        return draw.nothing(
            "No divergence over time", "There is no event, so there is nothing to draw."
        )
    over = columns.bins(events["time"])
    cells = columns.counts(events.with_columns(at=over.place()), ["theirs", "at"])
    ours = np.array([cells.get((True, at), 0) for at in range(over.count)])
    both = ours + np.array([cells.get((False, at), 0) for at in range(over.count)])
    shares = 100 * ours / np.maximum(both, 1)
    overall = 100 * ours.sum() / max(both.sum(), 1)
    title = (
        f"{overall:.1f} % of the events belong to the {draw.some(len(keys), 'divergent key')}; "
        f"{UNKNOWN}{caveat(reconciliation)}"
    )
    fig = draw.chart(
        title,
        f"Share of events in each {over.duration}, {over.span}: {shares.min():.1f} to "
        f"{shares.max():.1f} %.",
    )
    ax = fig.add_subplot()
    draw.bars_over_time(ax, over, shares, look=0, name=f"share in each {over.duration}")
    ax.axhline(
        overall, color="black", linestyle="--", linewidth=1.4, label=f"overall, {overall:.1f} %"
    )
    ax.set_title("a time at which the share stands out is worth a look")
    ax.set_ylabel("events of divergent keys, %")
    draw.amount_axis(ax.yaxis)
    draw.time_axis(ax, over)
    ax.grid(axis="y")
    draw.legend(ax, columns=2)
    return fig


@draw.drawn
def where_in_log(reconciliation: Reconciliation, dedup: Dedup, *, processed: Any = None) -> Chart:
    """Where in the log the difference comes from, by time and partition.

    Parameters
    ----------
    reconciliation : Reconciliation
    dedup : Dedup
        The events that its recovered totals came from.
    processed : DataFrame or path, optional
        As for `divergence_over_time`.

    Returns
    -------
    matplotlib.figure.Figure
        A heat map. With `processed`, a cell is the sum over its events of the absolute applied −
        recovered; without it, the share of its events that belong to divergent keys.

    Raises
    ------
    TableError
        When `processed` cannot be read exactly.
    """
    return (
        _share_map(reconciliation, dedup)
        if processed is None
        else _amount_map(reconciliation, dedup, processed)
    )


def _amount_map(reconciliation: Reconciliation, dedup: Dedup, processed: Any) -> Chart:
    import polars as pl

    gaps, over, notes = _gaps(reconciliation, dedup, processed, most=24)
    if not len(gaps):
        return draw.nothing("No divergence in the log", "; ".join([NONE_APPLIED_WRONG, *notes]))
    gaps = gaps.with_columns(at=pl.when(pl.col("partition").is_not_null()).then("at"))
    sums = (
        gaps.drop_nulls("at").group_by("topic", "partition", "at").agg(pl.col("delta").abs().sum())
    )
    size = number(columns.total(gaps["delta"].abs()))
    title = (
        f"{size} in events that the system missed or applied otherwise than the log "
        f"says{caveat(reconciliation)}"
    )
    found, about = (
        columns.places(columns.polars(dedup.unique, "topic", "partition")),
        "events missed or applied otherwise",
    )
    if len(found) > MOST_ROWS:
        about += f"; the partitions of {len(found):,} that hold any"
        found = columns.places(sums)
    return draw.heat_map(
        over,
        found,
        {row[:-1]: float(row[-1]) for row in sums.iter_rows()},
        title=title,
        about="\n".join([about, *notes, *_not_drawn(gaps)]),
        unit="|applied − recovered|",
        text=draw.brief,
    )


def _share_map(reconciliation: Reconciliation, dedup: Dedup) -> Chart:
    import polars as pl

    keys = divergent(reconciliation)["key"]
    if not len(keys):
        return draw.nothing("No divergence in the log", none_differs(reconciliation))
    events = columns.polars(dedup.unique, "key", "time", "topic", "partition")
    if not len(events):
        return draw.nothing(
            "No divergence in the log", "There is no event, so there is nothing to draw."
        )
    over = columns.bins(events["time"], most=24)
    theirs = 100 * pl.col("key").is_in(keys.implode()).mean()
    shares = (
        events.group_by("topic", "partition", over.place().alias("at")).agg(theirs).drop_nulls()
    )
    return draw.heat_map(
        over,
        columns.places(events),
        {row[:-1]: row[-1] for row in shares.iter_rows()},
        title=(
            f"Where the events of the {draw.some(len(keys), 'divergent key')} stand; "
            f"{UNKNOWN}{caveat(reconciliation)}"
        ),
        about="share of the events that belong to divergent keys",
        unit="% of events",
        text="{:.0f}".format,
        top=100.0,
    )


def _gaps(
    reconciliation: Reconciliation, dedup: Dedup, processed: Any, *, most: int
) -> tuple[pl.DataFrame, columns.Bins, list[str]]:
    """Events applied otherwise than the log says, with the bin of time of each (null: no time, or a
    far one).

    With them, in words, what they do not account for.
    """
    import polars as pl

    events = columns.polars(dedup.unique, "event_id", "key", "time", "topic", "partition", "effect")
    told = columns.processed(processed)
    gaps = columns.deltas(events, told)
    notes = []
    if "effect" not in told.columns and len(
        unknown := told.join(events, on="event_id", how="anti")
    ):
        notes.append(f"{draw.some(len(unknown), 'processed id')} not in the log, of unknown amount")
    rest = columns.total(
        columns.polars(reconciliation.table, "difference")["difference"]
    ) - columns.total(gaps["delta"])
    if rest:
        notes.append(f"{draw.signed(rest)} of expected − recovered is not in the processed list")
    over = columns.bins(pl.concat([events["time"], gaps["time"]]), most=most)
    return gaps.with_columns(at=over.place()), over, notes


def _not_drawn(gaps: pl.DataFrame) -> list[str]:
    import polars as pl

    lost = gaps.filter(pl.col("at").is_null())["delta"]
    why = "for want of a place in the log or a near time"
    return (
        [f"{draw.some(len(lost), 'event')}, {draw.signed(columns.total(lost))}, not drawn {why}"]
        if len(lost)
        else []
    )
