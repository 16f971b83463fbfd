"""Runs side by side: new, persisting, resolved; what is compared and what is not."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recovery_kit._keep import write_json
from recovery_kit.errors import ParameterError
from recovery_kit.run import manifest
from recovery_kit.run.history import History, history
from recovery_kit.run.purge import kept, mark
from recovery_kit.run.settings import Settings

DEFAULTS = Settings(topic="t").to_dict()


def leave(folder: Path, name: str, divergences: dict[str, str], **changed: Any) -> Path:
    """A run directory as a run leaves it, as far as a history reads it."""
    at = folder / name
    at.mkdir()
    mark(at)
    amounts = [Decimal(a) for a in divergences.values()]
    scale = max([2, *(-int(a.as_tuple().exponent) for a in amounts)])
    columns = {
        "key": pa.array(divergences, pa.large_string()),
        "difference": pa.array(amounts, pa.decimal128(38, scale)),
    }
    pq.write_table(pa.table(columns), at / "divergences.parquet")
    found = {
        "keys": 10,
        "divergent": len(divergences),
        "net_difference": str(sum(amounts, Decimal(0))),
        "absolute_difference": str(sum(map(abs, amounts), Decimal(0))),
        "statuses": {"not compared": changed.pop("not_compared", 0)},
    }
    if "compared" in changed:  # older runs have none
        found["compared"] = changed.pop("compared")
    verdict = changed.pop("verdict", "complete")
    write_json(
        at / "summary.json",
        {"replay": {"verdict": verdict, "delivered": 5}, "reconciliation": found},
    )
    told = {
        "exit_code": changed.pop("exit_code", 1 if divergences else 0),
        "started": f"2026-03-{name[:2]}T02:00:00+00:00",
        "ended": f"2026-03-{name[:2]}T02:01:00+00:00",
        "seconds": 60.0,
        "replay": {"verdict": verdict},
        "coverage": [{"topic": "t", "partition": 0, "start": 0, "end": 5, "verdict": verdict}],
        "pseudonyms": changed.pop("pseudonyms", {}),
        "parameters": DEFAULTS | changed,
        "outputs": manifest.outputs(at, kept(at)),
    }
    write_json(at / manifest.NAME, told)
    return at


def test_new_persisting_and_resolved_keys_with_their_money(tmp_path: Path) -> None:
    leave(tmp_path, "01", {"a": "-5.00", "b": "9007199254740993.01", "c": "1.00"})
    leave(tmp_path, "02", {"a": "-7.50", "b": "9007199254740993.01", "d": "0.125"})
    h = history(tmp_path)
    assert h.changes.to_dict("records") == [
        {
            "key": "d",
            "change": "new",
            "before": None,
            "now": Decimal("0.125"),
            "moved": Decimal("0.125"),
        },
        {"key": "b", "change": "persisting", "before": Decimal("9007199254740993.010")}
        | {"now": Decimal("9007199254740993.010"), "moved": Decimal("0.000")},
        {"key": "a", "change": "persisting", "before": Decimal("-5.000")}
        | {"now": Decimal("-7.500"), "moved": Decimal("-2.500")},
        {
            "key": "c",
            "change": "resolved",
            "before": Decimal("1.000"),
            "now": None,
            "moved": Decimal("-1.000"),
        },
    ]
    last = h.runs.iloc[-1]
    assert (last["new"], last["persisting"], last["resolved"]) == (1, 2, 1)
    assert last["persisting_amount"] == Decimal("9007199254741000.510")
    assert h.runs.iloc[0][["new", "persisting", "resolved"]].isna().all()
    assert h.notes == ()
    assert "1 keys, 0.125" in repr(h)


def test_every_step_balances(tmp_path: Path) -> None:
    """divergent = new + persisting, and what was divergent before = persisting + resolved."""
    for day, keys in enumerate(["abc", "bcd", "", "xyzab", "x"], 1):
        leave(tmp_path, f"{day:02}", {key: f"{ord(key)}.01" for key in keys})
    runs = history(tmp_path).runs
    for before, now in zip(runs.iloc[:-1].itertuples(), runs.iloc[1:].itertuples(), strict=True):
        assert now.new + now.persisting == now.divergent
        assert now.resolved + now.persisting == before.divergent
        assert now.new_amount + now.persisting_amount == now.absolute_difference
        assert now.resolved_amount + now.persisting_amount == before.absolute_difference


def test_what_is_not_compared_is_listed_with_the_reason(tmp_path: Path) -> None:
    leave(tmp_path, "01", {"a": "1"})
    leave(tmp_path, "02", {"z": "1"}, exit_code=2)
    leave(tmp_path, "03", {"z": "1"}, exit_code=3, verdict="truncated")
    leave(
        tmp_path, "04", {"z": "1"}, exit_code=0, verdict="truncated"
    )  # allowed, and below what fails a run
    leave(tmp_path, "05", {}, not_compared=10)
    altered = leave(tmp_path, "06", {"z": "1"})
    pq.write_table(
        pq.read_table(altered / "divergences.parquet").slice(1), altered / "divergences.parquet"
    )
    leave(tmp_path, "07", {"z": "1"}, key_field="another")
    leave(tmp_path, "08", {"z": "1"}, pseudonyms={"what": "key", "key": "0123"})
    (leave(tmp_path, "09", {"z": "1"}) / "manifest.json").unlink()
    (leave(tmp_path, "10", {"z": "1"}) / "manifest.json").write_text('{"exit_code"')
    leave(tmp_path, "11", {"a": "2"}, compared=10)
    leave(tmp_path, "12", {"z": "1"}, exit_code=2, compared=0)
    leave(tmp_path, "13", {"z": "1"}, exit_code=2, compared=9)  # too many rejects
    (tmp_path / "notes").mkdir()
    (tmp_path / "cron.log").write_text("")
    h = history(tmp_path)
    states = dict(zip(h.runs["run"], h.runs["state"], strict=True))
    assert states.pop("10").startswith("not whole: ")
    assert states == {
        "01": "compared",
        "02": "error",
        "03": "replay not complete",
        "04": "replay not complete",
        "05": "nothing expected",
        "06": "altered since: divergences.parquet",
        "07": "another log, key or pseudonym key",
        "08": "another log, key or pseudonym key",
        "09": "not whole: no manifest.json",
        "11": "compared",
        "12": "nothing compared",
        "13": "error",
    }
    assert h.changes["key"].tolist() == ["a"]
    assert "2 not whole, killed or still under way: 09, 10" in h.notes
    assert h.coverage["verdict"].tolist()[2] == "truncated"


def test_the_last_run_decides_which_log_unless_a_topic_is_named(tmp_path: Path) -> None:
    leave(tmp_path, "01", {"a": "1"})
    leave(tmp_path, "02", {"b": "1"}, topic="other")
    assert history(tmp_path).source == "other"
    h = history(tmp_path, topic="t")
    assert (h.source, h.runs["run"].tolist()) == ("t", ["01"])


def test_another_tolerance_is_noted(tmp_path: Path) -> None:
    leave(tmp_path, "01", {"a": "1"})
    leave(tmp_path, "02", {"a": "1"}, tolerance="0.05")
    assert history(tmp_path).notes == (
        "the last two compared runs differ in tolerance, which may itself make differences",
    )


def test_a_last_run_that_failed_is_noted(tmp_path: Path) -> None:
    leave(tmp_path, "01", {"a": "1"})
    leave(tmp_path, "02", {}, exit_code=130)
    h = history(tmp_path)
    assert h.notes == ("the last run, 02, is not compared: interrupted",)
    assert len(h.changes) == 0


def test_nothing_hostile_comes_out_alive(tmp_path: Path) -> None:
    """Fault 39: names out of messages and folders are shown escaped."""
    leave(tmp_path, "01", {"a": "1"})
    leave(tmp_path, "02<script>\x1b[2J", {"<img src=x>": "1"}, exit_code=1, topic="t")
    told = json.loads((tmp_path / "02<script>\x1b[2J" / "manifest.json").read_text())
    assert told["exit_code"] == 1
    h = history(tmp_path)
    assert "<script" not in h._repr_html_()
    assert "\x1b" not in h._repr_html_() + repr(h)


def test_a_folder_without_runs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="is no folder"):
        history(tmp_path / "nowhere")
    with pytest.raises(ParameterError, match="holds no run directory"):
        history(tmp_path)


def test_the_example_is_an_incident_looked_at_every_hour() -> None:
    h = history()
    assert isinstance(h, History)
    assert len(h.compared) == 6
    assert h.runs["state"].tolist()[-1] == "not whole: no manifest.json"
    assert h.runs["new"].tolist()[2] > 50  # the window that was lost at 11:40
    assert h.runs["resolved"].tolist()[4] >= 5  # what somebody put right after 13:00
    assert (h.coverage["verdict"] == "complete").all()
