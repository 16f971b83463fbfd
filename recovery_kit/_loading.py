"""Loading libraries without looking for garbage among them, and while something else is waited
for.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


@contextmanager
def loading() -> Iterator[None]:
    """Keep the garbage collector from looking through libraries, again and again, while they are
    loaded.

    They make some hundred thousand objects, all of which stay: a tenth of the CPU of a short
    process went into that.
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
            # which leaves everything in the oldest generation, as if it had been looked through
            gc.unfreeze()
        gc.enable()


def ahead(*loads: Callable[[], object]) -> None:
    """Load things on a thread of their own, while the network is waited for.

    Whoever uses one then waits for the rest of it.

    What cannot be loaded says so where it is used.
    """

    def load() -> None:
        with suppress(Exception), loading():
            for one in loads:
                one()

    # Not a daemon: the interpreter would end it in the middle of a library, which can end the
    # process with it.
    threading.Thread(target=load, name="recovery-kit-loading").start()
