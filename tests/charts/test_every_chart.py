"""What holds for every chart: it draws without a warning, says what it shows, and reads whatever
names are in the log.
"""

import base64
import io
import subprocess
import sys
from collections.abc import Callable
from itertools import combinations, pairwise
from typing import Any

import matplotlib as mpl
import matplotlib.style
import nbformat
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from nbconvert import HTMLExporter
from PIL import Image

from recovery_kit import charts
from recovery_kit.charts.figure import Chart
from recovery_kit.dedup import dedup
from recovery_kit.reconcile import reconcile
from recovery_kit.tables.arrow import to_pandas
from recovery_kit.totals import totals
from tests.charts.found import HOSTILE, KEYS, LOG, Found, found, processed_of, replay_of
from tests.events import FORMS, events

EVERY: dict[str, Callable[[Found], Chart]] = {
    "events_over_time": lambda f: charts.events_over_time(f.replay),
    "coverage": lambda f: charts.coverage(f.replay),
    "redeliveries": lambda f: charts.redeliveries(f.d),
    "conflicts": lambda f: charts.conflicts(f.d),
    "statuses": lambda f: charts.statuses(f.r),
    "largest": lambda f: charts.largest(f.r),
    "distribution": lambda f: charts.distribution(f.r),
    "divergence_over_time": lambda f: charts.divergence_over_time(f.r, f.d, processed=f.processed),
    "divergence_over_time, no list": lambda f: charts.divergence_over_time(f.r, f.d),
    "running": lambda f: charts.running(f.r, f.d, processed=f.processed),
    "running, no list": lambda f: charts.running(f.r, f.d),
    "where_in_log": lambda f: charts.where_in_log(f.r, f.d, processed=f.processed),
    "where_in_log, no list": lambda f: charts.where_in_log(f.r, f.d),
}


def test_every_public_chart_is_tried_here() -> None:
    elsewhere = {"incidents", "one_key", "waterfall", "history"}  # in test_causes and test_history
    assert {name.split(",")[0] for name in EVERY} == set(charts.__all__) - elsewhere


@pytest.mark.parametrize("name", EVERY)
def test_the_same_input_gives_the_same_picture_whatever_the_users_settings_are(name: str) -> None:
    first = EVERY[name](found())
    settings = dict(mpl.rcParams)
    with matplotlib.style.context(
        ["dark_background", {"text.usetex": False, "font.size": 22, "date.converter": "concise"}]
    ):
        assert EVERY[name](found()).png() == first.png()
    assert dict(mpl.rcParams) == settings


@pytest.mark.parametrize("name", EVERY)
def test_it_shows_the_title_and_alt_text_everywhere_a_notebook_looks(name: str) -> None:
    chart = EVERY[name](found())
    title = chart.get_suptitle().replace("\n", " ")
    assert chart.alt.startswith(title)
    assert len(chart.alt) > len(title) + 20
    bundle, metadata = chart._repr_mimebundle_()
    assert bundle["text/plain"] == repr(chart) == chart.alt == metadata["image/png"]["alt"]
    with Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))) as image:
        assert len(image.convert("L").getcolors() or []) > 10


@pytest.mark.parametrize("name", EVERY)
def test_labels_stay_inside_the_picture_and_apart(name: str) -> None:
    chart = EVERY[name](
        found(rename=dict(zip(KEYS, ["W" * 90, "Ẅ" * 90, "$x^2$", "م" * 90], strict=True)))
    )
    chart.draw_without_rendering()
    whole = chart.bbox
    titles = (
        [ax.title for ax in chart.axes],
        [ax._left_title for ax in chart.axes],
        [ax._right_title for ax in chart.axes],
    )
    told = [t.get_window_extent() for side in titles for t in side if t.get_text()]
    assert not any(a.overlaps(b) for a, b in combinations(told, 2))
    for ax in chart.axes:
        for ticks in (ax.xaxis, ax.yaxis):
            texts = [t for t in ticks.get_ticklabels() if t.get_text()]
            boxes = [t.get_window_extent() for t in texts]
            shown = [
                b
                for b in boxes
                if ax.bbox.x0 - b.width - 20 <= b.x0 <= ax.bbox.x1 and whole.y0 <= b.y0 <= whole.y1
            ]
            for box, after in pairwise(shown):
                assert not box.overlaps(after), [t.get_text() for t in texts]
            assert all(box.x0 >= whole.x0 - 1 for box in shown)


@pytest.mark.parametrize(
    "name", ["conflicts", "largest", "running"]
)  # those that show names out of messages
@pytest.mark.parametrize("at", range(0, len(HOSTILE), 4))
def test_hostile_names_are_drawn_as_text(name: str, at: int) -> None:
    given = dict(zip(KEYS, HOSTILE[at : at + 4], strict=True))
    chart = EVERY[name](found(rename=given))
    chart.png()  # warns, and so fails, about a glyph that the font lacks or about mathematics
    assert chart.alt.isprintable()
    bundle, _ = chart._repr_mimebundle_()
    assert "<script" not in bundle["text/html"]


@pytest.mark.parametrize("name", EVERY)
def test_it_is_legible_without_colour(name: str) -> None:
    """No two bars or lines that a legend tells apart differ in colour alone."""
    chart = EVERY[name](found())
    for ax in chart.axes:
        looks = [
            (h.get_hatch() if hasattr(h, "get_hatch") else (h.get_linestyle(), h.get_marker()))
            for h in (
                c[0] if hasattr(c, "patches") else c for c in ax.get_legend_handles_labels()[0]
            )
        ]
        assert len(set(map(str, looks))) == len(looks)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", EVERY)
def test_any_form_of_table_gives_the_same_chart(name: str, form: str) -> None:
    assert EVERY[name](found(form=form)).alt == EVERY[name](found()).alt


@pytest.mark.parametrize("name", [n for n in EVERY if n not in ("redeliveries", "conflicts")])
def test_an_incomplete_replay_is_said_in_the_title(name: str) -> None:
    title = EVERY[name](found(verdict="truncated")).get_suptitle()
    assert "truncated" in title.replace("\n", " ").lower()


def _without_events() -> Found:
    none = events([])
    d = dedup(to_pandas(none))
    r = reconcile(totals(d.unique), pd.DataFrame({"key": ["a"], "total": [0]}))
    return Found(replay_of(none), d, r, processed_of([]))


def _without_difference() -> Found:
    table = events(LOG)
    d = dedup(to_pandas(table))
    t = totals(d.unique)
    return Found(
        replay_of(table),
        d,
        reconcile(t, t.table[["key", "total"]]),
        processed_of([(r[0], r[2], 1) for r in LOG]),
    )


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("made", [_without_events, _without_difference])
def test_nothing_to_draw_is_said_in_words(name: str, made: Callable[[], Found]) -> None:
    chart = EVERY[name](made())
    chart.png()
    drawn = {
        _without_events: ("statuses",),
        _without_difference: ("statuses", "events_over_time", "coverage"),
    }
    assert ("nothing to draw" in chart.alt) is (name not in drawn[made])


def test_alt_text_survives_nbconvert(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    chart = charts.largest(found(rename={"c": '"><b>'}).r)
    data, metadata = chart._repr_mimebundle_()
    output = nbformat.v4.new_output("display_data", data, metadata=metadata)
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("x", execution_count=1, outputs=[output])]
    )
    for template in ("lab", "classic"):
        page, _ = HTMLExporter(template_name=template).from_notebook_node(notebook)
        images = BeautifulSoup(page, "html.parser").find_all("img")
        assert [image["alt"] for image in images] == [chart.alt]
        assert '"><b>' in chart.alt


def test_matplotlib_is_imported_at_the_first_chart_and_pyplot_never() -> None:
    code = (
        "import sys; from recovery_kit import charts; assert 'matplotlib' not in sys.modules; "
        "assert 'polars' not in sys.modules;from tests.charts.found import found; "
        "charts.largest(found().r).png(); assert 'matplotlib.pyplot' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_amounts_are_told_to_the_last_digit() -> None:
    """A float has 16 digits; this total has 22."""
    expected = pd.DataFrame({"key": ["a"], "total": ["12345678901234567890.12"]})
    r = reconcile(totals(dedup(events(LOG[:1])).unique), expected)
    chart = charts.largest(r)
    told: list[Any] = [text.get_text() for text in chart.axes[0].texts]
    assert told == ["+12,345,678,901,234,567,888.87"]
    assert "+12,345,678,901,234,567,888.87" in chart.alt
    assert np.isclose(chart.axes[0].patches[0].get_width(), 1.2345678901234567e19)
