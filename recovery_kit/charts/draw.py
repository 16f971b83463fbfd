"""What every chart is made of: a titled figure, axes of time and of amounts, bars, a heat map,
labels.

Nothing here relies on colour: neighbours differ by hatch, line style or marker as well, and numbers
stand beside them.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import cache, wraps
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, ParamSpec

from recovery_kit._show import clean, misleads, number
from recovery_kit.charts.columns import Bins, floats, place_names

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from matplotlib.axes import Axes

    from recovery_kit.charts.figure import Chart

P = ParamSpec("P")

WIDTH = 9.6
"""Inches."""

# The Okabe-Ito colours, which most colour-blind people tell apart, without the black; each with a
# hatch of its own.
LOOKS = (
    ("#56B4E9", ""), ("#E69F00", "///"), ("#009E73", "..."), ("#F0E442", "\\\\\\"),
    ("#0072B2", "xx"), ("#D55E00", "--"), ("#CC79A7", "oo"), ("#BBBBBB", "++"),
)  # fmt: skip
EDGE = "#222222"


def drawn(function: Callable[P, Chart]) -> Callable[P, Chart]:
    """Run a chart function in the charts' style."""

    @wraps(function)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Chart:
        from recovery_kit.charts.figure import style

        with style():
            return function(*args, **kwargs)

    return styled


def chart(title: str, alt: str, *, height: float = 4.0) -> Chart:
    """An empty figure under its finding; the alt text is the finding, then `alt`."""
    from recovery_kit.charts.figure import Chart

    fig = Chart(figsize=(WIDTH, height), layout="constrained")
    fig.suptitle(textwrap.fill(title, 98), x=0.01, ha="left")
    fig.alt = clean(f"{title}. {alt}".replace("\n", "; "))
    return fig


def nothing(title: str, alt: str) -> Chart:
    """A figure that says in words that there is nothing to draw."""
    fig = chart(title, alt, height=1.0)
    fig.text(0.01, 0.25, textwrap.fill(alt, 110))
    return fig


@cache
def _glyphs(font: str) -> frozenset[int]:
    from matplotlib.font_manager import get_font

    return frozenset(get_font(font).get_charmap())


def label(text: object, width: int = 28) -> str:
    """A name from the log as a label: cut in its middle, since ids differ at their ends.

    A character that is not printable, or that the font lacks, is written as an escape; where blanks
    or such characters stand, the label is in quotes.
    """
    from matplotlib.font_manager import FontProperties, findfont

    known = _glyphs(findfont(FontProperties()))
    shown = clean(text) or "(empty)"
    shown = "".join(c if ord(c) in known else c.encode("unicode_escape").decode() for c in shown)
    cut = (
        shown
        if len(shown) <= width
        else f"{shown[: width // 2]}…{shown[-(width - width // 2 - 1) :]}"
    )
    return f"'{cut}'" if text != "" and misleads(str(text)) else cut


def some(count: int, thing: str, things: str = "") -> str:
    """A count with its noun."""
    return f"{count:,} {thing if count == 1 else things or thing + 's'}"


def signed(amount: Decimal | None) -> str:
    """An exact amount with its sign and its thousands grouped."""
    return number(None) if amount is None else f"{amount:+,f}"


def brief(value: float) -> str:
    """A number short enough for an axis or a cell: 950, 1.2k, 34M, 1e+15."""
    size = abs(value)
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if 1e15 > size >= limit:
            scaled = value / (limit if unit != "k" else 1e3)
            return f"{scaled:,.3g}{unit}" if abs(scaled) < 1000 else f"{scaled:,.0f}{unit}"
    return f"{value:,.3g}" if size < 100 or size >= 1e15 else f"{value:,.0f}"


def amount_axis(axis: Any) -> None:
    """Tick labels with grouped thousands."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=7))
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.12g}"))


def count_axis(axis: Any) -> None:
    """Tick labels for whole things."""
    amount_axis(axis)
    axis.get_major_locator().set_params(integer=True)


def edges(over: Bins) -> npt.NDArray[np.float64]:
    """The bins' edges as matplotlib places them."""
    from matplotlib.dates import date2num

    made: npt.NDArray[np.float64] = date2num(over.edges)  # type: ignore[no-untyped-call]
    return made


def middles(over: Bins) -> npt.NDArray[np.float64]:
    """The bins' middles as matplotlib places them."""
    x = edges(over)
    return (x[:-1] + x[1:]) / 2


def time_axis(ax: Axes, over: Bins, *, ticks: int = 10) -> None:
    """An axis of time in UTC over exactly the bins, with the date in its label when it is one
    day.
    """
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(tz="UTC", minticks=3, maxticks=ticks)  # type: ignore[no-untyped-call]
    ax.xaxis.set_major_locator(locator)
    formats = ["%Y", "%b %Y", "%b %d", "%H:%M", "%H:%M", "%H:%M:%S.%f"]
    told = ConciseDateFormatter(  # type: ignore[no-untyped-call]
        locator,
        tz="UTC",
        formats=formats,
        zero_formats=["", *formats[:4], "%H:%M:%S"],
        show_offset=False,
    )
    ax.xaxis.set_major_formatter(told)
    first, last = over.edges[0], over.edges[-1]
    ax.set_xlim(edges(over)[0], edges(over)[-1])
    days = sorted({str(edge.astype("datetime64[D]")) for edge in (first, last - 1)})
    ax.set_xlabel(f"time, UTC, {' to '.join(days)}")


def bars_over_time(
    ax: Axes,
    over: Bins,
    heights: npt.NDArray[np.float64],
    *,
    look: int,
    base: Any = 0,
    name: str = "",
) -> None:
    """One bar a bin, `heights` high, on top of `base`."""
    x = edges(over)
    colour, hatch = LOOKS[look % len(LOOKS)]
    ax.bar(
        x[:-1], heights, x[1:] - x[:-1], bottom=base, align="edge",
        color=colour, hatch=hatch, edgecolor=EDGE, linewidth=0.3, label=name,
    )  # fmt: skip


def named_rows(ax: Axes, names: Sequence[str], *, texts: Sequence[str] = ()) -> None:
    """Rows from the top, named on the left and, with `texts`, told exactly on the right."""
    ax.set_yticks(range(len(names)), names, fontsize=9)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    for row, text in enumerate(texts):
        ax.annotate(text, (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=9)


def amount_bars(
    ax: Axes,
    names: Sequence[str],
    amounts: list[Decimal],
    kinds: Sequence[str],
    *,
    notes: Sequence[str] = (),
) -> None:
    """Signed horizontal bars, the exact amount to the right of each.

    One hatch a kind, named in a legend.
    """
    widths = floats(amounts)
    order = list(dict.fromkeys(kinds))
    for at, kind in enumerate(order):
        rows = [row for row, k in enumerate(kinds) if k == kind]
        colour, hatch = LOOKS[at % len(LOOKS)]
        ax.barh(
            rows, widths[rows], height=0.7, color=colour, hatch=hatch, edgecolor=EDGE, label=kind
        )  # fmt: skip
    texts = [signed(a) for a in amounts]
    longest = max(len(t) for t in texts)
    named_rows(
        ax,
        names,
        texts=[f"{t:>{longest}}  {n}".rstrip() for t, n in zip_longest(texts, notes, fillvalue="")],
    )
    for text in ax.texts:
        text.set_fontfamily("monospace")
    ax.axvline(0, color=EDGE, linewidth=0.8)
    ax.grid(axis="x")
    amount_axis(ax.xaxis)
    if len(order) > 1:
        legend(ax, columns=len(order))


def legend(ax: Axes, *, columns: int) -> None:
    """A legend below the axes, where it hides nothing."""
    ax.figure.legend(
        loc="outside lower left", ncols=min(columns, 5), handlelength=2.4, handleheight=1.2
    )


def heat(
    ax: Axes, over: Bins, rows: Sequence[str], cells: npt.NDArray[np.float64], *, unit: str,
    text: Callable[[float], str], top: float | None = None,
) -> None:  # fmt: skip
    """A heat map, rows by time; empty (NaN) cells stay white, and few cells are labelled with their
    values.
    """
    import numpy as np
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    full = cells[np.isfinite(cells)]
    low, high = (float(full.min()), float(full.max())) if full.size else (0.0, 1.0)
    steep = top is None and low > 0 and high > 100 * low
    norm = LogNorm(low, high) if steep else Normalize(0, top or high or 1.0)
    # Light is little and dark is much, in grey too.
    mesh = ax.pcolormesh(
        edges(over),
        np.arange(len(rows) + 1) - 0.5,
        cells,
        norm=norm,
        cmap="cividis_r",
        edgecolors="white",
        linewidth=0.5,
    )
    bar = ax.figure.colorbar(
        mesh, ax=ax, pad=0.01, fraction=0.05, format=FuncFormatter(lambda v, _: text(v))
    )
    if not steep and np.all(full == np.floor(full)):
        bar.ax.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    bar.set_label(f"{unit} (log scale)" if steep else unit)
    named_rows(ax, rows)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    if len(rows) > 40:
        shown = range(0, len(rows), -(-len(rows) // 40))
        ax.set_yticks(list(shown), [rows[i] for i in shown])
    time_axis(ax, over)
    if full.size > 200:
        return
    x = middles(over)
    for row, at in np.argwhere(np.isfinite(cells)):
        value = float(cells[row, at])
        dark = norm(value) > 0.5
        ax.text(
            x[at],
            row,
            text(value),
            ha="center",
            va="center",
            fontsize=7,
            color="white" if dark else "black",
        )


def heat_map(
    over: Bins,
    found: list[tuple[str, int]],
    cells: dict[tuple[Any, ...], float],
    *,
    title: str,
    about: str,
    unit: str,
    text: Callable[[float], str],
    top: float | None = None,
) -> Chart:
    """The heat map of either kind; cells are by (topic, partition, bin)."""
    import numpy as np

    names = [label(name) for name in place_names(found)]
    most = sorted(cells, key=lambda cell: (-cells[cell], cell))[:3]
    told = [f"{names[found.index(c[:2])]} at {over.moment(c[2])}: {text(cells[c])}" for c in most]
    fig = chart(
        title,
        f"By time and partition, {over.span}; {about}. Most, {unit}: {'; '.join(told) or 'none'}.",
        height=2.2 + min(0.34 * len(found), 8),
    )
    ax = fig.add_subplot()
    grid = np.array(
        [[cells.get((*row, at), np.nan) for at in range(over.count)] for row in found],
        dtype="float64",
    )
    heat(ax, over, names, grid.reshape(len(found), over.count), unit=unit, text=text, top=top)
    ax.set_title(f"cells of {over.duration} and one partition: {about}")
    return fig
