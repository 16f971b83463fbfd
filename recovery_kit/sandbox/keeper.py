"""The keeper: a small process that owns the sandbox's JVMs and its folder, and ends with its last
owner.

An owner holds a lease: a connection to the keeper's socket. The operating system closes it when the
owner ends, however it ends, and when the last lease is gone the keeper kills what it started and
removes the folder.

It is run by its path (``python -I -S keeper.py FOLDER``), not as a module of the package, so that
it imports the standard library only: it starts in some 20 ms and stays small. It knows nothing of
Kafka. An owner sends a line of JSON and gets a line back::

    {"do": "start", "name": "node-1", "argv": [...], "log": "node-1.log"}   -> {"pid": 4242}
    {"do": "signal", "name": "node-1", "signal": 15}                        -> {}
    {"do": "status"}                                                        -> {"node-1": {"pid":
    4242, "code": null}}

The first line a new owner gets is a greeting with the keeper's process id; one that gets none came
too late and holds no lease.
"""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

SOCKET = "lease"
"""The socket's name in the keeper's folder."""

Children = dict[str, "subprocess.Popen[bytes]"]


def main(folder: Path) -> None:
    """Keep ``folder`` until the last lease is gone.

    Standard input is the first lease, already connected.
    """
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(ignored, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    children: Children = {}
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(folder / SOCKET))
            listener.listen(64)
            listener.setblocking(False)
            _serve(listener, socket.socket(fileno=0), folder, children)
    finally:
        for child in children.values():
            child.kill()
        for child in children.values():
            child.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _serve(listener: socket.socket, first: socket.socket, folder: Path, children: Children) -> None:
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    leases: dict[socket.socket, bytes] = {}  # each with what it has sent of its next line
    _admit(first, selector, leases)
    while leases:
        for key, _ in selector.select():
            if key.fileobj is listener:
                _accept(listener, selector, leases)
            elif isinstance(key.fileobj, socket.socket) and not _hear(
                key.fileobj, leases, folder, children
            ):
                selector.unregister(key.fileobj)
                key.fileobj.close()
                del leases[key.fileobj]
        # Somebody may have connected while the last lease went: once greeted, a lease counts.
        _accept(listener, selector, leases)


def _accept(
    listener: socket.socket, selector: selectors.BaseSelector, leases: dict[socket.socket, bytes]
) -> None:
    try:
        while True:
            _admit(listener.accept()[0], selector, leases)
    except BlockingIOError:
        return


def _admit(
    lease: socket.socket, selector: selectors.BaseSelector, leases: dict[socket.socket, bytes]
) -> None:
    lease.setblocking(True)
    leases[lease] = b""
    selector.register(lease, selectors.EVENT_READ)
    _reply(lease, {"keeper": os.getpid()})


def _reply(lease: socket.socket, answer: dict[str, Any]) -> None:
    try:
        lease.sendall(json.dumps(answer).encode() + b"\n")
    except OSError:  # gone already; its end of file is read next
        return


def _hear(
    lease: socket.socket, leases: dict[socket.socket, bytes], folder: Path, children: Children
) -> bool:
    """Read from one lease and answer its whole lines; False when it has been let go."""
    try:
        received = lease.recv(1 << 16)
    except OSError:
        received = b""
    *lines, leases[lease] = (leases[lease] + received).split(b"\n")
    for line in lines:
        try:
            request = json.loads(line)
            answer = DO[request.pop("do")](folder, children, **request)
        except Exception as problem:  # a bad request must not end what other owners use
            answer = {"error": f"{type(problem).__name__}: {problem}"}
        _reply(lease, answer)
    return bool(received)


def _start(
    folder: Path, children: Children, *, name: str, argv: list[str], log: str
) -> dict[str, Any]:
    running = children.get(name)
    if running is not None and running.poll() is None:
        raise ValueError(f"{name} is already running")
    with (folder / log).open("ab") as out:
        children[name] = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=folder,
            preexec_fn=_die_with_keeper(),
        )
    return {"pid": children[name].pid}


def _signal(_folder: Path, children: Children, *, name: str, signal: int) -> dict[str, Any]:
    children[name].send_signal(signal)
    return {}


def _status(_folder: Path, children: Children) -> dict[str, Any]:
    return {name: {"pid": child.pid, "code": child.poll()} for name, child in children.items()}


DO: dict[str, Callable[..., dict[str, Any]]] = {
    "start": _start,
    "signal": _signal,
    "status": _status,
}


def _die_with_keeper() -> Callable[[], None] | None:
    """What a child runs before its program, so that it is killed when the keeper itself is killed
    (Linux).
    """
    if sys.platform != "linux":
        return None
    import ctypes

    keeper, prctl, set_death_signal = os.getpid(), ctypes.CDLL(None).prctl, 1

    def ask() -> None:
        prctl(set_death_signal, signal.SIGKILL)
        if os.getppid() != keeper:  # it was killed before the request
            os._exit(1)

    return ask


if __name__ == "__main__":
    # Nobody's child: an owner that lives on would otherwise have to wait for it, and keep a zombie
    # till then.
    if os.fork():
        os._exit(0)
    main(Path(sys.argv[1]))
