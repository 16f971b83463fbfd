"""Incidents: the window of the log that one mistake on many keys at once points to.

A window that was missed takes from each key the effects of its events in there: the difference of a
key is minus the difference of two of its prefix sums. One key alone fits many windows, and each of
those leaves the edges free to lie anywhere between two of that key's events: a rectangle in the
plane of (begin, end). The window is where the rectangles of many keys meet. A rectangle counts for
as many bits as it is improbable: minus log2 of the part of the plane that the key's rectangles take
up. A window is an incident when the keys it puts right say more bits than its description takes
(its two edges, its cause, its type), and when it puts hardly any key wrong that was right: a key
that has events in the window and yet agrees speaks against it. Cost: O(n) a family of windows
(track, type, cause), n the events of divergent keys; a sweep of R rectangles is O(R log R). A key
with few events in the family may have large rectangles; if chance would hardly give it any, it
counts for the bits of its amount instead, but for no more than naming one event of its own would
take. Where windows overlap on every key, see ``_pursuit``; where one of two is taken for both,
``_holes``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from recovery_kit._progress import SILENT, Progress
from recovery_kit.explain.case.case import Case
from recovery_kit.explain.overlaps.search import pursue
from recovery_kit.explain.windows.best import best_alone, keys_off, together
from recovery_kit.explain.windows.holes import pierced
from recovery_kit.explain.windows.window import CAUSES, MISSED, Cause, State, Window, settle

MOST_INCIDENTS = 16


def search(
    case: Case, causes: tuple[Cause, ...] = CAUSES, *, tell: Progress = SILENT
) -> list[Window]:
    """Find the incidents, the most telling first, each in the light of those before, and all
    settled together.
    """
    found: list[Window] = []
    tell.stage("incidents")
    state = settle(case, found)
    for _ in range(MOST_INCIDENTS):
        more = _more(case, found, state, causes, tell)
        if more is None:
            break
        found, state = more, settle(case, more)
    return _by_ending(case, found)


def _more(
    case: Case, found: list[Window], state: State, causes: tuple[Cause, ...], tell: Progress
) -> list[Window] | None:
    """With one window more or, where none stands out alone, with several that overlap.

    Parameters
    ----------
    case : Case
    found : list of Window
        The incidents so far.
    state : State
        What they leave.
    causes : tuple of Cause
        The mistakes to look for.
    tell : Progress
        Told how many there are so far.
    """
    if tell.due():
        tell.tell(len(found))
    off = keys_off(case, state)
    if not off:
        return None
    for made in _alone(case, found, state, causes):
        if keys_off(case, settle(case, made)) < off:
            return made
    return pursue(case, found, causes, tell=tell)


def _alone(
    case: Case, found: list[Window], state: State, causes: tuple[Cause, ...]
) -> Iterator[list[Window]]:
    """With the one window more that stands out most, then with a hole cut out of one.

    Parameters
    ----------
    case : Case
    found : list of Window
        The incidents so far.
    state : State
        What they leave.
    causes : tuple of Cause
        The mistakes to look for.
    """
    if new := best_alone(case, state, causes):
        yield together(case, [*found, new])
    if apart := pierced(case, found):
        yield apart


def _by_ending(case: Case, found: Sequence[Window]) -> list[Window]:
    """Tell the partitions where a missed window runs to the end of the log, which is lag, from
    those where it does not.
    """
    made = []
    for window in found:
        whole = window.cause is MISSED and window.kind < 0
        lag = [s for s in window.spans if whole and s.end == case.places[s.place].high]
        rest = [s for s in window.spans if s not in lag]
        made += [replace(window, spans=tuple(spans)) for spans in (rest, lag) if spans]
    return made
