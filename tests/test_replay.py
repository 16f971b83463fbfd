"""replay(): windows, several topics, partitions, and how a result shows itself."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from decimal import Decimal

import pandas as pd
import pyarrow as pa
import pytest
from kafka import KafkaProducer, TopicPartition

from recovery_kit.dedup import dedup
from recovery_kit.errors import ParameterError
from recovery_kit.replay import Replay, replay
from recovery_kit.sandbox import Kafka
from recovery_kit.schema import EventSchema
from tests.integration.conftest import event, events, numbers, send_to
from tests.messages import NOON


def at(ms: int) -> pd.Timestamp:
    return pd.Timestamp(NOON + ms, unit="ms", tz="UTC")


@pytest.fixture(scope="module")
def topics(broker: Kafka) -> tuple[str, str]:
    """A topic of three partitions with times out of order, and one for retries."""
    run = uuid.uuid4().hex[:8]
    main, retries = f"{run}-main", f"{run}-retries-0"
    broker.create_topic(main, partitions=3)
    broker.create_topic(retries)
    with KafkaProducer(bootstrap_servers=broker.bootstrap_servers, linger_ms=5) as producer:
        send = send_to(producer)
        for partition in range(3):
            for place, ms in enumerate((50, 20, 90, 10, 70, 30, 60)):
                send(
                    main,
                    [event(ms + partition, account=f"a{partition}", at=NOON - 1000 + ms)],
                    partition=partition,
                    time=NOON + ms,
                )
                if place == 3:
                    send(main, [None], partition=partition, time=NOON)
        send(retries, events(500, 501), time=NOON + 40)
    return main, retries


def test_the_events_table(broker: Kafka, topics: tuple[str, str]) -> None:
    found = replay(topics[0], bootstrap_servers=broker.bootstrap_servers)
    assert {
        name: pa.field("", t.pyarrow_dtype).type for name, t in found.events.dtypes.items()
    } == found.schema.arrow_types
    assert numbers(found.events) == [
        ms + p for p in range(3) for ms in (50, 20, 90, 10, 70, 30, 60)
    ]
    assert found.events["offset"].to_list() == [0, 1, 2, 3, 5, 6, 7] * 3
    assert set(found.events["effect"]) == {Decimal("1.00")}
    assert list(found.tombstones["offset"]) == [4] * 3
    assert found.rejects.empty


@pytest.mark.parametrize(
    ("since", "until", "kept"),
    [
        (20, None, [50, 20, 90, 70, 30, 60]),
        (None, 60, [50, 20, 10, 30]),
        (20, 60, [50, 20, 30]),
        (21, 22, []),
        (90, 91, [90]),
    ],
)
def test_times_out_of_order_miss_nothing(
    broker: Kafka, topics: tuple[str, str], since: int | None, until: int | None, kept: list[int]
) -> None:
    bounds = {
        "since": None if since is None else at(since),
        "until": None if until is None else at(until),
    }
    found = replay(topics[0], bootstrap_servers=broker.bootstrap_servers, **bounds)  # type: ignore[arg-type]
    assert found.verdict == "complete"
    assert numbers(found.events) == [ms + p for p in range(3) for ms in kept]
    assert found.coverage["outside"].to_list() == [7 - len(kept)] * 3
    assert found.coverage["tombstones"].to_list() == [1] * 3


def test_the_events_own_time_cuts_where_the_schema_names_one(
    broker: Kafka, topics: tuple[str, str]
) -> None:
    schema = EventSchema(time="at", key="account")
    found = replay(
        topics[0],
        bootstrap_servers=broker.bootstrap_servers,
        schema=schema,
        since=at(-1000 + 60),
        until=at(0),
    )
    assert numbers(found.events) == [90, 70, 60, 91, 71, 61, 92, 72, 62]
    assert set(found.events["key"]) == {"a0", "a1", "a2"}
    assert (found.events["time"].max() - at(0)).total_seconds() == -0.91
    late = replay(topics[0], bootstrap_servers=broker.bootstrap_servers, schema=schema, since=at(0))
    assert (late.verdict, len(late.events), late.coverage["outside"].sum()) == ("complete", 0, 21)


def test_offsets_cut_by_place(broker: Kafka, topics: tuple[str, str]) -> None:
    main = topics[0]
    for since, until in (
        ({0: 2, 2: 7}, {0: 6, 1: 3}),
        ({"0": 2, f"{main}-2": 7}, {(main, 0): 6, (main, 1): 3}),
        ('{"0": 2, "2": 7}', '{"0": 6, "1": 3}'),
    ):
        found = replay(main, bootstrap_servers=broker.bootstrap_servers, since=since, until=until)  # type: ignore[arg-type]
        assert numbers(found.events) == [90, 10, 70, 51, 21, 91, 62]
        assert found.coverage[["start", "end"]].to_numpy().tolist() == [[2, 6], [0, 3], [7, 8]]
        assert found.verdict == "complete"


def test_a_time_and_an_offset_together(broker: Kafka, topics: tuple[str, str]) -> None:
    found = replay(
        topics[0],
        bootstrap_servers=broker.bootstrap_servers,
        since=at(50),
        until={0: 3, 1: 0, 2: 0},
    )
    assert numbers(found.events) == [50, 90]
    assert str(found.window).startswith(
        "from 2026-03-02T12:00:00.050Z by the events' own time to before "
    )


def test_several_topics_in_one_replay(broker: Kafka, topics: tuple[str, str]) -> None:
    main, retries = topics
    found = replay([retries, main, retries], bootstrap_servers=broker.bootstrap_servers)
    assert list(zip(found.coverage["topic"], found.coverage["partition"], strict=True)) == sorted(
        [(main, 0), (main, 1), (main, 2), (retries, 0)]
    )
    assert numbers(found.events)[-2:] == [500, 501]
    by_topic = found.events.groupby("topic", observed=True).size().to_dict()
    assert by_topic == {main: 21, retries: 2}
    assert len(found.events[found.events["topic"] == retries]) == 2
    found = replay(
        [main, retries],
        bootstrap_servers=broker.bootstrap_servers,
        since={(retries, 0): 1, (main, 0): 8},
    )
    assert numbers(found.events)[-1:] == [501]
    assert found.coverage["delivered"].to_list() == [0, 8, 8, 1]
    with pytest.raises(ParameterError, match=r"partition 0 of 2 topics; give \(topic, partition\)"):
        replay([main, retries], bootstrap_servers=broker.bootstrap_servers, since={0: 1})


def test_some_partitions_only(broker: Kafka, topics: tuple[str, str]) -> None:
    for wanted in ([2, 0], [0, 2, 2, 0]):
        found = replay(topics[0], bootstrap_servers=broker.bootstrap_servers, partitions=wanted)
        assert found.coverage["partition"].to_list() == [0, 2]
        assert found.events["partition"].to_list() == [0] * 7 + [2] * 7
        assert found.verdict == "complete"


@pytest.mark.parametrize("missing", [{}, {"bootstrap_servers": ""}])
def test_no_broker_given_says_so(missing: dict[str, str]) -> None:
    with pytest.raises(ParameterError, match="no bootstrap_servers"):
        replay("t", **missing)  # type: ignore[arg-type]


def test_a_window_that_cannot_be_is_told_before_anything_is_asked() -> None:
    with pytest.raises(ParameterError, match="without a zone"):
        replay("t", bootstrap_servers="127.0.0.1:1", since="2026-03-02T12:00:00")


# --- how it shows itself


@pytest.fixture(scope="module")
def nasty(broker: Kafka) -> Replay:
    """A replay of messages that would rather be markup, or move a terminal's cursor."""
    topic = f"{uuid.uuid4().hex[:8]}-nasty"
    broker.create_topic(topic)
    with KafkaProducer(bootstrap_servers=broker.bootstrap_servers) as producer:
        send = send_to(producer)
        for kind in ("<script>alert(1)</script>", "\x1b[2J", "add"):
            send(topic, [json.dumps({"id": "<b>", "type": kind, "value": 1}).encode()])
    return replay(topic, bootstrap_servers=broker.bootstrap_servers)


def test_cards_escape_what_messages_say(nasty: Replay) -> None:
    drawn = nasty._repr_html_()
    assert "<script>" not in drawn
    assert "&lt;script&gt;" in drawn
    assert "\x1b" not in drawn + repr(nasty)


def test_cards_count_with_units(nasty: Replay) -> None:
    text = repr(nasty)
    assert "complete: every offset from start to end is accounted for" in text
    for line in (
        r"messages delivered +3",
        r"events inside the window +1",
        r"rejects +2",
        r"partitions +1",
    ):
        assert pd.Series([text]).str.contains(line).all()
    assert "Rejects, by reason (messages)" in nasty._repr_html_()


def test_a_replay_goes_to_polars_and_back(broker: Kafka, topics: tuple[str, str]) -> None:
    """The events are Arrow's all the way: nothing turns into an object or a float."""
    import polars as pl

    found = replay(topics[0], bootstrap_servers=broker.bootstrap_servers)
    frame = pl.from_pandas(found.events)
    assert frame["effect"].dtype == pl.Decimal(28, 2)
    assert frame["effect"].sum() == Decimal("21.00")
    assert not any(str(t) == "object" or "float" in str(t) for t in found.events.dtypes)


def test_the_same_events_as_a_frame_and_as_columns(broker: Kafka, topics: tuple[str, str]) -> None:
    found = replay(topics[0], bootstrap_servers=broker.bootstrap_servers)
    as_read = found.arrow
    assert found.events is found.events
    assert pa.Table.from_pandas(found.events, preserve_index=False).equals(as_read)
    assert found.arrow.equals(as_read)
    assert dedup(as_read).counts == dedup(found.events).counts


def test_from_a_topic_to_totals_without_pandas(broker: Kafka, topics: tuple[str, str]) -> None:
    """It takes as long to load as half a million events to read."""
    code = f"""
import sys, recovery_kit as rk
found = rk.replay({topics[0]!r}, bootstrap_servers={broker.bootstrap_servers!r})
kept = rk.dedup(found.arrow)
table = rk.totals(kept).table.select(["key", "total", "events", "added", "subtracted"])
print(len(kept.unique), found.verdict, [str(row["total"]) for row in table.to_pylist()])
print([name for name in ("pandas", "polars", "narwhals", "numba") if name in sys.modules])"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["21 complete ['21.00']", "[]"], done.stderr


def test_places_are_those_of_the_log(broker: Kafka, topics: tuple[str, str]) -> None:
    from kafka import KafkaConsumer

    found = replay(topics[0], bootstrap_servers=broker.bootstrap_servers)
    row = found.events.iloc[10]
    place = TopicPartition(row["topic"], int(row["partition"]))
    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap_servers, group_id=None)
    try:
        consumer.assign([place])
        consumer.seek(place, int(row["offset"]))
        (record, *_) = consumer.poll(timeout_ms=10_000)[place]
    finally:
        consumer.close()
    assert (json.loads(record.value)["id"], record.offset) == (row["event_id"], row["offset"])
    assert record.timestamp == row["time"].value // 10**6
