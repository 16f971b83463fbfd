"""A short soak, and that a soak would notice."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest

from tests.soak.ledger import NO_EVENT, Ledger


def held(*says: tuple[int, int]) -> Ledger:
    """A ledger that was told of some (offset, event), each by somebody else."""
    ledger = Ledger()
    for offset, number in says:
        ledger.hold(("t", 0), np.array([offset]), np.array([number]), "somebody")
    ledger.once()
    return ledger


def test_a_ledger_takes_the_same_word_again() -> None:
    assert held((0, 7), (5000, 8), (1, NO_EVENT), (0, 7), (1, NO_EVENT)).wrong == []


@pytest.mark.parametrize(
    "says",
    [
        [(3, 7), (3, 8)],  # another event
        [(3, 7), (3, NO_EVENT)],  # one that is missing
        [(3, NO_EVENT), (3, 7)],  # one that was aborted
        [(3, 7), (4, 7)],  # one that is there twice
    ],
)
def test_a_ledger_tells_a_contradiction(says: list[tuple[int, int]]) -> None:
    assert len(held(*says).wrong) == 1


def test_a_ledger_tells_what_stands_where_it_was_said_to_be_taken() -> None:
    ledger, place = Ledger(), ("t", 0)
    ledger.take(place, np.array([3, 2000]), when=5.0)
    ledger.hold(place, np.array([3, 4]), np.array([7, 8]), "somebody who looked before", begun=4.0)
    ledger.hold(place, np.array([3, 2000]), np.array([7, 9]), "a writer, long ago")
    ledger.hold(place, np.array([4, 5]), np.array([8, NO_EVENT]), "somebody else", begun=6.0)
    assert ledger.wrong == []
    ledger.hold(place, np.array([2000]), np.array([9]), "somebody who looked later", begun=6.0)
    assert ledger.wrong == [
        "('t', 0) offset 2000: somebody who looked later says 9, it was said to be taken before"
    ]


def test_fault_15_a_short_soak() -> None:
    """Writers, faults and replays all at once; ``make soak`` does it for as long as one likes."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak", "30"],
        capture_output=True,
        text=True,
        timeout=480,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    told = dict(re.findall(r"^([a-z ]+): ([\d,]+)", done.stdout, re.MULTILINE))
    count = {name: int(value.replace(",", "")) for name, value in told.items()}
    assert count["wrong answers"] == count["false alarms"] == count["hangs past the deadline"] == 0
    assert count["faults made"] >= 1
    assert count["replays"] >= 2
    assert count["records checked"] >= 10
    assert count["transactions ended"] >= 1
