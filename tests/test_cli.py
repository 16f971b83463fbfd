"""The commands, as a person or a scheduler calls them; their exit codes are a contract."""

import json
import os
import re
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from kafka import KafkaProducer

from recovery_kit import cli
from recovery_kit.run import example
from recovery_kit.sandbox import Kafka
from tests.kafka.helpers import kept


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
    # Why, in the terminal as in the report: incidents and causes with their money and grade.
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    first = told["why"]["incidents"][0]
    worth = f"{first['grade']}, {first['keys']:,} keys, {Decimal(first['amount']):,f} net"
    assert any(line.startswith(f"incident 1 {worth}") for line in lines)
    for row in told["why"]["causes"]:
        worth = f"{row['grade']}, {row['keys']:,} keys, {Decimal(row['amount']):,f} net"
        assert f"{row['cause']} {worth}, {Decimal(row['money']):,f} absolute" in lines


def test_run_reads_its_parameters_from_a_file_and_the_command_line(
    broker: Kafka, tmp_path: Path
) -> None:
    (tmp_path / "params.yaml").write_text(
        f"bootstrap_servers: {broker.bootstrap_servers}\ntopic: other\n"
    )
    done = command(
        "run", "-f", "params.yaml", "-p", "topic", "0012", "-p", "run_dir", "r", cwd=tmp_path
    )
    assert done.returncode == 2
    assert "the cluster has no topic '0012'" in done.stdout
    assert (tmp_path / "r" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "-p", "tpoic", "x"], "there is no parameter 'tpoic'. Did you mean 'topic'?"),
        (["run", "-f", "missing.yaml"], "missing.yaml cannot be read"),
        (["run", "-p", "decimals", "two"], "decimals is 'two'; expected a number"),
        (["run", '-pcsv={"separator": ";;"}'], "csv has separator ';;'; expected one character"),
        (["run", "-p", 'csv={"seperator": ";"}'], "csv names 'seperator'; expected options among"),
        (["run", "-p", "csv", "a=b"], "csv is 'a=b'; expected JSON such as"),
        (["run", "-p", "bootstrap_servers", "localhost:1"], "topic is empty"),
        (["run", "-p", "sasl_password", "x"], "'sasl_password' looks like a secret"),
        (["run", "-psasl_password=x"], "'sasl_password' looks like a secret"),
        (["run", "--fail-on", "kyes=1"], "Did you mean 'keys'?"),
        (["history", "missing"], "missing is no folder"),
        (["purge", "missing"], "missing is no run directory"),
        (["check", "-f", "."], ". cannot be read as YAML"),
        (["check", "-p", "timeout", "NaN"], "timeout is nan; expected a number from 0 to"),
        (["check", "-p", "timeout", "1" + "0" * 400], "timeout is 1e+300; expected a number"),
        (["check", "-p", "decimals", "1" * 5000], "expected a number"),
        (["check", "-p", "effects", "[" * 100_000], 'expected JSON such as {"add": 1}'),
        (["check", "-p", "effects", '{"a": {"b": 1}}', "-p", "topic", "t"], "the effect of 'a'"),
        (["check", "-p", "client_config", "~nobody-here/x"], "client_config is '~nobody-here/x'"),
        (["check", "-p", "client_config", "a\0b"], "expected a path"),
        (["check", "--topic", "\udcff"], "topic is '\\udcff', which is not valid Unicode"),
        (
            ["check", "--bootstrap-servers", "127.0.0.1", "--topic", "t", "-p", "partitions", "x"],
            "partitions",
        ),
    ],
)
def test_errors_are_one_line_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    told = capsys.readouterr().err
    assert message in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    "text",
    [
        "since: 2026-99-99",
        "since: 2026-01-01 99:00:00",
        "decimals: 1" + "0" * 5000,
        "topic: " + "[" * 3000,
        "? [1, 2]\n: 3",
        "1: 2",
        "- topic",
        "",
        "just text",
        "topic: !!python/object:os.system x",
        "a: *b",
        "topic: \x00",
        "timeout: .nan",
        "timeout: 1" + "0" * 400,
    ],
)
def test_no_parameter_file_ends_in_more_than_a_line(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.yaml").write_text(text)
    for name in ("check", "run"):
        assert cli.main([name, "-f", str(tmp_path / "p.yaml")]) == 2
        told = capsys.readouterr().err
        assert told.startswith("recovery-kit: ")
        assert told.count("\n") == 1
        assert "Nobody foresaw" not in told


DEFECT = """
import sys
from recovery_kit import cli
from recovery_kit.kafka import check
from recovery_kit.kafka.client.connection import client_options

def broken(source, **_):
    client_options(source["bootstrap_servers"], source["client_config"])
    raise KeyError("planted-pl4nted-Passw0rd-behind")

check.check = broken
sys.exit(cli.main(sys.argv[1:]))
"""


def test_an_error_that_nobody_foresaw_is_one_line_and_its_traceback_a_file(tmp_path: Path) -> None:
    config = kept(
        tmp_path,
        "bootstrap.servers=127.0.0.1:1",
        "security.protocol=SASL_PLAINTEXT",
        "sasl.mechanism=PLAIN",
        "sasl.username=alice",
        "sasl.password=pl4nted-Passw0rd",
    )
    (tmp_path / "tmp").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", DEFECT, "check", "--topic", "t", "--client-config", str(config)],
        capture_output=True,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path / "tmp")},
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "KeyError: 'planted-***-behind'" in done.stderr
    assert "report it to the maintainers with that file" in done.stderr
    (log,) = (tmp_path / "tmp").iterdir()
    assert str(log) in done.stderr
    assert log.stat().st_mode & 0o777 == 0o600
    traceback = log.read_text()
    assert "in broken\nKeyError" in traceback
    assert "KeyError: 'planted-***-behind'" in traceback


@pytest.mark.parametrize(
    ("arguments", "unbuffered"),
    [(["run", "--help"], ""), (["history", "runs"], ""), (["history", "runs"], "1")],
)
def test_who_could_not_read_the_answer_does_not_read_0(
    arguments: list[str], unbuffered: str, tmp_path: Path
) -> None:
    example.write(tmp_path / "runs")
    for out in ("/dev/full", "pipe"):
        read, write = os.pipe()
        os.close(read)  # as `recovery-kit ... | head` leaves it
        with open("/dev/full", "w") if out == "/dev/full" else os.fdopen(write, "w") as stdout:  # noqa: PTH123
            done = subprocess.run(
                [sys.executable, "-m", "recovery_kit.cli", *arguments],
                stdout=stdout,
                stderr=subprocess.PIPE,
                text=True,
                cwd=tmp_path,
                env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
                timeout=300,
                check=False,
            )
        if out == "/dev/full":
            os.close(write)
        assert done.returncode == 2
        assert done.stderr.startswith("recovery-kit: the output could not be written: ")
        assert done.stderr.count("\n") == 1


def test_where_nothing_can_be_told_the_exit_code_still_is() -> None:
    for arguments in (["history", "missing"], ["run", "--json", "-p", "tpoic", "x"]):
        with Path("/dev/full").open("w") as nowhere:
            done = subprocess.run(
                [sys.executable, "-m", "recovery_kit.cli", *arguments],
                stdout=nowhere,
                stderr=nowhere,
                timeout=300,
                check=False,
            )
        assert done.returncode == 2


def test_a_terminal_that_lacks_a_character_gets_an_escape(tmp_path: Path) -> None:
    example.write(tmp_path / "rüns")
    done = subprocess.run(
        [sys.executable, "-m", "recovery_kit.cli", "history", "rüns"],
        capture_output=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"History of ledger-events" in done.stdout


@pytest.mark.parametrize("run_dir", ["/proc/none", "file", "file/inside"])
def test_a_run_directory_that_cannot_be_is_one_line(run_dir: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    at = ["-p", "bootstrap_servers", "127.0.0.1:1", "-p", "topic", "t", "-p", "run_dir", run_dir]
    done = command("run", "--json", *at, cwd=tmp_path)
    assert done.returncode == 2
    assert "cannot be a run directory" in done.stderr
    assert done.stderr.count("\n") == 1
    assert json.loads(done.stdout)["error"] in done.stderr
    assert (tmp_path / "file").read_text() == "mine"


def test_a_full_disk_is_what_the_system_refused(tmp_path: Path) -> None:
    """A limit on a file's size is a disk that is full: the system refuses to write on."""
    example.write(tmp_path / "runs")
    script = "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    script += "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); "
    script += "from recovery_kit import cli; sys.exit(cli.main(sys.argv[1:]))"
    at = ["-p", "bootstrap_servers", "127.0.0.1:1", "-p", "topic", "t", "-p", "run_dir", "r"]
    done = subprocess.run(
        [sys.executable, "-c", script, "run", *at],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2
    assert "File too large" in done.stderr
    assert "The system refused it" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_damaged_run_is_told_among_the_others(tmp_path: Path) -> None:
    example.write(tmp_path)
    damages = {
        "one": "{}",
        "two": json.dumps(
            {"exit_code": 0, "started": "x", "ended": "y", "outputs": [], "parameters": {}}
        ),
        "three": json.dumps(
            {"exit_code": "0", "started": 1, "ended": 2, "outputs": 3, "parameters": []}
        ),
        "six": json.dumps(
            {
                "exit_code": 0,
                "started": "2026-03-02T13:30:00Z",
                "ended": "",
                "outputs": [],
                "parameters": {},
            }
        ),
        "four": "not JSON",
        "five": "[" * 100_000,
    }
    for name, text in damages.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text(text)
    done = command("history", str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert "13 runs, 6 of them compared" in done.stdout
    for name in damages:
        assert re.search(rf"^  {name} .* not whole: ", done.stdout, re.MULTILINE), name


def test_a_log_collector_reads_one_line_and_prometheus_a_file(
    broker: Kafka, tmp_path: Path
) -> None:
    at = [
        "-p",
        "bootstrap_servers",
        broker.bootstrap_servers,
        "-p",
        "topic",
        "none-such",
        "-p",
        "run_dir",
        "r",
    ]
    done = command("run", *at, "--json", "--metrics", "out/kit.prom", cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stdout.splitlines()
    told = json.loads(line)
    assert (told["exit_code"], told["topic"], told["run_dir"]) == (
        2,
        "none-such",
        str(tmp_path / "r"),
    )
    assert "no topic 'none-such'" in told["error"]
    assert (tmp_path / "out" / "kit.prom").read_bytes() == (
        tmp_path / "r" / "metrics.prom"
    ).read_bytes()
    assert (
        'recovery_kit_run_exit_code{topic="none-such"} 2'
        in (tmp_path / "out" / "kit.prom").read_text()
    )
    assert "ERROR recovery_kit.run: 01_replay: KafkaError" in done.stderr
    # Nobody is there to ask; then it is done, and what is left is told.
    assert command("purge", "r", cwd=tmp_path).returncode == 2
    (tmp_path / "r" / "mine.txt").write_text("mine")
    done = command("purge", "r", "--yes", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (
        0,
        "Deleted what runs kept in r. Still there: mine.txt\n",
    )


@pytest.mark.parametrize("words", [["csv"], ["sasl_password", "x1y2", "z"]])
def test_a_parameter_is_a_name_and_a_value(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["run", "-p", *words])
    told = capsys.readouterr().err
    assert f"-p {words[0]}: expected NAME VALUE or NAME=VALUE" in told
    assert "x1y2" not in told


def test_an_error_before_the_run_is_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--json", "-p", "tpoic", "x"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert (told["event"], told["exit_code"]) == ("recovery-kit run", 2)


@pytest.mark.parametrize("seconds", ["0", "-1", "1.5", "never"])
def test_a_cell_always_has_a_time_limit(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["run", "--cell-timeout", seconds])
    assert stopped.value.code == 2
    assert "a run always has a limit" in capsys.readouterr().err


def test_history_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example.write(tmp_path)
    assert cli.main(["history", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "History of ledger-events: 7 runs, 6 of them compared" in told
    assert "20260302T133000Z" in told


def test_check_says_what_fits_and_what_does_not(
    broker: Kafka, capsys: pytest.CaptureFixture[str]
) -> None:
    broker.create_topic("test-check", partitions=2, config={"retention.ms": 86_400_000 * 7})
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap_servers)
    for i in range(20):
        producer.send(
            "test-check",
            b'{"event_id": "e%d", "kind": "credit", "value": "1.00"}' % i,
            partition=i % 2,
        )
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


@pytest.mark.parametrize(
    ("servers", "topic", "works", "fails"),
    [
        (
            "no-such-host.invalid:9092",
            "t",
            [],
            "name lookup fails: no-such-host.invalid cannot be found",
        ),
        (
            "127.0.0.1:1",
            "t",
            ["name lookup"],
            "TCP fails: 127.0.0.1:1 does not take the connection",
        ),
        (
            "",
            "never-made",
            ["name lookup", "TCP", "Kafka"],
            "topic fails: the cluster has no topic 'never-made'",
        ),
    ],
)
def test_check_names_the_layer_that_fails_behind_those_that_work(
    broker: Kafka,
    capsys: pytest.CaptureFixture[str],
    servers: str,
    topic: str,
    works: list[str],
    fails: str,
) -> None:
    at = ["check", "--bootstrap-servers", servers or broker.bootstrap_servers, "--topic", topic]
    assert cli.main([*at, "-p", "timeout", "3"]) == 2
    told = capsys.readouterr().out
    assert f"! {fails}" in told
    for layer in ("name lookup", "TCP", "Kafka"):
        assert (re.search(rf"^ *{layer}  ", told, re.MULTILINE) is not None) == (layer in works)


def test_a_warning_is_one_line(tmp_path: Path) -> None:
    path = kept(tmp_path, "security.protcol=SASL_SSL", "bootstrap.servers=127.0.0.1:1")
    done = command("check", "--topic", "t", "--client-config", str(path), cwd=tmp_path)
    assert done.stderr == (
        f"recovery-kit: {path}, line 1: no Kafka client knows the setting 'security.protcol'; it "
        "is not used. Did you mean 'security.protocol'?\n"
    )


def test_sandbox_tells_how_to_point_at_it_and_ends_on_interrupt() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "recovery_kit.cli", "sandbox"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
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


def test_a_command_that_the_sandbox_cannot_start_is_one_line() -> None:
    done = command("sandbox", "--", "no-such-command")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == (
        "recovery-kit: 'no-such-command' cannot be started: No such file or directory"
    )
