"""A look before the leap: can the cluster be reached, what does the topic hold, and do its messages
fit the schema.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
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
from recovery_kit.payload.reader import Reader
from recovery_kit.schema import EventSchema
from recovery_kit.sources.span import Span
from recovery_kit.sources.window import window

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SAMPLE = 200
"""Messages read of each partition."""

_NAMES = {
    "id_field": ("id", "event_id", "eventid", "uuid", "message_id", "messageid", "key"),
    "type_field": (
        "type",
        "kind",
        "event_type",
        "eventtype",
        "op",
        "operation",
        "action",
        "direction",
    ),
    "value_field": ("value", "amount", "quantity", "qty", "delta", "sum", "total", "price"),
    "key_field": (
        "key",
        "account",
        "account_id",
        "accountid",
        "sku",
        "customer",
        "user",
        "user_id",
    ),
    "time_field": ("time", "timestamp", "ts", "created_at", "occurred_at", "event_time"),
}


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
    """

    facts: list[tuple[str, object]]
    partitions: pd.DataFrame
    problems: list[str]

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
        word = "something stands in the way" if self.problems else "ready to run"
        return _show.text_card(
            f"recovery-kit check: {word}", [*self.facts, *rows[:20]], self.problems
        )


def check(source: Mapping[str, Any], *, timeout: float, effects: Mapping[str, Any]) -> Check:
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
    effects : mapping
        What each type does to a total, as it was given.

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
        facts, partitions, problems = _look(source, timeout, effects)
    except KafkaError as error:
        if not error.layer:
            raise
        return Check(layers, _partitions([], {}, {}), [f"{error.layer} fails: {error}"])
    return Check(layers + facts, partitions, problems)


def _look(
    source: Mapping[str, Any], timeout: float, effects: Mapping[str, Any]
) -> tuple[list[tuple[str, object]], pd.DataFrame, list[str]]:
    """What a cluster that can be reached holds: facts, partitions and problems of a `Check`."""
    schema: EventSchema = source["schema"]
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
        reader = Reader(schema, None, None)
        samples = list(_sample(consumer, spans, timeout))
        rejects = Counter(str(r["reason"]) for m in samples for r in reader.read(m).rejects)
    read = sum(len(m) for m in samples)
    facts: list[tuple[str, object]] = [("topics", ", ".join(source["topic"]))]
    facts += [
        ("partitions", len(spans)),
        ("records", f"{int(table['records'].sum()):,} offsets between start and end"),
    ]
    facts += configs
    facts.append(("messages looked at", read))
    facts.append(("of them readable", read - sum(rejects.values())))
    problems = [f"{n:,} of {read:,}: {reason}" for reason, n in rejects.most_common(5)]
    problems += _fixes(samples, schema, effects) if rejects else []
    if not read:
        problems.append("there is no message to look at, so whether the schema fits cannot be said")
    needs_opening = [s for s in spans if s.log_start > 0]
    if needs_opening and cut.since_ms is None and not cut.since_offsets:
        first = table["first_time"].max()
        moment = "" if pd.isna(first) else f" of {first.isoformat()} or later"
        problems.append(
            f"the head of {len(needs_opening)} partition(s) is gone: give since{moment} and "
            "opening (the totals as of then)"
        )
    return facts, table, problems


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


def _fixes(samples: list[Messages], schema: EventSchema, effects: Mapping[str, Any]) -> list[str]:
    """What to change, from the fields and types that the messages do have."""
    fields: Counter[str] = Counter()
    types: Counter[str] = Counter()
    for m in samples:
        for i in range(min(len(m), 50)):
            try:
                payload = json.loads(m.value(i) or b"null")
            except (ValueError, RecursionError):
                continue
            flat = dict(_flat(payload))
            fields.update(flat)
            if isinstance(kind := flat.get(schema.type), str | int):
                types[str(kind)] += 1
    fixes = []
    roles = {f"{role}_field": ".".join(path) for role, path in schema.paths.items()}
    for parameter, name in roles.items():
        if fields and not fields[name]:
            likely = [f for f in fields if f.rpartition(".")[2].lower() in _NAMES[parameter]]
            hint = f"; perhaps {parameter}={likely[0]}" if likely else ""
            fixes.append(
                f"no message has a field {name!r} ({parameter}); they have: "
                f"{', '.join(sorted(fields)[:20])}{hint}"
            )
    unknown = {t: n for t, n in types.items() if t not in schema.effects}
    if unknown:
        seen = ", ".join(f"{_show.shorten(t, 30)} ({n})" for t, n in list(unknown.items())[:10])
        fixes.append(
            f"give these types an effect, 0 for none: {seen}; effects is now "
            f"{json.dumps(effects, default=str)}"
        )
    return fixes


def _flat(payload: object, before: str = "", depth: int = 0) -> Iterator[tuple[str, object]]:
    if isinstance(payload, dict) and depth < 5:
        for name, value in payload.items():
            dotted = before + str(name).replace(".", "\\.")
            yield (dotted, value)
            yield from _flat(value, dotted + ".", depth + 1)


def _time(ms: int | None) -> pd.Timestamp | None:
    return None if ms is None or ms < 0 else pd.Timestamp(ms, unit="ms", tz="UTC")


def _times(row: Any) -> str:
    if pd.isna(row.first_time):
        return ""
    return (
        f", {row.first_time.isoformat(timespec='seconds')} to "
        f"{row.last_time.isoformat(timespec='seconds')}"
    )
