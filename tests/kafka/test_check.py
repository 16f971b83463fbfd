"""check: what it says of a topic on a real broker, whatever its messages are."""

import json
import re

import pandas as pd
import pytest
from kafka import KafkaProducer

from recovery_kit import cli
from recovery_kit.kafka.check import Check, _partitions, _unread, check
from recovery_kit.sandbox import Kafka
from recovery_kit.schema import EventSchema
from recovery_kit.sources.span import Span


def sent(broker: Kafka, topic: str, *values: bytes | None, partitions: int = 1) -> None:
    broker.create_topic(topic, partitions=partitions)
    with KafkaProducer(bootstrap_servers=broker.bootstrap_servers) as producer:
        for i, value in enumerate(values):
            producer.send(topic, value, key=b"k", partition=i % partitions)
        producer.flush()


def looked(broker: Kafka, topic: str) -> Check:
    source = {
        "max_decompressed_mib": 1024,
        "topic": [topic],
        "bootstrap_servers": broker.bootstrap_servers,
        "client_config": None,
        "schema": EventSchema(),
        "since": None,
        "until": None,
        "partitions": None,
    }
    return check(source, timeout=30.0)


STRANGE = [
    b'{"id": "e1", "type": "add", "value": 5, "meta": {"a": 1, "b": null}}',
    b'{"id": "e2", "type": "add", "value": -5, "meta": null, "note": "new"}',
    b'{"id": "e3", "type": "move", "value": 1, "meta": [1, {"a": true}], "note": 7}',
    b'{"id": {"a": 1}, "id": 2}',
    b'{"id": "\\ud800", "type": NaN}',
    b"[" * 10_000,
    b"\xff\x00not JSON",
    b"1" * 5000,
    b"",
    b'{"\x1b[2J": 1}',
    b'{"\\u001b[2J": 1, "\\ud800": {"": {}}}',
    None,
]


def test_no_messages_whatever_end_in_a_traceback(
    broker: Kafka, capsys: pytest.CaptureFixture[str]
) -> None:
    sent(broker, "check-strange", *STRANGE, partitions=2)
    at = ["check", "--bootstrap-servers", broker.bootstrap_servers, "--topic", "check-strange"]
    assert cli.main(at) == 2
    out, err = capsys.readouterr()
    assert err == ""
    assert all(line.isprintable() for line in out.splitlines())
    assert re.search(r"messages looked at +12, in the first 200 offsets of each partition", out)
    assert re.search(r"of them events +2$", out, re.MULTILINE)
    assert re.search(r"of them tombstones +1$", out, re.MULTILINE)
    assert "1 of 12: the type has no effect" in out
    assert "give these types an effect, 0 for none: move (1)" in out
    assert "no message has" not in out


def test_ids_that_are_not_unique_are_a_warning_and_not_in_the_way(
    broker: Kafka, capsys: pytest.CaptureFixture[str]
) -> None:
    orders = [
        json.dumps({"id": "order-1", "uuid": f"u{i}", "type": "add", "value": i}).encode()
        for i in range(8)
    ]
    sent(broker, "check-orders", *orders)
    at = ["check", "--bootstrap-servers", broker.bootstrap_servers, "--topic", "check-orders"]
    assert cli.main(at) == 0
    out = capsys.readouterr().out
    assert "recovery-kit check: ready to run, with a warning" in out
    assert "! 7 of 8 events repeat an id, and 7 of these differ from the first one" in out
    assert "perhaps id_field=uuid" in out
    assert cli.main([*at, "-p", "id_field", "uuid"]) == 0
    out = capsys.readouterr().out
    assert "recovery-kit check: ready to run\n" in out
    assert "!" not in out


def test_redeliveries_are_no_warning(broker: Kafka) -> None:
    sent(broker, "check-again", *[b'{"id": "e1", "type": "add", "value": 1}'] * 8)
    found = looked(broker, "check-again")
    assert (found.problems, found.warnings, found.exit_code) == ([], [], 0)


def test_a_topic_of_tombstones_alone_cannot_be_judged(broker: Kafka) -> None:
    sent(broker, "check-tombstones", None, None)
    assert looked(broker, "check-tombstones").problems == [
        "every message looked at is a tombstone, so whether the schema fits cannot be said"
    ]
    sent(broker, "check-empty")
    assert looked(broker, "check-empty").problems == [
        "there is no message to look at, so whether the schema fits cannot be said"
    ]


def test_what_was_not_looked_at_in_time_is_told() -> None:
    read, stopped = Span.whole("t", 0, 200), Span.whole("t", 1, 200)
    stopped.tally.position, stopped.timed_out, stopped.obstacle = 120, True, "no leader"
    assert _unread([read, stopped]) == ["t-1: looked at to offset 120, not to 200: no leader"]


@pytest.mark.parametrize(("count", "more"), [(20, ""), (21, "and 1 partitions more")])
def test_partitions_that_are_not_listed_are_counted(count: int, more: str) -> None:
    table = _partitions([Span.whole("t", p, 1) for p in range(count)], {}, {})
    shown = repr(Check([], table, []))
    assert len(re.findall(r"^  t-\d+ ", shown, re.MULTILINE)) == 20
    assert ("partitions more" in shown) == bool(more)
    assert more in shown


@pytest.mark.parametrize("ms", [None, -1, 1 << 62, 253_402_300_800_000])
def test_a_time_that_no_calendar_has_is_left_out(ms: int | None) -> None:
    spans, times = [Span.whole("t", 0, 1)], {} if ms is None else {"t-0": ms}
    table = _partitions(spans, times, times)
    assert pd.isna(table["first_time"][0])
    assert repr(Check([], table, [])).endswith("offsets 0 to 1")
