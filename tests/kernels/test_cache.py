"""The kept machine code: taken only whole, from this user, and for these sources.

Without it, or a home, all still works.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import llvmlite.binding as llvm
import pytest

from recovery_kit import kernels


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what this process loaded, in a cache folder of the test's own."""
    kernels.load()
    digest = kernels._digest(llvm)
    original = kernels._file(digest)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    copy = kernels._file(digest)
    copy.parent.mkdir()
    shutil.copy(original, copy)
    copy.chmod(0o600)
    assert kernels._kept(digest) is not None
    return copy


def test_every_source_is_in_the_digest() -> None:
    here = Path(kernels.__file__).parent
    assert sorted(kernels.SOURCES) == sorted(
        path.name for path in here.glob("*.py") if path.name != "__init__.py"
    )


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:0],
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: data[:64],
        lambda data: data[:65],
        lambda data: data + b"\0",
        lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
        lambda data: data.replace(b", 1]", b", 2]", 1),  # how many arguments a kernel takes
        lambda data: b"{}\n" + data.partition(b"\n")[2],
    ],
)
def test_a_damaged_file_is_not_taken(kept: Path, damage: Callable[[bytes], bytes]) -> None:
    whole = kept.read_bytes()
    damaged = damage(whole)
    assert damaged != whole
    kept.write_bytes(damaged)
    assert kernels._kept(kernels._digest(llvm)) is None


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_not_taken(kept: Path, mode: int) -> None:
    kept.chmod(mode)
    assert kernels._kept(kernels._digest(llvm)) is None


def test_a_file_of_another_user_is_not_taken(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = kept.stat().st_uid
    monkeypatch.setattr("os.geteuid", lambda: owner + 1)
    assert kernels._kept(kernels._digest(llvm)) is None


def test_without_a_home_it_is_compiled_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert kernels._kept("digest") is None
    symbols, code = kernels._built("digest")
    assert set(symbols) == set(vars(kernels.load())) - {"linked", "linker"}
    assert code


def test_what_is_built_is_kept_and_nothing_else_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recovery_kit.kernels import _build

    built = {"scan": ("a symbol", 1)}, b"\n\0code\n"
    monkeypatch.setattr(_build, "build", lambda: built)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kernels._built("digest")
    assert kernels._kept("digest") == ({"scan": ["a symbol", 1]}, built[1])
    assert [path.name for path in (tmp_path / "recovery-kit").iterdir()] == ["kernels-digest"]
    kernels._file("another").mkdir()  # nothing can be written there
    kernels._built("another")
    assert sorted(path.name for path in (tmp_path / "recovery-kit").iterdir()) == [
        "kernels-another",
        "kernels-digest",
    ]
