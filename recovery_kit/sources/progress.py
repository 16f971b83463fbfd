"""How far a long read has come, and what it waits for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from recovery_kit import _progress

if TYPE_CHECKING:
    from recovery_kit.sources.span import Span


class Progress(_progress.Progress):
    """Tells of a replay, in offsets.

    Parameters
    ----------
    timeout : float
        Seconds without progress after which the read gives up.
    enabled : bool
        Whether to tell anything at all.
    after : float
        Seconds before the first word, and from one line to the next.
    """

    def __init__(self, timeout: float, *, enabled: bool, after: float = _progress.AFTER) -> None:
        super().__init__("replay", "offsets", enabled=enabled, after=after)
        self.timeout = timeout
        self.spans: Sequence[Span] = []

    def waiting(self, seconds: float, what: str) -> None:
        """Tell what has been waited for, and for how long."""
        self.say(
            f"waiting for {what} for {seconds:.0f} s; it gives up after {self.timeout:.0f} s "
            "without progress"
        )

    def step(self) -> None:
        """Tell how far it has come, if it is time to."""
        if self.due():
            ahead = sum(s.end - min(s.start + s.lost, s.end) for s in self.spans)
            self.tell(ahead - sum(s.end - s.tally.position for s in self.spans), ahead)
