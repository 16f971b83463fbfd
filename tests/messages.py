"""Messages for tests, packed as the kit's decoders hand them on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from recovery_kit.payload.messages import Messages

NOON = 1_772_452_800_000  # 2026-03-02T12:00:00Z


def pack(
    values: list[bytes | None],
    keys: list[bytes | None] | None = None,
    times: list[int] | None = None,
    *,
    hold: Callable[[bytes], np.ndarray] = lambda data: np.frombuffer(data, np.uint8),
) -> Messages:
    """Some message values of one partition, at offsets 0, 1, 2....

    Their keys stand before them in the buffer.

    ``hold`` makes the buffer of its bytes.
    """
    n = len(values)
    made = Messages.packed(
        "t",
        0,
        offsets=range(n),
        times=times if times is not None else [NOON] * n,
        keys=keys or [None] * n,
        values=values,
    )
    return replace(made, buffer=hold(made.buffer.tobytes()))
