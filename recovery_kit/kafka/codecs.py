"""What batches are compressed with, and back."""

from __future__ import annotations

import struct

from recovery_kit.errors import CorruptLog, KafkaError

_CODECS = {0: "none", 1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}


def decompress(data: memoryview, codec: int, what: str) -> bytes | memoryview:
    """The records of a batch, by the number of their codec.

    Raises
    ------
    CorruptLog
        They do not decompress, or the codec is unknown; ``what`` says of which batch, for people.
    KafkaError
        What decompresses is not installed.
    """
    name = _CODECS.get(codec)
    if name == "none":
        return data
    if name is None:
        raise CorruptLog(
            f"{what} is compressed with codec number {codec}, which this version does not know; it "
            f"reads {', '.join(_CODECS.values())}"
        )
    try:
        import cramjam
    except ImportError:
        raise KafkaError(
            f"{what} is compressed with {name}, which needs the Python package cramjam; install it"
        ) from None
    try:
        if name == "snappy":
            return _snappy(bytes(data))
        module = {"gzip": cramjam.gzip, "lz4": cramjam.lz4, "zstd": cramjam.zstd}[name]
        return memoryview(module.decompress(data))
    except (cramjam.DecompressionError, struct.error) as error:
        raise CorruptLog(f"{what} does not decompress as {name}: {error}") from error


def _snappy(data: bytes) -> bytes | memoryview:
    """Snappy as Java's producers frame it (xerial blocks), or bare."""
    import cramjam

    if not data.startswith(b"\x82SNAPPY\x00"):
        return memoryview(cramjam.snappy.decompress_raw(data))
    parts, at = [], 16
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        parts.append(bytes(cramjam.snappy.decompress_raw(data[at + 4 : at + 4 + size])))
        at += 4 + size
    return b"".join(parts)
