import csv
import hashlib
import json
from collections import Counter, defaultdict
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka import KafkaConsumer, TopicPartition

from recovery_kit.errors import ParameterError, SandboxError
from recovery_kit.sandbox.incident import seed, simulate
from recovery_kit.sandbox.ledger import EFFECTS, UNREADABLE, partition_of

DIGEST = "143e215e9360655d5a5f15946d94873a700bc1c209903da0c1988e34a22b054d"
"""Of everything that seed 7 makes: a change is a new incident, and the committed notebooks must be
run again.
"""


@pytest.fixture(scope="module")
def incident():
    return simulate()


def _everything(incident, folder) -> str:
    digest = hashlib.sha256(repr((incident.records, incident.mistakes)).encode())
    for path in incident.write(folder):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _read(value: bytes) -> tuple[str, str, Decimal, str, str] | None:
    """Id, type, value, account and time of a message, the plainest way.

    None when it cannot be read.
    """
    try:
        message = json.loads(value.decode(), parse_float=Decimal, parse_int=Decimal)
        found = message["id"], message["type"], message["value"], message["account"], message["ts"]
    except (ValueError, KeyError, TypeError):
        return None
    readable = (
        found[0]
        and found[1] in EFFECTS
        and isinstance(found[2], Decimal)
        and found[2] == round(found[2], 2)
    )
    return found if readable else None


def _recovered(incident) -> dict[str, Decimal]:
    """The right totals by a plain loop: of each id, the copy that is first by time, partition and
    offset.
    """
    offsets: Counter[int] = Counter()
    first: dict[str, tuple] = {}
    for record in incident.records:
        place = record.partition, offsets[record.partition]
        offsets[record.partition] += 1
        if record.value is not None and (found := _read(record.value)):
            copy = (found[4], *place, found)
            first[found[0]] = min(copy, first.get(found[0], copy), key=lambda c: c[:3])
    totals: dict[str, Decimal] = defaultdict(Decimal)
    for *_, (_, kind, value, account, _) in first.values():
        totals[account] += EFFECTS[kind] * value
    return totals


def _off(incident) -> dict[str, Decimal]:
    """By how much each key's expected total is off, without those that are right."""
    recovered, expected = _recovered(incident), dict(incident.expected.itertuples(index=False))
    off = {
        key: expected.get(key, Decimal(0)) - recovered.get(key, Decimal(0))
        for key in {*recovered, *expected}
    }
    return {key: difference for key, difference in off.items() if difference}


def test_one_seed_gives_the_same_bytes_everywhere(incident, tmp_path):
    assert _everything(incident, tmp_path) == DIGEST


def test_another_seed_gives_another_incident():
    assert simulate(1, events=1000).records != simulate(2, events=1000).records


def test_a_frame_says_what_its_file_says(incident, tmp_path):
    for path, frame in zip(
        incident.write(tmp_path), (incident.expected, incident.processed), strict=True
    ):
        with path.open(newline="") as file:
            header, *rows = csv.reader(file)
        assert header == list(frame.columns)
        assert len(rows) == len(frame)
        amount = "total" if "total" in header else "effect"
        assert [Decimal(row[header.index(amount)]) for row in rows] == frame[amount].tolist()
        assert [row[0] for row in rows] == frame.iloc[:, 0].tolist()


@settings(max_examples=12, deadline=None)
@given(st.integers(), st.integers(1000, 3000), st.integers(10, 400), st.integers(2, 6))
def test_the_causes_add_up_to_what_every_key_is_off(number, events, accounts, partitions):
    incident = simulate(number, events=events, accounts=accounts, partitions=partitions)
    causes: dict[str, Decimal] = defaultdict(Decimal)
    for cause in incident.causes.itertuples():
        causes[cause.key] += cause.amount
    assert {key: amount for key, amount in causes.items() if amount} == _off(incident)


def test_the_causes_add_up_in_the_demos_incident_which_has_them_all(incident):
    causes: dict[str, Decimal] = defaultdict(Decimal)
    for cause in incident.causes.itertuples():
        causes[cause.key] += cause.amount
    assert {key: amount for key, amount in causes.items() if amount} == _off(incident)
    assert set(incident.causes["cause"]) == {
        "lost "
        "window", "applied twice", "wrong sign", "hundredfold", "lag", "by hand", "kept the later",
    }  # fmt: skip


def test_most_keys_are_right_and_some_are_wrong_for_several_reasons(incident):
    keys = {*_recovered(incident), *incident.totals}
    assert 0.60 <= 1 - len(_off(incident)) / len(keys) <= 0.70
    reasons = incident.causes.groupby("key")["cause"].nunique()
    assert (reasons > 1).sum() >= 20
    assert reasons.max() >= 3


def test_a_key_is_missing_on_either_side(incident):
    assert set(_recovered(incident)) - set(incident.totals) == {"acct-0300"}
    assert set(incident.totals) - set(_recovered(incident)) == {"acct-0417"}


def test_the_log_holds_copies_conflicts_tombstones_and_rubbish(incident):
    read = [_read(record.value) for record in incident.records if record.value is not None]
    contents = defaultdict(list)
    for found in filter(None, read):
        contents[found[0]].append(found[1:4])
    assert len(contents) == 60_000
    assert 0.015 < sum(len(copies) - 1 for copies in contents.values()) / len(contents) < 0.025
    assert sum(len(set(copies)) > 1 for copies in contents.values()) == 12
    assert read.count(None) == 4 * len(UNREADABLE)
    assert sum(record.value is None for record in incident.records) == 24
    assert len({record.key for record in incident.records}) == 300


def test_only_copies_leave_their_accounts_partition(incident):
    astray = [
        r for r in incident.records if r.key and r.partition != partition_of(r.key.decode(), 4)
    ]
    assert 20 < len(astray) < 100


def test_the_journal_adds_up_to_the_totals_and_is_in_order(incident):
    processed = incident.processed
    sums = processed.groupby("key")["effect"].sum()
    assert sums.to_dict() == dict(incident.expected.itertuples(index=False))
    assert processed["time"].is_monotonic_increasing


def test_too_small_an_incident_is_refused():
    with pytest.raises(ParameterError, match="events=10, accounts=300, partitions=4"):
        simulate(events=10)


def test_seeding_writes_every_record_once_in_order_and_only_once(broker):
    small = simulate(events=1000)
    broker.create_topic("sandbox-seeded", partitions=4)
    seed(broker.bootstrap_servers, small, "sandbox-seeded")
    places = [TopicPartition("sandbox-seeded", partition) for partition in range(4)]
    read = defaultdict(list)
    with KafkaConsumer(
        bootstrap_servers=broker.bootstrap_servers, enable_auto_commit=False
    ) as consumer:
        consumer.assign(places)
        consumer.seek_to_beginning(*places)
        while sum(map(len, read.values())) < len(small.records):
            for place, records in consumer.poll(timeout_ms=500).items():
                read[place.partition] += [
                    (place.partition, r.key, r.value, r.timestamp) for r in records
                ]
    for partition in range(4):
        assert read[partition] == [tuple(r) for r in small.records if r.partition == partition]
    with pytest.raises(SandboxError, match=r"'sandbox-seeded' ends at .*Seed a new topic"):
        seed(broker.bootstrap_servers, small, "sandbox-seeded")
