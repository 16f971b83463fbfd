"""What machines read of a run."""

import json
import re
from typing import Any

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
        "net_difference": "-9007199254740993.01",
        "absolute_difference": "9007199254740993.01",
        "largest_key": "acct-77",
    },
}
SAMPLE = re.compile(r'[a-z_]+\{([a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)*\} -?[0-9.]+')


def families(text: str) -> dict[str, list[str]]:
    """Each family's samples, after its HELP and TYPE as the format wants it.

    Anything else fails.
    """
    found: dict[str, list[str]] = {}
    lines = text.splitlines()
    assert text.endswith("\n")
    while lines:
        name = lines.pop(0).removeprefix("# HELP ").split(" ")[0]
        assert lines.pop(0) == f"# TYPE {name} gauge"
        assert name not in found
        found[name] = []
        while lines and not lines[0].startswith("#"):
            sample = lines.pop(0)
            assert SAMPLE.fullmatch(sample), sample
            assert sample.startswith(f"{name}{{")
            found[name].append(sample)
        assert found[name]
    return found


def test_metrics_are_in_the_textfile_format() -> None:
    found = families(exposition(MANIFEST, SUMMARY))
    topic = r'topic="odd\"topic\\\n"'
    assert found["recovery_kit_run_exit_code"] == [f"recovery_kit_run_exit_code{{{topic}}} 1"]
    assert found["recovery_kit_run_started_timestamp_seconds"][0].endswith(" 1772445600")
    assert f'recovery_kit_keys{{{topic},status="diverged"}} 1' in found["recovery_kit_keys"]
    assert found["recovery_kit_net_difference"][0].endswith(" -9007199254740993.01")
    assert (
        f'recovery_kit_partition_offset{{{topic},partition="t-0",bound="end"}} 7'
        in found["recovery_kit_partition_offset"]
    )
    assert not any("acct-77" in sample for samples in found.values() for sample in samples)


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
    assert (told["exit_code"], told["error"]) == (1, "two\nlines")
    assert told["reconciliation"]["net_difference"] == "-9007199254740993.01"
    assert json.loads(json_line(MANIFEST, {}))["replay"] == {"verdict": "complete"}
