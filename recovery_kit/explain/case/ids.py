"""Events by their ids: in which row an id stands, and where the other copies of an event do."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from recovery_kit.explain.case.arrays import Ints
from recovery_kit.explain.case.events import Events
from recovery_kit.kernels import address, load
from recovery_kit.tables.arrow import values

if TYPE_CHECKING:
    import polars as pl


def found(texts: pa.Array, among: pa.Array, numbers: Ints) -> Ints:
    """For each text the number of the same text among others; -1 where it is not there.

    Parameters
    ----------
    texts, among : pyarrow.LargeStringArray
    numbers : int64 array
        Of the others; one with a number below 0 is left out, all others must be distinct.
    """
    made, hashes = np.empty(len(texts), np.int64), np.empty(len(among), np.int64)
    table = np.zeros(1 << (2 * len(among)).bit_length(), np.uint64)
    load().match(
        *_plain(among), address(numbers), len(among), *_plain(texts), len(texts),
        secrets.randbits(62), address(hashes), address(table), len(table) - 1, address(made),
    )  # fmt: skip
    return made


def _plain(texts: pa.Array) -> tuple[int, int]:
    """Where the positions of some texts stand, and their bytes."""
    if not len(texts):
        return 0, 0
    _, starts, data = texts.buffers()
    return starts.address + 8 * texts.offset, data.address if data else 0


def span(events: Events, others: pl.DataFrame) -> tuple[Ints, Ints]:
    """For each event the first and the last row at which a copy of it stands in its partition.

    First is -1 for a copy elsewhere.

    Parameters
    ----------
    others : polars.DataFrame
        The other copies: event_id, topic, partition and offset.
    """
    import polars as pl

    first = np.arange(len(events), dtype=np.int64)
    last = first.copy()
    if not len(others):
        return first, last
    # Of millions of ids the few are looked for that came more than once.
    names = others["event_id"].to_arrow().cast(pa.large_string()).dictionary_encode()
    ids, rows = events.ids
    at = found(ids, names.dictionary, np.arange(len(names.dictionary)))
    there = (at >= 0) & (rows >= 0)
    row_of = np.full(len(names.dictionary), -1)
    row_of[at[there]] = rows[there]
    others = others.with_columns(row=pl.Series(row_of[values(names.indices)])).filter(
        pl.col("row") >= 0
    )
    offsets = events.whole("offset")
    places = {(at.topic, at.partition): (at.low, at.high) for at in events.places}
    elsewhere = [np.empty(0, np.int64)]
    for (topic, partition), part in others.group_by("topic", "partition"):
        begin, end = places.get((topic, partition), (0, 0))
        own, offset = part["row"].to_numpy(), part["offset"].to_numpy()
        here = (own >= begin) & (own < end)
        # A copy stands between this row and the next.
        row = begin - 1 + np.searchsorted(offsets[begin:end], offset[here])
        np.minimum.at(first, own[here], row)
        np.maximum.at(last, own[here], row)
        elsewhere.append(own[~here])
    first[np.concatenate(elsewhere)] = -1
    return first, last
