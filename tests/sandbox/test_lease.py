import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest

from recovery_kit.errors import SandboxError
from recovery_kit.sandbox import lease
from tests.sandbox.processes import first_line, gone, python, running

LONG = ["sleep", "300"]


@pytest.fixture(autouse=True)
def own_folder(monkeypatch):
    """A temporary folder with a short path, so that no other sandbox of this user is touched."""
    with tempfile.TemporaryDirectory(prefix="rk", dir="/tmp") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


def sleeper(held: lease.Lease) -> int:
    """Process id of something that the keeper runs."""
    return int(held.ask("start", name="sleeper", argv=LONG, log="sleeper.log")["pid"])


def test_all_goes_with_the_last_lease():
    first = lease.new()
    pid = sleeper(first)
    second = lease.join(first.folder)
    assert second is not None
    first.close()
    assert second.ask("status") == {"sleeper": {"pid": pid, "code": None}}
    second.close()
    assert gone(pid, second.keeper, second.folder)
    assert lease.join(second.folder) is None


def test_all_goes_when_the_owner_is_killed():
    owner = python(
        "from recovery_kit.sandbox import lease; import time\nheld = lease.new(); pid = "
        "held.ask('start', name='s', argv=['sleep', '300'], log='log')['pid']\nprint(held.folder, "
        "held.keeper, pid, flush=True); time.sleep(300)"
    )
    with owner:
        folder, keeper, pid = first_line(owner)
        assert running(int(pid))
        owner.kill()
    assert gone(int(pid), int(keeper), Path(folder))


def test_a_forked_child_holds_the_lease_too():
    owner = python(
        "from recovery_kit.sandbox import lease; import os, time\n"
        "held = lease.new(); print(held.folder, held.keeper, flush=True)\n"
        "if os.fork() == 0: time.sleep(1); held.ask('status'); print('still there', flush=True)"
    )
    with owner:
        folder, keeper = first_line(owner)
        assert owner.stdout is not None
        assert owner.stdout.readline() == "still there\n"
    assert gone(int(keeper), Path(folder))


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells a child that its parent was killed"
)
def test_what_a_killed_keeper_ran_ends_and_its_folder_is_swept():
    held = lease.new()
    pid = sleeper(held)
    os.kill(held.keeper, signal.SIGKILL)
    assert gone(pid)
    with pytest.raises(SandboxError, match="has ended"):
        held.ask("status")
    held.close()
    assert held.folder.exists()
    lease.new().close()
    assert not held.folder.exists()


def test_a_terminated_keeper_cleans_up_and_an_interrupted_one_goes_on():
    held = lease.new()
    pid = sleeper(held)
    os.kill(held.keeper, signal.SIGINT)
    assert held.ask("status")["sleeper"]["code"] is None
    os.kill(held.keeper, signal.SIGTERM)
    assert gone(pid, held.keeper, held.folder)
    held.close()


def test_a_living_keepers_folder_is_not_swept():
    held = lease.new()
    lease.new().close()
    assert held.ask("status") == {}
    held.close()


def test_a_bad_request_is_answered_and_harms_nobody():
    held = lease.new()
    pid = sleeper(held)
    for request in (
        {"do": "dance"},
        {"do": "signal", "name": "nobody", "signal": 15},
        {"do": "start", "name": "sleeper"},
    ):
        with pytest.raises(SandboxError, match="could not do it"):
            held.ask(**request)
    with pytest.raises(SandboxError, match="sleeper is already running"):
        sleeper(held)
    assert running(pid)
    held.close()


def test_signals_reach_what_runs():
    held = lease.new()
    pid = sleeper(held)
    held.ask("signal", name="sleeper", signal=int(signal.SIGTERM))
    assert gone(pid)
    assert held.ask("status")["sleeper"]["code"] == -signal.SIGTERM
    assert sleeper(held) != pid
    held.close()


def test_a_folder_that_others_can_enter_is_refused(own_folder):
    folder = lease.runtime_folder()
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o755)
    with pytest.raises(
        SandboxError, match=r"not a folder that only you can enter \(mode drwxr-xr-x"
    ):
        lease.new()
    shutil.rmtree(folder)
    (own_folder / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(own_folder / "elsewhere")
    with pytest.raises(SandboxError, match="not a folder that only you can enter"):
        lease.new()


def test_too_long_a_path_is_refused(own_folder, monkeypatch):
    deep = own_folder / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with pytest.raises(SandboxError, match="too long for a socket in it; set TMPDIR"):
        lease.new()
    assert not list(deep.iterdir())


def test_a_lock_is_waited_for_and_then_given_up(own_folder, capsys):
    path = own_folder / "lock"
    with lease.locked(path):
        with (
            pytest.raises(SandboxError, match="another process has held"),
            lease.locked(path, timeout=0.1, waiting="Waiting"),
        ):
            pass
        assert capsys.readouterr().err == "Waiting\n"
    with lease.locked(path, timeout=0):
        pass
