"""What is a run's, and what is not: cleared and deleted by name."""

import fcntl
from pathlib import Path

import pytest

from recovery_kit.errors import RunError
from recovery_kit.run.purge import alone, clear, is_run, kept, mark, purge, refuse_foreign


def a_run(folder: Path) -> Path:
    folder.mkdir()
    mark(folder)
    for name in (
        "manifest.json",
        "summary.json",
        "totals.parquet",
        "steps/replay/step.json",
        "steps/replay/e.parquet",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    (folder / "notebooks").mkdir()
    (folder / "notebooks" / "01_replay.ipynb").write_text("{}")
    return folder


def test_all_that_a_run_kept_is_deleted_and_the_folder_too(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "run")
    (folder / ".summary.json.123").write_text("half")  # as a killed run leaves it
    (folder / "steps" / ".dedup.99").mkdir()
    assert purge(folder) == []
    assert list(tmp_path.iterdir()) == []


def test_what_the_kit_did_not_write_stays(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "run")
    mine = ["expected.csv", "mine.parquet", "notebooks/notes.ipynb", "steps/notes.txt"]
    for name in mine:
        (folder / name).write_text("mine")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "01_replay.ipynb").write_text("mine")
    (folder / "totals.parquet").unlink()
    (folder / "totals.parquet").symlink_to(elsewhere / "01_replay.ipynb")
    assert purge(folder) == ["expected.csv", "mine.parquet", "notebooks", "steps", "totals.parquet"]
    assert all((folder / name).read_text() == "mine" for name in mine)
    assert (elsewhere / "01_replay.ipynb").exists()
    assert not (folder / "manifest.json").exists()


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "01_replay.ipynb").write_text("the kit's own")
    with pytest.raises(RunError, match=r"no run directory.*Nothing was deleted"):
        purge(tmp_path)
    with pytest.raises(RunError, match="holds notebooks, but no run was made there"):
        refuse_foreign(tmp_path)
    assert (tmp_path / "notebooks" / "01_replay.ipynb").exists()
    assert not is_run(tmp_path / "nowhere")


def test_a_run_under_way_is_not_purged(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "run")
    with (folder / ".lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="another run is under way"):
            purge(folder)
    assert (folder / "manifest.json").exists()


def test_clearing_keeps_the_mark_and_kept_names_files(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "run")
    names = {path.relative_to(folder).as_posix() for path in kept(folder)}
    assert names == {
        "summary.json",
        "totals.parquet",
        "steps/replay/step.json",
        "steps/replay/e.parquet",
        "notebooks/01_replay.ipynb",
    }
    with alone(folder):
        clear(folder)
    assert [path.name for path in folder.iterdir()] == [".lock"]
    assert is_run(folder)
