"""Charts of a diagnosis: the difference cause by cause, the incidents in the log, and one key under
the lens.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from recovery_kit._show import clean, number
from recovery_kit.charts import columns, draw

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.axes import Axes

    from recovery_kit.charts.figure import Chart
    from recovery_kit.dedup import Dedup
    from recovery_kit.explain import Diagnosis
    from recovery_kit.reconcile import Reconciliation

NOTHING = "No key differs, so there is nothing to explain."


@draw.drawn
def waterfall(diagnosis: Diagnosis) -> Chart:
    """From the recovered total to the expected one, cause by cause.

    Parameters
    ----------
    diagnosis : Diagnosis

    Returns
    -------
    matplotlib.figure.Figure
        A floating bar a cause, net over all keys, each beginning where the one above it ends;
        hatched by grade. To the right of it the exact net amount and the number of keys.
    """
    import polars as pl

    table = columns.polars(diagnosis.causes, "key", "cause", "grade", "amount")
    if not len(table):
        return draw.nothing("Nothing to explain", NOTHING)
    size = pl.col("amount").abs().sum()
    steps = table.group_by("cause", "grade").agg(
        pl.col("amount").sum(), keys=pl.col("key").n_unique(), size=size
    )
    rows = steps.sort("size", "cause", "grade", descending=[True, False, False]).to_dicts()
    net, explained = columns.total(table["amount"]), diagnosis.summary["explained"]
    told = "; ".join(
        f"{row['cause']} ({row['grade']}): {draw.signed(row['amount'])}, {row['keys']:,} keys"
        for row in rows
    )
    share = (
        100 * explained / diagnosis.summary["money"] if diagnosis.summary["money"] else Decimal(100)
    )
    fig = draw.chart(
        f"Causes account for {share:.1f} % of {number(diagnosis.summary['money'])} by which keys "
        "are off",
        f"From recovered to expected, net {draw.signed(net)}: {told}.",
        height=2.0 + 0.34 * (len(rows) + 1),
    )
    ax = fig.add_subplot()
    _floating(ax, rows, net)
    ax.set_title("from the recovered total (0) to the expected one, net over all keys")
    ax.set_xlabel("amount beyond the recovered total")
    return fig


def _floating(ax: Axes, rows: list[dict[str, Any]], net: Decimal) -> None:
    grades = list(dict.fromkeys(row["grade"] for row in rows))
    run, seen = Decimal(0), set()
    for at, row in enumerate(rows):
        look = grades.index(row["grade"])
        colour, hatch = draw.LOOKS[look]
        label = row["grade"] if look not in seen else None
        seen.add(look)
        ax.barh(
            at,
            float(row["amount"]),
            left=float(run),
            height=0.7,
            color=colour,
            hatch=hatch,
            edgecolor=draw.EDGE,
            label=label,
        )
        run += row["amount"]
        ax.plot([float(run)] * 2, [at - 0.35, at + 1.35], color=draw.EDGE, linewidth=0.7)
    ax.barh(len(rows), float(net), height=0.7, color="#DDDDDD", edgecolor=draw.EDGE)
    texts = [f"{draw.signed(row['amount'])}, {draw.some(row['keys'], 'key')}" for row in rows]
    draw.named_rows(
        ax,
        [*(row["cause"] for row in rows), "expected − recovered"],
        texts=[*texts, draw.signed(net)],
    )
    ax.axvline(0, color=draw.EDGE, linewidth=0.8)
    ax.grid(axis="x")
    draw.amount_axis(ax.xaxis)
    draw.legend(ax, columns=len(grades))


@draw.drawn
def incidents(diagnosis: Diagnosis, dedup: Dedup) -> Chart:
    """Where in the log the incidents are, by time and partition.

    Parameters
    ----------
    diagnosis : Diagnosis
    dedup : Dedup
        The events that were explained.

    Returns
    -------
    matplotlib.figure.Figure
        A heat map: the sum of the absolute effects of the events that incidents are about.
    """
    import polars as pl

    table = columns.polars(diagnosis.incidents)
    if not len(table):
        return draw.nothing("No incident", "No cause that many keys share was found.")
    events = columns.polars(
        dedup.unique, "type", "effect", "time", "topic", "partition"
    ).with_columns(pl.col("type", "topic").cast(pl.String))
    over = columns.bins(events["time"], most=24)
    hit = pl.any_horizontal(_inside(row) for row in table.to_dicts())
    sums = (
        events.filter(hit)
        .group_by("topic", "partition", over.place().alias("at"))
        .agg(pl.col("effect").abs().sum())
    )
    cells = {row[:-1]: float(row[-1]) for row in sums.drop_nulls().iter_rows()}
    money = number(columns.total(table["money"]))
    fig = draw.heat_map(
        over,
        columns.places(events),
        cells,
        title=f"{draw.some(len(table), 'incident')}, worth {money}",
        about="events that incidents are about",
        unit="|effect|",
        text=draw.brief,
    )
    fig.alt += "".join(
        f" Incident {row['incident']}: {clean(row['evidence'])}."
        for row in table.head(6).to_dicts()
    )
    return fig


def _inside(row: dict[str, Any]) -> pl.Expr:
    import polars as pl

    hit = pl.col("time").is_between(row["first"], row["last"])
    for name in ("type", "topic", "partition"):
        if row[name] is not None:
            hit = hit & (pl.col(name) == row[name])
    return hit


@draw.drawn
def one_key(
    reconciliation: Reconciliation, dedup: Dedup, diagnosis: Diagnosis, *, key: str
) -> Chart:
    """One key under the lens: its running total, what is expected, and where its causes lie.

    Parameters
    ----------
    reconciliation : Reconciliation
    dedup : Dedup
    diagnosis : Diagnosis
    key : str

    Returns
    -------
    matplotlib.figure.Figure
        The recovered running total against time, with a mark for every redelivered or conflicting
        copy, and for each cause a numbered band, from its first event to its last.
    """
    import polars as pl

    fact = (
        columns.polars(reconciliation.table, "key", "expected", "recovered", "difference")
        .filter(key=key)
        .to_dicts()
    )
    events = columns.polars(dedup.unique, "key", "time", "effect").filter(key=key).sort("time")
    if not fact or not len(events):
        return draw.nothing(
            "No running total", f"The log as read holds no event of {draw.label(key)} that counts."
        )
    causes = (
        columns.polars(diagnosis.causes, "key", "cause", "amount", "grade", "first", "last")
        .filter(key=key)
        .to_dicts()
    )
    told = "\n".join(
        f"{at}: {c['cause']} ({c['grade']}) {draw.signed(c['amount'])}"
        for at, c in enumerate(causes, start=1)
    )
    fig = draw.chart(
        f"{draw.label(key)}: expected − recovered is {draw.signed(fact[0]['difference'])}",
        f"Running total and causes: {told or 'none'}.", height=4.0 + 0.18 * len(causes),
    )  # fmt: skip
    ax = fig.add_subplot()
    over = columns.bins(events["time"], most=400)
    run = columns.floats(events["effect"].cum_sum())
    moments = _moments(events["time"])
    opening = float((fact[0]["recovered"] or Decimal(0)) - columns.total(events["effect"]))
    ax.step(moments, run + opening, where="post", color="#0072B2", label="recovered from the log")
    if fact[0]["expected"] is not None:
        ax.axhline(
            float(fact[0]["expected"]),
            color="black",
            linestyle=":",
            label=f"expected {number(fact[0]['expected'])}",
        )
    for name, frame, marker in (
        ("redelivered", dedup.redelivered, "x"),
        ("conflicting version", dedup.conflicts, "D"),
    ):
        copies = columns.polars(
            frame, "key", "time", *(["verdict"] if marker == "D" else [])
        ).filter(key=key)
        copies = copies.filter(pl.col("verdict") == "conflicting") if marker == "D" else copies
        if len(copies):
            x = _moments(copies["time"])
            ax.plot(
                x, [ax.get_ylim()[0]] * len(x), marker, color=draw.EDGE, label=name, clip_on=False
            )
    _bands(ax, causes)
    draw.time_axis(ax, over)
    draw.amount_axis(ax.yaxis)
    ax.set_ylabel("running total")
    ax.set_title(told or "no cause found")
    ax.grid()
    draw.legend(ax, columns=4)
    return fig


def _bands(ax: Axes, causes: list[dict[str, Any]]) -> None:
    for at, cause in enumerate(causes, start=1):
        if cause["first"] is None:
            continue
        colour, hatch = draw.LOOKS[at % len(draw.LOOKS)]
        first, last = (cause[end].replace(tzinfo=None) for end in ("first", "last"))
        if first == last:
            ax.axvline(first, color=draw.EDGE, linestyle="-.", linewidth=1)
        else:
            ax.axvspan(first, last, facecolor=colour, edgecolor=draw.EDGE, hatch=hatch, alpha=0.35)
        height = 0.98 - 0.06 * (
            (at - 1) % 15
        )  # each lower than the last, so that none hides another
        box = {"color": "white", "alpha": 0.8, "pad": 0.4}
        ax.annotate(
            str(at),
            (first, height),
            xycoords=("data", "axes fraction"),
            va="top",
            ha="right",
            fontsize=9,
            bbox=box,
        )


def _moments(times: pl.Series) -> Any:
    return times.dt.timestamp("ms").to_numpy().astype("datetime64[ms]")
