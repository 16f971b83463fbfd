"""replay(): the one way in. From a log to the events table, with the coverage that says whether it
is whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pyarrow as pa

from recovery_kit import _show, kernels
from recovery_kit._loading import ahead, loading
from recovery_kit.errors import ParameterError
from recovery_kit.payload.reader import Reader
from recovery_kit.schema import EventSchema
from recovery_kit.sources import memory
from recovery_kit.sources.coverage import MEANING, Coverage, table, worst
from recovery_kit.sources.gather import Gather
from recovery_kit.sources.progress import Progress
from recovery_kit.sources.source import Source, look_ahead, read
from recovery_kit.sources.span import COUNTS
from recovery_kit.sources.window import Moment, Window, window
from recovery_kit.tables.arrow import Frame

_ALWAYS = ("partition", "start", "end", "position", "delivered", "events")


@dataclass(frozen=True, repr=False, kw_only=True)
class Replay:
    """What a log held, as columns.

    Attributes
    ----------
    events : pandas.DataFrame
        One row a delivered event inside the window, ordered by topic, partition and offset; columns
        as in `EventSchema.arrow_types`.
    rejects : pandas.DataFrame
        Messages that could not be read: topic, partition, offset, time, reason, key, value, headers
        (as bytes).
    tombstones : pandas.DataFrame
        Messages with a null value: topic, partition, offset, time, key, headers.
    coverage : pandas.DataFrame
        One row a partition. Offsets: log_start, start, end, position, high_watermark,
        log_start_after. Counts of offsets: delivered + control + aborted + removed + lost + unread
        = end - start. Counts of delivered messages: events + outside + rejects + tombstones =
        delivered. behind_open_transaction: records between the last stable offset and the high
        watermark. verdict ("not read" where an `IncompleteReplay` came before the end).
    verdict : str
        The worst of the partitions': "complete", "truncated", "raced", "compacted" or "timed out".
    schema : EventSchema
    source : str
        What was read, for people.
    window : Window
        What ``since`` and ``until`` said.
    notes : tuple of str
        What a reader of the result must know besides.
    """

    events: Frame = Frame()
    rejects: Frame = Frame()
    tombstones: Frame = Frame()
    coverage: Frame = Frame()
    verdict: str
    schema: EventSchema
    source: str
    window: Window
    notes: tuple[str, ...] = field(default=())

    @property
    def arrow(self) -> pa.Table:
        """The events as Arrow columns, as they were read.

        A process that asks for no other table is not held up by pandas.
        """
        held = self.__dict__["_events"]
        return (
            held if isinstance(held, pa.Table) else pa.Table.from_pandas(held, preserve_index=False)
        )

    def _facts(self) -> _show.Facts:
        total = self.coverage.sum(numeric_only=True)
        labels = {
            "delivered": "messages delivered",
            "events": "events inside the window",
            "outside": "outside the window",
        }
        facts: list[tuple[str, object]] = [("coverage", f"{self.verdict}: {MEANING[self.verdict]}")]
        facts += [("window", str(self.window)), ("partitions", len(self.coverage))]
        facts += [
            (labels.get(n, n), int(total[n]))
            for n in COUNTS
            if n in ("delivered", "events") or total[n]
        ]
        return facts

    def _repr_html_(self) -> str:
        told = [
            n
            for n, column in self.coverage.items()
            if n in _ALWAYS or column.dtype.kind not in "iu" or column.any()
        ]
        tables = [
            (
                "Coverage, by partition (offsets and counts; what is 0 throughout is left out)",
                self.coverage[told],
            )
        ]
        if len(self.rejects):
            reasons = (
                self.rejects.groupby("reason")
                .size()
                .sort_values(ascending=False)
                .reset_index(name="messages")
            )
            tables.append(("Rejects, by reason (messages)", reasons))
        return _show.html_card(f"Replay of {self.source}", self._facts(), tables, self.notes)

    def __repr__(self) -> str:
        return _show.text_card(f"Replay of {self.source}", self._facts(), self.notes)


def replay(
    topic: str | list[str],
    *,
    bootstrap_servers: str | list[str] | None = None,
    schema: EventSchema | None = None,
    client_config: str | Path | None = None,
    since: Moment = None,
    until: Moment = None,
    partitions: list[int] | None = None,
    allow_incomplete: bool = False,
    timeout: float = 60.0,
    max_decompressed_mib: int = 1024,
    progress: bool = True,
) -> Replay:
    """Read a log from its start, or a window of it, into columns.

    The end of each partition is captured once, at the start; what is written later is left out
    exactly there. Joins no consumer group and commits nothing. Reads committed records only.

    Parameters
    ----------
    topic : str or list of str
        One topic, or several (a retry or dead-letter topic beside the main one).
    bootstrap_servers : str or list of str, optional
        ``host:port``, several joined by commas. Not given: ``bootstrap.servers`` of
        ``client_config``.
    schema : EventSchema, optional
        How to read a message; ``EventSchema()`` reads ``{"id": "e1", "type": "add", "value": 5}``.
    client_config : path, optional
        A client.properties file with the connection's security settings.
    since, until : optional
        The window, from ``since`` to before ``until``. A time (ISO 8601 with a zone, or a pandas
        Timestamp with one) cuts by the events' own time; a mapping of partition, or (topic,
        partition), to an offset cuts by place in the log. A time window still reads the whole log
        and filters, for timestamps in a log are not in order.
    partitions : list of int, optional
        Read these partitions only.
    allow_incomplete : bool
        Return what could be read, with its verdict, where `IncompleteReplay` would be raised.
    timeout : float
        Seconds without progress after which the read gives up.
    max_decompressed_mib : int
        MiB that the record batches of one fetch may decompress to: more is taken to be a bomb. A
        fetch is 4 MiB at most, as it comes, or else one batch.
    progress : bool
        Tell how far a read of more than five seconds has come, how fast, and how long it will
        take: a bar on a terminal and in JupyterLab, else a line every five seconds on standard
        error.

    Returns
    -------
    Replay

    Raises
    ------
    KafkaError
        Cannot connect, no such topic or partition, not authorised, the log was cut shorter or the
        topic made anew.
    ParameterError
        A time without a zone, an offset behind the end, no room for any batch.
    CorruptLog
        A record batch fails its CRC or cannot be taken apart.
    LogTooLarge
        What was asked for, with the steps after it, would not fit in memory; or a batch
        decompresses to more than ``max_decompressed_mib``.
    IncompleteReplay
        The verdict is not "complete" and ``allow_incomplete`` is false.
    """
    if max_decompressed_mib < 1:
        raise ParameterError(
            f"max_decompressed_mib is {max_decompressed_mib}; expected 1 or more, such as 1024"
        )
    with loading():
        from recovery_kit.kafka.source import opened

    ahead(kernels.load)
    topics = [topic] if isinstance(topic, str) else sorted(set(topic))
    cut = window(since, until, topics)
    with (
        Progress(timeout, enabled=progress) as tell,
        opened(
            topics,
            cut,
            bootstrap_servers=bootstrap_servers,
            client_config=client_config,
            partitions=partitions,
            timeout=timeout,
            most=max_decompressed_mib << 20,
            tell=tell,
        ) as source,
    ):
        return replayed(
            source,
            schema or EventSchema(),
            cut,
            allow_incomplete=allow_incomplete,
            patience=min(timeout, 10.0),
            tell=tell,
        )


def replayed(
    source: Source,
    schema: EventSchema,
    cut: Window,
    *,
    allow_incomplete: bool = False,
    patience: float = 10.0,
    tell: Progress | None = None,
) -> Replay:
    """Read any source into columns: what `replay` does with the topics that it opened.

    Parameters
    ----------
    source : Source
    schema : EventSchema
    cut : Window
        Events outside its times are counted and not kept. Its offsets are the source's affair.
    allow_incomplete : bool
        As for `replay`.
    patience : float
        Seconds in which to look for the first event still held, where the head of the log is gone.
    tell : Progress, optional
        Told how far the read has come.

    Raises
    ------
    LogTooLarge, IncompleteReplay, and what the source raises.
    """
    reader, coverage = Reader(schema, cut.since_ms, cut.until_ms), Coverage(source.spans, cut)
    if any(span.lost for span in source.spans) and not allow_incomplete:
        look_ahead(source, reader, coverage, patience)
        raise coverage.incomplete()
    gather, tell = Gather(source.spans), tell or Progress(0, enabled=False)
    tell.spans = source.spans
    watch = memory.Watch(source.spans, gather.kept, until=cut.until_ms is not None)
    for span, found in read(source, reader, coverage, go_on=allow_incomplete):
        gather.add(span, found)
        tell.step()
        watch.step()
    rows = coverage.rows()
    verdict, notes = worst(rows), list(source.notes)
    if verdict != "complete":
        error = coverage.incomplete()
        if not allow_incomplete:
            raise error
        notes.insert(0, str(error).split(" Or pass allow_incomplete")[0])
    if behind := coverage.headless():
        notes.append(
            f"the head of {len(behind)} partition(s) is gone; it is taken to be older than since, "
            "because the first event still held is"
        )
    return Replay(
        events=gather.events(pa.schema(schema.arrow_types), coverage),
        rejects=gather.rejects,
        tombstones=gather.tombstones,
        coverage=partial(table, rows),
        verdict=verdict,
        schema=schema,
        source=source.name,
        window=cut,
        notes=tuple(notes),
    )
