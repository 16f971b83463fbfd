"""Arrow's columns seen as numpy's arrays and the other way about, and as pandas frames only where
somebody asks for one.

pyarrow's own ``array`` and ``to_numpy`` import pandas wherever it is installed (as of 26.0), which
takes as long as to read half a million events.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    import pandas as pd


def column(values: np.ndarray, valid: np.ndarray | None = None) -> pa.Array:
    """A numpy array of whole numbers, or of truth values, as an Arrow array.

    Null where it is not ``valid``.
    """
    bits = None if valid is None else _bits(valid)
    if values.dtype == np.bool_:
        return pa.Array.from_buffers(pa.bool_(), len(values), [bits, _bits(values)])
    data = np.ascontiguousarray(values)
    return pa.Array.from_buffers(
        pa.from_numpy_dtype(data.dtype), len(data), [bits, pa.py_buffer(data)]
    )


def _bits(truths: np.ndarray) -> pa.Buffer:
    return pa.py_buffer(np.packbits(truths, bitorder="little"))


def values(array: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """An Arrow array of whole numbers, none of them null, as a numpy array.

    Chunks are joined first.
    """
    kind = np.dtype(str(array.type))
    if not len(array):
        return np.empty(0, kind)
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    return np.frombuffer(array.buffers()[1], kind)[array.offset : array.offset + len(array)]


def texts(words: Sequence[str], kind: pa.DataType) -> pa.Array:
    """Some words as an Arrow array of ``string`` or ``large_string``."""
    data = [word.encode() for word in words]
    starts = np.cumsum(
        [0, *map(len, data)], dtype=np.int64 if pa.types.is_large_string(kind) else np.int32
    )
    return pa.Array.from_buffers(
        kind, len(data), [None, pa.py_buffer(starts), pa.py_buffer(b"".join(data))]
    )


def to_pandas(table: pa.Table) -> pd.DataFrame:
    """An Arrow table as a pandas frame whose columns stay Arrow's, without a copy."""
    import pandas as pd

    frame: pd.DataFrame = table.to_pandas(types_mapper=pd.ArrowDtype)
    return frame


class Frame:
    """An attribute that is given a pandas frame, an Arrow table or what makes one, and that gives a
    pandas frame.

    The frame is made when it is first asked for: a process that never does is not held up by
    pandas.
    """

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = f"_{name}"

    def __set__(self, holder: Any, given: pd.DataFrame | pa.Table | Callable[[], pa.Table]) -> None:
        holder.__dict__[self._name] = given

    def __get__(self, holder: Any, _owner: type | None = None) -> pd.DataFrame:
        if holder is None:
            raise AttributeError  # a field of a dataclass, without a default
        held = holder.__dict__[self._name]
        if isinstance(held := held() if callable(held) else held, pa.Table):
            holder.__dict__[self._name] = to_pandas(held)
        frame: pd.DataFrame = holder.__dict__[self._name]
        return frame
