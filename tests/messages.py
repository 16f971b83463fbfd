"""Messages for tests, packed as the kit's decoders hand them on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from recovery_kit.payload import Messages

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
    data = bytearray(b"#")  # so that nothing stands at position 0

    def place(parts: list[bytes | None]) -> tuple[np.ndarray, np.ndarray]:
        at, length = [], []
        for part in parts:
            at.append(len(data))
            length.append(-1 if part is None else len(part))
            data.extend(part or b"")
        return np.array(at, np.int64), np.array(length, np.int64)

    n = len(values)
    key_at, key_len = place(keys or [None] * n)
    value_at, value_len = place(values)
    time = np.array(times if times is not None else [NOON] * n, np.int64)
    offset = np.arange(n, dtype=np.int64)
    return Messages(
        "t",
        0,
        hold(bytes(data)),
        offset,
        time,
        key_at,
        key_len,
        value_at,
        value_len,
        headers=lambda _: [],
    )
