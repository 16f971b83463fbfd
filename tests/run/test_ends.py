"""How runs end that do not end well: dead kernels, time-outs, SIGTERM, kill -9.

None of them looks whole.
"""

import json
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import nbformat
import pytest
from kafka import KafkaProducer
from nbformat.v4 import new_code_cell, new_notebook

from recovery_kit import errors
from recovery_kit._progress import IN_LAB
from recovery_kit.run import notebooks as run_module
from recovery_kit.run.history import history
from recovery_kit.run.notebooks import execute, run
from recovery_kit.run.purge import purge
from recovery_kit.run.settings import Settings
from recovery_kit.sandbox import Kafka

KERNEL = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}


@pytest.fixture(scope="module")
def topic(broker: Kafka) -> str:
    broker.create_topic("test-run-ends", partitions=1)
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap_servers)
    for i in range(100):
        producer.send(
            "test-run-ends", b'{"id": "e%d", "type": "add", "value": 1}' % i, key=b"k%d" % (i % 7)
        )
    producer.flush()
    producer.close()
    return "test-run-ends"


@pytest.mark.parametrize(
    ("cell", "timeout", "message"),
    [
        ("import os; os._exit(1)", 60, "DeadKernelError"),
        ("import os; os._exit(0)", 60, "DeadKernelError"),
        (
            "import os; os.kill(os.getpid(), 9)",
            60,
            "If the system killed it, there was too little memory",
        ),
        ("import time; time.sleep(60)", 1, "CellTimeoutError"),
        ("1 / 0", 60, "ZeroDivisionError"),
    ],
)
def test_a_notebook_that_does_not_come_to_its_end_fails(
    tmp_path: Path, cell: str, timeout: int, message: str
) -> None:
    """papermill marks every cell of such a notebook completed."""
    source = tmp_path / "01_x.ipynb"
    nbformat.write(
        new_notebook(cells=[new_code_cell(cell), new_code_cell("print('never')")], metadata=KERNEL),
        source,
    )
    began = time.monotonic()
    code, error = execute(source, Settings(), tmp_path / "run", cell_timeout=timeout)
    assert code == errors.ERROR
    assert message in error
    assert error.startswith("01_x: ")
    assert time.monotonic() - began < 50


def test_a_notebook_that_would_show_names_is_not_run(tmp_path: Path) -> None:
    source = tmp_path / "01_x.ipynb"
    cell = new_code_cell('bootstrap_servers: str = ""  # x', metadata={"tags": ["parameters"]})
    nbformat.write(new_notebook(cells=[cell], metadata=KERNEL), source)
    code, error = execute(source, Settings(pseudonymize="key"), tmp_path / "run", cell_timeout=60)
    assert (code, "has no parameter pseudonymize" in error) == (errors.ERROR, True)


@pytest.mark.parametrize("run_from", ["a shell", "a notebook in JupyterLab"])
def test_progress_is_plain_lines_where_nobody_watches(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    run_from: str,
) -> None:
    """What a notebook's kernel writes to standard error is no terminal's, and comes out as log
    lines; whoever watches the notebook that a run was started from does not watch the run's own.
    """
    monkeypatch.delenv(IN_LAB, raising=False)
    if run_from != "a shell":
        monkeypatch.setenv(IN_LAB, "mine.ipynb")
    environment = dict(os.environ)
    source = tmp_path / "01_x.ipynb"
    cell = (
        "from recovery_kit._progress import Progress\n"
        "with Progress('replay', 'offsets', after=0) as one:\n"
        "    one.due()\n    one.tell(1, 2)\n    one.tell(2, 2)"
    )
    nbformat.write(new_notebook(cells=[new_code_cell(cell)], metadata=KERNEL), source)
    with caplog.at_level(logging.INFO, "recovery_kit.run"):
        code, error = execute(source, Settings(), tmp_path / "run", cell_timeout=60)
    assert (code, error) == (errors.MATCHED, "")
    told = [record.message for record in caplog.records if record.name == "recovery_kit.run"]
    assert [line.split("), ")[0] for line in told] == [
        "replay: 1 of 2 offsets (50%",
        "replay: 2 of 2 offsets (100%",
    ]
    (output,) = nbformat.read(tmp_path / "run" / "notebooks" / "01_x.ipynb", 4).cells[0].outputs
    assert output.text.splitlines() == told
    assert dict(os.environ) == environment


def test_notebooks_that_leave_no_summary_are_an_error(
    broker: Kafka, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run's own last mark counts, not that every notebook came to its end."""
    monkeypatch.setattr(run_module, "NOTEBOOKS", ("01_replay",))
    outcome = run(
        Settings(
            bootstrap_servers=broker.bootstrap_servers, topic=topic, run_dir=str(tmp_path / "run")
        )
    )
    assert outcome.exit_code == errors.ERROR
    assert "left no summary.json" in outcome.error


def test_totals_that_change_under_a_run_fail_it(broker: Kafka, topic: str, tmp_path: Path) -> None:
    expected, folder = tmp_path / "expected.csv", tmp_path / "run"
    expected.write_text("key,total\nk0,15.00\n")

    def change() -> None:
        if until((folder / "summary.json").exists, 120):  # 04_divergences is still to come
            expected.write_text("key,total\nk0,15.01\n")

    changing = threading.Thread(target=change)
    changing.start()
    named = {"bootstrap_servers": broker.bootstrap_servers, "topic": topic, "run_dir": str(folder)}
    outcome = run(Settings.of(named | {"expected": str(expected)}, strict=True))
    changing.join()
    assert outcome.exit_code == errors.ERROR
    assert outcome.error == "expected: the file changed while the run read it; run again"


def begin(broker: Kafka, topic: str, folder: Path) -> subprocess.Popen[str]:
    parameters = {
        "bootstrap_servers": broker.bootstrap_servers,
        "topic": topic,
        "run_dir": str(folder),
    }
    named = [word for name, value in parameters.items() for word in ("-p", name, value)]
    return subprocess.Popen(
        [sys.executable, "-m", "recovery_kit.cli", "run", "--log-level", "info", *named],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def children(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            said = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if said[1] == str(pid):
            found.append(int(path.parent.name))
    return found


def gone(pids: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


def until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_sigterm_ends_a_run_as_an_interrupt_does(broker: Kafka, topic: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with begin(broker, topic, folder) as process:
        assert until(lambda: (folder / "notebooks" / "01_replay.ipynb").exists(), 60)
        assert until(lambda: bool(children(process.pid)), 60)
        kernels = children(process.pid)
        process.send_signal(signal.SIGTERM)
        told, _ = process.communicate(timeout=60)
    assert process.returncode == errors.INTERRUPTED
    assert "interrupted (exit code 130)" in told
    assert json.loads((folder / "manifest.json").read_text())["exit_code"] == errors.INTERRUPTED
    assert until(partial(gone, kernels), 10)


def test_a_run_killed_at_any_moment_leaves_nothing_that_looks_whole(
    broker: Kafka, topic: str, tmp_path: Path
) -> None:
    """Fault 38."""
    folder, moments = tmp_path / "runs" / "one", random.Random()
    for _ in range(3):
        with begin(broker, topic, folder) as process:
            assert until((folder / ".lock").exists, 60)
            time.sleep(moments.uniform(0, 12))
            kernels = children(process.pid)
            process.kill()
            process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL, "the run was faster than the killer"
        assert not (folder / "manifest.json").exists()
        assert history(folder.parent).runs["state"].tolist() == ["not whole: no manifest.json"]
        assert until(partial(gone, kernels), 10)
    with begin(broker, topic, folder) as process:
        told, errors_told = process.communicate(timeout=180)
    assert process.returncode == errors.MATCHED, told + errors_told
    assert "INFO recovery_kit.run: 01_replay begins" in errors_told
    manifest = json.loads((folder / "manifest.json").read_text())
    assert {row["file"] for row in manifest["outputs"]} >= {
        "summary.json",
        "report.html",
        "totals.parquet",
    }
    assert purge(folder) == []
    assert not folder.exists()
