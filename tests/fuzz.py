"""Any bytes through the scan and the exact reader, for as long as one likes: make fuzz
SECONDS=3600.

Messages are written by a small grammar and then damaged, packed before a page that cannot be read,
and read both ways; the rows, decimals and rejects must be the same. So must the answer to record
batches that are damaged: refused, or inside their bytes. A message that is read differently is cut
down as far as it stays so, shown, and kept in build/fuzz.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

from recovery_kit.schema import EventSchema
from tests.guarded import Guarded
from tests.kafka.build import Record, batch
from tests.kafka.test_decode import decode, inside
from tests.messages import NOON, pack
from tests.payload.test_reader import SCHEMAS, both, exact

EDGE = Guarded(1 << 20)
KEPT = Path(__file__).parents[1] / "build" / "fuzz"
BATCH = 400

Message = tuple[bytes | None, bytes | None, int]
Rows = list[tuple[object, ...]]

NAMES = [
    "id",
    "type",
    "value",
    "meta",
    "kind",
    "data",
    "x",
    "amount",
    "k",
    "ts",
    "v",
    "é",
    "other",
    "\u0000",
    "🎉",
]
TEXTS = [
    "add",
    "7",
    "e1",
    "",
    "-0",
    "subtract",
    "2026-03-02T12:00:00Z",
    "2026-02-29T00:00:00+01:00",
    "10.25",
    "é",
    "🎉",
]
TEXTS += [
    "0" * 40 + "1",
    "1" * 30,
    "a" * 7,
    "a" * 8,
    "a" * 9,
    "ab\u00ffcd" * 5,
    "1772452800000",
    "1e3",
    "+5",
    "00.50",
    "5.",
]
NUMBERS = [
    "0",
    "-0",
    "1",
    "12.50",
    "-7.005",
    "1e2",
    "1E-2",
    "999999999999999999",
    "9999999999999999.99",
    "1e400",
    "01",
    "1.",
    ".5",
]
NUMBERS += [
    "12345678",
    "123456789",
    "1234567812345678",
    "0.00",
    "100.0",
    "1772452800",
    "1772452800123",
    "18446744073709552",
    "-1",
    "1.10",
    "1.100",
]
PIECES = [
    b'"',
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"0",
    b"e",
    b".",
    b"-",
    b"\x00",
    b"\x1f",
    b"\xff",
    b"\xc3\xa9",
    b"\xed\xa0\x80",
]
PIECES += [
    b'\\"',
    b"\\u00e9",
    b"\\ud800",
    b"null",
    b"true",
    b"  ",
    b"\xef\xbb\xbf",
    b"\xf4\x90\x80\x80",
    b"\xc0\xaf",
    b"9" * 20,
]


def value(chance: random.Random, depth: int = 0) -> str:
    what = chance.random()
    if what < 0.35:
        return chance.choice(NUMBERS)
    if what < 0.75 or depth > 3:
        return json.dumps(chance.choice(TEXTS), ensure_ascii=chance.random() < 0.3)
    if what < 0.8:
        return chance.choice(["null", "true", "false"])
    if what < 0.9:
        return "[" + ",".join(value(chance, depth + 1) for _ in range(chance.randrange(3))) + "]"
    return written(
        chance,
        {name: value(chance, depth + 1) for name in chance.sample(NAMES, chance.randrange(4))},
    )


def written(chance: random.Random, fields: dict[str, str]) -> str:
    blank = chance.choice(["", "", "", " ", "\n", "\t\r"])
    pairs = [
        f"{blank}{json.dumps(name, ensure_ascii=False)}{blank}:{blank}{v}"
        for name, v in fields.items()
    ]
    if chance.random() < 0.3:
        chance.shuffle(pairs)
    if chance.random() < 0.03:
        pairs += pairs[:1]
    return "{" + ",".join(pairs) + blank + "}"


def message(chance: random.Random) -> bytes | None:
    """A message that one of the schemas may well read, now and then damaged."""
    if chance.random() < 0.02:
        return None
    id_, kind = (
        json.dumps(chance.choice(TEXTS)),
        chance.choice(['"add"', '"subtract"', '"7"', "7", '"x"']),
    )
    amount, when = value(chance, 4), value(chance, 4)
    fields = {
        "id": id_,
        "type": kind,
        "value": amount,
        "v": value(chance, 4),
        "é": id_,
        "ts": when,
        "other": value(chance),
        "meta": written(chance, {"id": id_, "kind": kind}),
        "data": written(chance, {"x": written(chance, {"amount": amount, "k": id_}), "ts": when}),
    }
    data = bytearray(written(chance, fields).encode("utf-8", "surrogatepass"))
    for _ in range(chance.choice([0, 0, 0, 1, 1, 2, 5])):
        at, piece = chance.randrange(len(data) + 1), chance.choice(PIECES)
        how = chance.randrange(5)
        if how == 0:
            data[at : at + len(piece)] = piece
        elif how == 1:
            data[at:at] = piece
        elif how == 2:
            del data[at : at + chance.randrange(1, 9)]
        elif how == 3:
            del data[at:]
        elif data:
            data[at % len(data)] ^= 1 << chance.randrange(8)
    return bytes(data)


def read(records: list[Message], schema: EventSchema) -> tuple[Rows, Rows]:
    """What the reader makes of messages, and what the exact reader alone does."""
    values, keys, times = (list(column) for column in zip(*records, strict=True))
    messages = pack(values, keys, times, hold=EDGE.holding)
    return both(messages, schema), exact(messages, schema)


def differs(records: list[Message], schema: EventSchema) -> bool:
    found, expected = read(records, schema)
    return found != expected


def cut_down(record: Message, schema: EventSchema) -> bytes | None:
    data, key, at = record
    size = len(data or b"")
    while data and size:
        for start in range(0, len(data), size):
            less = data[:start] + data[start + size :]
            if differs([(less, key, at)], schema):
                data = less
                break
        else:
            size //= 2
    return data


def fuzz_messages(chance: random.Random, seen: Counter[str]) -> None:
    schema = chance.choice(SCHEMAS)
    records = [
        (
            message(chance),
            chance.choice([b"k", None, b"", b"\xff", "é".encode()]),
            chance.choice([NOON, 0, -1, 10**15]),
        )
        for _ in range(BATCH)
    ]
    found, expected = read(records, schema)
    kinds = Counter(
        "event" if len(row) > 2 else "tombstone" if row[1] == "tombstone" else "reject"
        for row in expected
    )
    seen.update(kinds)
    if found == expected:
        return
    one = next(record for record in records if differs([record], schema))
    least = cut_down(one, schema)
    KEPT.mkdir(parents=True, exist_ok=True)
    (KEPT / "message").write_bytes(least or b"")
    raise SystemExit(
        f"read differently: {least!r}, key {one[1]!r}, time {one[2]}, by {schema}; kept in {KEPT}"
    )


def fuzz_batches(chance: random.Random, seen: Counter[str]) -> None:
    headers = [("h", chance.choice([b"1", None]))] * chance.randrange(3)
    body = bytearray(
        batch([Record(o, headers=headers) for o in range(chance.randrange(1, 5))])[61:]
    )
    for _ in range(chance.randrange(4)):
        body[chance.randrange(len(body))] = chance.choice(
            [0, 1, 2, 0x7E, 0x7F, 0x80, 0xFF, chance.randrange(256)]
        )
    del body[chance.choice([len(body), chance.randrange(len(body) + 1)]) :]
    bad, columns = decode(bytes(body), chance.randrange(6))
    seen["batch refused" if bad >= 0 else "batch taken"] += 1
    if bad < 0:
        _, _, key_at, key_len, value_at, value_len, headers_at, headers_end = columns
        for places, lengths in (
            (key_at, key_len),
            (value_at, value_len),
            (headers_at, headers_end - headers_at),
        ):
            assert inside(np.asarray(places), np.asarray(lengths), 3, 3 + len(body)), bytes(body)


def main(seconds: float, seed: int) -> None:
    chance, seen = random.Random(seed), Counter[str]()
    print(f"seed {seed}", flush=True)
    end, word = time.monotonic() + seconds, time.monotonic() + 30
    while time.monotonic() < end:
        fuzz_messages(chance, seen)
        for _ in range(50):
            fuzz_batches(chance, seen)
        if time.monotonic() > word:
            print(dict(seen), flush=True)
            word += 30
    print(f"{dict(seen)}: all the same")


if __name__ == "__main__":
    main(
        float(sys.argv[1]),
        int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().getrandbits(32),
    )
