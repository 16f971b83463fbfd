"""How far a long step has come, how fast, and how long it will take.

A bar on a terminal and in JupyterLab, gone when the step is over; where nobody watches, a line
every few seconds on standard error. tqdm works it out, and is loaded when there is something to
tell.
"""

from __future__ import annotations

import io
import os
import sys
import threading
import time as clock
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from recovery_kit._show import clean

if TYPE_CHECKING:
    from types import TracebackType

AFTER = 5.0
"""Seconds that a step takes before it is told how far it has come, and from line to line."""
REDRAWN = 0.5
"""Seconds from one drawing of a bar to the next."""

IN_LAB = "JPY_SESSION_NAME"
"""What a Jupyter server tells the kernel of a notebook that somebody has opened."""

_EXACT = 1 << 52
"""A number from which on tqdm, which adds a half to it, takes all of it for more than all."""
_BAR = "{l_bar}{bar}{r_bar}"
_LINE = "{desc}: {n:,} of {total:,}{unit} ({percentage:.0f}%), {rate_noinv_fmt}, {remaining} left"
_OPEN = "{desc}:{unit} so far: {n:,}, after {elapsed}"


class Progress:
    """Tells of one step; a context manager, at whose end nothing of it is left to see.

    Parameters
    ----------
    step : str
        Its name, with which everything that is told begins.
    unit : str
        What is counted, in the plural.
    enabled : bool
        Whether to tell anything at all.
    after : float
        Seconds before the first word, and from one line to the next.
    """

    def __init__(
        self, step: str, unit: str = "", *, enabled: bool = True, after: float = AFTER
    ) -> None:
        self.step_name, self.unit, self.enabled, self.after = step, unit, enabled, after
        self._began: float | None = None
        self._next = 0.0
        self._meter: Any = None
        self._cell = _cell() if enabled else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def stage(self, unit: str) -> None:
        """From now on something else is counted, and its rate is worked out anew."""
        if not self.enabled:
            return
        if self._meter is not None:
            self._meter.close()
            self._meter = None
        now = clock.monotonic()
        self.unit, self._began = unit, now
        self._next = self._next or now + self.after

    def due(self) -> bool:
        """Whether it is time to tell how far it has come.

        Counted from the first question on: what comes before may be the one-time compilation.
        """
        now = clock.monotonic()
        if not self.enabled or now < self._next:
            return False
        if self._began is None:
            self._began, self._next = now, now + self.after
            return self.after <= 0
        return True

    def tell(self, done: int, total: int | None = None) -> None:
        """Tell how much is done, of how much where that is known; rate and time left with it."""
        if self._meter is None:
            self._meter = self._made()
        watched = self._cell is not None or _terminal()
        self._next = clock.monotonic() + (min(REDRAWN, self.after) if watched else self.after)
        meter = self._meter
        if total and total >= _EXACT:
            total = None
        meter.total = total or None
        meter.n = min(done, total) if total else done
        meter.bar_format = _OPEN if not total else _BAR if watched else _LINE
        meter.refresh()

    def say(self, what: str) -> None:
        """Tell something that is not how far it has come; at once, and on a line of its own."""
        if not self.enabled:
            return
        line = f"{self.step_name}: {clean(what)}"
        if self._cell is not None:
            self._cell.say(line)
            return
        if self._meter is not None:
            self._meter.clear()
        print(line, file=sys.stderr)

    def close(self) -> None:
        """Take away what shows how far it has come."""
        if self._meter is not None:
            self._meter.close()
        if self._cell is not None:
            self._cell.clear()
        self._meter, self.enabled = None, False

    def _made(self) -> Any:
        show = self._cell.draw if self._cell is not None else _print
        bar = self._cell is None and _terminal()
        meter = _meter(None if bar else show)(
            desc=self.step_name,
            unit=f" {self.unit}" if self.unit else "",
            unit_scale=True,
            file=sys.stderr if bar else io.StringIO(),  # which is sent carriage returns
            leave=False,
            dynamic_ncols=bar,
            ncols=None if bar else 80,
            ascii=None if bar else False,
            delay=1e-12,  # so that it does not show itself before it knows how far the step is
        )
        now = clock.monotonic()
        # By a clock that nobody sets, and from the step's own start.
        meter._time, meter.last_print_t = lambda: clock.monotonic(), now
        meter.start_t = now if self._began is None else self._began
        return meter


def _meter(show: Callable[[str], None] | None) -> type[Any]:
    """A tqdm without its thread and its semaphore; ``show``, if given, shows what it says."""
    from tqdm import tqdm

    class Meter(tqdm):  # type: ignore[misc]
        monitor_interval = 0
        _lock = threading.RLock()

        def display(self, msg: str | None = None, pos: int | None = None) -> bool:
            if show is None:
                return bool(super().display(msg, pos))
            show(str(self) if msg is None else msg)
            return True

    return Meter


SILENT = Progress("", enabled=False)
"""For whoever has nobody to tell."""


def _terminal() -> bool:
    """Whether standard error is a terminal, and one that says how wide it is."""
    try:
        return sys.stderr.isatty() and os.get_terminal_size(sys.stderr.fileno()).columns > 0
    except (OSError, ValueError):
        return False


def _print(line: str) -> None:
    if line:
        print(line, file=sys.stderr)


def _cell() -> _Cell | None:
    """The cell of a notebook in JupyterLab that this runs in; None where it does not."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None or not hasattr(shell, "kernel") or IN_LAB not in os.environ:
        return None
    return _Cell(shell)


class _Cell:
    """One output of a cell: a bar, and what was said last; empty when it is over.

    Standard error would be painted red, and stay in the saved notebook; a widget would stay there
    as a dead bar.
    """

    def __init__(self, shell: Any) -> None:
        self._shell, self._id, self._there = shell, uuid.uuid4().hex, False
        self._bar = self._said = ""

    def draw(self, bar: str) -> None:
        self._bar = bar
        self._show()

    def say(self, line: str) -> None:
        self._said = line
        self._show()

    def clear(self) -> None:
        self._bar = self._said = ""
        self._show()

    def _show(self) -> None:
        text = "\n".join(line for line in (self._bar, self._said) if line)
        if text or self._there:
            self._shell.display_pub.publish(
                {"text/plain": text},
                {},
                transient={"display_id": self._id},
                update=self._there,
            )
            self._there = True
