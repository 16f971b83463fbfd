"""How often chance would match an amount: tried on amounts like those of the log that have nothing
to do with a key.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from recovery_kit.explain.case.arrays import Bools, Ints, wrapped
from recovery_kit.explain.case.case import Case

DECOYS = 4_000
"""Amounts on which a match is tried for its chance; a tenth of it for pairs."""

Hit = Callable[[Ints], Bools]


def among(amounts: Ints, slack: int) -> Hit:
    """Whether an amount is one of these, give or take the slack."""
    ranked = np.unique(amounts)

    def hit(tried: Ints) -> Bools:
        made: Bools = np.searchsorted(ranked, tried - slack) < np.searchsorted(
            ranked, tried + slack, side="right"
        )
        return made

    return hit


class Decoys:
    """Amounts like those of the log that have nothing to do with a key."""

    def __init__(self, case: Case) -> None:
        self.amounts = np.repeat(*case.amounts)  # all of them, sorted
        self.wide = case.wide
        self.draw = np.random.default_rng(
            len(self.amounts)
        )  # the same for the same log, so that a run can be repeated

    def chance(self, amount: int, *hits: Hit, count: int = DECOYS) -> float:
        """The part of moved amounts that any of these would match."""
        moved = self._moved(amount, count)
        if not len(moved):
            return 1.0
        met = np.zeros(len(moved), bool)
        for hit in hits:
            met |= hit(moved)
        return float(met.sum() + 1) / (len(moved) + 1)

    def _moved(self, amount: int, count: int) -> Ints:
        """The amount, moved by differences of two of the log's amounts, by at most half of it where
        there are such.
        """
        if not len(self.amounts):
            return self.amounts
        one = self.amounts[self.draw.integers(len(self.amounts), size=count)]
        low, high = np.zeros(count, np.int64), np.full(count, len(self.amounts))
        if not self.wide:
            low = np.searchsorted(self.amounts, one - abs(amount) // 2)
            high = np.searchsorted(self.amounts, one + abs(amount) // 2, side="right")
        other = self.amounts[low + (self.draw.random(count) * (high - low)).astype(np.int64)]
        made: Ints = (wrapped(amount) + one - other)[one != other]
        return made
