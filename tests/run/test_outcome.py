"""What a terminal says of a run is true: the word, the notes, what fails it."""

from pathlib import Path
from typing import Any

import pytest

from recovery_kit import errors
from recovery_kit.run.outcome import Outcome

STATUSES = dict.fromkeys(("matched", "diverged", "indeterminate", "not compared"), 0)


def outcome(code: int, error: str = "", verdict: str = "complete", **found: Any) -> Outcome:
    counts = {"events": 7, "rejects": 0, "tombstones": 0, "outside": 0, "delivered": 7}
    keys = {"keys": 3, "recovered_keys": 3, "expected_keys": 3, "compared": 3, "divergent": 0}
    sums = {"net_difference": "0.00", "absolute_difference": "0.00", "notes": []}
    summary = {
        "replay": {"source": "t", "partitions": 1, "verdict": verdict} | counts,
        "dedup": {"unique": 7, "redelivered": 0, "conflicting": 0},
        "reconciliation": keys | sums | {"statuses": STATUSES | found.pop("statuses", {})} | found,
        "largest": [],
    }
    return Outcome(code, Path("r"), summary, error, {"fail_on": "keys=2, rejects=1%"})


NONE = {"compared": 0}


@pytest.mark.parametrize(
    ("told", "word"),
    [
        (outcome(errors.MATCHED, statuses={"matched": 3}), "all matched"),
        (
            outcome(errors.MATCHED, divergent=1),
            "divergences, below what fails a run (keys=2, rejects=1%)",
        ),
        (
            outcome(errors.MATCHED, expected_keys=None, **NONE),
            "nothing was compared, for expected is not given",
        ),
        (
            outcome(errors.MATCHED, verdict="raced", expected_keys=None, **NONE),
            "nothing was compared, for expected is not given",
        ),
        (
            outcome(errors.MATCHED, verdict="truncated", statuses={"indeterminate": 3}),
            "replay not complete, which is not what fails a run (keys=2, rejects=1%)",
        ),
        (outcome(errors.DIVERGED, divergent=3), "DIVERGENCES"),
        (outcome(errors.ERROR, "no key", **NONE), "NOTHING WAS COMPARED"),
        (
            outcome(errors.ERROR, "no event", recovered_keys=0, expected_keys=None, **NONE),
            "NOTHING WAS COMPARED",
        ),
        (outcome(errors.ERROR, "many rejects", expected_keys=None, **NONE), "ERROR"),
        (outcome(errors.ERROR, "many rejects"), "ERROR"),
        (outcome(errors.INCOMPLETE, "no key", "raced", **NONE), "REPLAY NOT COMPLETE"),
        (Outcome(errors.INTERRUPTED, Path("r"), {}, "interrupted"), "interrupted"),
    ],
)
def test_the_word_claims_no_more_than_the_run_can_tell(told: Outcome, word: str) -> None:
    first, *lines = repr(told).splitlines()
    assert first == f"recovery-kit: {word} (exit code {told.exit_code})"
    assert f"  ! {told.error}" in lines or not told.error


def test_what_a_reader_must_know_and_what_fails_a_run_are_told() -> None:
    shown = repr(outcome(errors.MATCHED, notes=["2 keys match only thanks to it"]))
    assert shown.endswith("\n  ! 2 keys match only thanks to it")
    assert "fails on keys=2, rejects=1%" in [" ".join(line.split()) for line in shown.splitlines()]


def test_a_log_without_a_message_reads_well() -> None:
    told = outcome(errors.ERROR, "no total", keys=0, recovered_keys=0, **NONE)
    told.summary["replay"] |= {"delivered": 0, "events": 0}
    lines = [" ".join(line.split()) for line in repr(told).splitlines()]
    assert "messages 0" in lines
    assert "keys 0" in lines


def test_doubts_about_the_ids_are_told() -> None:
    told = outcome(errors.MATCHED, statuses={"matched": 3})
    assert "unique:" not in repr(told)
    told.summary["doubts"] = ["The ids may not be unique: 49 of 49"]
    assert "! The ids may not be unique: 49 of 49" in repr(told)
