"""What is known of every offset: which event stands there, that none does, or nothing yet."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict

import numpy as np

NOTHING_KNOWN, NO_EVENT = -1, -2

Place = tuple[str, int]


class Ledger:
    """Takes the word of writers (what was acknowledged) and of readers, in any order; a contradiction is a wrong answer.

    Attributes
    ----------
    wrong : what contradicts itself, in words
    written : events that were acknowledged, and committed where they stand in a transaction
    transactions : how many were committed, and how many aborted
    """

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.written = 0
        self.transactions: Counter[str] = Counter()
        self._known: dict[Place, np.ndarray] = defaultdict(lambda: np.full(1024, NOTHING_KNOWN, np.int64))
        self._acknowledged: dict[Place, int] = defaultdict(lambda: -1)
        self._lock = threading.Lock()
        self._next = 0

    def numbers(self, count: int) -> range:
        """Numbers of events that nobody has used."""
        with self._lock:
            self._next += count
            return range(self._next - count, self._next)

    def acknowledge(self, place: Place, offset: int, number: int) -> None:
        """A writer was told that its event (or, of one that was aborted, NO_EVENT) stands there for good."""
        self.hold(place, np.array([offset]), np.array([number]), "a writer")
        with self._lock:
            self.written += number >= 0
            if number >= 0:
                self._acknowledged[place] = max(self._acknowledged[place], offset)

    def acknowledged(self) -> dict[Place, int]:
        """The last offset that was acknowledged so far, by place."""
        with self._lock:
            return dict(self._acknowledged)

    def hold(self, place: Place, offsets: np.ndarray, numbers: np.ndarray, who: str) -> None:
        """Compare what somebody says with what is known, and remember it."""
        if not len(offsets):
            return
        with self._lock:
            known = self._known[place]
            while len(known) <= offsets.max():
                known = self._known[place] = np.concatenate([known, np.full_like(known, NOTHING_KNOWN)])
            before = known[offsets]
            for at in np.flatnonzero((before != NOTHING_KNOWN) & (before != numbers))[:5]:
                self.accuse(f"{place} offset {offsets[at]}: {who} says {numbers[at]}, {before[at]} was known")
            known[offsets] = numbers

    def accuse(self, what: str) -> None:
        self.wrong.append(what)

    def once(self) -> None:
        """Hold that no event stands at two offsets: these writers write each of them once."""
        everything = np.concatenate([[], *(known[known >= 0] for known in self._known.values())])
        found, times = np.unique(everything, return_counts=True)
        self.wrong += [
            f"event {number} stands in the log {n} times" for number, n in zip(found, times, strict=True) if n > 1
        ]
