"""Steps: what one notebook keeps, the next reads; a step is whole or not there."""

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from kafka import KafkaProducer

from recovery_kit._keep import read_json
from recovery_kit.dedup import Dedup, dedup
from recovery_kit.errors import RunError
from recovery_kit.reconcile import reconcile
from recovery_kit.replay import replayed
from recovery_kit.run import steps
from recovery_kit.run.example import AsOf
from recovery_kit.run.judge import FailOn, judge
from recovery_kit.run.pseudonym import Pseudonyms
from recovery_kit.run.settings import Settings
from recovery_kit.run.steps import Run, keep_results
from recovery_kit.sandbox import Kafka, incident
from recovery_kit.sandbox.ledger import START
from recovery_kit.sources.window import Window
from recovery_kit.totals import totals
from tests.events import FORMS, events

NAMES = Pseudonyms(("key",), "(all)", None, b"0123456789abcdef")


@pytest.fixture(scope="module")
def topic(broker: Kafka) -> str:
    broker.create_topic("test-steps", partitions=2)
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap_servers)
    for i in range(10):
        producer.send(
            "test-steps",
            b'{"id": "e%d", "type": "add", "value": 1}' % (i % 8),
            key=b"k",
            partition=i % 2,
        )
    producer.send(
        "test-steps", b"broken", key=b"k", partition=0, headers=[("h", b"1"), ("h", b"2")]
    )
    producer.send("test-steps", None, key=b"k", partition=1)
    producer.flush()
    producer.close()
    return "test-steps"


def begin(broker: Kafka, topic: str, folder: Path, **values: object) -> Run:
    named = {"bootstrap_servers": broker.bootstrap_servers, "topic": topic, "run_dir": str(folder)}
    return Run(Settings.of(named | values))


def same(one: object, other: object) -> None:
    """Two results, field by field."""
    names = {*vars(one)} - {"kept"} | ({"unique"} if isinstance(one, Dedup) else set())
    for name in sorted(names):
        value, kept = getattr(one, name), getattr(other, name)
        if isinstance(value, pd.DataFrame):
            pd.testing.assert_frame_equal(value, kept)
        else:
            assert value == kept


def test_a_stored_step_comes_back_as_it_was(
    broker: Kafka, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = begin(broker, topic, tmp_path, since='{"0": 0, "1": 0}')
    replay, d = first.replay(), first.dedup()
    assert d.counts == {"events": 10, "unique": 8, "redelivered": 2, "conflicting": 0}

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("read or worked out again what is stored")

    monkeypatch.setattr(steps, "replay", refuse)
    monkeypatch.setattr(steps, "dedup", refuse)
    second = begin(broker, topic, tmp_path, since='{"0": 0, "1": 0}')
    same(replay, second.replay())
    same(d, second.dedup())


def test_a_stored_dedup_keeps_its_doubts_and_an_older_one_has_none(tmp_path: Path) -> None:
    d = dedup(FORMS["pandas"](events([("e", "add", "1.00", "k", n, "t", 0, n) for n in range(50)])))
    assert len(d.doubts) == 1

    def run() -> Run:
        return Run(Settings(bootstrap_servers="localhost:1", topic="t", run_dir=str(tmp_path)))

    run()._keep("dedup", d, {"on_conflict": "first", "of": ""})
    same(d, run().dedup())
    path = tmp_path / "steps" / "dedup" / "step.json"
    told = json.loads(path.read_text())
    del told["facts"]["doubts"]
    path.write_text(json.dumps(told))
    assert run().dedup().doubts == ()


def test_another_log_than_the_stored_one_is_an_error(
    broker: Kafka, topic: str, tmp_path: Path
) -> None:
    begin(broker, topic, tmp_path).replay()
    with pytest.raises(RunError, match="holds a replay with another schema than this one names"):
        begin(broker, topic, tmp_path, decimals=3).replay()
    assert begin(broker, topic, tmp_path, decimals=3).replay(fresh=True).schema.decimals == 3


def test_another_choice_or_another_replay_makes_a_new_dedup(
    broker: Kafka, topic: str, tmp_path: Path
) -> None:
    begin(broker, topic, tmp_path).dedup()
    assert begin(broker, topic, tmp_path, on_conflict="last").dedup().on_conflict == "last"
    before = begin(broker, topic, tmp_path)
    before.dedup()
    kept = (tmp_path / "steps" / "dedup" / "step.json").stat().st_mtime_ns
    begin(broker, topic, tmp_path).replay(fresh=True)
    begin(broker, topic, tmp_path).dedup()
    assert (tmp_path / "steps" / "dedup" / "step.json").stat().st_mtime_ns > kept


def test_without_a_run_directory_nothing_is_kept(
    broker: Kafka, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kept_nowhere = Run(Settings(bootstrap_servers=broker.bootstrap_servers, topic=topic))
    kept_nowhere.dedup()
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_step_is_told(tmp_path: Path, broker: Kafka, topic: str) -> None:
    begin(broker, topic, tmp_path).replay()
    (tmp_path / "steps" / "replay" / "step.json").write_text("{")
    with pytest.raises(RunError, match="is not JSON"):
        begin(broker, topic, tmp_path).replay()


def test_a_summary_says_that_all_it_has_are_opening_totals(tmp_path: Path) -> None:
    """An empty window beside opening totals: they are compared, and nothing else was read."""
    records = incident.simulate().records
    held = pa.table({"key": ["a", "b"], "total": ["1.00", "2.00"]})
    for until, notes in (
        (START, ["No event was read: the recovered totals are the opening ones"]),
        (START + 60_000, []),
    ):
        log = AsOf(records, START + 60_000)
        found = replayed(log, incident.schema(), Window(until_ms=until))
        told = dedup(found.events)
        recovered = totals(told, opening=held)
        compared = reconcile(recovered, held, replay=found)
        keep_results(tmp_path, found, told, recovered, compared)
        summary = read_json(tmp_path / "summary.json")
        assert summary["reconciliation"]["notes"] == notes
        assert summary["reconciliation"]["compared"] == 2
        assert judge(summary, FailOn(rejects="100%"))[0] == (0 if notes else 1)


def test_a_replay_with_tokens_is_not_taken_for_one_with_names(
    broker: Kafka, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECOVERY_KIT_PSEUDONYM_KEY", "0123456789abcdef")
    found = begin(broker, topic, tmp_path, pseudonymize="key").replay()
    assert found.events["key"].unique().tolist() == [NAMES.token("key", b"k")]
    again = begin(broker, topic, tmp_path, pseudonymize="key")
    same(found, again.replay())
    with pytest.raises(RunError, match="holds a replay with another pseudonymize"):
        begin(broker, topic, tmp_path).replay()
    monkeypatch.setenv("RECOVERY_KIT_PSEUDONYM_KEY", "another key of sixteen")
    with pytest.raises(RunError, match="holds a replay with another pseudonymize"):
        begin(broker, topic, tmp_path, pseudonymize="key").replay()
