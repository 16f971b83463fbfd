"""Charts of a history."""

from pathlib import Path

import pytest

from recovery_kit.charts import history as charts
from recovery_kit.run.history import history
from tests.run.test_history import leave

DRAWN = (charts.keys, charts.amounts, charts.reads)


def test_each_chart_says_its_finding(tmp_path: Path) -> None:
    leave(tmp_path, "01", {"a": "-5.00", "b": "2.00"})
    leave(tmp_path, "02", {"a": "-7.50", "c": "1.00", "d": "1.00"})
    leave(tmp_path, "03", {}, exit_code=3, verdict="truncated")
    h = history(tmp_path)
    keys, amounts, reads = (draw(h) for draw in DRAWN)
    assert keys.alt.startswith(
        "3 keys divergent at the last run: 2 new, 1 resolved since the one before."
    )
    assert "2026-03-02 02:00: 3 (2 new, 1 resolved)" in keys.alt
    assert amounts.alt.startswith(
        "Absolute differences of 9.50 at the last run, -5.50 net; +2.50 since the one before."
    )
    assert reads.alt.startswith("2 of the last 3 replays complete.")
    assert "5 messages, truncated" in reads.alt
    for chart in (keys, amounts, reads):
        assert chart.png()


def test_bars_are_as_high_as_the_counts(tmp_path: Path) -> None:
    leave(tmp_path, "01", {"a": "1", "b": "1"})
    leave(tmp_path, "02", {"b": "1", "c": "1", "d": "1"})
    bars = [
        [patch.get_height() for patch in group]
        for group in charts.keys(history(tmp_path)).axes[0].containers
    ]
    assert bars == [[2, 1], [0, 2], [0, -1]]


@pytest.mark.parametrize("draw", DRAWN, ids=lambda d: d.__name__)
def test_one_run_and_none_are_drawn_too(tmp_path: Path, draw: object) -> None:
    leave(tmp_path, "01", {"a": "1"}, exit_code=2, verdict=None)
    assert "No runs to compare" in draw(history(tmp_path)).alt  # type: ignore[operator]
    leave(tmp_path, "02", {"a": "1"})
    assert draw(history(tmp_path)).png()  # type: ignore[operator]
