"""What of a read is kept in memory."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from recovery_kit.errors import IdentityError
from recovery_kit.payload.messages import REJECT_SCHEMA, TOMBSTONE_SCHEMA, Read
from recovery_kit.sources import memory
from recovery_kit.sources.coverage import Coverage
from recovery_kit.sources.span import Span

Rows = list[dict[str, object]]


class Gather:
    """Keeps what the spans deliver, partition by partition.

    Attributes
    ----------
    kept : dict of str to int
        Bytes, by ``str(span)``.
    """

    def __init__(self, spans: Sequence[Span]) -> None:
        self._events: dict[str, list[pa.RecordBatch]] = {str(s): [] for s in spans}
        self._rejects: dict[str, Rows] = {str(s): [] for s in spans}
        self._tombstones: dict[str, Rows] = {str(s): [] for s in spans}
        self.kept = dict.fromkeys(self._events, 0)

    def add(self, span: Span, read: Read) -> None:
        """Keep what became of some messages of a span; in offset order within each partition."""
        name = str(span)
        if read.events.num_rows:
            self._events[name].append(read.events)
        self._rejects[name] += read.rejects
        self._tombstones[name] += read.tombstones
        self.kept[name] += memory.size(read)

    def events(self, types: pa.Schema, coverage: Coverage) -> pa.Table:
        """The events, in the spans' order, which are then no longer kept here.

        Raises
        ------
        IdentityError
            They are not as many as were counted.
        """
        batches = [batch for name in self.kept for batch in self._events.pop(name)]
        table = pa.Table.from_batches(batches, types)
        counted = sum(counts.events for counts in coverage.counts.values())
        if len(table) != counted:
            raise IdentityError(f"{len(table)} events are kept of the {counted} that were counted")
        return table

    def rejects(self) -> pa.Table:
        """The rejects, in the spans' order."""
        rows = [row for rows in self._rejects.values() for row in rows]
        return pa.Table.from_pylist(rows, REJECT_SCHEMA)

    def tombstones(self) -> pa.Table:
        """The tombstones, in the spans' order."""
        rows = [row for rows in self._tombstones.values() for row in rows]
        return pa.Table.from_pylist(rows, TOMBSTONE_SCHEMA)
