"""Windows that overlap on every key: no key is off by one of them alone, so none can be found
alone.

Where they lie, all of them at once, is first searched for roughly (see ``_beam``), and then the
edges of each are moved along its track to where, with the others as they are, they leave least (see
``_guess``). Windows near the true ones put a few keys exactly right, and from there each edge is
settled by exact amounts. They are judged together: the keys that they put exactly right must say
more bits than they all take to describe.

Cost: that of the rough search, and O(n) for each edge of each set of windows that is settled, n the
events.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from recovery_kit._progress import SILENT, Progress
from recovery_kit.explain.case.case import Case
from recovery_kit.explain.overlaps.beam import FEWEST, sets_of_windows
from recovery_kit.explain.overlaps.guess import pressed
from recovery_kit.explain.windows.best import keys_off, together
from recovery_kit.explain.windows.window import (
    BROKEN,
    Cause,
    State,
    Window,
    cost_of,
    settle,
    side_of,
    telling,
)

MOSTLY = 0.25
"""Part of the keys touched that windows must put exactly right."""

NEARLY = 0.03
"""Part of what keys differ by that guessed windows leave at most, to be believed without one exact
key.
"""

MOST_EVENTS = 400_000
"""Events of a log beyond which this would take longer than reading the log did."""


def pursue(
    case: Case, found: Sequence[Window], causes: tuple[Cause, ...], *, tell: Progress = SILENT
) -> list[Window] | None:
    """More windows beside those found, settled together.

    None when they neither come to exact zeros nor to next to nothing.

    Parameters
    ----------
    case : Case
    found : Sequence of Window
        The incidents so far.
    causes : tuple of Cause
        The mistakes to look for.
    tell : Progress
        Told that it goes on.
    """
    before = settle(case, found)
    if keys_off(case, before) < FEWEST or case.wide or len(case.events) > MOST_EVENTS:
        return None
    chain: list[list[Window]] = []
    for guesses in sets_of_windows(case, found, causes):
        if tell.due():
            tell.tell(len(found))
        chain.append([guess.window(case) for guess in pressed(case, found, guesses)])
        for tried in ([guess.window(case) for guess in guesses], chain[-1]):
            whole = _needed(case, found, together(case, [*found, *tried]))
            # One window alone would have been found without a guess.
            if len(whole) > len(found) + 1:
                verdict = _judged(case, before, whole, len(found))
                if verdict:
                    return together(case, verdict)
    return _nearly(case, found, before, chain)


def _nearly(
    case: Case, found: Sequence[Window], state: State, chain: list[list[Window]]
) -> list[Window] | None:
    """Guessed windows beside those found that leave next to nothing, though they put no key exactly
    right.

    A hundredfold window among others on few keys: its money is beyond doubt, the last event at its
    edges is not.

    Parameters
    ----------
    case : Case
    found : Sequence of Window
        The incidents so far.
    state : State
        What they leave.
    chain : list of list of Window
        Sets of guessed windows, without those found; the first one that will do is taken.
    """
    before = np.abs(state.left.astype(float))
    for new in chain:
        after = np.abs(settle(case, [*found, *new]).left.astype(float))
        cost = sum(cost_of(side_of(case, w), w.cause, w.kind, w.place) for w in new)
        bits = float(np.log2((case.usual + before) / (case.usual + after)).sum()) - cost
        if bits > 0 and after.sum() <= NEARLY * before.sum():
            rest = float(after.sum() / before.sum())
            return [*found, *(replace(w, bits=bits / len(new), rest=rest) for w in new)]
    return None


def _needed(case: Case, found: Sequence[Window], windows: list[Window]) -> list[Window]:
    """The windows without those that put nothing right beside the others: two guesses may be one
    window.
    """
    off = keys_off(case, settle(case, windows))
    for window in windows[len(found) :]:
        without = [w for w in windows if w is not window]
        then = keys_off(case, settle(case, without))
        if then <= off:
            windows, off = without, then
    return windows


def _judged(case: Case, before: State, windows: list[Window], known: int) -> list[Window] | None:
    """The windows, when the keys that those after the known ones put exactly right say more than it
    takes to describe these.

    And when they put right so many of the keys that they touch that hardly one window is missing,
    or some events off.

    Parameters
    ----------
    case : Case
    before : State
        What the known windows leave.
    windows : list of Window
        The known ones, then those to be judged.
    known : int
        How many are known.
    """
    after = settle(case, windows)
    was, now = np.abs(before.left) > case.slack, np.abs(after.left) > case.slack
    fixed, broken, new = was & ~now, ~was & now, windows[known:]
    touched = before.left != after.left
    if (touched & ~now).sum() <= MOSTLY * touched.sum():
        return None
    bits = float(telling(case, before.left[fixed]).sum()) - BROKEN * int(broken.sum())
    for window in new:
        # A window of several partitions has edges in each of them; they lie near each other.
        bits -= cost_of(side_of(case, window), window.cause, window.kind, window.place)
        bits -= 4 * (len(window.spans) - 1)
    if bits <= 0 or broken.sum() > 0.2 * fixed.sum() or fixed.sum() < 3 * len(new):
        return None
    each = bits / len(new)
    return [*windows[:known], *(replace(w, bits=each) for w in new)]
