"""The exact reader: one message at a time, slowly, and right. What it says of a message is the law.

The compiled scan (`recovery_kit._scan`) takes the plain messages; this reads the others, and gives
the reason of those that cannot be read. No float stands anywhere between the bytes and the amount.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from recovery_kit._show import shorten
from recovery_kit.schema import DIGITS, TIME_UNITS, EventSchema

MAX_DEPTH = 64
_LONGEST_NUMBER = 100
_TEXT_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(:\d\d)?(?:[.,](\d+))?(Z|z|[+-]\d\d(?::?\d\d)?)?",
    flags=re.ASCII,
)
# Possessive, and closed or not: the end of one that has none is not looked for again from each
# quote in it, and no way back through it is kept.
_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', flags=re.DOTALL)
_EARLIEST, _LATEST = -62_135_596_800_000, 253_402_300_799_999
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KINDS = {dict: "an object", list: "an array", bool: "true or false", type(None): "null"}


class Reject(Exception):  # noqa: N818
    """Why a message cannot be read; never leaves the package."""


class Row(NamedTuple):
    """One event; amounts are whole numbers of 10**-decimals, ``code`` is the type's place in the
    schema's effects.
    """

    id: str
    code: int
    amount: int
    effect: int
    key: str | None
    time: int


class Number(str):
    """A JSON number, as the message says it."""


class Object(list[tuple[str, object]]):
    """A JSON object as its pairs, so that a field that stands twice is seen."""


def read_message(
    value: bytes, message_key: bytes | None, record_time: int, schema: EventSchema
) -> Row:
    """Read one message.

    Parameters
    ----------
    value : bytes
        The message; not null (a null value is a tombstone and never comes here).
    message_key : bytes or None
        The record's key, used where the schema names no key field.
    record_time : int
        The record's timestamp in ms since the epoch, -1 for none.
    schema : EventSchema
        Which fields to read.

    Raises
    ------
    Reject
        With the reason, when the message cannot be read exactly.
    """
    payload = parse(value)
    paths = schema.paths
    fields = {role: _field(payload, path) for role, path in paths.items()}
    name = {role: ".".join(path) for role, path in paths.items()}
    event_id = _text(fields["id"], name["id"])
    type_ = _text(fields["type"], name["type"])
    code = _code(type_, schema)
    amount = _amount(fields["value"], name["value"], schema.decimals)
    effect = _effect(amount, code, name["value"], schema)
    key = _text(fields["key"], name["key"]) if schema.key is not None else _message_key(message_key)
    if schema.time is not None:
        time = _time(fields["time"], name["time"], schema)
    else:
        time = _record_time(record_time)
    return Row(event_id, code, amount, effect, key, time)


def faults(
    value: bytes, message_key: bytes | None, record_time: int, schema: EventSchema
) -> dict[str, str]:
    """Whatever is wrong with a message, not the first fault alone.

    Returns
    -------
    dict of str to str
        Role to reason; empty exactly where `read_message` reads it, and else its reason is among
        them. The role ``"message"`` is of one that has no fields to look at.
    """
    try:
        payload = parse(value)
    except Reject as reason:
        return {"message": str(reason)}
    found: dict[str, str] = {}
    read: dict[str, object] = {}
    for role in ("id", "type", "value", "key", "time"):
        try:
            read[role] = _role(role, payload, message_key, record_time, schema)
        except Reject as reason:
            found[role] = str(reason)
    amount, code = read.get("value"), read.get("type")
    if isinstance(amount, int) and isinstance(code, int):
        try:
            _effect(amount, code, ".".join(schema.paths["value"]), schema)
        except Reject as reason:
            found["value"] = str(reason)
    return found


def type_of(payload: object, schema: EventSchema) -> str:
    """The type that a message of `parse` says it is, whether or not it has an effect."""
    path = schema.paths["type"]
    return _text(_field(payload, path), ".".join(path))


def _role(
    role: str, payload: object, message_key: bytes | None, record_time: int, schema: EventSchema
) -> object:
    path = schema.paths.get(role)
    if path is None:
        return _message_key(message_key) if role == "key" else _record_time(record_time)
    found, name = _field(payload, path), ".".join(path)
    if role == "value":
        return _amount(found, name, schema.decimals)
    if role == "time":
        return _time(found, name, schema)
    text = _text(found, name)
    return _code(text, schema) if role == "type" else text


def parse(value: bytes) -> object:
    """A message as `Object`, list, text, `Number`, bool and None; a Reject where it is none."""
    if not value:
        raise Reject("the message is empty")
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        raise Reject("the message is not UTF-8") from None
    if text.startswith("\ufeff"):
        raise Reject("the message starts with a byte order mark")
    if _depth(value) > MAX_DEPTH:
        raise Reject(f"the message is nested deeper than {MAX_DEPTH} levels")
    try:
        payload = json.loads(
            text,
            object_pairs_hook=Object,
            parse_int=Number,
            parse_float=Number,
            parse_constant=_constant,
        )
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            raise Reject("more than one JSON value in the message") from None
        raise Reject("the message is not JSON") from None
    if not isinstance(payload, Object):
        raise Reject(f"the message is {_kind(payload)}, not an object")
    return payload


def _depth(value: bytes) -> int:
    if value.count(b"[") + value.count(b"{") <= MAX_DEPTH:
        return 0
    depth = deepest = 0
    for byte in _STRINGS.sub(b"", value):
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def _constant(name: str) -> None:
    raise Reject(f"{name} is not a JSON number")


def _kind(found: object) -> str:
    if isinstance(found, Object):
        return "an object"
    if isinstance(found, Number):
        return "a number"
    return _KINDS.get(type(found), "a string")


def _field(payload: object, path: tuple[str, ...]) -> object:
    found = payload
    for depth, name in enumerate(path, 1):
        shown = ".".join(path[:depth])
        if not isinstance(found, Object):
            raise Reject(f"field '{'.'.join(path[: depth - 1])}' is {_kind(found)}, not an object")
        values = [v for k, v in found if k == name]
        if not values:
            raise Reject(f"field '{shown}' is missing")
        if len(values) > 1:
            raise Reject(f"field '{shown}' stands twice")
        found = values[0]
    return found


def _text(found: object, name: str) -> str:
    if isinstance(found, Number):
        if not re.fullmatch(r"-?[0-9]+", found):
            raise Reject(
                f"field '{name}' is a number with a fraction or exponent, not a string or a whole "
                "number"
            )
        return "0" if found == "-0" else str(found)
    if not isinstance(found, str):
        raise Reject(f"field '{name}' is {_kind(found)}, not a string or a whole number")
    if not found:
        raise Reject(f"field '{name}' is empty")
    if any("\ud800" <= c <= "\udfff" for c in found):
        raise Reject(f"field '{name}' is not valid Unicode")
    return found


def _code(type_: str, schema: EventSchema) -> int:
    codes = list(schema.effects)
    if type_ not in codes:
        raise Reject(f"type '{shorten(type_, 40)}' has no effect in the schema")
    return codes.index(type_)


def _effect(amount: int, code: int, name: str, schema: EventSchema) -> int:
    effect = amount * list(schema.factors.values())[code]
    if abs(effect) >= 10**DIGITS:
        raise Reject(f"field '{name}' times its factor has more than {DIGITS} digits")
    return effect


def _record_time(time: int) -> int:
    if time < 0:
        raise Reject("the record has no timestamp and the schema names no time field")
    if time > _LATEST:
        raise Reject("the record's timestamp is outside the years 1 to 9999")
    return time


def _message_key(key: bytes | None) -> str | None:
    if key is None:
        return None
    if not key:
        raise Reject("the message key is empty")
    try:
        return key.decode("utf-8")
    except UnicodeDecodeError:
        raise Reject("the message key is not UTF-8") from None


def _amount(found: object, name: str, decimals: int) -> int:
    if not isinstance(found, str) or not (
        isinstance(found, Number) or _TEXT_NUMBER.fullmatch(found)
    ):
        shown = "a string that is not a number" if isinstance(found, str) else _kind(found)
        raise Reject(f"field '{name}' is {shown}, not an exact number")
    if len(found) > _LONGEST_NUMBER:
        raise Reject(f"field '{name}' is a number of more than {_LONGEST_NUMBER} characters")
    try:
        sign, digits, exponent = Decimal(found).as_tuple()
    except InvalidOperation:
        raise Reject(f"field '{name}' has an exponent out of all bounds") from None
    assert isinstance(exponent, int)  # not NaN or Infinity: the pattern allows neither
    whole = int("".join(map(str, digits)))
    shift = exponent + decimals
    if whole == 0:
        return 0
    if shift < 0:
        if shift < -_LONGEST_NUMBER or whole % 10**-shift:
            raise Reject(f"field '{name}' has more than {decimals} decimals")
        whole //= 10**-shift
    elif shift > DIGITS or (whole := whole * 10**shift) >= 10**DIGITS:
        raise Reject(f"field '{name}' has more than {DIGITS} digits")
    if whole >= 10**DIGITS:
        raise Reject(f"field '{name}' has more than {DIGITS} digits")
    return -whole if sign else whole


def _time(found: object, name: str, schema: EventSchema) -> int:
    if isinstance(found, Number):
        if len(found) > _LONGEST_NUMBER:
            raise Reject(f"field '{name}' is a number of more than {_LONGEST_NUMBER} characters")
        time = _epoch(found, name, TIME_UNITS[schema.time_unit])
    elif isinstance(found, str):
        time = _iso(found, name, schema)
    else:
        raise Reject(f"field '{name}' is {_kind(found)}, not a time")
    if not _EARLIEST <= time <= _LATEST:
        raise Reject(f"field '{name}' is a time outside the years 1 to 9999")
    return time


def _epoch(found: Number, name: str, unit: int) -> int:
    try:
        sign, digits, exponent = Decimal(found).as_tuple()
    except InvalidOperation:
        raise Reject(f"field '{name}' has an exponent out of all bounds") from None
    assert isinstance(exponent, int)
    whole = int("".join(map(str, digits))) * (-1 if sign else 1) * max(unit, 1)
    if exponent > _LONGEST_NUMBER or exponent < -2 * _LONGEST_NUMBER:
        raise Reject(f"field '{name}' has an exponent out of all bounds")
    # Whole numbers all the way; // cuts towards the past, before 1970 too.
    up, down = 10 ** max(exponent, 0), 10 ** max(-exponent, 0) * max(-unit, 1)
    return int(whole * up // down)


def _iso(text: str, name: str, schema: EventSchema) -> int:
    match = _ISO.fullmatch(text)
    if not match or (match[4] and not match[3]):
        raise Reject(f"field '{name}' is not an ISO 8601 time")
    date, minutes, seconds, fraction, zone = match.groups()
    zone = zone or schema.utc_offset
    if zone is None:
        raise Reject(
            f"field '{name}' is a time without a zone; say which in EventSchema(utc_offset=...)"
        )
    try:
        local = datetime.fromisoformat(f"{date}T{minutes}{seconds or ':00'}+00:00")
    except ValueError:
        raise Reject(f"field '{name}' is not an ISO 8601 time") from None
    shift = timedelta(0)
    if zone not in "Zz":
        digits = zone[1:].replace(":", "").ljust(4, "0")
        hours, mins = int(digits[:2]), int(digits[2:])
        if hours > 23 or mins > 59:
            raise Reject(f"field '{name}' is not an ISO 8601 time")
        shift = timedelta(hours=hours, minutes=mins) * (-1 if zone[0] == "-" else 1)
    ms = int((fraction or "0").ljust(3, "0")[:3])
    return (local - _EPOCH) // timedelta(milliseconds=1) - shift // timedelta(milliseconds=1) + ms
