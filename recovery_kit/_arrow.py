"""Arrow's columns and numpy's arrays, each seen as the other, without a copy where that can be, and without pandas.

pyarrow's own ``array`` and ``to_numpy`` import pandas wherever it is installed (as of 26.0), which takes as long as to read
half a million events; a process that asks for no frame has no use for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa


def column(values: np.ndarray, valid: np.ndarray | None = None) -> pa.Array:
    """A numpy array of whole numbers, or of truth values, as an Arrow array; null where it is not ``valid``."""
    bits = None if valid is None else _bits(valid)
    if values.dtype == np.bool_:
        return pa.Array.from_buffers(pa.bool_(), len(values), [bits, _bits(values)])
    data = np.ascontiguousarray(values)
    return pa.Array.from_buffers(pa.from_numpy_dtype(data.dtype), len(data), [bits, pa.py_buffer(data)])


def _bits(truths: np.ndarray) -> pa.Buffer:
    return pa.py_buffer(np.packbits(truths, bitorder="little"))


def values(array: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """An Arrow array of whole numbers, none of them null, as a numpy array; chunks are joined first."""
    kind = np.dtype(str(array.type))
    if not len(array):
        return np.empty(0, kind)
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    return np.frombuffer(array.buffers()[1], kind)[array.offset : array.offset + len(array)]


def texts(words: Sequence[str], kind: pa.DataType) -> pa.Array:
    """Some words as an Arrow array of ``string`` or ``large_string``."""
    data = [word.encode() for word in words]
    starts = np.cumsum([0, *map(len, data)], dtype=np.int64 if pa.types.is_large_string(kind) else np.int32)
    return pa.Array.from_buffers(kind, len(data), [None, pa.py_buffer(starts), pa.py_buffer(b"".join(data))])
