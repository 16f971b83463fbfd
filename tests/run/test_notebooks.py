"""A run, end to end, on a real broker: the notebooks through papermill, and what its exit code
says.
"""

import csv
import fcntl
import getpass
import hashlib
import html
import json
from decimal import Decimal
from pathlib import Path

import nbformat
import pyarrow.parquet as pq
import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition

from recovery_kit import errors
from recovery_kit.errors import ParameterError, RunError
from recovery_kit.run.judge import FailOn, judge
from recovery_kit.run.manifest import altered
from recovery_kit.run.notebooks import NOTEBOOKS, run
from recovery_kit.run.outcome import Outcome
from recovery_kit.run.settings import Settings
from recovery_kit.sandbox import Kafka
from tests.tables.workbook import book, number

MESSAGES = [
    (b"a", b'{"id": "e1", "type": "add", "value": 10.10}'),
    (b"a", b'{"id": "e2", "type": "subtract", "value": 0.10}'),
    (b"a", b'{"id": "e1", "type": "add", "value": 10.10}'),
    (b"=cmd|'/c calc'!A1", b'{"id": "e3", "type": "add", "value": 7}'),
    (b"<script>alert(1)</script>", b'{"id": "e4", "type": "add", "value": 3}'),
]
TOTALS = {"a": "10.00", "=cmd|'/c calc'!A1": "7.00", "<script>alert(1)</script>": "3.00"}


@pytest.fixture(scope="module")
def topic(broker: Kafka) -> str:
    broker.create_topic("test-run", partitions=1)
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap_servers)
    for key, value in MESSAGES:
        producer.send("test-run", value, key=key)
    producer.flush()
    producer.close()
    return "test-run"


def expected(folder: Path, totals: dict[str, str]) -> str:
    path = folder / "expected.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("key", "total"), *totals.items()])
    return str(path)


def settings(broker: Kafka, topic: str, folder: Path, **values: object) -> Settings:
    named = {
        "bootstrap_servers": broker.bootstrap_servers,
        "topic": topic,
        "run_dir": str(folder / "run"),
    }
    return Settings.of(named | values, strict=True)


def test_a_run_that_matches(broker: Kafka, topic: str, tmp_path: Path) -> None:
    outcome = run(settings(broker, topic, tmp_path, expected=expected(tmp_path, TOTALS)))
    assert (outcome.exit_code, outcome.error) == (errors.MATCHED, "")
    folder = tmp_path / "run"
    told = json.loads((folder / "summary.json").read_text())
    assert told["replay"]["verdict"] == "complete"
    assert told["replay"]["delivered"] == 5
    assert told["dedup"] == {"events": 5, "unique": 4, "redelivered": 1, "conflicting": 0}
    assert told["reconciliation"]["statuses"]["matched"] == 3
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["exit_code"] == 0
    assert [taken["name"] for taken in manifest["notebooks"]] == list(NOTEBOOKS)
    assert (manifest["by"], manifest["error"], manifest["fail_on"]) == (
        getpass.getuser(),
        "",
        "keys=1, incomplete",
    )
    assert (
        manifest["inputs"][0]["sha256"]
        == hashlib.sha256((tmp_path / "expected.csv").read_bytes()).hexdigest()
    )
    assert [(row["start"], row["end"], row["verdict"]) for row in manifest["coverage"]] == [
        (0, 5, "complete")
    ]
    files = {row["file"]: row for row in manifest["outputs"]}
    assert files["steps/dedup/unique.parquet"]["rows"] == 4
    assert altered(folder, manifest) == []
    left = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert left == {*files, "manifest.json", ".lock"}
    assert {
        "report.html",
        "metrics.prom",
        "divergences.csv",
        "notebooks/04_divergences.ipynb",
    } <= left
    assert (
        'recovery_kit_keys{topic="test-run",status="matched"} 3'
        in (folder / "metrics.prom").read_text()
    )
    totals = dict(
        zip(
            *pq.read_table(folder / "totals.parquet").select(["key", "total"]).to_pydict().values(),
            strict=True,
        )
    )
    assert totals == {key: Decimal(total) for key, total in TOTALS.items()}
    assert "all matched" in repr(outcome)


def test_a_run_that_diverges_and_nothing_hostile_comes_out_alive(
    broker: Kafka, topic: str, tmp_path: Path
) -> None:
    """Fault 39: keys that are formulas, scripts or paths are written safely everywhere."""
    wrong = dict.fromkeys(TOTALS, "0") | {"../../etc/passwd": "5"}
    outcome = run(settings(broker, topic, tmp_path, expected=expected(tmp_path, wrong)))
    assert outcome.exit_code == errors.DIVERGED
    assert outcome.summary["reconciliation"]["divergent"] == 4
    with (tmp_path / "run" / "divergences.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["key"]: row["difference"] for row in rows} == {
        "a": "-10.00",
        "'=cmd|'/c calc'!A1": "-7.00",
        "../../etc/passwd": "5.00",
        "<script>alert(1)</script>": "-3.00",
    }
    for name in NOTEBOOKS:
        for cell in nbformat.read(tmp_path / "run" / "notebooks" / f"{name}.ipynb", 4).cells:
            for output in cell.get("outputs", []):
                assert "<script" not in str(output.get("data", {}).get("text/html", ""))
    assert {path.name for path in tmp_path.iterdir()} == {"run", "expected.csv"}


def test_a_run_of_tables_as_people_have_them(broker: Kafka, topic: str, tmp_path: Path) -> None:
    path = tmp_path / "expected.csv"
    path.write_text(
        "konto;saldo\nA ;10,00 €\n=cmd|'/c calc'!a1;7,00 €\n<script>alert(1)</script>;3,00 €\n"
        "Summe;20,00 €\n"
    )
    processed = tmp_path / "processed.xlsx"
    processed.write_bytes(book(S=[["event_id", "effect"], ["e1", number("10.1")]]))
    done = run(
        settings(
            broker,
            topic,
            tmp_path,
            expected=str(path),
            expected_key="konto",
            expected_total="saldo",
            csv={"separator": ";", "expected": {"decimal": ",", "currency": "€", "footer": 1}},
            processed=str(processed),
            key_spelling="case",
        )
    )
    assert (done.exit_code, done.error) == (errors.DIVERGED, "")
    told = json.loads((tmp_path / "run" / "summary.json").read_text())["reconciliation"]
    assert told["statuses"]["matched"] == 2
    assert told["spelling"] == {"joined": 1, "blanks,case": 1, "crowded": 0}
    page = html.unescape((tmp_path / "run" / "report.html").read_text())
    for note in told["notes"]:
        assert note in page
    assert "key_spelling blanks,case would join them" in told["notes"][1]
    assert "'A '" in page
    assert "'A '" in repr(done)


def test_a_run_is_judged_by_its_thresholds(broker: Kafka, topic: str, tmp_path: Path) -> None:
    wrong = expected(tmp_path, TOTALS | {"a": "10.05"})
    outcome = run(
        settings(broker, topic, tmp_path, expected=wrong),
        fail_on=FailOn(keys=None, amount=Decimal("0.06")),
    )
    assert outcome.exit_code == errors.MATCHED
    assert "divergences, below what fails a run (amount=0.06, incomplete) (exit code 0)" in repr(
        outcome
    )
    told = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert judge(told, FailOn(keys=None, amount=Decimal("0.05"))) == errors.DIVERGED


def test_a_run_into_a_folder_of_other_things_removes_none_of_them(
    broker: Kafka, topic: str, tmp_path: Path
) -> None:
    mine = tmp_path / "run" / "notebooks" / "01_replay.ipynb"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(RunError, match="holds notebooks, but no run was made there"):
        run(settings(broker, topic, tmp_path))
    assert mine.read_text() == "mine"
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["notebooks"]


def test_a_run_without_expected_totals_gives_the_recovered_ones(
    broker: Kafka, topic: str, tmp_path: Path
) -> None:
    outcome = run(settings(broker, topic, tmp_path))
    assert outcome.exit_code == errors.MATCHED
    assert outcome.summary["reconciliation"]["statuses"]["not compared"] == 3
    assert (tmp_path / "run" / "totals.parquet").exists()
    assert "not compared" in repr(outcome)


def test_a_run_that_fails(broker: Kafka, tmp_path: Path) -> None:
    outcome = run(settings(broker, "no-such-topic", tmp_path))
    assert outcome.exit_code == errors.ERROR
    assert "01_replay: KafkaError: the cluster has no topic 'no-such-topic'" in outcome.error
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["exit_code"] == errors.ERROR
    assert [taken["name"] for taken in manifest["notebooks"]] == ["01_replay"]
    assert not (tmp_path / "run" / "summary.json").exists()


def test_a_run_whose_replay_is_not_complete(broker: Kafka, tmp_path: Path) -> None:
    broker.create_topic("test-run-cut", partitions=1)
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap_servers)
    for key, value in MESSAGES:
        producer.send("test-run-cut", value, key=key)
    producer.flush()
    producer.close()
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    admin.delete_records({TopicPartition("test-run-cut", 0): 2})
    admin.close()
    outcome = run(settings(broker, "test-run-cut", tmp_path))
    assert outcome.exit_code == errors.INCOMPLETE
    assert "truncated" in outcome.error
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["replay"] == {"verdict": "truncated"}
    assert [(row["log_start"], row["end"]) for row in manifest["coverage"]] == [(2, 5)]
    # Seen all the same: the verdict stays, and no key is called matched.
    outcome = run(
        settings(
            broker,
            "test-run-cut",
            tmp_path,
            allow_incomplete=True,
            expected=expected(tmp_path, TOTALS),
        )
    )
    assert outcome.exit_code == errors.INCOMPLETE
    assert outcome.summary["replay"]["verdict"] == "truncated"
    assert outcome.summary["reconciliation"]["statuses"]["matched"] == 0
    assert outcome.summary["reconciliation"]["statuses"]["indeterminate"] == 3


def test_the_second_run_in_one_directory_is_told(broker: Kafka, topic: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with (folder / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="another run is under way"):
            run(settings(broker, topic, tmp_path))


def test_a_run_needs_a_directory() -> None:
    with pytest.raises(ParameterError, match="run_dir is empty"):
        run(Settings(topic="t", bootstrap_servers="localhost:1"))


def test_an_outcome_without_a_summary_shows_its_error() -> None:
    shown = repr(Outcome(errors.ERROR, Path("runs/x"), {}, "01_replay: \x1b[31mboom"))
    assert "ERROR (exit code 2)" in shown
    assert "\x1b" not in shown
