"""Windows that overlap on every key: no key is off by one of them alone, so none can be found alone.

Where they lie, all of them at once, is first searched for roughly (see ``_beam``), and then the edges of each are moved along
its track to where, with the others as they are, they leave least (see ``_guess``). Windows near the true ones put a few keys exactly
right, and from there each edge is settled by exact amounts. They are judged together: the keys that they put exactly right must
say more bits than they all take to describe.

Cost: that of the rough search, and O(n) for each edge of each set of windows that is settled, n the events.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from recovery_kit.explain._alone import keys_off, together
from recovery_kit.explain._beam import FEWEST, sets_of_windows
from recovery_kit.explain._case import Case
from recovery_kit.explain._guess import Guess, pressed
from recovery_kit.explain._window import BROKEN, Cause, Window, cost_of, settle, telling

EACH = 3
"""Sets of windows of each number of which the edges are settled."""

MOSTLY = 0.25
"""Part of the keys touched that windows must put exactly right."""

NEARLY = 0.03
"""Part of what keys differ by that guessed windows leave at most, to be believed without one exact key."""

MOST_EVENTS = 400_000
"""Events of a log beyond which this would take longer than reading the log did."""


def pursue(case: Case, found: Sequence[Window], causes: tuple[Cause, ...]) -> list[Window] | None:
    """More windows beside those found, settled together; None when they neither come to exact zeros nor to next to nothing."""
    if keys_off(case, settle(case, found)) < FEWEST or case.wide or len(case.events) > MOST_EVENTS:
        return None
    chain: list[list[Guess]] = []
    for level in sets_of_windows(case, found, causes):
        for guesses in level[:EACH]:
            chain.append(pressed(case, found, guesses))
            for tried in (guesses, chain[-1]):
                windows = [*found, *(guess.window(case) for guess in tried)]
                whole = _needed(case, found, together(case, windows))
                # One window alone would have been found without a guess.
                if (
                    len(whole) > len(found) + 1
                    and _mostly(case, found, whole)
                    and (verdict := _judged(case, found, whole))
                ):
                    return together(case, verdict)
    return _nearly(case, found, chain)


def _nearly(case: Case, found: Sequence[Window], chain: list[list[Guess]]) -> list[Window] | None:
    """Guessed windows beside those found that leave next to nothing, though they put no key exactly right.

    A hundredfold window among others on few keys: its money is beyond doubt, the last event at its edges is not.
    """
    before = np.abs(settle(case, found).left.astype(float))
    for guesses in chain:
        new = [guess.window(case) for guess in guesses]
        after = np.abs(settle(case, [*found, *new]).left.astype(float))
        cost = sum(cost_of(case, w.cause, w.kind, w.place) for w in new)
        bits = float(np.log2((case.usual + before) / (case.usual + after)).sum()) - cost
        if bits > 0 and after.sum() <= NEARLY * before.sum():
            rest = float(after.sum() / before.sum())
            return [*found, *(replace(w, bits=bits / len(new), rest=rest) for w in new)]
    return None


def _needed(case: Case, found: Sequence[Window], windows: list[Window]) -> list[Window]:
    """The windows without those that put nothing right beside the others: what one was seen through may be all of it."""
    for window in windows[len(found) :]:
        without = [w for w in windows if w is not window]
        if keys_off(case, settle(case, without)) <= keys_off(case, settle(case, windows)):
            windows = without
    return windows


def _mostly(case: Case, found: Sequence[Window], windows: list[Window]) -> bool:
    """Whether the windows put right so many of the keys that they touch that hardly one is missing, or some events off."""
    before, after = settle(case, found).left, settle(case, windows).left
    right = np.abs(after[before != after]) <= case.slack
    return bool(right.sum() > MOSTLY * len(right))


def _judged(case: Case, found: Sequence[Window], windows: list[Window]) -> list[Window] | None:
    """The windows, when the keys that they put exactly right say more than the windows take to describe."""
    before, after = settle(case, found), settle(case, windows)
    was, now = np.abs(before.left) > case.slack, np.abs(after.left) > case.slack
    fixed, broken, new = was & ~now, ~was & now, windows[len(found) :]
    bits = float(telling(case, before.left[fixed]).sum()) - BROKEN * int(broken.sum())
    for window in new:
        # A window of several partitions has edges in each of them; they lie near each other.
        bits -= cost_of(case, window.cause, window.kind, window.place) + 4 * (len(window.spans) - 1)
    if not new or bits <= 0 or broken.sum() > 0.2 * fixed.sum() or fixed.sum() < 3 * len(new):
        return None
    each = replace(new[0], fixed=int(fixed.sum()) // len(new), broken=int(broken.sum()), bits=bits / len(new))
    return [*windows[: len(found)], *(replace(w, fixed=each.fixed, broken=each.broken, bits=each.bits) for w in new)]
