"""Kafka's topics as a source: what is captured of them, how they are read, and what is noticed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError as LibraryError

from recovery_kit.errors import ParameterError
from recovery_kit.kafka import changes, deliver, inquire, log, wire
from recovery_kit.kafka.waiting import NEXT_WORD
from recovery_kit.sources.progress import Progress
from recovery_kit.sources.source import Chunk
from recovery_kit.sources.span import Span
from recovery_kit.sources.window import Window


class Topics:
    """Topics between bounds that were captured, on a connection that is open: a `Source`."""

    def __init__(
        self,
        consumer: KafkaConsumer,
        found: Mapping[str, wire.Topic],
        spans: list[Span],
        *,
        timeout: float,
        tell: Progress,
    ) -> None:
        self.name, self.spans, self.notes = ", ".join(found), spans, list[str]()
        self._consumer, self._found, self._timeout, self._tell = consumer, found, timeout, tell
        for note in inquire.compaction(consumer, spans):
            tell.say(note)
            self.notes.append(note)
        self.notes += inquire.open_tails(consumer, spans)

    def read(
        self, spans: Sequence[Span], *, go_on: bool = True, timeout: float | None = None
    ) -> Iterator[Chunk]:
        """As a `Source` does; what a restart or a new leader holds up is tried again."""
        reading = log.read_spans(
            self._consumer,
            spans,
            timeout=self._timeout if timeout is None else timeout,
            go_on=go_on,
            on_wait=self._on_wait,
            on_doubt=self._on_doubt,
        )
        for span, delivery in reading:
            yield Chunk(span, delivery.offsets, partial(deliver.decode, delivery))

    def look_back(self) -> dict[str, int]:
        """As a `Source` does; notes partitions that came meanwhile."""
        self.notes += changes.new_partitions(self._consumer, self._found, self._timeout)
        return changes.look_back(self._consumer, self.spans, self._timeout, self._tell.waiting)

    def _on_wait(self, seconds: float, what: str) -> None:
        self._tell.waiting(seconds, what)
        # A topic made anew, or gone, would be waited for in vain; brokers that are coming up may
        # not know it yet.
        with suppress(LibraryError):
            patient = seconds < NEXT_WORD
            changes.same_topics(self._consumer, self._found, 1.0, patient=patient)

    def _on_doubt(self) -> None:
        changes.same_topics(self._consumer, self._found, self._timeout)


@contextmanager
def opened(
    topics: list[str],
    cut: Window,
    *,
    bootstrap_servers: str | list[str] | None,
    client_config: str | Path | None,
    partitions: list[int] | None,
    timeout: float,
    most: int,
    tell: Progress,
) -> Iterator[Topics]:
    """Connect, and capture the bounds of some topics' partitions, once.

    Parameters
    ----------
    topics : list of str
    cut : Window
        Its offsets are bounds; where it begins at a time, partitions start at the first offset
        still held.
    bootstrap_servers, client_config, partitions, timeout
        As for `recovery_kit.replay`.
    most : int
        Bytes that the batches of one fetch may decompress to.
    tell : Progress
        Told what is waited for, and what is worth saying at once.

    Raises
    ------
    KafkaError
        Cannot connect, no such topic or partition, not authorised.
    ParameterError
        The window names a partition that there is not, or offsets that cannot be read.
    """
    with wire.connected(bootstrap_servers, client_config, timeout=timeout, most=most) as consumer:
        found = log.find(consumer, topics, partitions, timeout)
        for t, p in (*cut.since_offsets, *cut.until_offsets):
            if p not in found[t].partitions:
                raise ParameterError(
                    f"since or until names {t}-{p}; {t!r} has the partitions "
                    f"{sorted(found[t].partitions)}"
                )
        wanted = [
            TopicPartition(t, p)
            for t in topics
            for p in sorted(set(partitions or found[t].partitions))
        ]
        since, until = (
            {TopicPartition(*place): offset for place, offset in bound.items()}
            for bound in (cut.since_offsets, cut.until_offsets)
        )
        spans = log.capture(
            consumer,
            wanted,
            since,
            until,
            whole=cut.since_ms is None,
            timeout=timeout,
            on_wait=tell.waiting,
        )
        yield Topics(consumer, found, spans, timeout=timeout, tell=tell)
