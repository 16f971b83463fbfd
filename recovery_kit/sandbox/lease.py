"""An owner's side of the keeper: folders that only this user can reach, and leases on what runs in
them.

::

    <temp>/recovery-kit-<uid>/          0700, ours
        lock                            held while folders are made and swept
        kafka-ab12cd/                   one keeper's; locked by it for as long as it lives
            lease                       its socket
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recovery_kit.errors import SandboxError
from recovery_kit.sandbox import keeper

_LONGEST = 103 - len(
    "/kafka-abcdefgh/lease"
)  # bytes that leave room for a socket: macOS allows 103, Linux 107


class Lease:
    """A connection to a keeper, which lives as long as any lease on it does.

    Attributes
    ----------
    folder : Path
        The keeper's folder; it goes with the keeper.
    keeper : int
        The keeper's process id.
    """

    def __init__(self, folder: Path, connection: socket.socket) -> None:
        self.folder = folder
        self._connection = connection
        self._connection.settimeout(10)
        self._lines = connection.makefile("rb")
        self.keeper = int(self._read()["keeper"])

    def ask(self, do: str, **request: object) -> dict[str, Any]:
        """Have the keeper do one thing and return its answer.

        Raises
        ------
        SandboxError
            When the keeper is gone, or could not do it.
        """
        try:
            self._connection.sendall(json.dumps({"do": do, **request}).encode() + b"\n")
        except OSError as problem:
            raise _gone(self.folder) from problem
        return self._read()

    def close(self) -> None:
        """Let go; the keeper ends when nobody else holds it."""
        self._lines.close()
        self._connection.close()

    def _read(self) -> dict[str, Any]:
        try:
            line = self._lines.readline()
        except OSError as problem:
            raise _gone(self.folder) from problem
        if not line:
            raise _gone(self.folder)
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise SandboxError(f"the sandbox's keeper could not do it: {answer['error']}")
        return answer


def _gone(folder: Path) -> SandboxError:
    return SandboxError(
        f"the sandbox in {folder} has ended (its keeper process is gone); start a new one"
    )


def new() -> Lease:
    """Make a folder, start a keeper for it, and return the first lease.

    Raises
    ------
    SandboxError
        When the temporary folder cannot be used, or the keeper does not start.
    """
    parent = runtime_folder()
    with locked(parent / "lock"):
        _sweep(parent)
        folder = Path(tempfile.mkdtemp(prefix="kafka-", dir=parent))
        alive = os.open(
            folder, os.O_RDONLY
        )  # the keeper inherits this descriptor, and with it the lock
        _lock(alive)
    ours, theirs = socket.socketpair()
    try:
        _spawn(folder, theirs.fileno(), alive)
        return Lease(folder, ours)
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
        os.close(alive)


def join(folder: Path) -> Lease | None:
    """Take another lease on the keeper of a folder.

    None when there is none, or it is about to end.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(str(folder / keeper.SOCKET))
        return Lease(folder, connection)
    except (OSError, SandboxError):
        connection.close()
        return None


def runtime_folder() -> Path:
    """The folder, in the system's temporary one, that holds all of this user's sandboxes.

    Raises
    ------
    SandboxError
        When something of that name is there that others own or can enter, its path is too long for
        a socket in it, or the system is not a POSIX one.
    """
    if os.name != "posix":
        raise SandboxError("the sandbox needs Linux or macOS; elsewhere, use a cluster of your own")
    folder = Path(tempfile.gettempdir()) / f"recovery-kit-{os.getuid()}"
    if len(os.fsencode(folder)) > _LONGEST:
        raise SandboxError(
            f"the path {folder} is too long for a socket in it; set TMPDIR to a shorter one, such "
            "as /tmp"
        )
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if (
        not stat.S_ISDIR(found.st_mode)
        or found.st_uid != os.getuid()
        or stat.S_IMODE(found.st_mode) & 0o077
    ):
        raise SandboxError(
            f"{folder} is not a folder that only you can enter (mode "
            f"{stat.filemode(found.st_mode)}, owner {found.st_uid}, you are {os.getuid()}); remove "
            "it, or set TMPDIR to a folder of your own"
        )
    return folder


@contextlib.contextmanager
def locked(path: Path, *, timeout: float = 600.0, waiting: str = "") -> Iterator[None]:
    """Hold a lock file, alone among all processes; the system drops it when its holder ends.

    Parameters
    ----------
    path : Path
        The file; made when it is not there.
    timeout : float
        Seconds to wait for whoever holds it.
    waiting : str
        What to say, on standard error, when it is held; nothing when empty.

    Raises
    ------
    SandboxError
        When it is still held after ``timeout``.
    """
    deadline = time.monotonic() + timeout
    with path.open("ab") as file:
        while not _lock(file.fileno()):
            if time.monotonic() > deadline:
                raise SandboxError(
                    f"another process has held {path} for {timeout:.0f} s; end it and run again"
                )
            if waiting:
                print(waiting, file=sys.stderr, flush=True)
                waiting = ""
            time.sleep(0.05)
        yield


def _spawn(folder: Path, first_lease: int, alive: int) -> None:
    command = [sys.executable, "-I", "-S", keeper.__file__, str(folder)]
    with (folder / "keeper.log").open("wb") as log:
        subprocess.run(  # comes back at once: the keeper lets go of its parent
            command,
            stdin=first_lease,
            stdout=log,
            stderr=log,
            cwd="/",
            pass_fds=(alive,),
            start_new_session=True,
            env=_environment(),
            check=True,
        )


def _lock(descriptor: int) -> bool:
    """Lock an open file or folder if nobody else has.

    The lock goes with the last process that has it open.
    """
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sweep(parent: Path) -> None:
    """Remove the folders of keepers that were killed.

    Theirs are the ones that nobody has locked.
    """
    for folder in parent.glob("kafka-*"):
        with contextlib.suppress(OSError):
            directory = os.open(folder, os.O_RDONLY)
            try:
                if _lock(directory):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(directory)


def _environment() -> dict[str, str]:
    """The environment without what would change how Java runs."""
    unwanted = {"CLASSPATH", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"}
    return {name: value for name, value in os.environ.items() if name not in unwanted}
