"""Charts of what was read: events, coverage, redeliveries, conflicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recovery_kit._show import number
from recovery_kit.charts import columns, draw

if TYPE_CHECKING:
    from recovery_kit.charts.figure import Chart
    from recovery_kit.dedup import Dedup
    from recovery_kit.replay import Replay

KINDS = ("delivered", "control", "aborted", "removed", "lost", "unread")
"""Why an offset holds a message or not; these add up to all offsets from start to end."""

MOST_ROWS = 24
"""Rows of bars that one figure shows; of more partitions, those with the most to tell."""


@draw.drawn
def events_over_time(replay: Replay) -> Chart:
    """Events by their own time, stacked by partition (by topic beyond 8 partitions), with the
    rejects marked.

    Parameters
    ----------
    replay : Replay

    Returns
    -------
    matplotlib.figure.Figure
        Events a bin against time in UTC; the bins have one round duration.
    """
    import numpy as np

    events = columns.polars(replay.events, "time", "topic", "partition")
    rejects = columns.polars(replay.rejects, "time")
    if not len(events) and not len(rejects):
        return draw.nothing(
            "No events", "The replay delivered no event and no reject, so there is nothing to draw."
        )
    over = columns.bins(events["time"] if len(events) else rejects["time"])
    found = columns.places(events)
    by = ["topic", "partition"] if len(found) <= len(draw.LOOKS) else ["topic"]
    cells = columns.counts(events.select(*by, at=over.place()), [*by, "at"])
    layers = columns.place_names(found) if len(by) == 2 else sorted({topic for topic, _ in found})
    rows = found if len(by) == 2 else [(name,) for name in layers]
    title = f"{draw.some(len(events), 'event')}; {draw.some(len(rejects), 'message')} rejected"
    title += f"; the replay is {replay.verdict}" * (replay.verdict != "complete")
    spread = f"stacked by {' and '.join(by) if len({t for t, _ in found}) > 1 else by[-1]}"
    fig = draw.chart(title, f"Bars: events in each {over.duration}, {spread}, {over.span}.")
    ax = fig.add_subplot()
    base = np.zeros(over.count)
    for look, (row, name) in enumerate(zip(rows, layers, strict=True)):
        heights = np.array([cells.get((*row, at), 0) for at in range(over.count)], dtype="float64")
        draw.bars_over_time(ax, over, heights, look=look, base=base, name=draw.label(name))
        base += heights
    bad = rejects.select(at=over.place()).drop_nulls()["at"].unique().sort().to_list()
    if bad:
        middles = draw.middles(over)
        ax.plot(
            middles[bad], np.full(len(bad), base.max() * 1.06 or 1), "kv", markersize=5,
            label=f"holds rejects ({len(rejects):,} in all)",
        )  # fmt: skip
    outside = events.select(over.place()).to_series().null_count()
    ax.set_title(f"events in each {over.duration}, {spread}{_outside(outside)}")
    ax.set_ylabel(f"events in {over.duration}")
    draw.count_axis(ax.yaxis)
    draw.time_axis(ax, over)
    ax.grid(axis="y")
    draw.legend(ax, columns=5)
    fig.alt += (
        f" Most in one bin: {base.max():,.0f}, at "
        f"{over.moment(int(base.argmax()))}.{_outside(outside)}"
    )
    return fig


@draw.drawn
def coverage(replay: Replay) -> Chart:
    """Each partition's offsets: delivered, or why not, as shares of ``end - start`` with the counts
    beside them.

    Parameters
    ----------
    replay : Replay

    Returns
    -------
    matplotlib.figure.Figure
        One bar a partition; of more than 24 partitions, the 24 with the least delivered.
    """
    import polars as pl

    table = columns.polars(replay.coverage)
    if not len(table):
        return draw.nothing(
            "No partitions", "The replay read no partition, so there is nothing to draw."
        )
    table = table.with_columns(span=pl.col("end") - pl.col("start"))
    sums = {kind: int(table[kind].sum()) for kind in KINDS}
    spanned = int(table["span"].sum())
    title = f"{replay.verdict}: {sums['delivered']:,} of {spanned:,} offsets were delivered"
    told = ", ".join(f"{kind} {count:,}" for kind, count in sums.items())
    total = len(table)
    if total > MOST_ROWS:
        share = pl.col("delivered") / pl.col("span")
        table = table.sort(share.fill_nan(2.0)).head(MOST_ROWS)
    rows = table.sort("topic", "partition").to_dicts()
    fig = draw.chart(
        title.capitalize(), f"In all: {told}. {_partitions(total)}.", height=1.6 + 0.3 * len(rows)
    )
    ax = fig.add_subplot()
    left = [0.0] * len(rows)
    for look, kind in enumerate(KINDS):
        if not sums[kind]:
            continue
        widths = [100 * row[kind] / row["span"] if row["span"] else 0.0 for row in rows]
        colour, hatch = draw.LOOKS[look]
        ax.barh(
            range(len(rows)),
            widths,
            left=left,
            height=0.7,
            color=colour,
            hatch=hatch,
            edgecolor=draw.EDGE,
            label=f"{kind} ({sums[kind]:,})",
        )
        left = [a + b for a, b in zip(left, widths, strict=True)]
    names = [
        draw.label(n)
        for n in columns.place_names([(row["topic"], row["partition"]) for row in rows])
    ]
    draw.named_rows(ax, names, texts=[_told(row) for row in rows])
    ax.set_xlim(0, 100)
    ax.set_xlabel("share of the offsets from start to captured end, %")
    ax.set_title(_partitions(total))
    if any(sums.values()):
        draw.legend(ax, columns=5)
    fig.alt += " " + "; ".join(f"{n}: {_told(r)}" for n, r in zip(names[:8], rows[:8], strict=True))
    return fig


@draw.drawn
def redeliveries(dedup: Dedup) -> Chart:
    """Where in the log copies of events already seen were delivered, by time and partition.

    Conflicting ones marked.

    Parameters
    ----------
    dedup : Dedup

    Returns
    -------
    matplotlib.figure.Figure
        A heat map of redelivered copies, with a cross in each cell that holds conflicting ones.
    """
    import numpy as np
    import polars as pl

    wanted = ["time", "topic", "partition"]
    again = columns.polars(dedup.redelivered, *wanted)
    other = (
        columns.polars(dedup.conflicts, *wanted, "verdict")
        .filter(pl.col("verdict") == "conflicting")
        .select(wanted)
    )
    title = (
        f"{dedup.counts['redelivered']:,} redelivered and {dedup.counts['conflicting']:,} "
        "conflicting copies"
    )
    title += f" among {dedup.counts['events']:,} events"
    copies = pl.concat([again, other])
    if not len(copies):
        return draw.nothing(title, "Every event was delivered once, so there is nothing to draw.")
    over = columns.bins(copies["time"], most=24)
    found = columns.places(copies)
    at = [*wanted[1:], "at"]
    fig = draw.chart(
        title, f"Copies by time and partition, {over.span}.", height=2.2 + min(0.34 * len(found), 8)
    )
    ax = fig.add_subplot()
    counted = columns.counts(again.with_columns(at=over.place()), at)
    cells = np.array(
        [[counted.get((*row, i), np.nan) for i in range(over.count)] for row in found],
        dtype="float64",
    )
    names = [draw.label(n) for n in columns.place_names(found)]
    draw.heat(
        ax, over, names, cells, unit=f"redelivered copies in {over.duration}", text=draw.brief
    )
    crossed = columns.counts(other.with_columns(at=over.place()), at)
    if crossed:
        middles = draw.middles(over)
        x = [middles[i] for _, _, i in crossed]
        y = [found.index((topic, partition)) + 0.3 for topic, partition, _ in crossed]
        label = f"holds conflicting copies ({dedup.counts['conflicting']:,} in all)"
        ax.plot(x, y, "X", color="white", markeredgecolor="black", markersize=8, label=label)
        draw.legend(ax, columns=1)
    outside = copies.select(over.place()).to_series().null_count()
    ax.set_title(f"redelivered copies in each {over.duration}{_outside(outside)}")
    most = max(counted, key=counted.__getitem__, default=None)
    if most is not None:
        name = names[found.index(most[:2])]
        fig.alt += (
            f" Most redelivered in one cell: {counted[most]:,}, {name}, at {over.moment(most[2])}."
        )
    return fig


@draw.drawn
def conflicts(dedup: Dedup, *, most: int = 20) -> Chart:
    """What each conflicting copy is worth: how the sum of all totals would change had that copy
    been chosen.

    Parameters
    ----------
    dedup : Dedup
    most : int
        Bars at most; the largest worths are drawn.

    Returns
    -------
    matplotlib.figure.Figure
        Signed bars, largest first, each with its exact worth.
    """
    import polars as pl

    table = columns.polars(
        dedup.conflicts, "event_id", "topic", "partition", "offset", "verdict", "worth"
    )
    table = table.filter(pl.col("verdict") == "conflicting")
    if not len(table):
        return draw.nothing(
            "No conflicts",
            "No event id was delivered with two contents, so there is nothing to draw.",
        )
    ids = table["event_id"].n_unique()
    size = table.select(pl.col("worth").abs().sum()).item()
    rows = table.sort(
        pl.col("worth").abs(),
        "event_id",
        "topic",
        "partition",
        "offset",
        descending=[True] + [False] * 4,
    )
    top = rows.head(most).to_dicts()
    title = (
        f"{draw.some(ids, 'event id')} with two contents; the copies not chosen differ by "
        f"{number(size)} in all"
    )
    fig = draw.chart(
        title, f"{_of(len(top), len(table))}, largest first.", height=1.7 + 0.26 * len(top)
    )
    ax = fig.add_subplot()
    names = [draw.label(row["event_id"]) for row in top]
    amounts = [row["worth"] for row in top]
    at = [f"at {row['partition']}:{row['offset']}" for row in top]
    draw.amount_bars(ax, names, amounts, ["conflicting copy"] * len(top), notes=at)
    ax.set_xlabel("worth: effect of this copy − effect of the chosen one (amount)")
    ax.set_title(f"{_of(len(top), len(table))}: event id, worth, partition:offset")
    fig.alt += (
        " "
        + "; ".join(f"{n}: {draw.signed(a)}" for n, a in zip(names[:5], amounts[:5], strict=True))
        + "."
    )
    return fig


def _told(row: dict[str, Any]) -> str:
    parts = [f"{row['delivered']:,} of {row['span']:,}"]
    parts += [f"{row[kind]:,} {kind}" for kind in KINDS[1:] if row[kind]]
    return ", ".join(parts) + ("" if row["verdict"] == "complete" else f" ({row['verdict']})")


def _partitions(total: int) -> str:
    return draw.some(total, "partition") if total <= MOST_ROWS else (
        f"the {MOST_ROWS} of {total:,} partitions with the least delivered"
    )  # fmt: skip


def _of(shown: int, total: int) -> str:
    whole = draw.some(total, "conflicting copy", "conflicting copies")
    return whole if shown == total else f"the {shown:,} largest of {whole}"


def _outside(rows: int) -> str:
    return f" ({rows:,} far before or after are not drawn)" if rows else ""
