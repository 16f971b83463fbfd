"""What is known of every offset: which event stands there, that none does, or nothing yet."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict

import numpy as np

NOTHING_KNOWN, NO_EVENT = -1, -2

Place = tuple[str, int]


class Ledger:
    """Takes the word of writers (what was acknowledged) and of readers, in any order.

    A contradiction is a wrong answer.

    Attributes
    ----------
    wrong : what contradicts itself, in words
    written : events that were acknowledged, and committed where they stand in a transaction
    transactions : how many were committed, how many aborted, and of how many nobody was told
    last : when each writer was last told that what it wrote stands
    """

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.written = 0
        self.transactions: Counter[str] = Counter()
        self.last: dict[str, float] = {}
        self._known: dict[Place, np.ndarray] = defaultdict(
            lambda: np.full(1024, NOTHING_KNOWN, np.int64)
        )
        self._taken: dict[Place, np.ndarray] = defaultdict(lambda: np.full(1024, np.inf))
        self._acknowledged: dict[Place, int] = defaultdict(lambda: -1)
        self._lock = threading.Lock()
        self._next = 0

    def numbers(self, count: int) -> range:
        """Numbers of events that nobody has used."""
        with self._lock:
            self._next += count
            return range(self._next - count, self._next)

    def acknowledge(self, place: Place, offset: int, number: int, writer: str) -> None:
        """A writer was told that its event (or, of one that was aborted, NO_EVENT) stands there for
        good.
        """
        self.hold(place, np.array([offset]), np.array([number]), f"writer {writer}")
        with self._lock:
            self.last[writer] = time.monotonic()
            self.written += number >= 0
            if number >= 0:
                self._acknowledged[place] = max(self._acknowledged[place], offset)

    def acknowledged(self) -> dict[Place, int]:
        """The last offset that was acknowledged so far, by place."""
        with self._lock:
            return dict(self._acknowledged)

    def ended(self, transaction: str) -> None:
        """A transaction came to its end: committed, aborted, or untold, which is that nobody
        knows.
        """
        with self._lock:
            self.transactions[transaction] += 1

    def take(self, place: Place, offsets: np.ndarray, when: float) -> None:
        """Somebody says that at some time the cleaner had taken whatever stood there."""
        if len(offsets):
            with self._lock:
                taken = self._taken[place] = _roomy(self._taken[place], offsets.max(), np.inf)
                taken[offsets] = np.minimum(taken[offsets], when)

    def hold(
        self,
        place: Place,
        offsets: np.ndarray,
        numbers: np.ndarray,
        who: str,
        begun: float | None = None,
    ) -> None:
        """Compare what somebody says, who began to look at some time, with what is known, and
        remember it.
        """
        if not len(offsets):
            return
        with self._lock:
            known = self._known[place] = _roomy(self._known[place], offsets.max(), NOTHING_KNOWN)
            taken = self._taken[place] = _roomy(self._taken[place], offsets.max(), np.inf)
            before = known[offsets]
            for at in np.flatnonzero((before != NOTHING_KNOWN) & (before != numbers))[:5]:
                self.accuse(
                    f"{place} offset {offsets[at]}: {who} says {numbers[at]}, {before[at]} was "
                    "known"
                )
            if begun is not None:
                for at in np.flatnonzero((numbers >= 0) & (taken[offsets] < begun))[:5]:
                    self.accuse(
                        f"{place} offset {offsets[at]}: {who} says {numbers[at]}, it was said to "
                        "be taken before"
                    )
            known[offsets] = numbers

    def accuse(self, what: str) -> None:
        self.wrong.append(what)

    def once(self) -> None:
        """Hold that no event stands at two offsets: these writers write each of them once."""
        everything = np.concatenate([[], *(known[known >= 0] for known in self._known.values())])
        found, times = np.unique(everything, return_counts=True)
        self.wrong += [
            f"event {number} stands in the log {n} times"
            for number, n in zip(found, times, strict=True)
            if n > 1
        ]


def _roomy(array: np.ndarray, last: int, fill: float) -> np.ndarray:
    """The array, longer where it has no place for an offset."""
    while len(array) <= last:
        array = np.concatenate([array, np.full_like(array, fill)])
    return array
