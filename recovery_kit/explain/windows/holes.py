"""Holes: two windows of one mistake with a while between them look like one window, and the keys in
between speak against it.

The hole is a window itself, on which the mistake is undone: it is looked for like any other, and
must lie inside. Where the mistake is a factor, a sign may have been turned there in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from recovery_kit.explain.case.case import Case
from recovery_kit.explain.windows.best import best_alone, keys_off
from recovery_kit.explain.windows.window import (
    SCALED,
    SIGN,
    State,
    Stretch,
    Window,
    rows_of,
    settle,
)

INSIDE = 0.95
"""Part of a hole's events that must lie in the window."""


def pierced(case: Case, found: Sequence[Window]) -> list[Window] | None:
    """The windows with the first hole that puts more keys right cut out of one of them.

    None when there is none.
    """
    state = settle(case, found)
    bare = State(state.left, np.zeros(len(case.events), bool), np.zeros(len(case.events), np.int64))
    for at, window in enumerate(found):
        if window.copies:
            continue
        undone = window.cause._replace(up=-window.cause.up)
        turned = undone._replace(
            up=undone.up + SIGN.up * undone.down
        )  # a sign turned there instead
        hole = best_alone(case, bare, (undone, turned) if window.cause in SCALED else (undone,))
        if not hole or hole.copies or hole.kind != window.kind:
            continue
        if np.isin(rows_of(case, hole), rows_of(case, window)).mean() < INSIDE:
            continue
        instead = [replace(hole, cause=SIGN)] if hole.cause == turned else []
        made = [*found[:at], *_cut(window, hole), *instead, *found[at + 1 :]]
        if keys_off(case, settle(case, made)) < keys_off(case, state):
            return made
    return None


def _cut(window: Window, hole: Window) -> list[Window]:
    """What lies before the hole in each partition, and what lies after it."""
    holes = {place: (begin, end) for place, begin, end in hole.spans}
    before, after = [], []
    for place, begin, end in window.spans:
        low, high = holes.get(place, (end, end))
        before.append(Stretch(place, begin, max(begin, min(low, end))))
        after.append(Stretch(place, min(max(high, begin), end), end))
    parts = (tuple(span for span in spans if span.end > span.begin) for spans in (before, after))
    return [replace(window, spans=spans) for spans in parts if spans]
