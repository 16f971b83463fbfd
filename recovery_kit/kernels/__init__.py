"""The compiled kernels: numba compiles them once on a machine, and later processes load the machine
code alone.

To import numba and to let it make its functions ready takes longer than to read a million events.
So the machine code is kept, in the user's cache folder, and llvmlite, numba's own foundation, links
it into the process. What is kept is used only for the same sources, the same numba and the same
processor.

A kernel takes whole numbers, most of them addresses, and checks no bounds but those that its
docstring names: who calls it keeps the arrays alive and gives the sizes. It runs without the
interpreter's lock.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.metadata
import json
import os
import stat
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

SOURCES = (
    "_build.py",
    "_memory.py",
    "decode.py",
    "ids.py",
    "layout.py",
    "match.py",
    "message.py",
    "prefixes.py",
    "scan.py",
    "sweep.py",
    "tally.py",
    "values.py",
)

Kernel = Callable[..., int]


def load() -> Any:
    """The kernels by name, each a function of whole numbers to a whole number.

    Compiled first where that must be.
    """
    with _LOADING:
        return _load()


_LOADING = threading.Lock()


@functools.cache
def _load() -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    digest = _digest(llvm)
    symbols, code = _kept(digest) or _built(digest)
    linker = llvm.create_lljit_compiler()
    library = llvm.JITLibraryBuilder().add_object_img(code).add_current_process()
    for symbol, _ in symbols.values():
        library = library.export_symbol(symbol)
    linked = library.link(linker, "kernels")
    kernels = {
        name: _callable(name, linked[symbol], arity) for name, (symbol, arity) in symbols.items()
    }
    return SimpleNamespace(
        **kernels, linked=linked, linker=linker
    )  # the code lives as long as these two


def address(array: Any) -> int:
    """Where an array's first element stands."""
    found: int = array.__array_interface__["data"][0]
    return found


def _callable(name: str, where: int, arity: int) -> Kernel:
    # numba's calling convention: a place for the result, one for an exception, the arguments; a
    # status comes back.
    function = ctypes.CFUNCTYPE(
        ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * arity
    )(where)

    def kernel(*numbers: int) -> int:
        result = ctypes.c_int64()
        status = function(ctypes.addressof(result), None, *numbers)
        if status:
            raise RuntimeError(f"the kernel {name} ended with status {status}")
        return result.value

    return kernel


def _digest(llvm: Any) -> str:
    """What the machine code depends on."""
    parts = [importlib.metadata.version("numba"), importlib.metadata.version("llvmlite")]
    parts += [
        llvm.get_process_triple(),
        llvm.get_host_cpu_name(),
        llvm.get_host_cpu_features().flatten(),
    ]
    said = hashlib.sha256("\n".join(parts).encode())
    for name in SOURCES:
        said.update(Path(__file__).with_name(name).read_bytes())
    return said.hexdigest()[:32]


def _kept(digest: str) -> tuple[dict[str, tuple[str, int]], bytes] | None:
    """What an earlier process of this user kept.

    None where there is nothing, or not what was written.

    Machine code runs as who loads it: a file that somebody else owns or may write is not taken.
    """
    try:
        with _file(digest).open("rb") as file:
            about = os.fstat(file.fileno())
            if about.st_uid != os.geteuid() or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return None
            sum_, _, kept = file.read().partition(b"\n")
    except (OSError, RuntimeError):
        return None
    if sum_ != _sum(kept):
        return None
    symbols, _, code = kept.partition(b"\n")
    return json.loads(symbols), code


def _built(digest: str) -> tuple[dict[str, tuple[str, int]], bytes]:
    from recovery_kit.kernels import _build

    symbols, code = _build.build()
    kept = json.dumps(symbols).encode() + b"\n" + code
    # No place to keep it, or no home: compiled in each process.
    with suppress(OSError, RuntimeError):
        file = _file(digest)
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(dir=file.parent)
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(_sum(kept) + b"\n" + kept)
            Path(aside).replace(file)
        finally:
            Path(aside).unlink(missing_ok=True)
    return symbols, code


def _sum(kept: bytes) -> bytes:
    return hashlib.sha256(kept).hexdigest().encode()


def _file(digest: str) -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "recovery-kit" / f"kernels-{digest}"
