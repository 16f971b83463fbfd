"""An error that nobody foresaw is one line; its traceback is in a file that only its owner reads, without
secrets.
"""

import errno
import os
import re
import stat
from pathlib import Path

import pytest

from recovery_kit.kafka.client.secret import Secret, hide_every_secret
from recovery_kit.run import unexpected


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def told(error: Exception) -> tuple[str, str]:
    """The line, and what stands in the file that it names."""
    try:
        raise error
    except Exception as raised:
        line = unexpected.told(raised, command="check")
    (path,) = re.findall(r"Its traceback is in (\S+?\.log)", line)
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    return line, Path(path).read_text(encoding="utf-8")


def test_a_defect_is_one_line_that_says_how_to_report_it() -> None:
    line, log = told(TypeError("unsupported\noperand\x1b[2J"))
    assert line.startswith("TypeError: unsupported\\noperand\\x1b[2J. ")
    assert "defect of recovery-kit" in line
    assert "report it to the maintainers with that file" in line
    assert line.isprintable()
    assert "recovery-kit check\nPython " in log
    assert "Traceback (most recent call last)" in log
    assert "in told\n    raise error" in log


@pytest.mark.parametrize(
    ("error", "then"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/full/x"), "The system refused it"),
        (MemoryError(), "too little memory"),
    ],
)
def test_what_the_system_refuses_is_not_called_a_defect(error: Exception, then: str) -> None:
    line, _ = told(error)
    assert then in line
    assert "defect" not in line


@pytest.mark.parametrize(
    "secret", ["pl4nted-Passw0rd", "q\\u'é\"\nx", "hunter", "z9"], ids=range(4)
)
def test_no_secret_is_in_either(secret: str) -> None:
    Secret(secret)
    first = ValueError(f"cannot log in with {secret} or {secret!r}")
    first.add_note(f"tried {secret}")
    again = RuntimeError(f"gave up: {secret}")
    again.__cause__ = first
    line, log = told(again)
    for text in (line, log):
        assert secret not in text
        assert repr(secret)[1:-1] not in text
        assert "***" in text


def test_a_short_setting_does_not_make_a_traceback_unreadable() -> None:
    Secret("1")
    assert hide_every_secret("line 110 of 1") == "line 110 of ***"


def test_where_no_file_can_be_written_the_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    line = unexpected.told(ValueError("x"), command="run")
    assert "could not be kept in a file" in line
    assert "Its traceback is in" not in line


class BrokenError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("nor can this be told")


def test_an_error_that_cannot_tell_itself_is_a_line_too() -> None:
    line, log = told(BrokenError())
    assert "BrokenError: <exception str() failed>. Nobody foresaw this error" in line
    assert "BrokenError" in log


def test_a_package_that_is_not_installed_does_not_hide_the_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unexpected, "_PACKAGES", ("no-such-package-here", "pandas"))
    _, log = told(ValueError("x"))
    assert "\nno-such-package-here unknown, pandas " in log
