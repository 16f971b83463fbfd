"""The orders in which windows are looked for, and where the events of each key stand in them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from recovery_kit.explain._arrays import Ints, ranked


class Track(NamedTuple):
    """Events in an order: partition by partition, or (merged) all by their arrival.

    A group is a key's events of one place: those from ``starts[g]`` to before ``starts[g + 1]``.
    """

    merged: bool
    high: Ints  # where each place ends, in positions
    starts: Ints
    keys: Ints  # by group, and likewise where its place begins and ends
    begins: Ints
    ends: Ints
    rows: Ints  # by event, and likewise its kind and its position
    kinds: Ints
    positions: Ints


def track(rows: Ints, code: Ints, kind: Ints, keys: int, edges: Ints, *, merged: bool) -> Track:
    """Lay out a track.

    Parameters
    ----------
    rows : int64 array
        The events in the track's order.
    code, kind : int64 array
        The number of each event's key, below ``keys``, and of its type, by row.
    edges : int64 array
        The positions where each place begins, and where the last one ends.
    """
    mixed = np.repeat(np.arange(len(edges) - 1) * keys, np.diff(edges)) + code[rows]
    order = ranked(mixed, keys * (len(edges) - 1))
    rows, mixed = rows[order], mixed[order]
    firsts = np.flatnonzero(np.append(True, mixed[1:] != mixed[:-1]))
    place, own = np.divmod(mixed[firsts], keys)
    starts = np.append(firsts, len(rows))
    return Track(merged, edges[1:], starts, own, edges[place], edges[place + 1], rows, kind[rows], order)
