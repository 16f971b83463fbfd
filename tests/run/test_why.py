"""Why totals differ, in a summary: it adds up, in any form of table, and holds no more than said."""

import json
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest

from recovery_kit._keep import plain
from recovery_kit.explain import explain
from recovery_kit.run import why
from recovery_kit.run.settings import Settings
from recovery_kit.run.steps import Run
from tests.charts.found import found
from tests.events import FORMS, rows


@pytest.mark.parametrize("form", FORMS)
def test_causes_by_grade_add_up_to_what_differs(form: str) -> None:
    case = found(form=form)
    diagnosis = explain(case.r, case.d, processed=case.processed, replay=case.replay)
    told = why.told(diagnosis)
    assert sum(row["amount"] for row in told["causes"]) == case.r.summary["net_difference"]
    assert sum(row["money"] for row in told["causes"]) == told["money"]
    believed = [row for row in told["causes"] if row["grade"] in ("proven", "consistent")]
    assert sum(row["money"] for row in believed) == told["explained"] > 0
    kept = [(row["key"], row["cause"], row["grade"]) for row in rows(diagnosis.causes)]
    for row in told["causes"]:
        keys = {key for key, *about in kept if about == [row["cause"], row["grade"]]}
        assert row["keys"] == len(keys) > 0
    assert len(told["incidents"]) == len(diagnosis.incidents) == diagnosis.summary["incidents"]


def test_a_terminal_shows_each_incident_and_cause_with_money_and_grade() -> None:
    row = {"cause": "missed", "grade": "consistent", "keys": 12}
    worth = row | {"amount": "-9007199254740993.01", "money": "9007199254740993.01"}
    told = {
        "incidents": [worth | {"incident": 1, "evidence": "a window of t"}],
        "more_incidents": 3,
        "causes": [worth],
        "money": "9007199254740994.01",
        "explained": "9007199254740993.01",
    }
    amounts = (
        "consistent, 12 keys, -9,007,199,254,740,993.01 net, 9,007,199,254,740,993.01 absolute"
    )
    assert list(why.facts(told)) == [
        (
            "why",
            "9,007,199,254,740,993.01 of 9,007,199,254,740,994.01 are proven or consistent "
            "(absolute amounts of causes)",
        ),
        ("  incident 1", f"{amounts}: missed. a window of t"),
        ("  more incidents", "3; incidents.parquet has every one"),
        ("  missed", amounts),
    ]
    nothing = {"incidents": [], "more_incidents": 0, "causes": [], "money": "0", "explained": "0"}
    assert list(why.facts(nothing)) == []


def test_it_stands_in_the_summary_that_the_run_left(tmp_path: Path) -> None:
    case = found()
    diagnosis = explain(case.r, case.d)
    run = Run(Settings(topic="t", bootstrap_servers="localhost:1", run_dir=str(tmp_path)))
    run.keep_causes(diagnosis)
    assert not (tmp_path / "summary.json").exists()  # 04_divergences alone leaves the tables
    (tmp_path / "summary.json").write_text('{"replay": {"verdict": "complete"}}')
    run.keep_causes(diagnosis)
    told = json.loads((tmp_path / "summary.json").read_text())
    assert told == {
        "replay": {"verdict": "complete"},
        "why": json.loads(json.dumps(why.told(diagnosis), default=plain)),
    }
    assert Decimal(told["why"]["money"]) == diagnosis.summary["money"]


def test_incidents_that_are_left_out_are_counted() -> None:
    import polars as pl

    exact = {"amount": pl.Decimal(38, 2), "money": pl.Decimal(38, 2)}
    names = ("cause", "grade", "evidence")
    many = pl.DataFrame(
        {
            "incident": range(1, 15),
            **{name: [name] * 14 for name in names},
            "keys": [1] * 14,
            **{name: [Decimal("1.00")] * 14 for name in exact},
        },
        schema_overrides=exact,
    )
    causes = many.select("cause", "grade", "amount", key=pl.col("incident").cast(pl.String))
    summary = {"money": Decimal(14), "explained": Decimal(0)}
    told = why.told(SimpleNamespace(causes=causes, incidents=many, summary=summary))  # type: ignore[arg-type]
    assert [row["incident"] for row in told["incidents"]] == list(range(1, why.MOST + 1))
    assert told["more_incidents"] == 14 - why.MOST
