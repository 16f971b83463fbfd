"""Where the kit's time goes, from the start of the interpreter to the totals: python where.py
SERVERS TOPIC.

Wraps the kit's own functions with clocks. A part's time does not hold that of the parts inside it.
Parts that several threads work on at once show the sum over the threads, and what the main thread
does meanwhile is wait for them.
"""

from __future__ import annotations

import importlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

PARTS = {
    "recovery_kit.kafka.wire:open_consumer": "connect",
    "recovery_kit.kafka.log:find": "look the topic up",
    "recovery_kit.kafka.log:capture": "capture the ends",
    "recovery_kit.kafka.wire:poll": "fetch and wait",
    "recovery_kit.kafka.records:check_crc": "CRC",
    "recovery_kit.kafka.records:_bodies": "decompress",
    "recovery_kit.kafka.records:decode": "decode batches",
    "recovery_kit.payload.reader:Reader.read": "columns of a fetch",
    "recovery_kit.sources.source:_read": "the rest of a thread's work",
    "recovery_kit.sources.gather:Gather.events": "put together",
    "recovery_kit.replay:replay": "the rest of replay, and waiting",
    "recovery_kit.dedup:dedup": "dedup",
    "recovery_kit.totals:totals": "totals",
}
spent: dict[str, list[float]] = {}
_adding = threading.Lock()


class _Inside(threading.local):
    """What the parts inside those under way have taken, thread by thread."""

    def __init__(self) -> None:
        self.parts: list[list[float]] = []


_here = _Inside()


@contextmanager
def part(name: str) -> Iterator[None]:
    """Book what happens inside under a name, first calls apart from later ones."""
    inside = _here.parts
    inside.append([0.0, 0.0])
    wall, cpu = time.perf_counter(), time.thread_time()
    try:
        yield
    finally:
        took = time.perf_counter() - wall, time.thread_time() - cpu
        inner = inside.pop()
        with _adding:
            book = spent.setdefault(name, [0.0, 0.0, 0, 0.0])
            for k in (0, 1):
                book[k] += took[k] - inner[k]
                if inside:
                    inside[-1][k] += took[k]
            if not book[2]:
                book[3] = took[1] - inner[1]
            book[2] += 1


def wrap(place: str, name: str) -> None:
    """Put a clock around a function, wherever the kit's modules hold it."""
    module, _, path = place.partition(":")
    holder: Any = importlib.import_module(module)
    *outer, last = path.split(".")
    for step in outer:
        holder = getattr(holder, step)
    inner = getattr(holder, last)
    clocked = _clocked(inner, name)
    setattr(holder, last, clocked)
    for other in list(sys.modules.values()):
        if (
            getattr(other, "__name__", "").startswith("recovery_kit")
            and getattr(other, last, None) is inner
        ):
            setattr(other, last, clocked)


def _clocked(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    def clocked(*args: Any, **more: Any) -> Any:
        with part(name):
            return function(*args, **more)

    return clocked


def main() -> None:
    """Replay, dedup, totals; then say where the time went."""
    servers, topic = sys.argv[1:3]
    begun = time.perf_counter()
    with part("import recovery_kit"):
        import recovery_kit as rk
    for module in (
        "recovery_kit.replay",
        "recovery_kit.kafka.log",
        "pyarrow.compute",
        "recovery_kit.totals",
    ):
        with part(f"import {module}"):
            importlib.import_module(module)
    for place, name in PARTS.items():
        wrap(place, name)
    rk = sys.modules["recovery_kit"]
    schema = rk.EventSchema(id="id", type="type", value="value", key="account", time="ts")
    events = rk.replay(topic, bootstrap_servers=servers, schema=schema, progress=False).arrow
    unique = rk.dedup(events)
    rk.totals(unique)
    print(
        f"{len(events):,} events, {time.perf_counter() - begun:.2f} s, cpu "
        f"{time.process_time():.2f} s with all threads\n"
    )
    print(f"{'part':<36} {'wall s':>8} {'cpu s':>8} {'calls':>6} {'first':>8}")
    for name, (wall, cpu, calls, first) in spent.items():
        print(f"{name:<36} {wall:>8.3f} {cpu:>8.3f} {calls:>6} {first:>8.3f}")


if __name__ == "__main__":
    main()
