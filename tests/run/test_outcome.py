"""What is said of a run that ended with 0 is true: "all matched" is withheld where it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recovery_kit.run.outcome import Outcome


def summary(verdict: str = "complete", divergent: int = 0, **statuses: int) -> dict[str, Any]:
    keys = sum(statuses.values())
    return {
        "replay": {"source": "t", "partitions": 1, "verdict": verdict, "delivered": 9,
                   "events": 9, "rejects": 0, "tombstones": 0, "outside": 0},
        "dedup": {"unique": 9, "redelivered": 0, "conflicting": 0},
        "reconciliation": {
            "statuses": {name.replace("_", " "): n for name, n in statuses.items()},
            "keys": keys, "divergent": divergent,
            "net_difference": "0", "absolute_difference": "0",
        },
        "largest": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (summary(matched=3), "recovery-kit: all matched (exit code 0)"),
        (
            summary(matched=2, diverged=1, divergent=1),
            "divergences, below what fails a run (keys=2",
        ),
        (summary(not_compared=3), "totals recovered, compared with nothing"),
        (summary(), "no key on either side"),
        (summary("truncated", indeterminate=3), "replay not complete, which is not what fails a"),
    ],
)
def test_exit_code_0_is_called_what_it_is(told: dict[str, Any], says: str) -> None:
    shown = repr(Outcome(0, Path("runs/x"), told, manifest={"fail_on": "keys=2"}))
    assert says in shown
    assert ("all matched" in shown) == (told == summary(matched=3))


def test_doubts_about_the_ids_are_told() -> None:
    told = summary(matched=3) | {"doubts": ["The ids may not be unique: 49 of 49"]}
    assert "! The ids may not be unique: 49 of 49" in repr(Outcome(0, Path("runs/x"), told))
    assert "unique:" not in repr(Outcome(0, Path("runs/x"), summary(matched=3)))
