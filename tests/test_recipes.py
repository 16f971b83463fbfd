"""The recipes: what can be run of them is run, the rest is read by what will read it."""

from __future__ import annotations

import ast
import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml

from recovery_kit.run.settings import Settings
from recovery_kit.sandbox import Kafka, demo

ROOT = Path(__file__).parent.parent
RECIPES = ROOT / "recipes"
README = (RECIPES / "README.md").read_text(encoding="utf-8")
KIT = Path(sys.executable).with_name("recovery-kit")


def environment(base: Path, kit: str | Path = KIT, **more: str) -> dict[str, str]:
    """As little as cron gives."""
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(base),
        "RECOVERY_DIR": str(base),
        "RECOVERY_KIT": str(kit),
    } | more


@pytest.fixture
def base(broker: Kafka, tmp_path: Path) -> Path:
    """What a scheduler's user has in place: nightly.sh, params.yaml, what to compare with.

    The totals differ.
    """
    topic = f"test-recipes-{os.getpid()}-{time.monotonic_ns()}"
    broker.create_topic(topic, partitions=1)
    broker_send(broker, topic)
    (tmp_path / "expected.csv").write_text("key,total\na,4.00\n")
    values = {
        "bootstrap_servers": broker.bootstrap_servers,
        "topic": topic,
        "expected": str(tmp_path / "expected.csv"),
    }
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    shutil.copy(RECIPES / "nightly.sh", tmp_path)
    return tmp_path


def broker_send(broker: Kafka, topic: str) -> None:
    from kafka import KafkaProducer

    producer = KafkaProducer(bootstrap_servers=broker.bootstrap_servers)
    producer.send(topic, b'{"id": "e1", "type": "add", "value": "5.00"}', key=b"a")
    producer.flush()
    producer.close()


def cron_line(base: Path) -> str:
    lines = [
        line
        for line in (RECIPES / "cron" / "crontab").read_text().splitlines()
        if re.match(r"[\d*]", line)
    ]
    assert len(lines) == 1
    minute, hour, *rest, command = lines[0].split(maxsplit=5)
    assert [*map(int, (minute, hour)), *rest] == [15, 2, "*", "*", "*"]
    assert not re.search(r"(?<!\\)%", command)  # cron would end the command there
    return command.replace("/srv/recovery", str(base))


def test_cron_mails_a_run_whose_totals_differ_and_a_second_one_keeps_off(base: Path) -> None:
    first = subprocess.Popen(
        ["/bin/sh", "-c", cron_line(base)],
        env=environment(base),
        cwd=base,
        stdout=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 30
    while time.monotonic() < until and not list((base / "runs").glob("*Z")):
        time.sleep(0.1)
    second = subprocess.run(
        [base / "nightly.sh"], env=environment(base), cwd=base, capture_output=True, timeout=20
    )
    assert second.returncode == 75
    mail, _ = first.communicate(timeout=180)
    assert mail.startswith("recovery-kit: exit code 1\n")
    assert "1 diverged" in mail
    (folder,) = (base / "runs").glob("*Z")
    assert json.loads((folder / "manifest.json").read_text())["exit_code"] == 1
    assert (folder / "report.html").exists()


@pytest.mark.parametrize(
    ("command", "says"), [("true", ""), ("false", "recovery-kit: exit code 1\n")]
)
def test_cron_mails_only_what_went_wrong(base: Path, command: str, says: str) -> None:
    kit = environment(base, shutil.which(command) or command)
    done = subprocess.run(
        ["/bin/sh", "-c", cron_line(base)], env=kit, cwd=base, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == (says, "")


def test_systemd_s_copy_of_the_secrets_is_passed_on_by_path(base: Path) -> None:
    def told(**more: str) -> str:
        env = environment(base, shutil.which("echo") or "echo", **more)
        return subprocess.run(
            [base / "nightly.sh"], env=env, cwd=base, capture_output=True, text=True, check=True
        ).stdout

    assert "client_config" not in told()
    assert " -p client_config /run/credentials/x y/client.properties " in told(
        CREDENTIALS_DIRECTORY="/run/credentials/x y"
    )


def test_systemd_units(tmp_path: Path) -> None:
    units = sorted((RECIPES / "systemd").iterdir())
    assert [unit.suffix for unit in units] == [".service", ".service", ".timer"]
    texts = {unit.name: unit.read_text() for unit in units}
    parsed = {name: configparser.ConfigParser(strict=False, interpolation=None) for name in texts}
    for name, text in texts.items():
        parsed[name].optionxform = str  # type: ignore[assignment,method-assign]
        parsed[name].read_string(text)
    service = parsed["recovery-kit.service"]
    assert service["Unit"]["OnFailure"] in parsed
    assert service["Service"]["ExecStart"] == "/srv/recovery/nightly.sh"
    assert parsed["recovery-kit.timer"]["Timer"]["OnCalendar"]
    if (verify := shutil.which("systemd-analyze")) is None:
        return
    # The one thing that this machine lacks is the installed script.
    for name, text in texts.items():
        (tmp_path / name).write_text(
            text.replace("ExecStart=/srv/recovery/nightly.sh", "ExecStart=/bin/true")
        )
    done = subprocess.run(
        [verify, "verify", *sorted(tmp_path.iterdir())], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_example_parameters_are_parameters() -> None:
    values = yaml.safe_load((RECIPES / "params.yaml").read_text())
    settings = Settings.of(values, strict=True)
    assert settings.source["topic"] == ["ledger-events"]
    assert settings.client_config == "/etc/recovery/client.properties"


SCHEDULED = dict(re.findall(r"^\| `(\w+)` \| `(.+)` \|$", README, re.MULTILINE))


def test_what_jupyter_scheduler_is_given_are_values_of_the_right_type() -> None:
    """It writes `name = value` into a cell, word by word."""
    given = {name: ast.literal_eval(text) for name, text in SCHEDULED.items()}
    assert len(given) >= 6
    assert Settings.of(given, strict=True).effects == {"credit": 1, "debit": -1}
    unquoted = SCHEDULED["topic"].strip('"')
    with pytest.raises(NameError):
        eval(unquoted, {"__builtins__": {}})
    with pytest.raises(SyntaxError):
        ast.parse("topic = 0012")


def tool(folder: str, target: str) -> Path:
    """The Python of an environment that only these tests have.

    Skips where `make` has not made it.
    """
    python = ROOT / "build" / folder / "bin" / "python"
    if not python.exists():
        pytest.skip(f"build/{folder} is not here; `make {target}` makes it and runs this test")
    return python


def test_jupyter_scheduler_writes_them_so(tmp_path: Path) -> None:
    python = tool("scheduler-venv", "test-recipes")
    code = (
        "import json, sys, nbformat; from jupyter_scheduler.parameterize import "
        "add_parameters;nbformat.write(add_parameters(nbformat.read(sys.argv[1], 4), "
        "json.loads(sys.argv[2])), sys.argv[3])"
    )
    source, target = ROOT / "notebooks" / "03_reconcile.ipynb", tmp_path / "scheduled.ipynb"
    subprocess.run([python, "-c", code, source, json.dumps(SCHEDULED), target], check=True)
    cells = [cell for cell in nbformat.read(target, 4).cells if cell.cell_type == "code"]
    assert ["injected-parameters"] in [cell.metadata.get("tags") for cell in cells]
    found: dict[str, Any] = {}
    for cell in cells[:2]:  # the defaults, then what was given
        exec(cell.source, found)
    assert Settings.of(found).topic == "ledger-events"
    assert Settings.of(found).expected_key == "key"


def test_airflow_runs_the_notebooks_and_fails_where_totals_differ(tmp_path: Path) -> None:
    """The whole DAG, each task in Airflow's own environment and each notebook in the kit's, on the
    demo.
    """
    airflow = tool("airflow-venv", "test-recipes").with_name("airflow")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "ipykernel",
            "install",
            "--prefix",
            tmp_path,
            "--name",
            "recovery-kit",
        ],
        check=True,
        capture_output=True,
    )
    shutil.copytree(RECIPES / "airflow", tmp_path / "home" / "dags")
    (tmp_path / "params.yaml").write_text("{}")  # the demo
    env = os.environ | {
        "AIRFLOW_HOME": str(tmp_path / "home"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "JUPYTER_PATH": str(tmp_path / "share" / "jupyter"),
        "RECOVERY_DIR": str(tmp_path),
        "RECOVERY_NOTEBOOKS": str(ROOT / "notebooks"),
    }

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [airflow, *command], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=400
        )

    assert run("db", "migrate").returncode == 0
    errors = run("dags", "list-import-errors")
    assert "No data found" in errors.stdout, errors.stdout
    with demo():
        tested = run("dags", "test", "recovery_kit_nightly")
    (folder,) = (tmp_path / "runs").iterdir()
    assert len(list((folder / "notebooks").iterdir())) == 4
    assert json.loads((folder / "summary.json").read_text())["reconciliation"]["divergent"] == 115
    assert (
        "AirflowFailException: 115 of 301 keys differ, 76671.12 in all"
        in tested.stdout + tested.stderr
    )
    assert "DagRun failed" in tested.stdout + tested.stderr


@pytest.mark.parametrize("name", ["ci.yml", "nightly.yml"])
def test_github_workflows(name: str) -> None:
    workflow = yaml.load((RECIPES / "github-actions" / name).read_text(), yaml.BaseLoader)
    assert set(workflow["on"]) & {"push", "schedule"}
    assert workflow["permissions"] == {"contents": "read"}
    (job,) = workflow["jobs"].values()
    assert 0 < int(job["timeout-minutes"]) <= 180
    commands = [step["run"] for step in job["steps"] if "run" in step]
    for command in commands:
        assert (
            "${{" not in command
        )  # an expression in a script is how secrets and hostile names get into it
        subprocess.run(["bash", "-n", "-c", command], check=True)
    wanted = ".ci/run" if name == "ci.yml" else ".venv/bin/recovery-kit run"
    assert [command for command in commands if command.startswith(wanted)]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_workflow_s_command_line_is_one_that_the_kit_takes() -> None:
    workflow = yaml.safe_load((RECIPES / "github-actions" / "nightly.yml").read_text())
    (command,) = [
        s["run"]
        for s in workflow["jobs"]["recover"]["steps"]
        if "recovery-kit run" in s.get("run", "")
    ]
    pairs = re.findall(r'-p (\w+) ("[^"]+"|\S+)', command)
    assert len(pairs) == 3
    assert {name: Settings.parse(name, text) for name, text in pairs}.keys() == {
        "run_dir", "pseudonymize", "client_config",
    }  # fmt: skip


def test_the_page_names_every_recipe() -> None:
    linked = set(re.findall(r"\]\(([\w./-]+)\)", README))
    assert all((RECIPES / name).exists() for name in linked)
    files = {str(path.relative_to(RECIPES)) for path in RECIPES.rglob("*") if path.is_file()} - {
        "README.md"
    }
    files = {name for name in files if "__pycache__" not in name}
    unnamed = {name for name in files if name not in README and Path(name).name not in README}
    assert {
        name for name in unnamed if not any(name.startswith(folder) for folder in linked)
    } == set()
