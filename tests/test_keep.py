"""Fault 38: files are whole or not there, whenever their writer is killed."""

import csv
import json
import random
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recovery_kit._keep import left_aside, read_json, write_csv, write_json, write_whole
from recovery_kit._show import clean
from recovery_kit.errors import RunError

WRITER = """
import sys
from pathlib import Path
from recovery_kit._keep import write_json, write_whole

def step(aside):
    aside.mkdir()
    for name in "abc":
        (aside / name).write_text(str(number) * 10_000)

folder, number = Path(sys.argv[1]), 0
print("ready", flush=True)
while True:
    write_json(folder / "one.json", {"number": number, "padding": "x" * 100_000})
    write_whole(folder / f"step-{number}", step)
    number += 1
"""


def test_a_writer_killed_at_any_moment_leaves_whole_files(tmp_path: Path) -> None:
    moments = random.Random()
    for round_ in range(5):
        folder = tmp_path / str(round_)
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(moments.uniform(0.05, 0.3))
            writer.kill()
        assert writer.returncode == -signal.SIGKILL
        found = json.loads((folder / "one.json").read_text())
        assert len(found["padding"]) == 100_000
        for step in folder.glob("step-*"):
            number = step.name.partition("-")[2]
            assert [(step / name).read_text() for name in "abc"] == [number * 10_000] * 3
        leftover = {path.name for path in folder.iterdir()} - {
            path.name for path in folder.glob("[!.]*")
        }
        assert {path.name for path in left_aside(folder)} == leftover


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "step"
    write_whole(target, lambda folder: (folder.mkdir(), (folder / "a").write_text("old")))

    def fail(folder: Path) -> None:
        folder.mkdir()
        (folder / "a").write_text("new")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(target, fail)
    assert (target / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["step"]


def test_json_comes_back_and_anything_else_is_told(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"é": "1.10"})
    assert read_json(tmp_path / "a.json") == {"é": "1.10"}
    for content in ("{", "[]"):
        (tmp_path / "a.json").write_text(content)
        with pytest.raises(RunError, match="Remove it and run again"):
            read_json(tmp_path / "a.json")


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1))
def test_fault_39_a_csv_holds_no_formula(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    table = pd.DataFrame(
        {"key": pd.array(texts, "string[pyarrow]"), "n": [Decimal("-1.50")] * len(texts)}
    )
    table["n"] = table["n"].astype(pd.ArrowDtype(pa.decimal128(5, 2)))
    write_csv(table, path)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["n"] for row in rows] == ["-1.50"] * len(texts)
    for row, text in zip(rows, texts, strict=True):
        assert not row["key"].startswith(("=", "+", "-", "@", "\t", "\r"))
        assert row["key"].removeprefix("'") == clean(text).removeprefix("'")


def test_who_writes_files_whole_waits_for_no_library() -> None:
    code = (
        "import sys, recovery_kit._keep; "
        "print([m for m in ('pandas', 'pyarrow', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_json_that_no_run_wrote_is_told_and_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # takes no room on the disk
    with pytest.raises(RunError, match=r"manifest.json is larger than 256 MiB: no run writes that"):
        read_json(path)
    path.write_text("[" * 1_000_000)
    with pytest.raises(RunError, match=r"manifest.json is not JSON: .*Remove it and run again"):
        read_json(path)
