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
from recovery_kit.run.history import history
from recovery_kit.run.judge import FailOn, judge
from recovery_kit.run.manifest import altered
from recovery_kit.run.metrics import json_line
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
        "keys=1, incomplete, rejects=1%",
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
        'recovery_kit_keys{status="matched",topic="test-run"} 3.0'
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
    shown = repr(outcome)
    by = "amount=0.06, incomplete, rejects=1%"
    assert f"divergences, below what fails a run ({by}) (exit code 0)" in shown
    told = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert judge(told, FailOn(keys=None, amount=Decimal("0.05"))) == (errors.DIVERGED, "")
    # Why, where it is read first: in the terminal, and for machines.
    (row,) = told["why"]["causes"]
    assert (row["keys"], row["amount"], row["money"]) == (1, "0.05", "0.05")
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert f"{row['cause']} {row['grade']}, 1 keys, 0.05 net, 0.05 absolute" in lines
    sample = f'recovery_kit_cause_money{{cause="{row["cause"]}",grade="{row["grade"]}",'
    assert f'{sample}topic="test-run"}} 0.05' in (tmp_path / "run" / "metrics.prom").read_text()
    assert json.loads(json_line(outcome.manifest, told))["why"]["causes"] == [row]


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
    assert repr(outcome).startswith(
        "recovery-kit: nothing was compared, for expected is not given (exit code 0)"
    )
    assert "matched" not in repr(outcome)


@pytest.fixture(scope="module")
def rejected(broker: Kafka) -> str:
    """A topic of which the kit can read nothing as it is told to."""
    broker.create_topic("test-run-rejected", partitions=1)
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap_servers)
    for i in range(20):
        event = b'{"id": "e%d", "kind": "add", "type": "add", "value": 1.005}' % i
        producer.send("test-run-rejected", event, key=b"a")
    producer.flush()
    producer.close()
    return "test-run-rejected"


HOLLOW = {
    "everything rejected": (
        {"type_field": "kind"},
        TOTALS,
        "nothing was compared: the log gave no total, of 20 messages (0 events, 20 rejects,",
    ),
    "an empty window": (
        {"topic": "test-run", "until": "2020-01-01T00:00:00Z"},
        TOTALS,
        "0 tombstones, 5 outside the window). Set topic, partitions, since and until so that they",
    ),
    "no key in common": (
        {"topic": "test-run"},
        {key.upper() + " ": total for key, total in TOTALS.items()},
        "nothing was compared: the log gives 3 keys, expected holds 3, and none is on both sides",
    ),
}


@pytest.mark.parametrize("case", HOLLOW)
def test_a_run_that_compared_nothing_is_no_success(
    broker: Kafka, topic: str, rejected: str, tmp_path: Path, case: str
) -> None:
    """Each was "all matched" or could be, with the right thresholds."""
    values, held, says = HOLLOW[case]
    del topic  # it is there
    named = {"expected": expected(tmp_path, held), "run_dir": str(tmp_path / "run")}
    at = {"bootstrap_servers": broker.bootstrap_servers, "topic": rejected}
    lax = FailOn(keys=None, amount=Decimal("1e9"), incomplete=False, rejects="100%")
    outcome = run(Settings.of(at | named | values, strict=True), fail_on=lax)
    assert outcome.exit_code == errors.ERROR
    assert says in outcome.error
    shown = repr(outcome)
    assert shown.startswith("recovery-kit: NOTHING WAS COMPARED (exit code 2)\n")
    assert f"  ! {outcome.error}" in shown
    assert "all matched" not in shown
    assert "<h1>Nothing was compared</h1>" in (tmp_path / "run" / "report.html").read_text()
    assert json.loads(json_line(outcome.manifest, outcome.summary))["error"] == outcome.error
    assert history(tmp_path).runs["state"].tolist() == ["nothing compared"]


def test_expected_totals_without_a_row_are_an_error(
    broker: Kafka, topic: str, tmp_path: Path
) -> None:
    outcome = run(settings(broker, topic, tmp_path, expected=expected(tmp_path, {})))
    assert outcome.exit_code == errors.ERROR
    assert "holds no row; expected a row a key with its total" in outcome.error


def test_rejects_above_their_share_fail_a_run(broker: Kafka, tmp_path: Path) -> None:
    broker.create_topic("test-run-some-rejected", partitions=1)
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap_servers)
    for key, value in [*MESSAGES, (b"a", b"not JSON")]:
        producer.send("test-run-some-rejected", value, key=key)
    producer.flush()
    producer.close()
    told = settings(broker, "test-run-some-rejected", tmp_path, expected=expected(tmp_path, TOTALS))
    outcome = run(told)
    assert outcome.exit_code == errors.ERROR
    assert outcome.error.startswith("1 messages are rejects, beside 5 events, and are in no total;")
    assert repr(outcome).startswith("recovery-kit: ERROR (exit code 2)\n")
    allowed = run(told, fail_on=FailOn(rejects="20%"))
    assert allowed.exit_code == errors.MATCHED
    lines = [" ".join(line.split()) for line in repr(allowed).splitlines()]
    assert "messages 6: 5 events, 1 rejects" in lines
    assert "fails on keys=1, incomplete, rejects=20%" in lines


def test_what_matches_without_being_equal_is_told(
    broker: Kafka, topic: str, tmp_path: Path
) -> None:
    """A tolerance above every total, and a key with a total of zero that the log lacks."""
    held = expected(tmp_path, dict.fromkeys(TOTALS, "1") | {"gone": "0.00"})
    outcome = run(settings(broker, topic, tmp_path, expected=held, tolerance="100"))
    assert outcome.exit_code == errors.MATCHED
    shown = repr(outcome)
    assert (
        "! The tolerance of 100 is no smaller than the largest total of either side, 10.00: 3 keys "
        "match only thanks to it" in shown
    )
    assert "! 1 of the matched keys have a total of zero on one side and no row" in shown
    assert "match only thanks to it" in (tmp_path / "run" / "report.html").read_text()
    strict = run(
        settings(broker, topic, tmp_path, expected=held, tolerance="100", strict_keys=True)
    )
    assert strict.exit_code == errors.DIVERGED
    found = strict.summary["reconciliation"]
    assert (found["statuses"]["unknown to the log"], found["largest_difference"]) == (1, "0.00")


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
