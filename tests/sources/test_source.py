"""The source contract: whatever a source gives, in whatever pieces, is read once, in order and
counted; and what does not add up is told.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recovery_kit.errors import CorruptLog, IdentityError, IncompleteReplay, KafkaError
from recovery_kit.payload.messages import Messages
from recovery_kit.replay import Replay, replayed
from recovery_kit.schema import EventSchema
from recovery_kit.sources.source import Chunk
from recovery_kit.sources.span import Span
from recovery_kit.sources.window import Window
from tests.messages import NOON

HOLES = ("control", "aborted", "removed")


class Listed:
    """A log that stands in a list: each offset holds a message's value, or is a hole of a kind."""

    def __init__(self, *logs: Sequence[bytes | str | None], size: int = 3) -> None:
        self.logs, self.size = logs, size
        self.name, self.notes = "listed", ["a note of its own"]
        self.spans = [Span.whole("listed", p, len(log)) for p, log in enumerate(logs)]
        self.looked_back = 0

    def read(self, spans: Sequence[Span], **_: object) -> Iterator[Chunk]:
        left = [span for span in spans if not span.done]
        while left:  # a chunk of each partition in turn, as brokers answer
            for span in left:
                yield from self.step(span)
            left = [span for span in left if not span.done]

    def step(self, span: Span) -> Iterator[Chunk]:
        first = span.tally.position
        end = span.tally.position = min(first + self.size, span.end)
        held = [o for o in range(first, end) if self.logs[span.partition][o] not in HOLES]
        for hole in (self.logs[span.partition][o] for o in range(first, end)):
            if hole in HOLES:
                setattr(span.tally, str(hole), getattr(span.tally, str(hole)) + 1)
        if held:
            yield Chunk(span, len(held), partial(self.messages, span.partition, held))

    def messages(self, partition: int, offsets: list[int]) -> Messages:
        values = [self.logs[partition][o] for o in offsets]
        n = len(offsets)
        return Messages.packed(
            self.name, partition, offsets=offsets, times=[NOON] * n, keys=[None] * n, values=values
        )  # type: ignore[arg-type]

    def look_back(self) -> dict[str, int]:
        self.looked_back += 1
        self.notes.append("looked back")
        return {str(span): 0 for span in self.spans}


def event(number: int) -> bytes:
    return b'{"id":"e%d","type":"add","value":%d}' % (number, number)


def read(source: Any, cut: Window | None = None, **options: Any) -> Replay:
    return replayed(source, EventSchema(), cut or Window(), **options)


slots = st.integers(0, 99).map(event) | st.sampled_from([None, b"", b"[]", *HOLES[:2]])


@given(st.lists(st.lists(slots, max_size=12), min_size=1, max_size=4), st.integers(1, 5))
def test_every_offset_is_accounted_for_and_every_event_is_kept_in_order(
    logs: list[list[bytes | str | None]], size: int
) -> None:
    source = Listed(*logs, size=size)
    found = read(source)
    wanted = [
        (p, o, value)
        for p, log in enumerate(logs)
        for o, value in enumerate(log)
        if isinstance(value, bytes) and value.startswith(b"{")
    ]
    columns = found.arrow
    places = zip(*(columns[n].to_pylist() for n in ("partition", "offset", "value")), strict=True)
    assert [(p, o, event(int(v))) for p, o, v in places] == wanted
    assert found.verdict == "complete"
    rows = found.coverage.to_dict("records")
    for row, log in zip(rows, logs, strict=True):
        assert row["end"] == row["position"] == len(log)
        assert row["control"] == log.count("control")
        assert row["aborted"] == log.count("aborted")
        assert row["tombstones"] == log.count(None)
        assert row["rejects"] == log.count(b"") + log.count(b"[]")
        assert row["log_start_after"] == 0
    assert len(found.rejects) == sum(row["rejects"] for row in rows)
    assert len(found.tombstones) == sum(row["tombstones"] for row in rows)
    assert source.looked_back == 1
    assert found.notes == ("a note of its own", "looked back")
    assert found.source == "listed"


def test_an_offset_that_a_source_does_not_account_for_is_a_defect() -> None:
    class Forgetful(Listed):
        def step(self, span: Span) -> Iterator[Chunk]:
            span.tally.position += 1
            yield from super().step(span)

    with pytest.raises(IdentityError, match=r"listed-0: .* do not add up to 3 offsets"):
        read(Forgetful([event(n) for n in range(3)]))


def test_fewer_messages_than_offsets_count_as_removed() -> None:
    class Sparse(Listed):
        def messages(self, partition: int, offsets: list[int]) -> Messages:
            return super().messages(partition, offsets[:-1])

    log = [event(n) for n in range(6)]
    with pytest.raises(IncompleteReplay, match=r"compacted: .*2 of 6 offsets hold no record"):
        read(Sparse(log))
    found = read(Sparse(log), allow_incomplete=True)
    assert found.coverage["removed"].tolist() == [2]
    assert found.notes[0].startswith("compacted: ")
    assert "allow_incomplete" not in found.notes[0]


def test_a_span_that_gave_up_is_timed_out_and_nobody_looks_back() -> None:
    class Stuck(Listed):
        def read(self, spans: Sequence[Span], **_: object) -> Iterator[Chunk]:
            yield from self.step(spans[0])
            spans[0].timed_out, spans[0].obstacle = True, "the disk is gone"

    source = Stuck([event(n) for n in range(5)])
    with pytest.raises(IncompleteReplay, match="listed-0: stopped at offset 3 of 5, the disk is"):
        read(source)
    assert not source.looked_back


def test_where_the_head_is_gone_the_first_event_still_held_is_looked_for() -> None:
    source = Listed([b"", event(1), event(2), event(3)], [event(4)], size=1)
    source.spans[0].log_start = source.spans[0].lost = source.spans[0].tally.position = 1
    with pytest.raises(IncompleteReplay) as caught:
        read(source)
    noon = "2026-03-02T12:00:00+00:00"
    assert f"offsets 0 to 0 are gone, the first still held is 1, of {noon}" in str(caught.value)
    assert "Give since=2026-03-02T12:00:00.001000+00:00 or later" in str(caught.value)
    assert not source.looked_back


def test_events_outside_the_window_are_counted() -> None:
    found = read(Listed([event(1), b"", None]), Window(since_ms=NOON + 1))
    row = found.coverage.iloc[0]
    assert (row["events"], row["outside"], row["rejects"], row["tombstones"]) == (0, 1, 1, 1)


def test_what_a_chunk_raises_comes_in_its_turn_and_nothing_is_left_running() -> None:
    class Damaged(Listed):
        def messages(self, partition: int, offsets: list[int]) -> Messages:
            if 6 in offsets:
                raise CorruptLog("listed-0: offset 6 is damaged")
            return super().messages(partition, offsets)

    with pytest.raises(CorruptLog, match="offset 6 is damaged"):
        read(Damaged([event(n) for n in range(20)]))
    assert not [t for t in threading.enumerate() if t.name.startswith("recovery-kit")]


def test_another_log_than_the_one_that_was_read_is_an_error() -> None:
    class Replaced(Listed):
        def look_back(self) -> dict[str, int]:
            raise KafkaError("it was made anew")

    with pytest.raises(KafkaError, match="made anew"):
        read(Replaced([event(1)]))
