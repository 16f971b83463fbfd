"""Faults 25, 26, 29 and 32 to 35, seen from a replay: what cannot be read is told, with its place
and bytes, and only that.
"""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from recovery_kit.replay import Replay, replay
from recovery_kit.sandbox import Kafka
from recovery_kit.schema import EventSchema
from tests.integration.conftest import NewTopic, Send, event, events, numbers, one
from tests.messages import NOON


def reasons(found: Replay) -> list[str]:
    return found.rejects["reason"].to_list()


def test_fault_25_tombstones_empty_values_and_null_keys(
    broker: Kafka, new_topic: NewTopic, send: Send
) -> None:
    topic = new_topic()
    send(topic, [event(1), None, b"", event(2)], key=b"a")
    send(topic, [event(3)], key=None)
    send(topic, [None, event(4)], key=b"", time=NOON)
    found = replay(topic, bootstrap_servers=broker.bootstrap_servers)
    assert found.verdict == "complete"
    assert list(zip(found.events["event_id"], found.events["key"], strict=True)) == [
        ("e1", "a"),
        ("e2", "a"),
        ("e3", "(all)"),
    ]
    assert found.tombstones[["offset", "key"]].to_dict("records") == [
        {"offset": 1, "key": b"a"},
        {"offset": 5, "key": b""},
    ]
    assert found.tombstones["time"].to_list()[1].isoformat() == "2026-03-02T12:00:00+00:00"
    assert found.rejects[["offset", "reason", "key", "value"]].to_dict("records") == [
        {"offset": 2, "reason": "the message is empty", "key": b"a", "value": b""},
        {"offset": 6, "reason": "the message key is empty", "key": b"", "value": event(4)},
    ]
    assert one(found.coverage, "delivered", "events", "rejects", "tombstones", "outside") == (
        7,
        3,
        2,
        2,
        0,
    )


def test_fault_25_a_key_out_of_the_payload(broker: Kafka, new_topic: NewTopic, send: Send) -> None:
    topic = new_topic()
    send(
        topic,
        [event(1, account="a"), event(2), event(3, account=None), event(4, account=7)],
        key=None,
    )
    found = replay(
        topic, bootstrap_servers=broker.bootstrap_servers, schema=EventSchema(key="account")
    )
    assert list(zip(numbers(found.events), found.events["key"], strict=True)) == [
        (1, "a"),
        (4, "7"),
    ]
    assert reasons(found) == [
        "field 'account' is missing",
        "field 'account' is null, not a string or a whole number",
    ]


def test_fault_26_repeated_headers_stay_on_rejects_and_tombstones(
    broker: Kafka, new_topic: NewTopic, send: Send
) -> None:
    topic = new_topic()
    headers = [("trace", b"1"), ("trace", b""), ("é", b"\xff")]
    send(topic, [b"no JSON", None, event(1)], headers=headers)
    found = replay(topic, bootstrap_servers=broker.bootstrap_servers)
    expected = [{"name": name, "value": value} for name, value in headers]
    assert list(one(found.rejects, "headers")[0]) == expected
    assert list(one(found.tombstones, "headers")[0]) == expected


def test_fault_29_a_repeated_delivery_is_delivered_twice(
    broker: Kafka, new_topic: NewTopic, send: Send
) -> None:
    """Whether it counts is for the step behind; a replay hides nothing."""
    topic = new_topic(2)
    send(topic, events(1, 2, 1), time=NOON)
    send(topic, events(1), partition=1, time=NOON)
    found = replay(topic, bootstrap_servers=broker.bootstrap_servers)
    assert numbers(found.events) == [1, 2, 1, 1]
    places = found.events[["partition", "offset"]].itertuples(index=False, name=None)
    assert list(places) == [(0, 0), (0, 1), (0, 2), (1, 0)]


BAD = {
    32: [
        (b'{"type":"add","value":1}', "field 'id' is missing"),
        (
            b'{"id":null,"type":"add","value":1}',
            "field 'id' is null, not a string or a whole number",
        ),
        (b'{"id":"","type":"add","value":1}', "field 'id' is empty"),
        (
            b'{"id":1.5,"type":"add","value":1}',
            "field 'id' is a number with a fraction or exponent",
        ),
        (b'{"id":{},"type":"add","value":1}', "field 'id' is an object, not a string"),
    ],
    33: [
        (b'{"id":"e","type":"transfer","value":1}', "type 'transfer' has no effect in the schema"),
        (b'{"id":"e","type":"Add","value":1}', "type 'Add' has no effect"),
        (
            b'{"id":"e","type":"<script>\\u001b[31m","value":1}',
            r"type '<script>\x1b[31m' has no effect",
        ),
        (b'{"id":"e","value":1}', "field 'type' is missing"),
    ],
    34: [
        (b"hello", "the message is not JSON"),
        (b'{"id":"e","type":"add","val', "the message is not JSON"),
        (event(1) + event(2), "more than one JSON value in the message"),
        (b'{"id":"e8",', "the message is not JSON"),  # one object over two messages
        (b'"type":"add","value":1}', "more than one JSON value in the message"),
        (b"\xef\xbb\xbf" + event(1), "the message starts with a byte order mark"),
        (b'{"id":"\xff","type":"add","value":1}', "the message is not UTF-8"),
        (b'{"id":"a","id":"b","type":"add","value":1}', "field 'id' stands twice"),
        (b'[{"id":"e","type":"add","value":1}]', "the message is an array, not an object"),
        (
            b'{"id":"e","type":"add","value":1,"x":' + b"[" * 100 + b"]" * 100 + b"}",
            "nested deeper than 64 levels",
        ),
        (b"[" * 100_000, "nested deeper than 64 levels"),
        (b"null", "the message is null, not an object"),
    ],
    35: [
        (b'{"id":"e","type":"add","value":NaN}', "NaN is not a JSON number"),
        (b'{"id":"e","type":"add","value":-Infinity}', "-Infinity is not a JSON number"),
        (
            b'{"id":"e","type":"add","value":"NaN"}',
            "field 'value' is a string that is not a number",
        ),
        (b'{"id":"e","type":"add","value":1e400}', "field 'value' has more than 28 digits"),
        (b'{"id":"e","type":"add","value":1e-400}', "field 'value' has more than 2 decimals"),
        (b'{"id":"e","type":"add","value":0.001}', "field 'value' has more than 2 decimals"),
        (
            b'{"id":"e","type":"add","value":100000000000000000000000000}',
            "field 'value' has more than 28 digits",
        ),
        (
            b'{"id":"e","type":"add","value":true}',
            "field 'value' is true or false, not an exact number",
        ),
        (b'{"id":"e","type":"add","value":null}', "field 'value' is null, not an exact number"),
        (b'{"id":"e","type":"add"}', "field 'value' is missing"),
    ],
}


@pytest.mark.parametrize("fault", BAD, ids=lambda fault: f"fault_{fault}")
def test_faults_32_to_35_bad_messages_are_rejects_and_only_they(
    broker: Kafka, new_topic: NewTopic, send: Send, fault: int
) -> None:
    topic = new_topic()
    good, wanted = 0, []
    for i, (value, reason) in enumerate(BAD[fault]):
        send(topic, [*events(*range(good, good + i % 3)), value, event(good + i % 3)])
        wanted.append((good + i % 3 + i, reason, value))
        good += i % 3 + 1
    found = replay(topic, bootstrap_servers=broker.bootstrap_servers)
    assert found.verdict == "complete"
    assert numbers(found.events) == list(range(good))
    got = found.rejects[["offset", "reason", "value"]].itertuples(index=False, name=None)
    for (offset, reason, value), (at, expected, bytes_) in zip(got, wanted, strict=True):
        assert (offset, value) == (at, bytes_)
        assert expected in reason
    assert one(found.coverage, "events", "rejects") == (good, len(wanted))


def test_amounts_are_exact_from_the_wire_to_the_table(
    broker: Kafka, new_topic: NewTopic, send: Send
) -> None:
    topic = new_topic()
    amounts = ["9007199254740993.01", "0.10", "-0.07", "12345678901234567890123456.78", "1e3", "5"]
    send(
        topic,
        [
            b'{"id":"e%d","type":"subtract","value":%s}' % (i, a.encode())
            for i, a in enumerate(amounts)
        ],
    )
    send(
        topic,
        [
            json.dumps({"id": f"s{i}", "type": "add", "value": a}).encode()
            for i, a in enumerate(amounts)
        ],
    )
    found = replay(topic, bootstrap_servers=broker.bootstrap_servers)
    exact = [Decimal(a).quantize(Decimal("0.01")) for a in amounts]
    assert found.events["value"].to_list() == exact * 2
    assert found.events["effect"].to_list() == [*(-a for a in exact), *exact]


def test_only_the_bad_ones_among_many(broker: Kafka, new_topic: NewTopic, send: Send) -> None:
    topic = new_topic()
    values: list[bytes | None] = [event(i, "1.25") for i in range(100_000)]
    bad = {0: b"{", 49_999: b"", 50_000: b"\xff", 99_999: b"[]"}
    for i, value in bad.items():
        values[i] = value
    values[70_000] = None
    send(topic, values)
    found = replay(topic, bootstrap_servers=broker.bootstrap_servers)
    assert dict(zip(found.rejects["offset"], found.rejects["value"], strict=True)) == bad
    assert one(found.tombstones, "offset") == (70_000,)
    assert numbers(found.events) == [i for i in range(100_000) if i not in bad and i != 70_000]
    assert set(found.events["value"]) == {Decimal("1.25")}
