"""Loading libraries without looking for garbage among them."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Keep the garbage collector from looking through libraries, again and again, while they are loaded.

    They make some hundred thousand objects, all of which stay: a tenth of the CPU of a short process went into that.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():
            gc.freeze()
            gc.unfreeze()  # which leaves everything in the oldest generation, as if it had been looked through
        gc.enable()
