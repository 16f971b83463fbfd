"""What there is room for: on the machine, in control groups, in an address space."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from recovery_kit import _room
from recovery_kit._room import EVERY, control_groups, require, room
from recovery_kit.errors import LogTooLarge


def group(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n", encoding="ascii")


def found(tmp_path: Path, listing: str) -> list[int]:
    own = tmp_path / "own"
    own.write_text(listing, encoding="ascii")
    return [room.free for room in control_groups(own, tmp_path)]


def test_control_groups_of_version_2(tmp_path: Path) -> None:
    stat = "anon 5\ninactive_file 70\nactive_file 30"
    group(tmp_path, memory__stat=stat)  # the root has no limit, and no file of one
    group(tmp_path / "outer", memory__max=1000, memory__current=600, memory__stat=stat)
    group(tmp_path / "outer" / "inner", memory__max="max", memory__current=500, memory__stat=stat)
    assert found(tmp_path, "0::/outer/inner\n") == [1000 - 600 + 70]


def test_control_groups_of_version_1(tmp_path: Path) -> None:
    stat = "cache 9\ntotal_inactive_file 70"
    for at, limit, use in (
        ("memory", 2**63 - 4096, 900),
        ("memory/job", 1000, 600),
        ("memory/job/step", 800, 500),
    ):
        group(
            tmp_path / at,
            memory__limit_in_bytes=limit,
            memory__usage_in_bytes=use,
            memory__stat=stat,
        )
    listing = "9:name=systemd:/job\n4:cpu,memory:/job/step\n0::/\n"
    assert found(tmp_path, listing) == [370, 470, 2**63 - 4096 - 900 + 70]


def test_a_container_that_names_its_hosts_path_has_the_limit_of_the_mounted_folder(
    tmp_path: Path,
) -> None:
    group(
        tmp_path / "memory",
        memory__limit_in_bytes=1000,
        memory__usage_in_bytes=600,
        memory__stat="cache 9",
    )
    assert found(tmp_path, "4:memory:/docker/0123\n") == [400]
    group(tmp_path, memory__max=500, memory__current=100, memory__stat="anon 9")
    assert found(tmp_path, "0::/../docker/0123\n") == [400]


def test_no_control_groups(tmp_path: Path) -> None:
    assert found(tmp_path, "") == []
    assert list(control_groups(tmp_path / "no such file", tmp_path)) == []


def test_there_is_no_more_room_than_the_machine_has() -> None:
    assert 0 < room().free <= psutil.virtual_memory().total


def test_what_there_is_no_room_for_is_told_before_it_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_room, "room", lambda: _room.Room(EVERY, "what the test gives"))
    require(EVERY, "x", instead="Do y")
    require(EVERY - 1, "x", instead="Do y")
    with pytest.raises(
        LogTooLarge,
        match=r"^x takes 0.03 GB more, and there are 0.03 GB: what the test gives. Do y, or use a",
    ):
        require(EVERY + 1, "x", instead="Do y")
