"""What a sample of messages says of a schema: what is wrong for each role, and what to set instead.

Every count is made by the exact reader, so that what is told here is what a replay will do.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from recovery_kit._show import clean, shorten
from recovery_kit.errors import SchemaError
from recovery_kit.payload.exact import Object, Reject, faults, parse, type_of
from recovery_kit.payload.messages import Messages, Read
from recovery_kit.payload.reader import Reader
from recovery_kit.schema import DIGITS, TIME_UNITS, EventSchema

_NAMES = {
    "id": "id event_id eventid uuid message_id messageid",
    "type": "type kind event_type eventtype op operation action direction",
    "value": "value amount quantity qty delta sum total price",
    "key": "key account account_id accountid sku customer user user_id",
    "time": "time timestamp ts created_at occurred_at event_time",
}
"""What fields of a role are often called, the likeliest first."""

_NO_EFFECT = "has no effect in the schema"
_DEEPEST, _MOST = 5, 20
_TRIED = 200
"""Messages on which each field that might do is tried; the best is then held against them all."""
_MANY = 3
"""Repeats that differ; fewer may be true conflicts, which a run tells one by one."""

Path = tuple[str, ...]


class _Bad(NamedTuple):
    """A message that cannot be read."""

    value: bytes
    key: bytes | None
    time: int
    payload: object
    """None where it has no fields to look at."""

    def faults(self, schema: EventSchema) -> dict[str, str]:
        return faults(self.value, self.key, self.time, schema)


@dataclass(frozen=True)
class Sample:
    """What a sample of messages says.

    Attributes
    ----------
    messages, events, tombstones : int
        How many there are; those that are neither events nor tombstones cannot be read.
    problems : list of str
        What cannot be read, how often, and what to set.
    warnings : list of str
        What can be read, but perhaps not as it is meant.
    """

    messages: int
    events: int
    tombstones: int
    problems: list[str]
    warnings: list[str]


def look(samples: Sequence[Messages], schema: EventSchema) -> Sample:
    """Hold messages against a schema.

    Parameters
    ----------
    samples : sequence of Messages
        Of any partitions.
    schema : EventSchema
    """
    reader = Reader(schema)
    reads = [reader.read(m) for m in samples]
    bad = [_bad(r) for read in reads for r in read.rejects]
    messages, events = sum(map(len, samples)), sum(len(read.events) for read in reads)
    return Sample(
        messages=messages,
        events=events,
        tombstones=sum(len(read.tombstones) for read in reads),
        problems=_problems(bad, messages, schema),
        warnings=_repeats(samples, reads, schema),
    )


def _bad(reject: dict[str, object]) -> _Bad:
    value, key, time = reject["value"], reject["key"], reject["time"]
    assert isinstance(value, bytes)
    payload = None
    with suppress(Reject):
        payload = parse(value)
    return _Bad(
        value,
        key if isinstance(key, bytes) else None,
        time if isinstance(time, int) else -1,
        payload,
    )


def _problems(bad: list[_Bad], messages: int, schema: EventSchema) -> list[str]:
    """A line for each thing that is wrong, those of most messages first."""
    found: dict[tuple[str, str], list[_Bad]] = {}
    for message in bad:
        for role, reason in message.faults(schema).items():
            told = _NO_EFFECT if role == "type" and reason.endswith(_NO_EFFECT) else reason
            found.setdefault((role, told), []).append(message)
    return [
        f"{len(those):,} of {messages:,}: {_line(role, reason, those, schema)}"
        for (role, reason), those in sorted(found.items(), key=lambda item: -len(item[1]))
    ]


def _line(role: str, reason: str, those: list[_Bad], schema: EventSchema) -> str:
    if role == "message":
        return f"{reason}; the kit reads messages that are one JSON object in UTF-8"
    if reason == _NO_EFFECT:
        return _types(those, schema)
    name = getattr(schema, role)
    what = reason if name is None else f"{reason} ({role}_field={shorten(name, 40)})"
    if reason.endswith(" decimals"):
        return what + _other_decimals(those, schema)
    if reason.endswith(" digits"):
        return f"{what}; decimals={schema.decimals} of them are kept for the fraction"
    if reason.endswith("outside the years 1 to 9999"):
        return what + _other_unit(those, schema)
    if reason.endswith("EventSchema(utc_offset=...)"):
        return f"{what}; here that is the parameter utc_offset, such as +00:00"
    return what + _other_field(role, those, schema)


def _types(those: list[_Bad], schema: EventSchema) -> str:
    types = Counter(type_of(message.payload, schema) for message in those)
    seen = [f"{shorten(name, 30)} ({n:,})" for name, n in types.most_common(10)]
    more = f" and {len(types) - 10:,} more" if len(types) > 10 else ""
    many = "; or is type_field another field?" if len(types) > _MOST else ""
    now = json.dumps(schema.to_dict()["effects"], ensure_ascii=False)
    return (
        f"the type {_NO_EFFECT}; give these types an effect, 0 for none: {', '.join(seen)}{more}; "
        f"effects is now {shorten(now, 200)}{many}"
    )


def _other_decimals(those: list[_Bad], schema: EventSchema) -> str:
    for decimals in range(schema.decimals + 1, 19):
        other = _with(schema, decimals=decimals)
        if other and all("value" not in message.faults(other) for message in those):
            return f"; decimals={decimals} holds them"
    return (
        f"; no other decimals holds them all, for an amount has at most {DIGITS} digits, 18 of "
        "them decimals, those of its effect counted in"
    )


def _other_unit(those: list[_Bad], schema: EventSchema) -> str:
    for unit in TIME_UNITS:
        other = _with(schema, time_unit=unit)
        if other and all("time" not in message.faults(other) for message in those):
            return f"; with time_unit={unit} they are inside these years"
    return ""


def _other_field(role: str, those: list[_Bad], schema: EventSchema) -> str:
    """Which fields they have, and which of these would do."""
    has = Counter(path for m in those for path in dict(_leaves(m.payload)))
    names = [shorten(_dotted(path), 40) for path, _ in has.most_common(_MOST)]
    more = f" and {len(has) - _MOST:,} more" if len(has) > _MOST else ""
    told = f"; they have: {', '.join(names)}{more}" if names else ""
    best, most = None, 0
    for path in _likely(role, has):
        other = _with(schema, **{role: _dotted(path)})
        if (
            other
            and other.paths[role] == path
            and (fits := _fit(role, those[:_TRIED], other)) > most
        ):
            best, most = other, fits
    if best is None:
        return told
    fits = _fit(role, those, best)
    return f"{told}; perhaps {role}_field={getattr(best, role)}, which fits {fits:,} of them"


def _fit(role: str, those: list[_Bad], schema: EventSchema) -> int:
    """How many have, in this role, what a schema asks for; a type without an effect is a type."""
    found = (message.faults(schema).get(role, "") for message in those)
    return sum(not reason or reason.endswith(_NO_EFFECT) for reason in found)


def _likely(role: str, paths: Iterable[Path]) -> list[Path]:
    """Those that are called as fields of this role often are: the outermost, likeliest first."""
    names = _NAMES[role].split()
    found = [
        path
        for path in paths
        if path[-1].lower() in names and clean(_dotted(path)) == _dotted(path)
    ]
    return sorted(found, key=lambda path: (len(path), names.index(path[-1].lower()), path))[:_MOST]


def _with(schema: EventSchema, **changes: object) -> EventSchema | None:
    """The schema with something changed; None where it then cannot work."""
    try:
        return replace(schema, **changes)  # type: ignore[arg-type]
    except SchemaError:
        return None


def _leaves(payload: object, before: Path = ()) -> Iterator[tuple[Path, object]]:
    """The fields that hold no object, down to a depth that a person would name."""
    for name, value in payload if isinstance(payload, Object) else ():
        path = (*before, name)
        if isinstance(value, Object) and len(path) < _DEEPEST:
            yield from _leaves(value, path)
        else:
            yield path, value


def _dotted(path: Path) -> str:
    return ".".join(name.replace(".", "\\.") for name in path)


def _repeats(samples: Sequence[Messages], reads: list[Read], schema: EventSchema) -> list[str]:
    """Whether events that share an id are copies of one message.

    A copy is the same bytes, or the same fields in another order; it has the same key, and so
    lies in the same partition.
    """
    first: dict[str, tuple[Messages, int]] = {}
    repeats, differing, where = 0, 0, Counter[str]()
    events: list[tuple[Messages, int]] = []
    for m, read in zip(samples, reads, strict=True):
        rows = np.searchsorted(m.offset, read.events["offset"].to_numpy())
        for name, i in zip(read.events["event_id"].to_pylist(), rows.tolist(), strict=True):
            if name not in first:
                first[name] = (m, i)
                continue
            repeats += 1
            if differ := _differ(first[name], (m, i)):
                differing += 1
                where.update(differ)
                events += [first[name], (m, i)]
    if differing < _MANY or 2 * differing <= repeats:
        return []
    names = ", ".join(shorten(name, 40) for name, _ in where.most_common(5))
    return [
        f"{repeats:,} of {sum(len(read.events) for read in reads):,} events repeat an id, and "
        f"{differing:,} of these differ from the first one looked at that has it, most often in: "
        f"{names}. Copies of one message do not, unless each delivery is stamped. If these are "
        "events of their own, a run drops those with the same type, value and key as redeliveries "
        "and calls the others conflicts: then set id_field, now "
        f"{shorten(schema.id, 40)}, to a field that no "
        f"two events share{_own_id(events, schema)}"
    ]


def _differ(one: tuple[Messages, int], other: tuple[Messages, int]) -> set[str]:
    """In what two deliveries differ."""
    (m, i), (n, j) = one, other
    differ = set()
    a, b = m.value(i) or b"", n.value(j) or b""
    if a != b:
        fields = [dict(_leaves(parse(value))) for value in (a, b)]
        paths = fields[0].keys() | fields[1].keys()
        differ = {_dotted(p) for p in paths if fields[0].get(p, ...) != fields[1].get(p, ...)}
    if m.key(i) != n.key(j):
        differ.add("the message key")
    elif m.key(i) is not None and m.topic == n.topic and m.partition != n.partition:
        differ.add("the partition")
    return differ


def _own_id(events: list[tuple[Messages, int]], schema: EventSchema) -> str:
    """A field that is another in each of these messages, if one is called as ids often are."""
    messages = {(m.topic, m.partition, int(m.offset[i])): m.value(i) or b"" for m, i in events}
    fields = [dict(_leaves(parse(value))) for value in messages.values()]
    for path in _likely("id", {path for leaves in fields for path in leaves}):
        found = {str(leaves[path]) for leaves in fields if isinstance(leaves.get(path), str)}
        other = _with(schema, id=_dotted(path))
        if len(found) == len(fields) and other and other.paths["id"] == path:
            return f"; perhaps id_field={_dotted(path)}, which is another in each of these"
    return ""
