"""Spans and tallies: how far a partition has been read, and what became of its offsets."""

from recovery_kit.sources.span import Span, Tally


def test_what_is_booked_is_accounted_for() -> None:
    tally = Tally(10, control=1)
    tally.book(4, offsets=6)
    assert (tally.delivered, tally.removed, tally.accounted) == (4, 2, 7)


def test_a_span_is_done_where_its_position_has_reached_its_end() -> None:
    span = Span.whole("t", 3, 2)
    assert (str(span), span.done, Span.whole("t", 0, 0).done) == ("t-3", False, True)
    span.tally.position = 2
    assert span.done


def test_a_span_anew_is_all_that_is_still_held_of_it() -> None:
    span = Span("t", 0, 5, 0, 7, 12, 9, Tally(7, delivered=2), lost=5, raced=[(3, 5)])
    again = span.anew()
    assert (again.start, again.end, again.tally, again.lost) == (5, 9, Tally(5), 0)
    assert (again.log_start, again.stable, again.high_watermark) == (5, 9, 12)
    assert not again.raced
    assert span.tally == Tally(7, delivered=2)
