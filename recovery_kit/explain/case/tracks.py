"""The orders in which windows are looked for, and where the events of each key stand in them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from recovery_kit.explain.case.arrays import Ints
from recovery_kit.kernels import address, load


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
    rows : int64 array, shape (events,)
        The events in the track's order.
    code, kind : int64 array, shape (events,)
        The number of each event's key, below ``keys``, and of its type, by row.
    keys : int
        How many keys there are.
    edges : int64 array, shape (places + 1,)
        The positions where each place begins, and where the last one ends.
    merged : bool
        Whether ``rows`` are those of all partitions by arrival, as one place.
    """
    ends, columns, groups = np.empty(keys, np.int64), np.empty((3, len(rows)), np.int64), []
    for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        load().group(
            begin, end, *map(address, (rows, code, kind)), keys, *map(address, (ends, *columns))
        )
        own = np.flatnonzero(np.diff(ends, prepend=begin))
        groups.append((ends[own], own, np.full(len(own), begin), np.full(len(own), end)))
    behind, owner, begins, high = map(np.concatenate, zip(*groups, strict=True))
    return Track(merged, edges[1:], np.append(0, behind), owner, begins, high, *columns)
