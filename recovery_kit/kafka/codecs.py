"""What batches are compressed with, and back, within bounds.

A few bytes may stand for gigabytes, so nothing is decompressed but into room of a size that was
asked for before.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from recovery_kit._room import EVERY, require
from recovery_kit.errors import CorruptLog, KafkaError, LogTooLarge

_CODECS = {0: "none", 1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}
_FULL = "failed to write whole buffer", "is smaller than required"
"""How cramjam says that there is not enough room, the second for snappy."""
_GUESS = 8
"""Times as large as the compressed bytes: the first room. Pages that stay unused cost nothing."""
_SNAPPY_MOST = 64
"""More bytes than this no byte of snappy's format stands for."""


class Packed(NamedTuple):
    """The records of a batch as they came, the number of their codec, and of which batch, for
    people.
    """

    data: memoryview
    codec: int
    what: str


def decompress(
    packed: Sequence[Packed], most: int, *, taken: int = 0
) -> tuple[np.ndarray, list[int]]:
    """The records of some batches, one behind the other, and where each one's end.

    Parameters
    ----------
    packed : sequence of Packed
    most : int
        Bytes that the batches of a fetch may decompress to, together.
    taken : int
        What others of the same fetch decompressed to.

    Raises
    ------
    CorruptLog
        They do not decompress, or the codec is unknown.
    LogTooLarge
        They decompress to more than ``most`` bytes, or than there is room for.
    KafkaError
        What decompresses is not installed.
    """
    size = min(_GUESS * sum(len(p.data) for p in packed), EVERY, most - taken)
    room, at, ends = np.empty(size, np.uint8), 0, list[int]()
    for one in packed:
        while (count := _tried(one, room.data[at:])) < 0:
            room = _larger(room, at, one.what, most, taken)
        at += count
        ends.append(at)
    return room[:at], ends


def _larger(room: np.ndarray, filled: int, what: str, most: int, taken: int) -> np.ndarray:
    if len(room) >= most - taken:
        those = f"{what}, with those before it in the same fetch," if filled or taken else what
        raise LogTooLarge(
            f"{those} decompresses to more than {most:,} bytes, which is all that "
            f"max_decompressed_mib allows ({most / (1 << 20):,.6g}). Where producers do write such "
            "batches, set max_decompressed_mib higher; else find out who wrote this one, and read "
            "around it with since and until as offsets"
        )
    size = min(max(2 * len(room), 1 << 16), most - taken)
    require(
        size,
        f"{what}: to decompress it further",
        instead="Read fewer partitions at a time (partitions)",
    )
    larger = np.empty(size, np.uint8)
    larger[:filled] = room[:filled]
    return larger


def _tried(packed: Packed, room: memoryview) -> int:
    """How many bytes were written into the room, or -1 where they are more than it takes."""
    data, codec, what = packed
    if (name := _CODECS.get(codec)) is None:
        raise CorruptLog(
            f"{what} is compressed with codec number {codec}, which this version does not know; it "
            f"reads {', '.join(_CODECS.values())}"
        )
    if name == "none":
        room[: len(data)] = data[: len(room)]
        return len(data) if len(data) <= len(room) else -1
    try:
        import cramjam
    except ImportError:
        raise KafkaError(
            f"{what} is compressed with {name}, which needs the Python package cramjam; install it"
        ) from None
    try:
        if name == "snappy":
            return _snappy(data, room)
        module = {"gzip": cramjam.gzip, "lz4": cramjam.lz4, "zstd": cramjam.zstd}[name]
        count: int = module.decompress_into(data, room)
    except (cramjam.DecompressionError, ValueError, struct.error) as error:
        if any(full in str(error) for full in _FULL):
            return -1
        raise CorruptLog(f"{what} does not decompress as {name}: {error}") from error
    return count


def _snappy(data: memoryview, room: memoryview) -> int:
    """Snappy as Java's producers frame it (xerial blocks), or bare."""
    if bytes(data[:8]) != b"\x82SNAPPY\x00":
        return _block(data, room)
    at, written = 16, 0
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        written += _block(data[at + 4 : at + 4 + size], room[written:])
        at += 4 + size
    return written


def _block(data: memoryview, room: memoryview) -> int:
    from cramjam import snappy

    if (size := snappy.decompress_raw_len(data)) > _SNAPPY_MOST * len(data):
        raise ValueError(f"{len(data):,} bytes cannot stand for the {size:,} that they claim")
    count: int = snappy.decompress_raw_into(data, room)
    return count
