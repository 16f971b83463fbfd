"""Charts of a history: divergent keys, their amounts, and what was read, run by run."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pandas as pd

from recovery_kit.charts import columns, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from recovery_kit.charts.figure import Chart
    from recovery_kit.run.history import History

MOST = 40
"""Runs at most: the newest ones."""


@draw.drawn
def keys(history: History) -> Chart:
    """Divergent keys by run: those that were there before, the new ones, and below zero those
    resolved since.

    Parameters
    ----------
    history : History

    Returns
    -------
    matplotlib.figure.Figure
        A bar a compared run, labelled with its number of divergent keys.
    """
    runs = _newest(history.compared)
    if not runs:
        return _no_run()
    last = runs[-1]
    first = runs[0] | {"persisting": runs[0]["divergent"]} if pd.isna(runs[0]["new"]) else runs[0]
    shown = [first, *runs[1:]]
    told = "; ".join(
        f"{_name(r)}: {r['divergent']:,}"
        + ("" if pd.isna(r["new"]) else f" ({r['new']:,} new, {r['resolved']:,} resolved)")
        for r in runs[-6:]
    )
    title = f"{draw.some(last['divergent'], 'key')} divergent at the last run"
    if not pd.isna(last["new"]):
        title += f": {last['new']:,} new, {last['resolved']:,} resolved since the one before"
    fig = draw.chart(title, f"Divergent keys by run. {told}.")
    ax = fig.add_subplot()
    base = [0] * len(shown)
    for look, (name, words) in enumerate((("persisting", "there before"), ("new", "new"))):
        heights = [_count(r[name]) for r in shown]
        _bars(ax, heights, look=look, name=words, base=base)
        base = [low + height for low, height in zip(base, heights, strict=True)]
    _bars(ax, [-_count(r["resolved"]) for r in shown], look=2, name="resolved since the run before")
    for at, run in enumerate(shown):
        ax.annotate(
            f"{run['divergent']:,}",
            (at, base[at]),
            (0, 2),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    ax.axhline(0, color=draw.EDGE, linewidth=0.8)
    ax.set_ylabel("keys")
    draw.count_axis(ax.yaxis)
    _by_run(ax, shown)
    draw.legend(ax, columns=3)
    return fig


@draw.drawn
def amounts(history: History) -> Chart:
    """The sum of the absolute differences, and the net one, by run.

    Parameters
    ----------
    history : History

    Returns
    -------
    matplotlib.figure.Figure
        A bar (absolute) and a marker (net) a compared run.
    """
    runs = _newest(history.compared)
    if not runs:
        return _no_run()
    absolute, net = ([Decimal(r[f"{n}_difference"]) for r in runs] for n in ("absolute", "net"))
    told = "; ".join(f"{_name(r)}: {a:,f}" for r, a in list(zip(runs, absolute, strict=True))[-6:])
    title = f"Absolute differences of {absolute[-1]:,f} at the last run, {draw.signed(net[-1])} net"
    if len(runs) > 1:
        title += f"; {draw.signed(absolute[-1] - absolute[-2])} since the one before"
    fig = draw.chart(title, f"Sum of the absolute differences by run. {told}.")
    ax = fig.add_subplot()
    _bars(ax, list(columns.floats(absolute)), look=0, name="absolute differences")
    ax.plot(
        range(len(runs)),
        columns.floats(net),
        "D--",
        color=draw.EDGE,
        linewidth=1,
        label="net (expected − recovered)",
    )
    ax.axhline(0, color=draw.EDGE, linewidth=0.8)
    ax.set_ylabel("amount")
    draw.amount_axis(ax.yaxis)
    _by_run(ax, runs)
    draw.legend(ax, columns=2)
    return fig


@draw.drawn
def reads(history: History) -> Chart:
    """What each whole run read of the log, and whether that was all of it.

    Parameters
    ----------
    history : History

    Returns
    -------
    matplotlib.figure.Figure
        A bar a run, as high as the messages it read; the hatch says the verdict of its replay.
    """
    runs = _newest(history.runs[history.runs["verdict"].notna()])
    if not runs:
        return _no_run()
    bad = [r for r in runs if r["verdict"] != "complete"]
    title = (
        f"{len(runs) - len(bad):,} of the last {draw.some(len(runs), 'replay')} complete"
        if bad
        else (
            f"All of the last {draw.some(len(runs), 'replay')} complete"
            if len(runs) > 1
            else "The only replay is complete"
        )
    )
    told = "; ".join(
        f"{_name(r)}: {_count(r['delivered']):,} messages, {r['verdict']}" for r in runs[-6:]
    )
    fig = draw.chart(
        title, f"Messages read by run, by the verdict of the replay. {told}.", height=3.2
    )
    ax = fig.add_subplot()
    for look, verdict in enumerate(dict.fromkeys(["complete", *(r["verdict"] for r in runs)])):
        heights = [_count(r["delivered"]) if r["verdict"] == verdict else 0 for r in runs]
        if any(r["verdict"] == verdict for r in runs):
            _bars(ax, heights, look=look, name=verdict)
    for at, run in enumerate(runs):
        if run["verdict"] != "complete":  # also where the bar has no height
            ax.annotate(
                run["verdict"],
                (at, _count(run["delivered"])),
                (0, 2),
                textcoords="offset points",
                ha="center",
                fontsize=8,
            )
    ax.set_ylabel("messages")
    draw.count_axis(ax.yaxis)
    _by_run(ax, runs)
    draw.legend(ax, columns=5)
    return fig


def _newest(runs: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {str(name): value for name, value in row.items()}
        for row in runs.tail(MOST).to_dict("records")
    ]


def _no_run() -> Chart:
    return draw.nothing(
        "No runs to compare", "No run in this folder came to its end with something to compare."
    )


def _count(number: Any) -> int:
    return 0 if pd.isna(number) else int(number)


def _name(run: dict[str, Any]) -> str:
    return f"{run['started']:%Y-%m-%d %H:%M}"


def _bars(ax: Axes, heights: list[Any], *, look: int, name: str, base: Any = 0) -> None:
    colour, hatch = draw.LOOKS[look % len(draw.LOOKS)]
    ax.bar(
        range(len(heights)),
        heights,
        width=0.7,
        bottom=base,
        color=colour,
        hatch=hatch,
        edgecolor=draw.EDGE,
        label=name,
    )


def _by_run(ax: Axes, runs: list[dict[str, Any]]) -> None:
    every = -(-len(runs) // 8)
    at = list(range(len(runs) - 1, -1, -every))[::-1]  # the last run is always named
    ax.set_xticks(at, [_name(runs[i]).replace(" ", "\n") for i in at], fontsize=8)
    ax.set_xlim(-0.6, max(len(runs), 4) - 0.4)
    ax.set_xlabel("run, by its start, UTC")
    ax.grid(axis="y")
    ax.margins(y=0.12)
