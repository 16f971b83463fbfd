"""Coverage: the identities, which must be able to fail, and the verdicts."""

from __future__ import annotations

import pytest

from recovery_kit.errors import IdentityError
from recovery_kit.payload.reader import Reader
from recovery_kit.schema import EventSchema
from recovery_kit.sources.coverage import Coverage
from recovery_kit.sources.span import Span, Tally
from recovery_kit.sources.window import Window
from tests.messages import pack


def test_offsets_that_do_not_add_up_are_a_defect_of_ours() -> None:
    messages = pack([b'{"id":"e","type":"add","value":1}', None, b"?"])

    def counted(tally: Tally, **more: int) -> Coverage:
        span = Span("t", 0, 0, 0, 10, 10, 10, tally, **more)
        coverage = Coverage([span], Window())
        coverage.count(span, Reader(EventSchema()).read(messages))
        return coverage

    assert counted(Tally(10, 3, 4, 2, 1)).rows()[0]["verdict"] == "compacted"
    assert counted(Tally(10, 3, 4, 2, 0), lost=1).rows()[0]["verdict"] == "truncated"
    for tally in (
        Tally(10, 3, 4, 2, 0),
        Tally(10, 3, 4, 4, -1),
        Tally(9, 3, 4, 2, 1),
        Tally(11, 3, 4, 2, 2),
    ):
        with pytest.raises(IdentityError, match=r"t-0: .* do not add up to 10 offsets"):
            counted(tally).rows()
    for delivered in (2, 4):
        with pytest.raises(
            IdentityError,
            match="1 events, 0 outside the window, 1 rejects and 1 tombstones are not the",
        ):
            counted(Tally(10, delivered, 7 - delivered, 2, 1)).rows()


def test_the_head_is_called_older_than_since_only_where_the_first_event_held_is() -> None:
    older, wanted = (
        b'{"id":"e%d","type":"add","value":1,"time":"2026-03-02T12:00:0%dZ"}' % (n, n)
        for n in (1, 5)
    )
    schema, since = EventSchema(time="time"), 1_772_452_803_000  # 12:00:03
    for first, behind, verdict in ((older, 1, "complete"), (wanted, 0, "truncated")):
        span = Span("t", 0, 7, 7, 8, 8, 8, Tally(8, 1, 0, 0, 0))
        coverage = Coverage([span], Window(since_ms=since))
        coverage.count(span, Reader(schema, since, None).read(pack([first])))
        assert coverage.rows()[0]["verdict"] == verdict
        assert len(coverage.headless()) == behind
