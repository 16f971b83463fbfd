"""A look before the leap: can the cluster be reached, what does the topic hold, and do its messages
fit the schema.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pandas as pd
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError as LibraryError

from recovery_kit import _show
from recovery_kit.errors import ERROR, MATCHED, KafkaError
from recovery_kit.kafka import log, wire
from recovery_kit.kafka.client.connection import client_options, probe
from recovery_kit.kafka.deliver import decode
from recovery_kit.payload.messages import Messages
from recovery_kit.payload.sample import look
from recovery_kit.sources.span import Span
from recovery_kit.sources.window import window

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SAMPLE = 200
"""Offsets read of each partition."""
_SHOWN = 20
"""Partitions that are listed one by one."""
_LATEST = 253_402_300_799_999


@dataclass(frozen=True, repr=False)
class Check:
    """What a check found.

    Attributes
    ----------
    facts : list of (label, value)
    partitions : pandas.DataFrame
        A row a partition: topic, partition, log_start, end, records (offsets between them),
        first_time, last_time.
    problems : list of str
        What stands in the way of a run, each with its fix.
    warnings : list of str
        What does not, and may yet be a mistake in the parameters.
    """

    facts: list[tuple[str, object]]
    partitions: pd.DataFrame
    problems: list[str]
    warnings: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 when nothing stands in the way of a run, else 2."""
        return ERROR if self.problems else MATCHED

    def __repr__(self) -> str:
        rows = [
            (
                f"{_show.clean(p.topic)}-{p.partition}",
                f"offsets {p.log_start:,} to {p.end:,}{_times(p)}",
            )
            for p in self.partitions.itertuples()
        ]
        if len(rows) > _SHOWN:
            rows[_SHOWN:] = [("", f"and {len(rows) - _SHOWN:,} partitions more")]
        word = "ready to run, with a warning" if self.warnings else "ready to run"
        word = "something stands in the way" if self.problems else word
        return _show.text_card(
            f"recovery-kit check: {word}",
            [*self.facts, *rows],
            [*self.problems, *self.warnings],
        )


def check(source: Mapping[str, Any], *, timeout: float) -> Check:
    """Connect layer by layer, describe the topics, and read the first messages of each partition by
    the schema.

    What fails of name lookup, TCP, TLS, SASL, ACL and topic is a problem of the check, behind the
    layers that work.

    Parameters
    ----------
    source : mapping
        The arguments of `recovery_kit.replay`, by name, with ``topic`` a list.
    timeout : float
        Seconds without an answer after which it gives up.

    Raises
    ------
    KafkaError
        The cluster fails in another way, such as a partition without a leader.
    """
    rows = probe(
        client_options(source["bootstrap_servers"], source["client_config"]),
        min(timeout, 10.0),
    )
    layers: list[tuple[str, object]] = [(layer, detail) for layer, _, detail in rows]
    layer, works, detail = rows[-1]
    # Where one broker of several is down, the others may hold the topic.
    if not works and layer != "brokers":
        return Check(layers[:-1], _partitions([], {}, {}), [f"{layer} fails: {detail}"])
    try:
        found = _look(source, timeout)
    except KafkaError as error:
        if not error.layer:
            raise
        return Check(layers, _partitions([], {}, {}), [f"{error.layer} fails: {error}"])
    return replace(found, facts=layers + found.facts)


def _look(source: Mapping[str, Any], timeout: float) -> Check:
    """What a cluster that can be reached holds."""
    cut = window(source["since"], source["until"], source["topic"])
    small = {"max_partition_fetch_bytes": 1 << 18}
    options = (source["bootstrap_servers"], source["client_config"])
    most = source["max_decompressed_mib"] << 20
    with wire.connected(*options, timeout=timeout, most=most, more=small) as consumer:
        found = log.find(consumer, source["topic"], source["partitions"], timeout)
        places = [
            TopicPartition(t, p)
            for t in source["topic"]
            for p in sorted(source["partitions"] or found[t].partitions)
        ]
        spans = log.capture(consumer, places, {}, {}, whole=False, timeout=timeout)
        firsts = log.batch_times(consumer, spans, timeout=10.0)
        lasts = log.batch_times(consumer, spans, last=True, timeout=10.0)
        table = _partitions(spans, firsts, lasts)
        configs = _configs(options, source["topic"])
        seen = look(list(_sample(consumer, spans, timeout)), source["schema"])
    facts: list[tuple[str, object]] = [("topics", ", ".join(source["topic"]))]
    facts += [
        ("partitions", len(spans)),
        ("records", f"{int(table['records'].sum()):,} offsets between start and end"),
    ]
    facts += configs
    facts += [
        (
            "messages looked at",
            f"{seen.messages:,}, in the first {SAMPLE} offsets of each partition",
        ),
        ("of them events", seen.events),
        ("of them tombstones", seen.tombstones),
    ]
    problems = [*_unread(spans), *seen.problems]
    if seen.messages == seen.tombstones:
        what = (
            "every message looked at is a tombstone"
            if seen.messages
            else "there is no message to look at"
        )
        problems.append(f"{what}, so whether the schema fits cannot be said")
    needs_opening = [s for s in spans if s.log_start > 0]
    if needs_opening and cut.since_ms is None and not cut.since_offsets:
        first = table["first_time"].max()
        moment = "" if pd.isna(first) else f" of {first.isoformat()} or later"
        problems.append(
            f"the head of {len(needs_opening)} partition(s) is gone: give since{moment} and "
            "opening (the totals as of then)"
        )
    return Check(facts, table, problems, seen.warnings)


def _partitions(spans: list[Span], firsts: dict[str, int], lasts: dict[str, int]) -> pd.DataFrame:
    rows = [
        {
            "topic": s.topic,
            "partition": s.partition,
            "log_start": s.log_start,
            "end": s.stable,
            "records": s.stable - s.log_start,
            "first_time": _time(firsts.get(str(s))),
            "last_time": _time(lasts.get(str(s))),
        }
        for s in spans
    ]
    columns = ["topic", "partition", "log_start", "end", "records", "first_time", "last_time"]
    return pd.DataFrame(rows, columns=columns)


def _unread(spans: list[Span]) -> list[str]:
    """Where less was looked at than there is."""
    return [
        f"{s}: looked at to offset {s.tally.position:,}, not to {s.end:,}: {s.obstacle}"
        for s in spans
        if s.timed_out
    ]


def _sample(consumer: KafkaConsumer, spans: list[Span], timeout: float) -> Iterator[Messages]:
    for span in spans:
        span.tally.position = span.log_start
        span.start, span.end = span.log_start, min(span.stable, span.log_start + SAMPLE)
    for _, delivery in log.read_spans(consumer, spans, timeout=timeout):
        yield decode(delivery)


def _configs(options: tuple[Any, Any], topics: list[str]) -> list[tuple[str, object]]:
    """Retention and clean-up of the topics, where the cluster lets us ask."""
    facts: list[tuple[str, object]] = []
    try:
        admin = KafkaAdminClient(**client_options(*options))
        try:
            wanted = [ConfigResource(ConfigResourceType.TOPIC, t) for t in topics]
            found = admin.describe_configs(wanted)
        finally:
            admin.close()
    except (LibraryError, ValueError) as error:
        return [
            (
                "retention",
                f"not known: {type(error).__name__}; it needs the ACL operation DescribeConfigs",
            )
        ]
    for topic in topics:
        values = _values(found, topic)
        keep = int(values.get("retention.ms", -1))
        size = int(values.get("retention.bytes", -1))
        days = "for ever" if keep < 0 else f"{keep / 86_400_000:,.1f} days"
        limit = "" if size < 0 else f", at most {size:,} bytes a partition"
        facts.append((f"retention of {_show.shorten(topic, 30)}", f"{days}{limit}"))
        if "compact" in values.get("cleanup.policy", ""):
            facts.append(
                (
                    f"clean-up of {_show.shorten(topic, 30)}",
                    "compact: older records of a key are removed",
                )
            )
    return facts


def _values(found: Any, topic: str) -> dict[str, str]:
    """The settings of one topic out of what kafka-python's describe_configs gives: kind, name,
    setting.
    """
    return {
        name: str(entry["value"]) for name, entry in found.get("topic", {}).get(topic, {}).items()
    }


def _time(ms: int | None) -> pd.Timestamp | None:
    return None if ms is None or not 0 <= ms <= _LATEST else pd.Timestamp(ms, unit="ms", tz="UTC")


def _times(row: Any) -> str:
    if pd.isna(row.first_time):
        return ""
    return (
        f", {row.first_time.isoformat(timespec='seconds')} to "
        f"{row.last_time.isoformat(timespec='seconds')}"
    )
