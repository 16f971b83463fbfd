"""Which rows hold a text that stands in another row too, among tens of millions of texts."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from recovery_kit._threads import in_order
from recovery_kit.kernels import address, load

_AT_ONCE = 1 << 18

MANY = 20
"""Copies that were set aside, below which their ids are not doubted."""

CONFLICTS = 0.25
"""Part of them with another content, above which their ids are: redelivery repeats the content."""


def repeated(texts: pa.ChunkedArray) -> np.ndarray:
    """Rows whose text stands, or, by a chance of some 2**-64 for each pair, may stand, in another
    row too.

    Parameters
    ----------
    texts : pyarrow.ChunkedArray
        Of strings of any kind; no nulls.

    Returns
    -------
    int64 array
        Row numbers, ascending. Every copy of every repeated text is among them; the caller compares
        the texts.

    Notes
    -----
    Each text becomes a hash of 64 bits, seeded afresh so that nobody can prepare texts that
    collide; what sorting brings together is looked for. 16 bytes a row at the peak, and some 50
    where every text repeats; the time of a sort of 64-bit numbers.
    """
    hashes = np.empty(len(texts), np.uint64)
    seed = secrets.randbits(62)
    for _ in in_order(lambda part: _hash(_plain(part[0]), seed, part[1]), _parts(texts, hashes)):
        pass
    ordered = np.sort(hashes)
    wanted = ordered[1:][ordered[1:] == ordered[:-1]]
    del ordered
    table = np.zeros(1 << (4 * len(wanted)).bit_length(), np.uint64)
    rows = np.empty(len(hashes) if len(wanted) else 0, np.int64)
    if not len(wanted):
        return rows
    found = load().among(
        address(hashes),
        len(hashes),
        address(wanted),
        len(wanted),
        address(table),
        len(table) - 1,
        address(rows),
    )
    return rows[:found].copy()


def _parts(texts: pa.ChunkedArray, hashes: np.ndarray) -> Iterator[tuple[pa.Array, np.ndarray]]:
    """Some texts at a time, and where their hashes go."""
    at = 0
    for chunk in texts.chunks:
        for first in range(0, len(chunk), _AT_ONCE):
            part = chunk.slice(first, _AT_ONCE)
            yield part, hashes[at : at + len(part)]
            at += len(part)


def _plain(chunk: pa.Array) -> pa.Array:
    """The texts behind one another, with their positions."""
    if pa.types.is_dictionary(chunk.type):
        chunk = chunk.dictionary_decode()
    return chunk if pa.types.is_string(chunk.type) else chunk.cast(pa.large_string())


def _hash(chunk: pa.Array, seed: int, out: np.ndarray) -> None:
    if len(chunk):
        wide = pa.types.is_large_string(chunk.type)
        _, starts, data = chunk.buffers()
        first = starts.address + chunk.offset * (8 if wide else 4)
        load().hashes(first, wide, data.address if data else 0, len(chunk), seed, address(out))


def doubts(*, unique: int, other: np.ndarray, apart: np.ndarray, moved: np.ndarray) -> list[str]:
    """Why the ids may not be unique, so that events of their own were taken for copies: sentences.

    A redelivery has its event's content. Its time may differ, where that is the record's timestamp,
    or its partition, where the topic got more of them; hardly both, of most. Nor is every event
    redelivered twice and more.

    Parameters
    ----------
    unique : int
        How many ids there are.
    other, apart, moved : bool array, shape (n,)
        Of the copies after the first of each id: whether it has another type, value or key than
        that one, another time, another partition of the same topic.
    """
    same = ~other
    signs = (
        (
            other,
            CONFLICTS * len(other),
            len(other),
            "copies have another type, value or key than the first of their id, which a "
            "redelivery repeats",
        ),
        (
            same & apart & moved,
            same.sum() / 2,
            int(same.sum()),
            "copies of the same content have both another time and another partition than the "
            "first of their id, as hardly a redelivery has",
        ),
        (
            apart,
            max(2 * unique, len(apart) / 2),
            len(apart),
            f"copies have another time than the first of their id, and there are but {unique:,} "
            "ids: more than two copies of each on average",
        ),
    )
    return [
        f"The ids may not be unique: {int(sign.sum()):,} of {of:,} {said}. If they are not, events "
        "were set aside as copies: set id_field to a field that no two events share"
        for sign, above, of, said in signs
        if sign.sum() >= MANY and sign.sum() > above
    ]
