"""How far a long read has come, told on standard error."""

from __future__ import annotations

import sys
import time as clock
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recovery_kit.sources.span import Span


class Progress:
    """A line every few seconds on standard error; on a terminal the same line again and again.

    Parameters
    ----------
    timeout : float
        Seconds without progress after which the read gives up.
    enabled : bool
        Whether to tell anything at all.
    every : float
        Seconds from one line to the next.
    """

    def __init__(self, timeout: float, *, enabled: bool, every: float = 5.0) -> None:
        self.timeout, self.every = timeout, every
        self.spans: Sequence[Span] = []
        # Counted from the first step on: what comes before may be the one-time compilation.
        self.next = 0.0 if enabled else float("inf")

    def say(self, what: str) -> None:
        """Tell something that is not how far it has come; at once, and on a line of its own."""
        if self.next < float("inf"):
            print(f"replay: {what}", file=sys.stderr)

    def waiting(self, seconds: float, what: str) -> None:
        """Tell what has been waited for, and for how long."""
        self.say(
            f"waiting for {what} for {seconds:.0f} s; it gives up after {self.timeout:.0f} s "
            "without progress"
        )

    def step(self) -> None:
        """Tell how far it has come, if it is time to."""
        now = clock.monotonic()
        if now < self.next:
            return
        first, self.next = not self.next, now + self.every
        if first:
            return
        ahead = sum(s.end - min(s.start + s.lost, s.end) for s in self.spans)
        done = ahead - sum(s.end - s.tally.position for s in self.spans)
        open_ = sum(not s.done for s in self.spans)
        end = "\r" if sys.stderr.isatty() else "\n"
        print(
            f"replay: {done:,} of {ahead:,} offsets ({done / ahead:.0%}), {open_} partitions to go",
            end=end,
            file=sys.stderr,
        )
