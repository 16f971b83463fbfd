"""The commands, as a person or a scheduler calls them; their exit codes are a contract."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from kafka import KafkaProducer

from recovery_kit import cli
from recovery_kit.sandbox import Kafka


def command(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "recovery_kit.cli", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=300,
        check=False,
    )


def test_demo_finds_the_incident(tmp_path: Path) -> None:
    done = command("demo", "--run-dir", "demo", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "DIVERGENCES (exit code 1)" in done.stdout
    assert "The demo went well" in done.stdout
    told = json.loads((tmp_path / "demo" / "summary.json").read_text())
    assert told["replay"]["verdict"] == "complete"
    assert told["reconciliation"]["divergent"] > 50
    assert told["reconciliation"]["statuses"]["matched"] > 150


def test_run_reads_its_parameters_from_a_file_and_the_command_line(broker: Kafka, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(f"bootstrap_servers: {broker.bootstrap_servers}\ntopic: other\n")
    done = command("run", "-f", "params.yaml", "-p", "topic", "0012", "-p", "run_dir", "r", cwd=tmp_path)
    assert done.returncode == 2
    assert "the cluster has no topic '0012'" in done.stdout
    assert (tmp_path / "r" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "-p", "tpoic", "x"], "there is no parameter 'tpoic'. Did you mean 'topic'?"),
        (["run", "-f", "missing.yaml"], "missing.yaml cannot be read"),
        (["run", "-p", "decimals", "two"], "decimals is 'two'; expected a number"),
        (["run", "-p", "bootstrap_servers", "localhost:1"], "topic is empty"),
        (["check", "--bootstrap-servers", "127.0.0.1:1", "--topic", "t"], "127.0.0.1:1"),
    ],
)
def test_errors_are_one_line_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    told = capsys.readouterr().err
    assert message in told
    assert "Traceback" not in told


def test_check_says_what_fits_and_what_does_not(broker: Kafka, capsys: pytest.CaptureFixture[str]) -> None:
    broker.create_topic("test-check", partitions=2, config={"retention.ms": 86_400_000 * 7})
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap_servers)
    for i in range(20):
        producer.send("test-check", b'{"event_id": "e%d", "kind": "credit", "value": "1.00"}' % i, partition=i % 2)
    producer.flush()
    producer.close()
    at = ["check", "--bootstrap-servers", broker.bootstrap_servers, "--topic", "test-check"]
    assert cli.main(at) == 2
    told = capsys.readouterr().out
    assert "20 of 20: field 'id' is missing" in told
    assert "perhaps id_field=event_id" in told
    assert "7.0 days" in told
    fixed = [*at, "-p", "id_field", "event_id", "-p", "type_field", "kind"]
    assert cli.main(fixed) == 2
    assert "give these types an effect, 0 for none: credit (20)" in capsys.readouterr().out
    assert cli.main([*fixed, "-p", "effects", '{"credit": 1}']) == 0
    assert "ready to run" in capsys.readouterr().out


def test_sandbox_tells_how_to_point_at_it_and_ends_on_interrupt() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "recovery_kit.cli", "sandbox"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "Ctrl-C" in line:
                break
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(timeout=30) == 130
    told = "".join(lines)
    assert "bootstrap_servers = '127.0.0.1:" in told
    assert "topic = 'ledger-events'" in told
