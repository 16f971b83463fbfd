"""Whether a log fits in memory: what is projected, what there is room for, and a topic that does
not fit.
"""

from __future__ import annotations

import re
import subprocess
import sys
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaProducer

from recovery_kit._room import EVERY, Room
from recovery_kit.errors import LogTooLarge
from recovery_kit.payload.messages import HEADER, ROW, Headers
from recovery_kit.payload.reader import Reader
from recovery_kit.sandbox import Kafka
from recovery_kit.schema import EventSchema
from recovery_kit.sources.memory import (
    AFTER,
    SAMPLE,
    Part,
    Watch,
    size,
    to_come,
)
from recovery_kit.sources.span import Span, Tally
from tests.messages import NOON, pack

MB = 1 << 20

offsets = st.integers(0, 10**9)
parts = st.lists(
    st.tuples(offsets, offsets, st.integers(0, 10**4)).map(lambda t: Part(t[0], t[1], t[0] * t[2])),
    min_size=1,
)


@given(parts)
def test_a_projection_lies_between_what_the_leanest_and_the_fattest_partition_take(
    parts: list[Part],
) -> None:
    ahead, rates = sum(p.ahead for p in parts), [p.kept / p.done for p in parts if p.done]
    least, most = (min(rates), max(rates)) if rates else (0, 0)
    assert ahead * least * (1 - 1e-9) - 1 <= to_come(parts) <= ahead * most * (1 + 1e-9) + 1


@given(st.integers(0, 10**4), st.lists(st.tuples(st.integers(1, 10**6), offsets), min_size=1))
def test_a_projection_is_right_where_all_offsets_take_the_same(
    rate: int, places: list[tuple[int, int]]
) -> None:
    found = to_come(Part(done, ahead, rate * done) for done, ahead in places)
    assert found == pytest.approx(rate * sum(ahead for _, ahead in places), rel=1e-9, abs=1)


@given(parts, st.data())
def test_a_projection_does_not_fall_where_more_was_kept_or_more_is_ahead(
    parts: list[Part], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(parts) - 1))
    part, more = parts[at], data.draw(offsets)
    for other in (part._replace(kept=part.kept + more), part._replace(ahead=part.ahead + more)):
        assert to_come([*parts[:at], other, *parts[at + 1 :]]) * (1 + 1e-9) + 1 >= to_come(parts)


def test_a_partition_of_which_nothing_was_read_is_taken_to_be_like_the_others() -> None:
    assert to_come([Part(1000, 0, 50_000), Part(0, 200, 0)]) == 200 * 50
    assert to_come([Part(0, 200, 0)]) == 0


def test_one_large_first_record_does_not_speak_for_its_whole_partition() -> None:
    usual, odd = Part(1_000_000, 0, 100_000_000), Part(1, 1_000_000, 5_000_000)
    assert to_come([usual, odd]) < 10 * 1_000_000 * 100


def span(position: int, end: int, partition: int = 0, *, start: int = 0, lost: int = 0) -> Span:
    tally = Tally(position)
    tally.delivered = position - start - lost
    return Span("t", partition, 0, start, end, end, end, tally, lost)


def watch(spans: list[Span], kept: list[int], free: int, *, until: bool = False) -> Watch:
    by_name = {str(s): k for s, k in zip(spans, kept, strict=True)}
    return Watch(spans, by_name, until=until, room=lambda: Room(free, "what the test gives"))


def test_what_will_not_fit_is_an_error_that_says_how_much_it_is_and_how_to_go_on() -> None:
    spans = [span(1_000_000, 10_000_000, 0), span(500_000, 5_000_000, 1)]
    with pytest.raises(LogTooLarge) as caught:
        watch(spans, [100_000_000, 50_000_000], free=2_000_000_000).step()
    said = str(caught.value)
    assert "1,500,000 messages were read from 1,500,000 of 15,000,000 offsets" in said
    assert "takes 0.15 GB, 100 bytes a message" in said
    need = 1.35 + AFTER * 1.5
    assert f"would take {need:.2f} GB more, and there are 2.00 GB: what the test gives." in said
    assert "(since and until; totals of a log without its head need opening)" in said
    assert "fewer partitions at a time" in said
    assert caught.value.exit_code == 2


def test_what_just_fits_goes_on() -> None:
    spans, kept = [span(5_000_000, 10_000_000)], [500_000_000]
    need = 500_000_000 + round(AFTER * 1_000_000_000)
    watch(spans, kept, free=need).step()
    with pytest.raises(LogTooLarge):
        watch(spans, kept, free=need - 1).step()


def test_offsets_of_which_nothing_is_kept_do_not_count() -> None:
    watch([span(10_000_000, 1_000_000_000)], [EVERY], free=16_000 * MB).step()
    with pytest.raises(LogTooLarge):
        watch([span(100_000, 1_000_000_000)], [EVERY], free=500 * MB).step()


def test_offsets_that_were_lost_do_not_count_as_read() -> None:
    gone = span(1_000_000, 2_000_000, lost=900_000)
    with pytest.raises(LogTooLarge, match="100,000 of 1,100,000 offsets"):
        watch([gone], [100_000_000], free=1_000_000_000).step()


def test_an_early_window_is_not_refused_for_what_lies_behind_it() -> None:
    early = [span(1_000_000, 1_000_000_000)]
    watch(early, [100_000_000], free=1_000_000_000, until=True).step()
    with pytest.raises(LogTooLarge, match="the steps after the replay alone"):
        watch(early, [100_000_000], free=round(AFTER * 100_000_000) - 1, until=True).step()


def test_the_first_fetch_is_not_taken_for_the_whole() -> None:
    huge = 10**10
    watch([span(1, 10**9)], [EVERY - 1], free=0).step()
    watch([span(1, 10**9)], [round(SAMPLE * huge) - 1], free=huge).step()
    with pytest.raises(LogTooLarge):
        watch([span(1, 10**9)], [round(SAMPLE * huge) + 1], free=huge).step()


def test_it_looks_again_only_when_more_was_kept() -> None:
    looks = []

    def look() -> Room:
        looks.append(1)
        return Room(10**12, "")

    kept = {"t-0": 0}
    one = Watch([span(1_000, 1_000)], kept, until=False, room=look)
    for step in range(10):
        kept["t-0"] = step * EVERY // 2
        one.step()
    assert len(looks) == 4


def test_size_counts_events() -> None:
    read = Reader(EventSchema()).read(
        pack([b'{"id": "e%05d", "type": "add", "value": 1}' % i for i in range(1000)])
    )
    # value and effect may be one and the same buffer, where each type counts once
    assert read.events.nbytes - 16 * 1000 <= size(read) <= read.events.nbytes + 1000


def test_size_counts_rejects_with_their_bytes() -> None:
    values: list[bytes | None] = [
        b'{"id": "e%05d", "type": "bonus", "value": 1}' % i for i in range(1000)
    ]
    read = Reader(EventSchema()).read(pack(values))
    assert len(read.rejects) == 1000
    least = 1000 * (ROW + len(values[0] or b""))
    assert least <= size(read) <= least + 1000


def test_size_counts_keys_and_headers() -> None:
    headers: Headers = [("né", b"12345"), ("", None)]
    for value in (None, b"[]"):
        one = replace(pack([value], [b"k" * 100]), headers=lambda _: headers)
        found = size(Reader(EventSchema()).read(one))
        assert ROW + 2 * HEADER + 107 <= found <= ROW + 2 * HEADER + 107 + 50


def test_size_counts_tombstones() -> None:
    read = Reader(EventSchema()).read(pack([None] * 1000))
    assert 1000 * ROW <= size(read) <= 1000 * ROW + 1000


def run(code: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *args], capture_output=True, text=True, timeout=300
    )


AFTERWARDS = """
from pathlib import Path
import pandas as pd, pyarrow as pa, pyarrow.compute as pc, recovery_kit as rk

def batch(first, count, offset):
    schema = rk.EventSchema().arrow_types
    number = pa.array(range(first, first + count))
    text = pc.utf8_lpad(number.cast(pa.string()), 12, "0")
    amount = number.cast(pa.decimal128(19, 0)).cast(schema["value"])
    columns = {
        "event_id": pc.binary_join_element_wise("2f0c9a74-4a51-4c0b-9d3e-", text, ""), "type": ["add"] * count,
        "value": amount, "effect": amount, "key": pc.utf8_slice_codeunits(text, -3),
        "time": pc.add(number, 1_772_452_800_000), "topic": ["t"] * count, "partition": [0] * count,
        "offset": pc.add(number, offset - first),
    }
    for name, kind in schema.items():
        column = pa.array(columns[name]) if isinstance(columns[name], list) else columns[name]
        columns[name] = column.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else column.cast(kind)
    return pa.RecordBatch.from_arrays([columns[name] for name in schema], schema=pa.schema(schema))

def work(batches):
    events = pa.Table.from_batches(batches).to_pandas(types_mapper=pd.ArrowDtype)
    return rk.totals(rk.dedup(events).unique)

def told(name):
    return next(int(line.split()[1]) << 10 for line in Path("/proc/self/status").open() if line.startswith(name))

work([batch(0, 1000, 0)])  # loads and starts what is needed at any size
batches = [batch(i * 100_000, 100_000, i * 100_000) for i in range(20)] + [batch(0, 60_000, 2_000_000)]
pa.default_memory_pool().release_unused()
Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
before = told("VmRSS")
totals = work(batches)
print(sum(batch.get_total_buffer_size() for batch in batches), told("VmHWM") - before)
"""


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="it is Linux that tells the peak"
)
def test_dedup_and_totals_take_no_more_than_is_set_aside_for_them() -> None:
    done = run(AFTERWARDS)
    assert not done.returncode, done.stderr
    size, peak = map(int, done.stdout.split())
    assert size > 190 * MB
    assert peak <= AFTER * size + 64 * MB  # some 50 MB go whatever the size


COUNT, LENGTH = 4_000, 100_000


@pytest.fixture(scope="module")
def topic(broker: Kafka) -> str:
    """400 MB of events, few and with long ids."""
    name = f"{uuid.uuid4().hex[:8]}-large"
    broker.create_topic(name, partitions=2)
    filling = "x" * LENGTH
    with KafkaProducer(
        bootstrap_servers=broker.bootstrap_servers, linger_ms=50, batch_size=900_000
    ) as producer:
        for i in range(COUNT):
            value = f'{{"id": "{i}{filling}", "type": "add", "value": 1}}'.encode()
            producer.send(name, value, b"a", partition=i % 2, timestamp_ms=NOON + i)
    return name


READ = """
import resource, sys
import psutil, recovery_kit as rk
from recovery_kit.errors import RecoveryKitError

servers, topic, spare, since, until = sys.argv[1:]

def work(since, until):
    replay = rk.replay(topic, bootstrap_servers=servers, since=since or None, until=until or None, progress=False)
    totals = rk.totals(rk.dedup(replay.events).unique)
    print(len(replay.events), totals.table["total"].sum(), flush=True)

work("2026-03-02T12:00:00Z", "2026-03-02T12:00:00.001Z")  # loads and starts what is needed at any size
limit = psutil.Process().memory_info().vms + (int(spare) << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    work(since, until)
except RecoveryKitError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""

SPARE = 256
"""MiB of address space for a read: enough to fetch and to read on, not for 400 MB."""


def read(
    broker: Kafka, topic: str, spare: int, *, since: str = "", until: str = "", before: str = ""
) -> subprocess.CompletedProcess[str]:
    return run(before + READ, broker.bootstrap_servers, topic, str(spare), since, until)


def test_a_topic_that_does_not_fit_ends_in_an_error_and_not_in_a_kill(
    broker: Kafka, topic: str
) -> None:
    done = read(broker, topic, SPARE)
    assert done.returncode == 2, done.stderr
    assert done.stdout == "1 1.00\n"
    assert "Traceback" not in done.stderr
    told = re.search(
        r"does not fit in memory: ([\d,]+) messages were read from ([\d,]+) of ([\d,]+) offsets",
        done.stderr,
    )
    assert told
    messages, offsets, of = (int(number.replace(",", "")) for number in told.groups())
    assert messages == offsets < of == COUNT
    assert f"{LENGTH // 1000}," in done.stderr.split("bytes a message")[0].split()[-1]
    assert "what is left of this process's address space (ulimit -v)" in done.stderr


def test_without_the_watch_memory_would_run_out(broker: Kafka, topic: str) -> None:
    done = read(
        broker,
        topic,
        SPARE,
        before="from recovery_kit.sources.memory import Watch; Watch.step = lambda self: None",
    )
    assert done.returncode not in (0, 2)
    assert done.stdout == "1 1.00\n"


@pytest.mark.parametrize(
    ("since", "until", "events"),
    [
        ("2026-03-02T12:00:00.100Z", "2026-03-02T12:00:00.200Z", 100),
        ("2026-03-02T12:00:01.900Z", "2026-03-02T12:00:02Z", 100),
        ("2026-03-02T12:00:03.900Z", "", 100),
        ("", "2026-03-02T12:00:00.100Z", 100),
    ],
)
def test_a_window_of_the_same_topic_goes_through(
    broker: Kafka, topic: str, since: str, until: str, events: int
) -> None:
    done = read(broker, topic, SPARE, since=since, until=until)
    assert not done.returncode, done.stderr
    assert done.stdout == f"1 1.00\n{events} {events}.00\n"


def test_the_same_topic_goes_through_where_there_is_more_room(broker: Kafka, topic: str) -> None:
    done = read(broker, topic, 8 * SPARE)
    assert not done.returncode, done.stderr
    assert done.stdout == f"1 1.00\n{COUNT} {COUNT}.00\n"
