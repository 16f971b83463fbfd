"""Incidents of a proven list: errors of one cause that stand together in the log."""

from __future__ import annotations

import numpy as np

from recovery_kit.explain.case.arrays import Ints
from recovery_kit.explain.case.case import Case

GAP = 3
"""Events of a window that may be right and not end it: those that were delivered again later, say.
"""

EVENTS, KEYS = 5, 3
"""Fewer events or keys than these are no incident."""

BY_TYPE = ("wrong_sign", "wrong_factor", "wrong_amount")


def runs(case: Case, rows: Ints, cause: str) -> list[Ints]:
    """Rows of the log that one mistake was made on, one array an incident, those with the most
    events first.

    Parameters
    ----------
    rows : int64 array
        The rows with this cause, ascending.
    """
    groups = (
        [rows]
        if cause not in BY_TYPE
        else [rows[case.kind[rows] == k] for k in np.unique(case.kind[rows])]
    )
    made: list[Ints] = []
    for group in groups:
        parts = (_in_place(case, group, place.low, place.high, cause) for place in case.places)
        made += _joined(case, [run for runs in parts for run in runs])
    return sorted(
        (r for r in made if len(r) >= EVENTS and len(np.unique(case.code[r])) >= KEYS),
        key=lambda r: (-len(r), r[0]),
    )


def _in_place(case: Case, rows: Ints, begin: int, end: int, cause: str) -> list[Ints]:
    """Split one partition's rows where more than a few others of their kind stand between two of
    them.

    Parameters
    ----------
    case : Case
    rows : int64 array, shape (n,)
        The rows with this cause, ascending, of all partitions; of one type where the cause is one
        of `BY_TYPE`.
    begin, end : int
        The partition's first row, and the one after its last.
    cause : str
        Where it is one of `BY_TYPE`, only events of the rows' type count as others.
    """
    rows = rows[(rows >= begin) & (rows < end)]
    if not len(rows):
        return []
    same = (
        np.ones(end - begin, bool)
        if cause not in BY_TYPE
        else case.kind[begin:end] == case.kind[rows[0]]
    )
    rank = np.cumsum(same)[rows - begin]
    return np.split(rows, np.flatnonzero(np.diff(rank) > GAP + 1) + 1)


def _joined(case: Case, parts: list[Ints]) -> list[Ints]:
    """Join the runs of several partitions that cover the same time: only those are compared that
    others lead up to.
    """
    first, last = (
        (case.arrival[[part[at] for part in parts]] for at in (0, -1))
        if parts
        else np.empty((2, 0), np.int64)
    )
    order = np.argsort(first, kind="stable")
    later = np.flatnonzero(first[order][1:] > np.maximum.accumulate(last[order])[:-1]) + 1
    made: list[Ints] = []
    for own in np.split(order, later):
        near = [parts[at] for at in np.sort(own).tolist()]
        if sum(map(len, near)) >= EVENTS:
            made += _of_one_time(case, near)
    return made


def _of_one_time(case: Case, parts: list[Ints]) -> list[Ints]:
    """Join runs, the longest first, with those of other partitions that cover at least half of
    their time.
    """
    made: list[list[Ints]] = []
    spans: list[tuple[int, int]] = []
    for part in sorted(parts, key=lambda p: -len(p)):
        first, last = int(case.arrival[part[0]]), int(case.arrival[part[-1]])
        for at, (a, b) in enumerate(spans):
            if 2 * (min(b, last) - max(a, first)) >= last - first and not _same_place(
                case, made[at], part
            ):
                made[at].append(part)
                break
        else:
            made.append([part])
            spans.append((first, last))
    return [np.sort(np.concatenate(m)) for m in made]


def _same_place(case: Case, others: list[Ints], part: Ints) -> bool:
    place = _place(case, part)
    return any(_place(case, other) == place for other in others)


def _place(case: Case, rows: Ints) -> int:
    return next(at for at, (_, _, begin, end) in enumerate(case.places) if begin <= rows[0] < end)
