"""Buffers that end where memory ends: who reads one byte behind them is ended by the system, not
forgiven.
"""

from __future__ import annotations

import ctypes
import mmap

import numpy as np

_PAGE = mmap.PAGESIZE


class Guarded:
    """Room whose last byte stands before a page that can neither be read nor written."""

    def __init__(self, room: int) -> None:
        self._pages = -(-room // _PAGE)
        self._map = mmap.mmap(-1, (self._pages + 1) * _PAGE)
        self._whole = np.frombuffer(self._map, np.uint8)
        behind = self._whole.ctypes.data + self._pages * _PAGE
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mprotect(ctypes.c_void_p(behind), ctypes.c_size_t(_PAGE), 0):
            raise OSError(ctypes.get_errno(), "mprotect")

    def holding(self, data: bytes) -> np.ndarray:
        """These bytes, the last one at the edge; the next call uses the same room."""
        end = self._pages * _PAGE
        view = self._whole[end - len(data) : end]
        view[:] = np.frombuffer(data, np.uint8)
        return view
