"""How far a long step has come: a bar on a terminal and in JupyterLab that leaves nothing behind,
lines where nobody watches.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from nbformat.v4 import new_code_cell, new_notebook

from recovery_kit import _progress
from recovery_kit._progress import IN_LAB, Progress

LINE = re.compile(
    r"replay: 4,500,000 of 10,000,000 offsets \(45%\), [\d.]+[kMG]? offsets/s, \d\d:\d\d left\n"
)


def test_lines_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("replay", "offsets", after=0) as one:
        one.due()
        time.sleep(0.05)
        one.tell(4_500_000, 10_000_000)
        one.say("waiting for t-0")
    told = capsys.readouterr()
    first, second = told.err.splitlines(keepends=True)
    assert LINE.fullmatch(first), first
    assert second == "replay: waiting for t-0\n"
    assert told.out == ""


def test_rate_and_time_left_are_worked_out_from_the_first_step(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(_progress.clock, "monotonic", lambda: now[0])
    with Progress("replay", "offsets") as one:
        said = []
        for second in range(14):
            now[0] = 1000.0 + second
            if one.due():
                one.tell(1000 * second, 20_000)
                said.append(second)
    assert said == [5, 10]
    assert capsys.readouterr().err.splitlines() == [
        "replay: 5,000 of 20,000 offsets (25%), 1.00k offsets/s, 00:15 left",
        "replay: 10,000 of 20,000 offsets (50%), 1.00k offsets/s, 00:10 left",
    ]


def test_what_has_no_known_end_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("explain", after=0) as one:
        one.stage("incidents")
        one.tell(2)
        one.stage("keys")
        one.tell(3, 4)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "explain: incidents so far: 2, after 00:00"
    assert second.startswith("explain: 3 of 4 keys (75%), ")


def test_a_stage_has_a_rate_of_its_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(_progress.clock, "monotonic", lambda: now[0])
    with Progress("explain") as one:
        one.stage("incidents")
        assert not one.due()
        now[0] += 60
        assert one.due()
        one.stage("keys")
        now[0] += 10
        assert one.due()  # the step is long already
        one.tell(100, 200)
    assert capsys.readouterr().err == ("explain: 100 of 200 keys (50%), 10.0 keys/s, 00:10 left\n")


@given(
    st.lists(
        st.tuples(st.integers(0, 10**18), st.none() | st.integers(0, 10**18), st.booleans()),
        max_size=6,
    )
)
def test_no_numbers_can_fail_a_step(told: list[tuple[int, int | None, bool]]) -> None:
    """A partition's end may come nearer, and its start go farther, while it is read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", io.StringIO())
        with Progress("replay", "offsets", after=0) as one:
            for done, total, other in told:
                if other:
                    one.stage("others")
                one.tell(done, total)
                shown = min(done, total) if total and total < 1 << 52 else done
                assert f": {shown:,}" in sys.stderr.getvalue()  # type: ignore[attr-defined]


def test_nothing_is_told_of_a_short_step_nor_where_it_is_not_wanted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Progress("replay", "offsets") as short, Progress("x", enabled=False, after=0) as off:
        for _ in range(3):
            assert not short.due()
            assert not off.due()
        off.say("a word")
    assert capsys.readouterr().err == ""


def test_what_is_said_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    Progress("replay").say("waiting for \x1b[2Jt-0\n(x)")
    assert capsys.readouterr().err == "replay: waiting for \\x1b[2Jt-0\\n(x)\n"


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_a_bar_on_a_terminal_that_is_gone_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    import termios

    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    with os.fdopen(theirs, "w", encoding="utf-8") as terminal, os.fdopen(ours, "rb", 0) as screen:
        monkeypatch.setattr(sys, "stderr", terminal)
        with Progress("replay", "offsets", after=0) as one:
            one.due()
            time.sleep(0.05)
            one.tell(4_500_000, 10_000_000)
            one.say("waiting for t-0")
            one.tell(9_000_000, 10_000_000)
        terminal.flush()
        written = screen.read(1 << 16).decode()
    assert re.search(
        r"replay:  45%\|.*\| 4\.50M/10\.0M \[00:00<00:00, [\d.]+M offsets/s\]", written
    )
    assert shown(written) == ["replay: waiting for t-0", ""]


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_a_terminal_without_a_width_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that a scheduler or a container makes."""
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w", encoding="utf-8") as terminal, os.fdopen(ours, "rb", 0) as screen:
        monkeypatch.setattr(sys, "stderr", terminal)
        with Progress("replay", "offsets", after=0) as one:
            one.tell(4_500_000, 10_000_000)
        terminal.flush()
        assert screen.read(1 << 16).startswith(b"replay: 4,500,000 of 10,000,000 offsets (45%), ")


def shown(written: str) -> list[str]:
    """The lines that a terminal shows in the end."""
    lines = []
    for line in written.replace("\r\n", "\n").split("\n"):
        cells: list[str] = []
        for part in line.split("\r"):
            cells[: len(part)] = part
        lines.append("".join(cells).rstrip())
    return lines


NOTEBOOK = """
import time
from recovery_kit._progress import Progress
with Progress("replay", "offsets", after=0) as one:
    one.due()
    time.sleep(0.05)
    one.say("a note")
    for part in (0.45, 0.9):
        one.tell(int(10_000_000 * part), 10_000_000)
    {end}
"""


def executed(folder: Path, end: str = "pass") -> nbformat.NotebookNode:
    book = new_notebook(cells=[new_code_cell(NOTEBOOK.format(end=end))])
    client = NotebookClient(book, timeout=120, kernel_name="python3", allow_errors=True)
    client.execute(cwd=str(folder))
    return book


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("end", ["pass", "raise KeyboardInterrupt"])
def test_a_bar_in_jupyterlab_leaves_nothing_in_the_saved_notebook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setenv(IN_LAB, "/notebooks/x.ipynb")  # as JupyterLab's server tells the kernel
    book = executed(tmp_path, end)
    outputs = [o for o in book.cells[0].outputs if o.output_type != "error"]
    assert [(o.output_type, o.data) for o in outputs] == [("display_data", {"text/plain": ""})]
    nbformat.validate(book)
    page, _ = HTMLExporter(template_name="classic").from_notebook_node(book)
    assert "45%" not in page
    assert "offsets/s" not in page


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_jupyterlab_is_shown_a_bar_and_what_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(IN_LAB, "/notebooks/x.ipynb")
    (output,) = executed(tmp_path, "one.close = lambda: None").cells[0].outputs
    bar, said = output.data["text/plain"].splitlines()
    assert re.match(r"replay:  90%\|█+.*\| 9\.00M/10\.0M \[00:00<00:00, [\d.]+M offsets/s\]", bar)
    assert said == "replay: a note"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_notebook_that_nobody_has_open_gets_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(IN_LAB, raising=False)
    (output,) = executed(tmp_path).cells[0].outputs
    assert (output.output_type, output.name) == ("stream", "stderr")
    note, *lines = output.text.splitlines(keepends=True)
    assert note == "replay: a note\n"
    assert LINE.fullmatch(lines[0])


def test_jupyters_server_still_tells_a_kernel_of_its_notebook() -> None:
    import inspect

    from jupyter_server.services.sessions.sessionmanager import SessionManager

    assert IN_LAB in inspect.getsource(SessionManager.get_kernel_env)


def test_tqdm_is_loaded_when_there_is_something_to_tell_and_leaves_no_thread() -> None:
    code = """
import sys, threading
from recovery_kit._progress import Progress
with Progress("replay", "offsets", after=0) as one:
    one.due()
    one.say("a note")
    before = "tqdm" in sys.modules
    one.tell(1, 2)
    print(before, "tqdm" in sys.modules, threading.active_count(), "multiprocessing.synchronize" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "1", "False"]


def test_a_step_that_is_over_tells_no_more(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("replay", "offsets", after=0) as one:
        one.tell(1, 2)
    before = threading.active_count()
    one.close()
    assert not one.due()
    one.say("late")
    assert capsys.readouterr().err.count("\n") == 1
    assert threading.active_count() == before
