"""What a sample of messages says: any JSON at all is told, by the exact reader's own counts; and each sentence
is held to the case in which it would be false.
"""

import json
import re
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from recovery_kit.payload.exact import Reject, faults, read_message
from recovery_kit.payload.messages import Messages
from recovery_kit.payload.sample import look
from recovery_kit.schema import EventSchema
from tests.messages import NOON, pack

NAMES = [
    "id",
    "type",
    "value",
    "key",
    "event_id",
    "amount",
    "account",
    "ts",
    "data",
    "a.b",
    "é",
    "",
]
SCHEMAS = [
    EventSchema(),
    EventSchema(id="data.id", value="data.amount", key="account", time="ts", decimals=0),
    EventSchema(type="a\\.b", effects={"add": "0.5"}, decimals=17, time="ts", time_unit="us"),
]


def a_json_object(fields: list[tuple[str, str]]) -> str:
    """As text, so that a field may stand twice."""
    return "{" + ", ".join(f"{json.dumps(name)}: {value}" for name, value in fields) + "}"


texts = st.text(st.characters(exclude_categories=()), max_size=6)  # lone surrogates too
atoms = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), texts, st.sampled_from(["add", "12.50"])
).map(json.dumps) | st.sampled_from(
    ["1e999", "-0", "1.005", "1" + "0" * 40, "1e-9999999999", "\u2028"]
)
names = st.sampled_from(NAMES) | texts
values = st.recursive(
    atoms,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda found: f"[{', '.join(found)}]")
        | st.lists(st.tuples(names, inner), max_size=4).map(a_json_object)
    ),
    max_leaves=8,
)
objects = st.lists(st.tuples(names, values), max_size=6).map(a_json_object)
messages = st.none() | st.binary(max_size=12) | (objects | values).map(str.encode)
packed = st.lists(
    st.tuples(
        messages,
        st.none() | st.sampled_from([b"", b"k", b"\xff"]),
        st.sampled_from([NOON, -1, 1 << 62]),
    ),
    max_size=8,
).map(lambda rows: pack(*map(list, zip(*rows, strict=True))) if rows else pack([]))


def event(**fields: object) -> bytes:
    return json.dumps({"id": "e1", "type": "add", "value": 1} | fields).encode()


@given(packed, st.sampled_from(SCHEMAS))
@example(pack([b'{"value": {"value": 5}}', b'{"value": null}', b"[]", b"{", b"NaN"]), SCHEMAS[0])
@example(pack([event(id="a"), event(id=None), event(note="x"), event(value=[1])]), SCHEMAS[0])
@example(pack([b"[" * 100_000, b'{"a":' * 100_000, b'"\\ud800"', b'{"id":1,"id":2}']), SCHEMAS[0])
def test_any_messages_are_told_and_every_one_is_counted(m: Messages, schema: EventSchema) -> None:
    half = len(m) // 2
    seen = look([m.cut(0, half), m.cut(half, len(m))], schema)
    wrong: dict[tuple[str, str], list[int]] = {}
    for i in range(len(m)):
        for role, reason in faults(m.value(i) or b"", m.key(i), int(m.time[i]), schema).items():
            if m.value(i) is not None:
                wrong.setdefault((role, reason), []).append(i)
    bad = {i for rows in wrong.values() for i in rows}
    assert seen.messages == len(m)
    assert seen.tombstones == sum(m.value(i) is None for i in range(len(m)))
    assert seen.events == seen.messages - seen.tombstones - len(bad)
    assert bool(seen.problems) == bool(bad)
    for line in seen.problems:
        count = re.match(r"([\d,]+) of (\d+): ", line)
        assert count
        assert 1 <= int(count[1]) <= int(count[2]) == len(m)
    for (role, reason), rows in wrong.items():
        if reason.endswith("has no effect in the schema"):
            continue
        start = f"{len(rows)} of {len(m)}: {reason}"
        if (name := getattr(schema, role, None)) is not None:
            start += f" ({role}_field={name})"
        (line,) = (text for text in seen.problems if text.startswith(start))
        check_advice(m, rows, line, role, schema)


def check_advice(m: Messages, rows: list[int], line: str, role: str, schema: EventSchema) -> None:
    """What is advised can be set, and does what is said."""

    def left(**changes: object) -> list[str]:
        other = replace(schema, **changes)  # type: ignore[arg-type]
        found = (faults(m.value(i) or b"", m.key(i), int(m.time[i]), other) for i in rows)
        return [fault.get(role, "") for fault in found]

    if advised := re.search(rf"; perhaps {role}_field=(.*), which fits (\d+) of them$", line):
        after = left(**{role: advised[1]})
        assert sum(not r or r.endswith("has no effect in the schema") for r in after) == int(
            advised[2]
        )
    if advised := re.search(r"; decimals=(\d+) holds them$", line):
        assert not any(left(decimals=int(advised[1])))
        assert any(left(decimals=int(advised[1]) - 1))
    if advised := re.search(r"; with time_unit=(\w+) they", line):
        assert not any(left(time_unit=advised[1]))


@given(packed, st.sampled_from(SCHEMAS))
def test_the_faults_of_a_message_are_those_of_the_exact_reader(
    m: Messages, schema: EventSchema
) -> None:
    for i in range(len(m)):
        at = (m.value(i) or b"", m.key(i), int(m.time[i]), schema)
        reason = ""
        try:
            read_message(*at)
        except Reject as reject:
            reason = str(reject)
        assert reason in faults(*at).values() if reason else faults(*at) == {}


def told(*messages: bytes | None, schema: EventSchema = SCHEMAS[0]) -> list[str]:
    return look([pack(list(messages))], schema).problems


def test_numbers_5_and_minus_5_are_a_field_that_is_there() -> None:
    (line,) = told(event(value=5), event(value=-5), event(type="move"))
    assert line == (
        "1 of 3: the type has no effect in the schema; give these types an effect, 0 for none: "
        'move (1); effects is now {"add": 1, "subtract": -1}'
    )


def test_a_field_that_some_lack_is_told_with_how_many() -> None:
    lacking = b'{"id": "e2", "type": "add", "data": {"amount": "2.5"}, "note": [1]}'
    assert told(event(), lacking, None) == [
        "1 of 3: field 'value' is missing (value_field=value); they have: id, type, data.amount, note; perhaps "
        "value_field=data.amount, which fits 1 of them"
    ]


def test_a_field_of_another_type_is_not_called_missing() -> None:
    lines = told(event(value={"amount": 1}), event(value=None), event(value="1,5"))
    assert all("missing" not in line for line in lines)
    assert lines[0].startswith(
        "1 of 3: field 'value' is an object, not an exact number (value_field=value); "
    )
    assert lines[0].endswith("perhaps value_field=value.amount, which fits 1 of them")
    assert lines[1].startswith(
        "1 of 3: field 'value' is null, not an exact number (value_field=value); "
    )
    assert lines[2].startswith("1 of 3: field 'value' is a string that is not a number")
    assert "perhaps" not in lines[1] + lines[2]


def test_every_fault_of_a_message_is_told_and_not_the_first_alone() -> None:
    lines = told(b'{"type": 1.5, "value": true}')
    assert [line.split(" (")[0] for line in lines] == [
        "1 of 1: field 'id' is missing",
        "1 of 1: field 'type' is a number with a fraction or exponent, not a string or a whole number",
        "1 of 1: field 'value' is true or false, not an exact number",
    ]


@pytest.mark.parametrize(
    ("amounts", "end"),
    [
        (["1.005"], "; decimals=3 holds them"),
        (["1.005", "0.00000001"], "; decimals=8 holds them"),
        (["1e-18"], "; decimals=18 holds them"),
        (["1e-19"], "; no other decimals holds them all, for an amount has at most 28 digits"),
        (["123456789012345.005", "1e-14"], "; no other decimals holds them all, for an amount"),
    ],
)
def test_more_decimals_say_which_would_hold_them(amounts: list[str], end: str) -> None:
    (line,) = told(*(event(value=amount) for amount in amounts))
    assert line.startswith(
        f"{len(amounts)} of {len(amounts)}: field 'value' has more than 2 decimals"
    )
    assert end in line


def test_times_of_another_unit_and_times_without_a_zone() -> None:
    schema = EventSchema(time="ts")
    micro = event(ts=NOON * 1000)
    assert told(micro, micro, schema=schema) == [
        "2 of 2: field 'ts' is a time outside the years 1 to 9999 (time_field=ts); with time_unit=us they are "
        "inside these years"
    ]
    (line,) = told(event(ts=10**30), schema=schema)
    assert "time_unit" not in line
    (line,) = told(event(ts="2026-03-02T12:00:00"), schema=schema)
    assert line.endswith("here that is the parameter utc_offset, such as +00:00")
    assert told(event(ts="2026-03-02T12:00:00"), schema=replace(schema, utc_offset="+00:00")) == []


def test_what_is_advised_is_no_field_that_another_role_reads() -> None:
    message = b'{"uuid": "k", "type": "add", "value": 1}'
    (line,) = told(message, schema=EventSchema(key="uuid"))
    assert "perhaps" not in line
    (line,) = told(message)
    assert line.endswith("perhaps id_field=uuid, which fits 1 of them")


def test_the_outermost_field_of_a_likely_name_is_advised() -> None:
    (line,) = told(b'{"account": {"id": "a"}, "event_id": "e", "type": "add", "value": 1}')
    assert line.endswith("perhaps id_field=event_id, which fits 1 of them")


def test_what_fits_is_counted_in_all_of_many_messages() -> None:
    some = [b'{"type": "add", "value": 1, "uuid": "u"}'] * 250
    (line,) = told(*some, b'{"type": "add", "value": 1}', *some)
    assert line.startswith("501 of 501: ")
    assert line.endswith("perhaps id_field=uuid, which fits 500 of them")


some_events = st.lists(
    st.tuples(
        st.sampled_from("ab"), st.sampled_from(["", ', "x": 1', ', "x": 2', ', "y": {"z": null}'])
    ),
    max_size=12,
)


@given(some_events)
def test_repeats_are_counted_as_one_would_by_hand(rows: list[tuple[str, str]]) -> None:
    seen = look(
        [
            pack(
                [
                    b'{"id": "%b", "type": "add", "value": 1%b}' % (i.encode(), more.encode())
                    for i, more in rows
                ]
            )
        ],
        SCHEMAS[0],
    )
    first: dict[str, str] = {}
    repeats = [
        more != first[i] for i, more in rows if (i in first) or first.setdefault(i, more) is None
    ]
    assert bool(seen.warnings) == (sum(repeats) >= 3 and 2 * sum(repeats) > len(repeats))
    for line in seen.warnings:
        assert line.startswith(
            f"{len(repeats)} of {len(rows)} events repeat an id, and {sum(repeats)} of"
        )


@pytest.mark.parametrize("name", ["amount\x1b[2J", "amount\\", ""])
def test_no_name_is_advised_that_cannot_be_set(name: str) -> None:
    (line,) = told(json.dumps({"id": "e", "type": "add", name: {"amount": 1}}).encode())
    assert "perhaps" not in line
    assert line.isprintable()
    (line,) = told(json.dumps({"id": "e", "type": "add", "a.b": {"amount": 1}}).encode())
    assert "perhaps value_field=a\\.b.amount, which" in line


def test_many_types_ask_whether_it_is_the_type() -> None:
    (line,) = told(*(event(type=f"t{i}") for i in range(21)))
    assert line.startswith("21 of 21: ")
    assert " and 11 more" in line
    assert line.endswith("or is type_field another field?")
    (line,) = told(*(event(type=f"t{i}") for i in range(20)))
    assert "another field" not in line


def warned(*messages: bytes, keys: list[bytes | None] | None = None) -> list[str]:
    seen = look([pack(list(messages), keys)], SCHEMAS[0])
    assert seen.problems == []
    return seen.warnings


def test_ids_that_are_not_unique_are_told_with_what_differs_and_what_to_set() -> None:
    orders = [event(id="order-1", value=i, uuid=f"u{i}", note=i % 2) for i in range(5)]
    (line,) = warned(event(id="e2"), *orders)
    assert line.startswith(
        "4 of 6 events repeat an id, and 4 of these differ from the first one looked at that has "
        "it, most often in: "
    )
    assert re.search(r"in: (uuid, value|value, uuid), note\. ", line)
    assert (
        "set id_field, now id, to a field that no two events share; perhaps id_field=uuid" in line
    )


def test_copies_are_not_called_ids_that_are_not_unique() -> None:
    plain, turned = (
        event(note={"a": 1, "b": 2}),
        b'{"note":{"b":2,"a":1},"value":1,"type":"add","id":"e1"}',
    )
    assert warned(*[plain] * 50, *[turned] * 50) == []
    # A few true conflicts among redeliveries are what a run tells one by one.
    assert warned(*[plain] * 50, *(event(value=i) for i in range(2, 9))) == []
    assert warned(event(value=1), event(value=2), event(value=3)) == []


def test_one_id_under_several_message_keys_is_told() -> None:
    same = [event()] * 5
    assert warned(*same, keys=[b"a"] * 5) == []
    (line,) = warned(*same, keys=[b"a", b"b", b"c", b"d", None])
    assert (
        "4 of these differ from the first one looked at that has it, most often in: the message key."
        in line
    )


def test_one_id_in_several_partitions_is_told_where_a_key_would_keep_copies_together() -> None:
    def partitions(key: bytes | None) -> list[str]:
        one = [pack([event()], [key])]
        return look(
            [*one, *(replace(one[0], partition=p) for p in range(1, 5))], SCHEMAS[0]
        ).warnings

    (line,) = partitions(b"k")
    assert (
        "4 of these differ from the first one looked at that has it, most often in: the partition."
        in line
    )
    assert partitions(None) == []  # without a key a copy goes anywhere


def test_no_id_is_advised_that_repeats_too() -> None:
    orders = [event(id="order-1", value=i, uuid=f"u{i // 2}") for i in range(6)]
    (line,) = warned(*orders)
    assert "perhaps" not in line
