"""Message formats v0 and v1 (before Apache Kafka 0.11), on the slow road: kafka-python takes them apart one by one."""

from __future__ import annotations

import numpy as np

from recovery_kit.errors import CorruptLog
from recovery_kit.kafka.batches import Batch, Fetch
from recovery_kit.payload import Messages


def read_legacy(fetch: Fetch, batches: list[Batch], where: str) -> Messages:
    """Read batches of the formats v0 and v1; raises CorruptLog where a CRC does not match."""
    from kafka.record.legacy_records import LegacyRecordBatch

    data = bytearray()
    rows = []
    for batch in batches:
        if batch.magic > 1:
            raise CorruptLog(f"{where}: message formats v{batch.magic} and v0 or v1 stand in one fetch; cannot be read")
        raw = LegacyRecordBatch(fetch.records[batch.start : batch.end], batch.magic)
        if not raw.validate_crc():
            raise CorruptLog(f"{where}: the CRC of the message at offset {batch.base_offset} does not match its bytes")
        for record in raw:
            row = [record.offset, -1 if record.timestamp is None else record.timestamp]
            for part in (record.key, record.value):
                row += [len(data), -1 if part is None else len(part)]
                data += part or b""
            rows.append(row)
    table = np.array(rows, np.int64).reshape(-1, 6)
    columns = (np.ascontiguousarray(table[:, c]) for c in range(6))
    buffer = np.frombuffer(bytes(data), np.uint8)
    return Messages(fetch.topic, fetch.partition, buffer, *columns, headers=lambda _: [])  # these formats have none
