"""EventSchema: what can work is taken as it is meant, what cannot is refused with the reason."""

from __future__ import annotations

import copy
import json
import pickle
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recovery_kit.errors import SchemaError
from recovery_kit.schema import DIGITS, EventSchema


def test_the_plainest() -> None:
    schema = EventSchema()
    assert repr(schema) == "EventSchema()"
    assert schema.paths == {"id": ("id",), "type": ("type",), "value": ("value",)}
    assert schema.factors == {"add": 1, "subtract": -1}
    assert schema.arrow_types["value"] == schema.arrow_types["effect"] == pa.decimal128(DIGITS, 2)
    assert list(schema.arrow_types) == [
        "event_id",
        "type",
        "value",
        "effect",
        "key",
        "time",
        "topic",
        "partition",
        "offset",
    ]


def test_dots_reach_into_objects_and_can_be_escaped() -> None:
    schema = EventSchema(id=r"meta\.x.id", key="data.account.number", time="data.at")
    assert schema.paths["id"] == ("meta.x", "id")
    assert schema.paths["key"] == ("data", "account", "number")
    assert list(schema.paths) == ["id", "type", "value", "key", "time"]


@pytest.mark.parametrize(
    ("effects", "decimals", "factors", "scale"),
    [
        ({"a": 1}, 2, {"a": 1}, 2),
        ({"a": "0.5", "b": -2}, 2, {"a": 5, "b": -20}, 3),
        ({"a": Decimal("-0.125"), "b": "1e3"}, 0, {"a": -125, "b": 1_000_000}, 3),
        ({"a": "1.50", "b": 0}, 4, {"a": 15, "b": 0}, 5),
    ],
)
def test_factors_are_exact(
    effects: dict[str, object], decimals: int, factors: dict[str, int], scale: int
) -> None:
    schema = EventSchema(effects=effects, decimals=decimals)  # type: ignore[arg-type]
    assert (schema.factors, schema.amount_scale) == (factors, scale)
    assert schema.arrow_types["effect"] == pa.decimal128(DIGITS, scale)


FACTORS = st.one_of(
    st.integers(-(10**9) + 1, 10**9 - 1),
    st.decimals(Decimal("-999999"), Decimal("999999"), places=6),
    st.decimals(Decimal("-999999"), Decimal("999999"), places=6).map(str),
)
SCHEMAS = st.builds(
    EventSchema,
    id=st.sampled_from(["id", "meta.id", r"a\.b"]),
    key=st.sampled_from([None, "account", "data.k"]),
    time=st.sampled_from([None, "ts", "data.ts"]),
    decimals=st.integers(0, 9),
    effects=st.dictionaries(st.text(max_size=5), FACTORS, min_size=1, max_size=4),
    time_unit=st.sampled_from(["s", "ms", "us"]),
    utc_offset=st.sampled_from([None, "+00:00", "-03:30", "+14:00"]),
    no_key=st.text(min_size=1, max_size=5),
)


@given(SCHEMAS)
def test_every_way_there_and_back(schema: EventSchema) -> None:
    assert EventSchema(**json.loads(json.dumps(schema.to_dict()))) == schema
    assert pickle.loads(pickle.dumps(schema)) == copy.deepcopy(schema) == schema
    assert eval(repr(schema), {"EventSchema": EventSchema}) == schema
    assert hash(copy.deepcopy(schema)) == hash(schema)


@given(SCHEMAS)
def test_factors_are_those_given(schema: EventSchema) -> None:
    for name, factor in schema.factors.items():
        assert Decimal(factor).scaleb(-schema.factor_decimals) == Decimal(schema.effects[name])


def test_a_schema_cannot_be_changed() -> None:
    effects = {"add": 1}
    schema = EventSchema(effects=effects)
    effects["add"] = -1
    assert schema.effects["add"] == 1
    with pytest.raises(TypeError):
        schema.effects["add"] = -1  # type: ignore[index]
    with pytest.raises(AttributeError):
        schema.decimals = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"decimals": -1}, "decimals is -1; expected a whole number from 0 to 18"),
        ({"decimals": 19}, "decimals is 19"),
        ({"decimals": 2.0}, "decimals is 2.0"),
        ({"decimals": True}, "decimals is True"),
        ({"time_unit": "ns"}, "time_unit is 'ns'; expected one of s, ms, us"),
        ({"utc_offset": "UTC"}, "utc_offset is 'UTC'; expected an offset such as"),
        ({"utc_offset": "+15:00"}, "utc_offset is"),
        ({"effects": {}}, "effects is empty"),
        (
            {"effects": {"add": 0.1}},
            "the effect of 'add' is 0.1; give a whole number or a decimal in quotes",
        ),
        ({"effects": {"add": True}}, "the effect of 'add' is True"),
        ({"effects": {"add": "one"}}, "the effect of 'add' is 'one'; expected a number below"),
        ({"effects": {"add": "NaN"}}, "the effect of 'add' is 'NaN'"),
        ({"effects": {"add": "Infinity"}}, "the effect of 'add' is 'Infinity'"),
        ({"effects": {"add": 10**9}}, "expected a number below"),
        ({"effects": {"add": "0.0000000001"}}, "at most 9 decimals"),
        ({"effects": {"add": None}}, "the effect of 'add' is None"),
        ({"effects": {"add": "0.00001"}, "decimals": 14}, "need 19 decimals; at most 18"),
        ({"id": ""}, "id is ''; expected field names joined by dots, none of them empty"),
        ({"value": "a..b"}, "value is 'a..b'"),
        ({"key": ".a"}, "key is '.a'"),
        ({"time": 5}, "time is 5; expected the name of a payload field"),
        ({"id": "type"}, "id and type both read 'type'; each needs a field of its own"),
        ({"value": "data", "key": "data.account"}, "value and key both read 'data.account'"),
        ({"no_key": ""}, "no_key is ''"),
        ({"no_key": None}, "no_key is None"),
        ({"id": "\ud800"}, "not valid Unicode"),
        ({"effects": {"\ud800": 1}}, "not valid Unicode"),
    ],
)
def test_what_cannot_work_is_refused(fields: dict[str, object], reason: str) -> None:
    with pytest.raises(SchemaError) as caught:
        EventSchema(**fields)  # type: ignore[arg-type]
    assert reason in str(caught.value)
