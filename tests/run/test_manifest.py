"""The audit trail: digests that can be checked, what was captured, with which code."""

import hashlib
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from recovery_kit._keep import write_frame, write_json
from recovery_kit.errors import RunError
from recovery_kit.run import manifest
from recovery_kit.run.settings import Settings


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_inputs_have_digests_and_a_client_config_only_a_path(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_bytes(b"key,total\na,1\n")
    (tmp_path / "p.parquet").mkdir()
    for name in ("1.parquet", "2.parquet"):
        (tmp_path / "p.parquet" / name).write_bytes(name.encode())
    (tmp_path / "client.properties").write_text("sasl.password=planted")
    settings = Settings(
        expected=str(tmp_path / "e.csv"),
        processed=str(tmp_path / "p.parquet"),
        opening=str(tmp_path / "missing.csv"),
        client_config=str(tmp_path / "client.properties"),
    )
    expected, opening, processed = manifest.inputs(settings)
    assert expected == {"parameter": "expected", "path": settings.expected, "bytes": 14} | {
        "sha256": sha256(b"key,total\na,1\n")
    }
    assert (opening["bytes"], opening["sha256"]) == (None, None)
    assert processed["bytes"] == 18
    began = manifest.begun(settings)
    assert sha256(b"sasl.password=planted") not in str(began)
    assert began["parameters"]["client_config"] == settings.client_config
    (tmp_path / "p.parquet" / "2.parquet").write_bytes(b"2.parquex")
    assert manifest.inputs(settings)[2] != processed


def test_a_url_is_read_as_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "e.csv.gz").write_bytes(b"not gzip, and digested all the same")
    found = manifest.inputs(Settings(expected=(tmp_path / "e.csv.gz").as_uri()))
    assert found[0]["sha256"] == sha256(b"not gzip, and digested all the same")
    assert manifest.inputs(Settings(expected="nowhere://x/e.csv"))[0]["sha256"] is None


def test_outputs_can_be_held_against_their_digests(tmp_path: Path) -> None:
    write_frame(pd.DataFrame({"a": [1, 2, 3]}), tmp_path / "totals.parquet")
    (tmp_path / "summary.json").write_text("{}")
    found = manifest.outputs(tmp_path, [tmp_path / "summary.json", tmp_path / "totals.parquet"])
    assert [(row["file"], row.get("rows")) for row in found] == [
        ("summary.json", None),
        ("totals.parquet", 3),
    ]
    told = {"outputs": found}
    assert manifest.altered(tmp_path, told) == []
    (tmp_path / "summary.json").write_text("{ }")
    (tmp_path / "totals.parquet").unlink()
    assert manifest.altered(tmp_path, told) == ["summary.json", "totals.parquet"]
    assert manifest.altered(tmp_path, told, "never.there") == ["never.there"]


def test_what_an_incomplete_replay_covered_is_kept(tmp_path: Path) -> None:
    assert manifest.captured(tmp_path) == {"replay": {}, "coverage": []}
    write_json(
        tmp_path / "incomplete.json",
        {"verdict": "truncated", "coverage": [{"partition": 0, "log_start": 2}]},
    )
    assert manifest.captured(tmp_path) == {
        "replay": {"verdict": "truncated"},
        "coverage": [{"partition": 0, "log_start": 2}],
    }


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"exit_code": 0}'])
def test_without_a_whole_manifest_a_run_is_not_whole(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(RunError):
        manifest.read(tmp_path)


def test_the_code_is_named_by_its_commit_in_a_checkout() -> None:
    root = Path(manifest.__file__).parents[2]
    head = subprocess.run(
        ["git", "-C", root, "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    found = manifest.code_state()
    assert found["version"]
    if head.returncode or not (root / ".git").exists():
        assert (found["commit"], found["clean"]) == (None, None)
    else:
        assert found["commit"] == head.stdout.strip()
        assert isinstance(found["clean"], bool)
