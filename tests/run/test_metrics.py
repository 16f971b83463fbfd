"""What machines read of a run."""

import json
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from recovery_kit.run.metrics import exposition, json_line

MANIFEST: dict[str, Any] = {
    "exit_code": 1,
    "error": "",
    "started": "2026-03-02T10:00:00+00:00",
    "ended": "2026-03-02T10:00:32+00:00",
    "seconds": 32.1,
    "by": "ops",
    "host": "night1",
    "fail_on": "keys=1, incomplete",
    "code": {"version": "0.1.0", "commit": None, "clean": None},
    "parameters": {"topic": 'odd"topic\\\n', "run_dir": "/runs/1"},
    "notebooks": [{"name": "01_replay", "seconds": 10.0}],
    "replay": {"verdict": "complete"},
    "coverage": [
        {"topic": "t", "partition": 0, "log_start": 0, "start": 0, "end": 7, "position": 7}
    ],
}
SUMMARY: dict[str, Any] = {
    "replay": {
        "verdict": "complete",
        "delivered": 7,
        "events": 6,
        "outside": 0,
        "rejects": 1,
        "tombstones": 0,
    }
    | dict.fromkeys(("control", "aborted", "removed", "lost"), 0),
    "dedup": {"events": 6, "unique": 6, "redelivered": 0, "conflicting": 0},
    "reconciliation": {
        "statuses": {"matched": 2, "diverged": 1},
        "divergent": 1,
        "compared": 3,
        "absent_zeros": 0,
        "within_tolerance": 1,
        "net_difference": "-9007199254740993.01",
        "absolute_difference": "9007199254740993.01",
        "largest_key": "acct-77",
    },
    "why": {
        "incidents": [
            {"incident": 1, "cause": "missed", "grade": "consistent", "keys": 1}
            | {"amount": "-4.00", "money": "4.00", "evidence": "the log has acct-77"}
        ],
        "more_incidents": 0,
        "causes": [
            {"cause": "missed", "grade": "consistent", "keys": 1}
            | {"amount": "-4.00", "money": "4.00"}
        ],
        "money": "4.00",
        "explained": "4.00",
    },
}


def families(text: str) -> dict[str, list[Sample]]:
    """Each family's samples, as Prometheus' own reader of the format finds them."""
    found = {family.name: family for family in text_string_to_metric_families(text)}
    assert all(family.samples and family.type == "gauge" for family in found.values())
    assert all(family.documentation for family in found.values())
    assert text.count("# HELP") == text.count("# TYPE") == len(found)  # each once
    return {name: family.samples for name, family in found.items()}


def test_metrics_are_in_the_textfile_format() -> None:
    text = exposition(MANIFEST, SUMMARY)
    found = families(text)
    topic = {"topic": MANIFEST["parameters"]["topic"]}
    assert all(s.labels["topic"] == topic["topic"] for samples in found.values() for s in samples)

    def value(name: str, **labels: str) -> float:
        (sample,) = [s for s in found[f"recovery_kit_{name}"] if s.labels == topic | labels]
        return sample.value

    assert value("run_exit_code") == 1
    assert value("run_started_timestamp_seconds") == 1772445600
    assert value("keys", status="diverged") == 1
    assert value("net_difference") == float("-9007199254740993.01")
    assert value("partition_offset", partition="t-0", bound="end") == 7
    assert (value("compared_keys"), value("within_tolerance_keys")) == (3, 1)
    assert value("absent_zeros_keys") == 0
    assert value("cause_money", cause="missed", grade="consistent") == 4
    assert value("incident_amount", incident="1", cause="missed", grade="consistent") == -4
    assert "acct-77" not in text


def test_a_run_that_failed_early_has_metrics_too() -> None:
    told = MANIFEST | {
        "exit_code": 2,
        "error": "01_replay: no",
        "replay": {},
        "coverage": [],
        "notebooks": [],
    }
    found = families(exposition(told, {}))
    assert "recovery_kit_run_exit_code" in found
    assert "recovery_kit_keys" not in found
    assert "recovery_kit_replay_complete" not in found


def test_the_json_line_is_one_line_without_a_key() -> None:
    line = json_line(MANIFEST | {"error": "two\nlines"}, SUMMARY)
    assert "\n" not in line
    assert "acct-77" not in line
    told = json.loads(line)
    assert told["why"]["incidents"][0]["money"] == "4.00"
    assert told["why"]["causes"] == SUMMARY["why"]["causes"]
    assert (told["exit_code"], told["error"]) == (1, "two\nlines")
    assert told["reconciliation"]["net_difference"] == "-9007199254740993.01"
    assert json.loads(json_line(MANIFEST, {}))["replay"] == {"verdict": "complete"}
