"""What is read of one partition, and what became of each of its offsets."""

from __future__ import annotations

from dataclasses import dataclass, field

COUNTS = (
    "delivered",
    "events",
    "outside",
    "rejects",
    "tombstones",
    "control",
    "aborted",
    "removed",
    "lost",
)
"""Columns of a coverage that tell what became of messages and offsets; they can be summed up."""


@dataclass
class Tally:
    """What became of the offsets of one partition, from its start to its position.

    The four add up to these offsets once every chunk is booked.
    """

    position: int
    delivered: int = 0
    control: int = 0
    aborted: int = 0
    removed: int = 0

    @property
    def accounted(self) -> int:
        """Offsets of which it is known what became of them."""
        return self.delivered + self.control + self.aborted + self.removed

    def book(self, messages: int, *, offsets: int) -> None:
        """Count the messages that some offsets were found to hold; the others hold none."""
        self.delivered += messages
        self.removed += offsets - messages


@dataclass
class Span:
    """What is read of one partition, and how far it has come.

    Attributes
    ----------
    topic, partition : where
    log_start : first offset that the broker still has, when the span was captured
    start : first offset that was asked for; 0 where nothing was said
    end : offset to stop before: the last stable offset then, or an earlier one that was asked for
    high_watermark : behind the last record then; records from the last stable offset to here lie
        behind an open transaction
    stable : the last stable offset
    tally : what became of the offsets up to the position
    lost : offsets that retention had taken, before or during the read
    raced : of these, those that went during the read, as ranges (first, behind the last)
    timed_out : the read gave up before the end
    obstacle : what it was waiting for then
    """

    topic: str
    partition: int
    log_start: int
    start: int
    end: int
    high_watermark: int
    stable: int
    tally: Tally
    lost: int = 0
    raced: list[tuple[int, int]] = field(default_factory=list)
    timed_out: bool = False
    obstacle: str = ""

    @classmethod
    def whole(cls, topic: str, partition: int, end: int) -> Span:
        """A partition that holds every offset from 0 to before ``end``, and no transaction."""
        return cls(
            topic,
            partition,
            log_start=0,
            start=0,
            end=end,
            high_watermark=end,
            stable=end,
            tally=Tally(0),
        )

    @property
    def done(self) -> bool:
        """Whether the position has reached the end."""
        return self.tally.position >= self.end

    def anew(self) -> Span:
        """The same partition once more, from the first offset still held to the last stable one."""
        return Span(
            self.topic,
            self.partition,
            self.log_start,
            start=self.log_start,
            end=self.stable,
            high_watermark=self.high_watermark,
            stable=self.stable,
            tally=Tally(self.log_start),
        )

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"
