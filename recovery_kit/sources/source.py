"""What a source of events says, and the one loop that reads any of them.

A source is a log between bounds that were captured once: a topic, files, an archive. It says which
partitions it has and from where to where each is read, gives their messages in columns and in
order, and accounts for every offset in between. How it does that is its own affair: nothing above
knows one source from another.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

from recovery_kit._threads import in_order

if TYPE_CHECKING:
    from recovery_kit.payload.messages import Messages, Read
    from recovery_kit.payload.reader import Reader
    from recovery_kit.sources.coverage import Coverage
    from recovery_kit.sources.span import Span


class Chunk(NamedTuple):
    """Some messages of one partition, one after the other, not decoded yet.

    Attributes
    ----------
    span : Span
        Its tally has moved on over them already.
    offsets : int
        How many offsets it moved over for them. Those that turn out to hold no message count as
        removed.
    decode : callable
        Gives the messages, in offset order; called once, in any thread.
    """

    span: Span
    offsets: int
    decode: Callable[[], Messages]


class Source(Protocol):
    """A log between captured bounds, one or more partitions of it.

    Attributes
    ----------
    name : str
        What is read, for people.
    spans : list of Span
        A partition each, at least one and no two of one name, with the bounds that were captured
        when the source was made. What is written to the log after that is never seen.
    notes : list of str
        What a reader of the result must know besides; added to until `look_back` has returned.
    """

    name: str
    spans: list[Span]
    notes: list[str]

    def read(
        self, spans: Sequence[Span], *, go_on: bool = True, timeout: float | None = None
    ) -> Iterator[Chunk]:
        """Read spans from their positions to their ends, once.

        Parameters
        ----------
        spans : sequence of Span
            Those of this source, or the same partitions `Span.anew`. Brought forward in place:
            before a chunk is given, its span's ``tally.position`` stands behind it, and what lies
            between two chunks is in the tally as ``control``, ``aborted`` or ``removed``; what went
            while it was read is in ``lost`` and ``raced``. A span whose ``end`` the caller lowers
            meanwhile ends there.
        go_on : bool
            Whether to read on where records went during the read; else it ends there.
        timeout : float, optional
            Seconds without progress after which spans that are not done are marked ``timed_out``,
            with the ``obstacle``; not given: the source's own.

        Yields
        ------
        Chunk
            In offset order within each partition.

        Raises
        ------
        RecoveryKitError
            What is read is damaged, or is another log than the one that was captured.
        """
        ...

    def look_back(self) -> Mapping[str, int]:
        """Where each partition starts after the read, by ``str(span)``.

        Raises
        ------
        RecoveryKitError
            It is not the log that was read any more: it was cut shorter, made anew or changed.
        """
        ...


def read(
    source: Source, reader: Reader, coverage: Coverage, *, go_on: bool
) -> Iterator[tuple[Span, Read]]:
    """Read a source from its captured starts to its captured ends, and look back.

    Chunks are decoded and read on as many threads as there are processors; what they hold is booked
    and counted in their own order.

    Parameters
    ----------
    source : Source
    reader : Reader
    coverage : Coverage
        Of the source's spans; brought forward.
    go_on : bool
        Whether to read on where records went during the read.

    Yields
    ------
    (Span, Read)
        What became of the messages of each chunk, in offset order within each partition.
    """
    work = partial(_read, reader)
    for chunk, (count, found) in in_order(work, source.read(source.spans, go_on=go_on)):
        chunk.span.tally.book(count, offsets=chunk.offsets)
        coverage.count(chunk.span, found)
        yield chunk.span, found
    if all(span.done for span in source.spans):
        coverage.log_start_after = source.look_back()


def _read(reader: Reader, chunk: Chunk) -> tuple[int, Read]:
    """How many messages a chunk holds, and what became of them."""
    messages = chunk.decode()
    return len(messages), reader.read(messages)


def look_ahead(source: Source, reader: Reader, coverage: Coverage, timeout: float) -> None:
    """Find the time of the first event still held in each partition, and no more.

    For an error that says from where on the log can be read; given up after ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    for chunk in source.read([span.anew() for span in source.spans], timeout=timeout):
        _, found = _read(reader, chunk)
        if found.first_time is not None:
            coverage.first_times[str(chunk.span)] = found.first_time
        if found.first_time is not None or time.monotonic() > deadline:
            chunk.span.end = chunk.span.tally.position
