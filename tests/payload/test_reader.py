"""Payloads: the compiled scan and the exact reader give the same rows and the same rejects, for any
bytes at all.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recovery_kit.payload import reader
from recovery_kit.payload.exact import Reject, read_message
from recovery_kit.payload.messages import Messages
from recovery_kit.payload.reader import Reader
from recovery_kit.schema import EventSchema
from tests.guarded import Guarded
from tests.messages import NOON, pack

EDGE = Guarded(1 << 20)

SCHEMAS = [
    EventSchema(),
    EventSchema(
        id="meta.id",
        type="meta.kind",
        value="v",
        key="é",
        time="ts",
        effects={"add": 3, "7": "-0.5"},
    ),
    EventSchema(
        value="data.x.amount",
        key="data.x.k",
        time="data.ts",
        time_unit="s",
        decimals=0,
        utc_offset="+01:00",
    ),
]


def exact(messages: Messages, schema: EventSchema) -> list[tuple[object, ...]]:
    """What the exact reader alone makes of messages: the law."""
    rows: list[tuple[object, ...]] = []
    names = list(schema.effects)
    for i in range(len(messages)):
        value = messages.value(i)
        if value is None:
            rows.append((i, "tombstone"))
            continue
        try:
            r = read_message(value, messages.key(i), int(messages.time[i]), schema)
        except Reject as reason:
            rows.append((i, str(reason)))
            continue
        amounts = (
            Decimal(r.amount).scaleb(-schema.decimals),
            Decimal(r.effect).scaleb(-schema.amount_scale),
        )
        rows.append(
            (i, r.id, names[r.code], *amounts, schema.no_key if r.key is None else r.key, r.time)
        )
    return rows


def both(messages: Messages, schema: EventSchema) -> list[tuple[object, ...]]:
    """What the reader makes of them, scan first."""
    read = Reader(schema).read(messages)
    read.events.validate(full=True)
    columns = read.events.to_pydict()
    columns["time"] = read.events.column("time").cast("int64").to_pylist()
    names = ("offset", "event_id", "type", "value", "effect", "key", "time")
    rows: list[tuple[object, ...]] = list(zip(*(columns[n] for n in names), strict=True))
    rows += [(r["offset"], r["reason"]) for r in read.rejects]
    rows += [(r["offset"], "tombstone") for r in read.tombstones]
    return sorted(rows, key=lambda row: row[0])


TEXTS = st.one_of(
    st.text(max_size=6),
    st.sampled_from(
        [
            "add",
            "7",
            "e1",
            "",
            "-0",
            "\\",
            '"',
            "\ud800"[:0],
            "2026-03-02T12:00:00Z",
            "10.25",
            "é",
            "🎉",
        ]
    ),
)
NUMBERS = st.one_of(
    st.integers(-(10**20), 10**20).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=3).map(str),
    st.from_regex(
        r"-?(0|[1-9]\d{0,20})(\.\d{1,20})?([eE][+-]?\d{1,4})?",
        fullmatch=True,
        alphabet="0123456789.eE+-",
    ),
    st.sampled_from(
        [
            "0",
            "-0",
            "-0.00",
            "1772452800",
            "1772452800000",
            "1e400",
            "NaN",
            "01",
            "1.",
            ".5",
            "+1",
            "- 1",
        ]
    ),
)
TIMES = st.one_of(
    st.from_regex(
        r"(0000|19\d\d|2026|9999)-[01]\d-[0-3]\d[T ][0-2]\d:[0-6]\d(:[0-6]\d(\.\d{1,9})?)?(Z|z|[+-][0-2]\d:?[0-6]\d)?",
        fullmatch=True,
    )
).map(json.dumps)
SCALARS = st.one_of(
    NUMBERS,
    NUMBERS.map(json.dumps),
    TIMES,
    TEXTS.map(json.dumps),
    st.sampled_from(["null", "true"]),
)
NAMES = st.sampled_from(
    ["id", "type", "value", "meta", "kind", "data", "x", "amount", "k", "ts", "v", "é", "other"]
)
BLANKS = st.sampled_from(["", "", " ", "\n\t", "\r"])


def _object(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pair = st.builds(
        "{0}{1}{0}:{2}{0}".format,
        BLANKS,
        NAMES.map(lambda n: json.dumps(n, ensure_ascii=False)),
        values,
    )
    return st.lists(pair, max_size=6).map(lambda pairs: "{" + ",".join(pairs) + "}")


VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        _object(inner), st.lists(inner, max_size=3).map(lambda v: f"[{','.join(v)}]")
    ),
)


@st.composite
def plausible(draw: st.DrawFn) -> str:
    """A message that one of the schemas may well read, with a field or two gone wrong."""
    one = st.one_of
    usual = {
        "id": one(TEXTS.map(json.dumps), NUMBERS),
        "type": st.sampled_from(['"add"', '"add"', '"subtract"', '"7"', "7", '"x"']),
        "value": NUMBERS,
    }
    nested = {
        "meta": _pairs({"id": usual["id"], "kind": usual["type"]}),
        "v": one(NUMBERS, NUMBERS.map(json.dumps)),
        "é": usual["id"],
        "ts": one(TIMES, NUMBERS),
        "data": _pairs(
            {"x": _pairs({"amount": NUMBERS, "k": usual["id"]}), "ts": one(TIMES, NUMBERS)}
        ),
    }
    return draw(_pairs(usual | nested | {"other": VALUES}))


def _pairs(fields: dict[str, st.SearchStrategy[str]]) -> st.SearchStrategy[str]:
    names = {name: json.dumps(name, ensure_ascii=False) for name in fields}
    return st.fixed_dictionaries(fields).map(
        lambda d: "{" + ",".join(f"{names[n]}: {v}" for n, v in d.items()) + "}"
    )


@st.composite
def damaged(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> bytes:
    """The message, whole or with a few bytes changed, cut or put twice."""
    data = bytearray(draw(texts).encode("utf-8", "surrogatepass"))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        if data:
            at = draw(st.integers(0, len(data) - 1))
            how = draw(st.sampled_from(["set", "cut", "insert", "end"]))
            byte = draw(st.one_of(st.integers(0, 255), st.sampled_from(b'"\\{}[]:,0e.\x00\xff')))
            if how == "set":
                data[at] = byte
            elif how == "cut":
                del data[at]
            elif how == "insert":
                data.insert(at, byte)
            else:
                del data[at:]
    return bytes(data)


MESSAGES = st.one_of(st.none(), damaged(plausible()), damaged(VALUES), damaged(_object(SCALARS)))
KEYS = st.sampled_from([b"k", b"k", None, b"", b"\xff", "é".encode()])
STAMPS = st.sampled_from([NOON, NOON, 0, -1, 10**15])


IN_SECONDS = replace(SCHEMAS[1], time_unit="s")
WRAPPED = [n * 2**64 // 1000 + near for n in range(1, 6) for near in (0, 1)]
"""Seconds of 17 digits whose milliseconds, were they cut to 64 bits, would be a time near 1970."""


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.tuples(MESSAGES, KEYS, STAMPS), min_size=1, max_size=8), st.sampled_from(SCHEMAS)
)
@example([(b'{"id":"e1","type":"add","value":' + b"0" * 50 + b"1}", b"k", NOON)], SCHEMAS[0])
@example([(b'{"id":"e1","type":"add","value":"' + b"0" * 120 + b'1"}', b"k", NOON)], SCHEMAS[0])
@example([(b'{"id":"e1","type":"add","value":999999999999999999.99}', b"k", NOON)], SCHEMAS[0])
@example(
    [
        (b'{"meta":{"id":1,"kind":"add"},"v":1,"\xc3\xa9":"k","ts":%d}' % n, b"k", NOON)
        for n in WRAPPED
    ],
    IN_SECONDS,
)
@example([(b'{"id":1,"id":2,"type":"add","value":1}', b"k", NOON)], SCHEMAS[0])
@example([(b'{"id":"e","type":"add","value":1,"x":"\xf4\x90\x80\x80"}', b"k", NOON)], SCHEMAS[0])
def test_scan_and_exact_reader_agree(
    records: list[tuple[bytes | None, bytes | None, int]], schema: EventSchema
) -> None:
    values, keys, times = (list(column) for column in zip(*records, strict=True))
    messages = pack(values, keys, times, hold=EDGE.holding)
    assert both(messages, schema) == exact(messages, schema)


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_message_that_ends_anywhere_is_not_read_beyond(schema: EventSchema) -> None:
    whole = (
        '{"meta": {"id": "é-1", "kind": "add"}, "v": "-12.50", "é": "k", "ts": "2026-03-02T12:00:00.123Z", "id": 17, '
        '"type": "add", "value": 1.5e1, "data": {"x": {"amount": 7, "k": "k"}, "ts": 1772452800}, "a": [true, null]}'
    ).encode()
    for end in range(len(whole) + 1):
        for message in (whole[:end], whole[end:]):
            messages = pack([message], [b"k"], hold=EDGE.holding)
            assert both(messages, schema) == exact(messages, schema)


def test_the_scan_takes_what_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the scan to hand everything on, the agreement above would be worth nothing."""
    plain = [
        b'{"id":"e1","type":"add","value":5}',
        b' { "other" : [1, {"id": 2}, "\\u00e9"] , "id" : 17, "type":"subtract", "value":"-0012.500" } ',
        '{"id":"é🎉","type":"add","value":123456789012345.67}'.encode(),
    ]
    monkeypatch.setattr(
        reader, "read_message", lambda *_: pytest.fail("the exact reader was asked")
    )
    read = Reader(EventSchema()).read(pack(plain, [b"k"] * 3))
    assert read.events.column("event_id").to_pylist() == ["e1", "17", "é🎉"]


def test_keys_longer_than_their_messages() -> None:
    keys = [b"a", "é".encode(), None, b"a", b"", b"b" * 3000, b"a"]
    read = Reader(EventSchema()).read(
        pack([b'{"id":"e%d","type":"add","value":1}' % i for i in range(7)], keys)
    )
    assert read.events.column("key").to_pylist() == ["a", "é", "(all)", "a", "b" * 3000, "a"]
    assert [r["offset"] for r in read.rejects] == [4]


def test_no_key_longer_than_all_messages() -> None:
    schema = EventSchema(no_key="n" * 5000)
    read = Reader(schema).read(pack([b'{"id":"e%d","type":"add","value":1}' % i for i in range(7)]))
    assert read.events.column("key").to_pylist() == ["n" * 5000] * 7


def test_one_reader_reads_again_and_again() -> None:
    """What one read leaves in the room that the next one uses does not show."""
    reader = Reader(EventSchema())
    for n in (3, 900, 1, 0, 900):
        values: list[bytes | None] = [
            b'{"id":"e%d","type":"add","value":%d}' % (i, i) for i in range(n)
        ]
        read = reader.read(pack(values, [b"k%d" % (i % 7) for i in range(n)]))
        read.events.validate(full=True)
        assert read.events.column("event_id").to_pylist() == [f"e{i}" for i in range(n)]
        assert read.events.column("key").to_pylist() == [f"k{i % 7}" for i in range(n)]
        assert read.events.column("value").to_pylist() == list(range(n))
        assert read.events.column("partition").to_pylist() == [0] * n


def test_several_threads_read_with_one_reader_at_once() -> None:
    reader = Reader(EventSchema())

    def messages(i: int) -> Messages:
        n = 400 + 7 * i
        texts = [
            b'{"id":"%d-%d","type":"add","value":%d}' % (i, k, k) if k % 50 else b"?"
            for k in range(n)
        ]
        return pack(texts, [b"k%d" % (k % (i + 2)) for k in range(n)])

    given = [messages(i) for i in range(60)]
    with ThreadPoolExecutor(4) as pool:
        reads = list(pool.map(reader.read, given))
    for read, some in zip(reads, given, strict=True):
        alone = Reader(EventSchema()).read(some)
        assert read.events.equals(alone.events)
        assert read.rejects == alone.rejects


def test_keys_that_fill_the_room_to_its_end_stay_when_it_is_used_again() -> None:
    reader = Reader(EventSchema(no_key="(no key: one total for all events)"))
    message = b'{"id":1,"type":"add","value":1}'
    first = reader.read(pack([message] * 8)).events
    reader.read(pack([message] * 6, [b"alice"] * 6))
    assert first.column("key").to_pylist() == ["(no key: one total for all events)"] * 8


def test_a_schema_of_more_than_64_steps() -> None:
    paths = {role: [f"{role}{i}" for i in range(25)] for role in ("id", "type", "value")}
    schema = EventSchema(**{role: ".".join(path) for role, path in paths.items()})
    parts = [
        "{" + ":{".join(json.dumps(name) for name in paths[role]) + f":{value}" + "}" * 24
        for role, value in (("id", '"e1"'), ("type", '"add"'), ("value", "5"))
    ]
    whole = (parts[0] + "," + parts[1][1:] + "," + parts[2][1:] + "}").encode()
    twice = whole[:-1] + b',"id0":{}}'
    messages = pack([whole, twice], [b"k"] * 2)
    assert both(messages, schema) == exact(messages, schema)
    assert [len(row) for row in both(messages, schema)] == [7, 2]


def test_only_the_bad_ones_of_many_are_rejected() -> None:
    values: list[bytes | None] = [
        b'{"id":"e%d","type":"add","value":1.25}' % i for i in range(50_000)
    ]
    bad = {
        7: b"",
        20_000: b'{"id":"e","type":"add","value":1}{}',
        49_999: b'{"id":"e","type":"add","value":1.234}',
    }
    for i, value in bad.items():
        values[i] = value
    values[33_333] = None
    read = Reader(EventSchema()).read(pack(values))
    assert [r["offset"] for r in read.rejects] == list(bad)
    assert [r["value"] for r in read.rejects] == list(bad.values())
    assert [t["offset"] for t in read.tombstones] == [33_333]
    assert read.events.num_rows == 50_000 - 4
    assert set(read.events.column("value").to_pylist()) == {Decimal("1.25")}


def test_the_window_cuts_by_the_events_own_time() -> None:
    values: list[bytes | None] = [b'{"id":"e%d","type":"add","value":1}' % i for i in range(5)]
    read = Reader(EventSchema(), since=NOON + 1, until=NOON + 3).read(
        pack(values, times=[NOON + i for i in range(5)])
    )
    assert read.events.column("offset").to_pylist() == [1, 2]
    assert (read.outside, read.first_time) == (3, NOON)


def test_no_messages_give_empty_columns_of_the_right_types() -> None:
    read = Reader(EventSchema()).read(pack([]))
    assert read.events.num_rows == 0
    assert (
        dict(zip(read.events.schema.names, read.events.schema.types, strict=True))
        == EventSchema().arrow_types
    )


@pytest.mark.parametrize("digits", [18, 19, 26])
def test_amounts_at_the_edge_of_the_scan(digits: int) -> None:
    text = ("9" * (digits - 2) + ".99").encode()
    read = Reader(EventSchema()).read(pack([b'{"id":"e","type":"subtract","value":%s}' % text]))
    assert read.events.column("value").to_pylist() == [Decimal(text.decode())]
    assert read.events.column("effect").to_pylist() == [-Decimal(text.decode())]
