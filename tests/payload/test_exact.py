"""The exact reader: exactly the bad messages are rejected, each with a reason that a person
understands.
"""

import json
import re
import subprocess
import sys

import pytest

from recovery_kit.payload.exact import Reject, read_message
from recovery_kit.schema import EventSchema
from tests.messages import NOON

PLAIN = EventSchema()
FULL = EventSchema(
    id="meta.id", type="t", value="data.amount", key="data.account", time="ts", decimals=3
)


def full(**fields: object) -> bytes:
    message = {
        "meta": {"id": "e1"},
        "t": "add",
        "data": {"amount": "1.5", "account": "a"},
        "ts": "2026-03-02T12:00:00Z",
    }
    return json.dumps(message | fields).encode()


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        (b"5", 500),
        (b"-5", -500),
        (b"0.1", 10),
        (b"10.10", 1010),
        (b"10.1000000", 1010),
        (b"1e2", 10000),
        (b"1.5E+1", 1500),
        (b"25e-1", 250),
        (b"-0", 0),
        (b"0e999999", 0),
        (b'"7.25"', 725),
        (b'"+7.25"', 725),
        (b'"007"', 700),
        (b"9007199254740993.01", 900719925474099301),
        (b"99999999999999999999999999.99", 10**28 - 1),
    ],
)
def test_amounts_are_exact(text: bytes, amount: int) -> None:
    row = read_message(b'{"id":"e1","type":"subtract","value":%s}' % text, None, NOON, PLAIN)
    assert (row.amount, row.effect) == (amount, -amount)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"10.123", "field 'value' has more than 2 decimals"),
        (b"1e-3", "field 'value' has more than 2 decimals"),
        (b"1e-99999", "field 'value' has more than 2 decimals"),
        (b"1e400", "field 'value' has more than 28 digits"),
        (b"1e99999999999999999999", "field 'value' has an exponent out of all bounds"),
        (b"100000000000000000000000000", "field 'value' has more than 28 digits"),
        (b"0." + b"0" * 99 + b"1", "field 'value' is a number of more than 100 characters"),
        (b"NaN", "NaN is not a JSON number"),
        (b"Infinity", "Infinity is not a JSON number"),
        (b"-Infinity", "-Infinity is not a JSON number"),
        (b'"NaN"', "field 'value' is a string that is not a number, not an exact number"),
        (b'"1,000"', "field 'value' is a string that is not a number, not an exact number"),
        (
            '"\u0661"'.encode(),
            "field 'value' is a string that is not a number, not an exact number",
        ),
        (b'""', "field 'value' is a string that is not a number, not an exact number"),
        (b"null", "field 'value' is null, not an exact number"),
        (b"true", "field 'value' is true or false, not an exact number"),
        (b"[5]", "field 'value' is an array, not an exact number"),
        (b"01", "the message is not JSON"),
        (b".5", "the message is not JSON"),
    ],
)
def test_what_is_not_an_exact_number_is_rejected(text: bytes, reason: str) -> None:
    with pytest.raises(Reject, match=f"^{re.escape(reason)}$"):
        read_message(b'{"id":"e1","type":"add","value":%s}' % text, None, NOON, PLAIN)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", "the message is empty"),
        (b"not json", "the message is not JSON"),
        (b'{"id":"e1","type":"add","val', "the message is not JSON"),
        (
            b'{"id":"e1","type":"add","value":1}{"id":"e2"}',
            "more than one JSON value in the message",
        ),
        (
            b'\xef\xbb\xbf{"id":"e1","type":"add","value":1}',
            "the message starts with a byte order mark",
        ),
        (b'{"id":"\xff","type":"add","value":1}', "the message is not UTF-8"),
        (b'{"id":"\xed\xa0\x80","type":"add","value":1}', "the message is not UTF-8"),
        (b'{"id":"\\ud800","type":"add","value":1}', "field 'id' is not valid Unicode"),
        (b'{"id":"a","id":"b","type":"add","value":1}', "field 'id' stands twice"),
        (b'["add"]', "the message is an array, not an object"),
        (b"5", "the message is a number, not an object"),
        (
            b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
            "the message is nested deeper than 64 levels",
        ),
        (b'{"type":"add","value":1}', "field 'id' is missing"),
        (
            b'{"id":null,"type":"add","value":1}',
            "field 'id' is null, not a string or a whole number",
        ),
        (b'{"id":"","type":"add","value":1}', "field 'id' is empty"),
        (
            b'{"id":1.5,"type":"add","value":1}',
            "field 'id' is a number with a fraction or exponent, not",
        ),
        (b'{"id":"e1","type":"reversal","value":1}', "type 'reversal' has no effect in the schema"),
    ],
)
def test_bad_messages_give_their_reason(message: bytes, reason: str) -> None:
    with pytest.raises(Reject, match=re.escape(reason)):
        read_message(message, None, NOON, PLAIN)


def test_a_hostile_type_is_cut_and_cleaned_in_the_reason() -> None:
    message = json.dumps({"id": "e1", "type": "\x1b[31m" + "x" * 500, "value": 1}).encode()
    with pytest.raises(Reject) as caught:
        read_message(message, None, NOON, PLAIN)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 100


def test_nested_fields_and_identifiers_that_are_numbers() -> None:
    row = read_message(full(meta={"id": 12345678901234567890}), b"ignored", NOON, FULL)
    assert row == ("12345678901234567890", 0, 1500, 1500, "a", NOON)


def test_a_scalar_on_the_way_to_a_field_is_named() -> None:
    with pytest.raises(Reject, match="field 'meta' is a string, not an object"):
        read_message(full(meta="e1"), None, NOON, FULL)


@pytest.mark.parametrize(
    ("time", "ms"),
    [
        ("2026-03-02T12:00:00Z", NOON),
        ("2026-03-02T12:00:00.123456Z", NOON + 123),
        ("2026-03-02T12:00:00.9999Z", NOON + 999),
        ("2026-03-02 13:00+01:00", NOON),
        ("2026-03-02T07:00:00-0500", NOON),
        ("1969-12-31T23:59:59.999Z", -1),
        (NOON, NOON),
        (NOON + 0.9, NOON),
        (-0.5, -1),
    ],
)
def test_times(time: object, ms: int) -> None:
    assert read_message(full(ts=time), None, 0, FULL).time == ms


@pytest.mark.parametrize(
    ("time", "reason"),
    [
        (
            "2026-03-02T12:00:00",
            "field 'ts' is a time without a zone; say which in EventSchema(utc_offset=...)",
        ),
        ("2026-02-30T12:00:00Z", "field 'ts' is not an ISO 8601 time"),
        ("2026-03-02", "field 'ts' is not an ISO 8601 time"),
        ("yesterday", "field 'ts' is not an ISO 8601 time"),
        (1e30, "field 'ts' is a time outside the years 1 to 9999"),
        (None, "field 'ts' is null, not a time"),
    ],
)
def test_what_is_not_a_time_is_rejected(time: object, reason: str) -> None:
    with pytest.raises(Reject, match=f"^{re.escape(reason)}$"):
        read_message(full(ts=time), None, NOON, FULL)


def test_time_units_and_a_zone_for_local_times() -> None:
    for unit, number in (("s", NOON // 1000), ("us", NOON * 1000 + 7)):
        assert (
            read_message(
                full(ts=number), None, 0, EventSchema(**FULL.to_dict() | {"time_unit": unit})
            ).time
            == NOON
        )
    schema = EventSchema(**FULL.to_dict() | {"utc_offset": "+02:00"})
    assert read_message(full(ts="2026-03-02T14:00:00"), None, 0, schema).time == NOON


def test_the_key_is_the_message_key_or_none() -> None:
    message = b'{"id":"e1","type":"add","value":1}'
    assert read_message(message, b"k", NOON, PLAIN).key == "k"
    assert read_message(message, None, NOON, PLAIN).key is None
    for key, reason in (
        (b"", "the message key is empty"),
        (b"\xff", "the message key is not UTF-8"),
    ):
        with pytest.raises(Reject, match=reason):
            read_message(message, key, NOON, PLAIN)


def test_a_record_without_a_usable_timestamp_needs_a_time_field() -> None:
    for stamp in (-1, 10**15):
        with pytest.raises(Reject, match="timestamp"):
            read_message(b'{"id":"e1","type":"add","value":1}', None, stamp, PLAIN)
    assert read_message(full(), None, -1, FULL).time == NOON


def test_an_effect_may_have_more_decimals_than_a_value_and_not_too_many_digits() -> None:
    schema = EventSchema(effects={"fee": "-0.015", "big": 10**8})
    assert schema.amount_scale == 5
    assert read_message(b'{"id":"e","type":"fee","value":1.01}', None, NOON, schema).effect == -1515
    with pytest.raises(Reject, match="times its factor has more than 28 digits"):
        read_message(b'{"id":"e","type":"big","value":%d}' % 10**20, None, NOON, schema)


WITHOUT_AN_END = """
import resource
from recovery_kit.payload.exact import Reject, read_message
from recovery_kit.schema import EventSchema

resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
for text in (b'"' + b'\\\\"' * 2_000_000, b'"' + b"\\\\n" * 20_000_000 + b'"', b'"' * 1_000_001):
    try:
        read_message(b"[" * 65 + text, None, 0, EventSchema())
    except Reject as reason:
        print(reason)
"""


def test_strings_with_many_escapes_or_without_an_end_take_no_hours_and_no_gigabytes() -> None:
    """The way back through each character was kept, and an end looked for again from each quote."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_AN_END], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.splitlines() == ["the message is nested deeper than 64 levels"] * 3
