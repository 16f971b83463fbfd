"""How result objects draw themselves: one card in a notebook, the same card as text in a terminal.

Whatever came out of a message is untrusted. In HTML it is escaped; in text, control characters
(which a terminal would obey) are written as escapes; in CSV, cells that a spreadsheet would compute
are defused.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_STYLE = (
    "<style>.rk{font-family:system-ui,sans-serif;font-size:13px;line-height:1.45;max-width:72em}"
    ".rk h4{margin:.2em 0 .4em;font-size:15px;font-weight:600}"
    ".rk table{border-collapse:collapse;margin:.5em 0}"
    ".rk td,.rk th{padding:.15em .7em;text-align:right;border-bottom:1px solid #8884;"
    "font-variant-numeric:tabular-nums}"
    ".rk th{font-weight:600}.rk td.t,.rk th.t{text-align:left;white-space:nowrap}"
    ".rk caption{text-align:left;font-weight:600;padding:.3em 0}"
    ".rk .n{margin:.3em 0;padding:.3em .6em;border-left:4px solid #b58900;background:#b5890018}"
    "</style>"
)

KEYS = ("key", "expected_key")
"""Columns whose cells are keys."""

Facts = Sequence[tuple[str, object]]


def clean(text: object) -> str:
    """Text with every control, bidirectional and unprintable character written as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def shorten(text: object, width: int = 60) -> str:
    """Clean text, cut to ``width`` characters with an ellipsis."""
    shown = clean(text)
    return shown if len(shown) <= width else shown[: width - 1] + "…"


def quoted(key: object, width: int = 60, *, always: bool = False) -> str:
    """A key, cut as `shorten` does, in quotes where it could be taken for another: where blanks do
    not show, at control characters and quotes, and where it is empty.
    """
    shown = shorten(key, width)
    return f"'{shown}'" if always or misleads(str(key)) else shown


def misleads(key: str) -> bool:
    """Whether a key that is shown as it stands could be taken for another."""
    odd = key != key.strip() or "  " in key or not key.isprintable() or key.startswith("'")
    return odd or not key


def brief(value: object) -> str:
    """A value as Python writes it, cut short at every depth: one of few bytes may hold itself a
    billion times over, as YAML's aliases make it.
    """
    import reprlib

    short = reprlib.Repr()
    short.maxlevel, short.maxstring, short.maxother = 3, 200, 200
    return short.repr(value)


def told(error: object, width: int = 200) -> str:
    """What an error says, clean and on one line; where it is longer, cut between two words."""
    said = clean(" ".join(str(error).split()))
    if len(said) <= width:
        return said
    whole = said[: width - 1].rpartition(" ")[0]
    return f"{whole} …" if len(whole) > width // 2 else shorten(said, width)


def number(value: object, width: int = 60) -> str:
    """A cell as a person reads it: thousands grouped, decimals whole, times in UTC, missing as a
    dash.
    """
    import pandas as pd

    if (
        value is None
        or value is pd.NA
        or value is pd.NaT
        or (isinstance(value, float) and value != value)
    ):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | Decimal):
        return f"{value:,f}" if isinstance(value, Decimal) else f"{value:,}"
    if isinstance(value, pd.Timestamp):
        return value.tz_convert("UTC").strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"
    if isinstance(value, bytes):
        return shorten(value.decode("utf-8", "backslashreplace"), width)
    return shorten(value, width)


def html_card(
    title: str,
    facts: Facts,
    tables: Iterable[tuple[str, pd.DataFrame]] = (),
    notes: Iterable[str] = (),
) -> str:
    """One result as HTML: a title, facts (label, value), notes, and captioned tables of at most 20
    rows each.
    """
    esc = html.escape
    rows = "".join(
        f"<tr><th class='t'>{esc(label)}</th><td>{esc(number(v))}</td></tr>" for label, v in facts
    )
    warn = "".join(f"<div class='n'>{esc(clean(n))}</div>" for n in notes)
    drawn = "".join(_html_table(caption, table) for caption, table in tables)
    return (
        "<div "
        f"class='rk'>{_STYLE}<h4>{esc(clean(title))}</h4><table>{rows}</table>{warn}{drawn}</div>"
    )


def text_card(title: str, facts: Facts, notes: Iterable[str] = ()) -> str:
    """One result as text: the title, then aligned facts, then notes."""
    width = max((len(label) for label, _ in facts), default=0)
    lines = [clean(title)] + [f"  {label:<{width}}  {number(v, 110)}" for label, v in facts]
    return "\n".join(lines + [f"  ! {clean(n)}" for n in notes])


def _html_table(caption: str, table: pd.DataFrame, most: int = 20) -> str:
    import pandas as pd

    esc = html.escape
    texts = [not (pd.api.types.is_numeric_dtype(t) or "decimal" in str(t)) for t in table.dtypes]
    mark = [" class='t'" if t else "" for t in texts]
    head = "".join(f"<th{m}>{esc(clean(c))}</th>" for c, m in zip(table.columns, mark, strict=True))
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{m}>{esc(quoted(v) if n in KEYS and isinstance(v, str) else number(v))}</td>"
            for n, v, m in zip(table.columns, row, mark, strict=True)
        )
        + "</tr>"
        for row in table.head(most).itertuples(index=False, name=None)
    )
    more = f" (first {most} of {len(table):,})" if len(table) > most else ""
    return f"<table><caption>{esc(clean(caption))}{more}</caption><tr>{head}</tr>{body}</table>"
