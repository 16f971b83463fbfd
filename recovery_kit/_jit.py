"""How the compiled parts are compiled: without the interpreter's lock, and kept on disk where there is a place for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def jit(function: Callable[..., Any]) -> Any:
    """Compile a function at its first call; what was compiled is kept beside the module, or in the user's cache folder."""
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:  # neither place can be written: compile in each process
        return njit(nogil=True)(function)
