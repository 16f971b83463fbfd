"""What the kernels are made of: loads and stores at addresses, and how they are compiled.

Addresses instead of arrays: numba counts an array's references, atomically, wherever it goes from
function to function, which took three quarters of the scan's time. A number loaded from fewer than
8 bytes comes as int64, so that no arithmetic mixes signs (numba makes floats of int64 and uint64
together).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

_BARE: dict[str, Any] = {
    "error_model": "numpy",
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}


def kernel(function: Callable[..., Any]) -> Any:
    """Compile for use from outside: int64 arguments and result, nothing of the interpreter in
    it.
    """
    return njit(**_BARE)(function)


def part(function: Callable[..., Any]) -> Any:
    """Compile for use by kernels, put in where it is called."""
    return njit(**_BARE, forceinline=True)(function)


def _there(bits: int, number: Any) -> Any:
    return ir.DoubleType() if number == types.float64 else ir.IntType(bits)


def _load(bits: int, result: Any) -> Any:
    def typer(_context: Any, _address: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            place = builder.inttoptr(arguments[0], _there(bits, result).as_pointer())
            loaded = builder.load(place, align=1)
            return loaded if bits == 64 else builder.zext(loaded, ir.IntType(64))

        return result(types.int64), generate

    return intrinsic(typer)


def _store(bits: int, value: Any) -> Any:
    def typer(_context: Any, _address: Any, _value: Any) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            place = builder.inttoptr(arguments[0], _there(bits, value).as_pointer())
            stored = arguments[1] if bits == 64 else builder.trunc(arguments[1], ir.IntType(bits))
            builder.store(stored, place, align=1)
            return context.get_dummy_value()

        return types.void(types.int64, value), generate

    return intrinsic(typer)


byte = _load(8, types.int64)  # byte(address) -> int64
word = _load(64, types.uint64)  # word(address) -> uint64, eight bytes as they lie there
get = _load(64, types.int64)  # get(address) -> int64
get_float = _load(64, types.float64)  # get_float(address) -> float64
get_32 = _load(32, types.int64)  # get_32(address) -> int64, of an unsigned number
get_16 = _load(16, types.int64)
put_byte = _store(8, types.int64)  # put_byte(address, int64)
put_word = _store(64, types.uint64)
put = _store(64, types.int64)
put_float = _store(64, types.float64)
put_32 = _store(32, types.int64)
put_16 = _store(16, types.int64)


@intrinsic
def zeros_below(_context: Any, _word: Any) -> Any:
    """How many zero bits stand below the lowest one; 64 where there is none."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate


@intrinsic
def fold(_context: Any, _a: Any, _b: Any) -> Any:
    """Both halves of a product of 128 bits, by exclusive or: the mixing step of wyhash (W.

    Yi, public domain).
    """

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(arguments[0], wide), builder.zext(arguments[1], wide))
        high = builder.lshr(product, ir.Constant(wide, 64))
        return builder.trunc(builder.xor(product, high), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), generate


@part
def cell(state, place):
    """A number of the state (`layout`)."""
    return get(state + 8 * place)


@part
def put_cell(state, place, number):
    """Set a number of the state."""
    put(state + 8 * place, number)


@part
def same(a, b, length):
    """Whether two runs of bytes are the same."""
    while length >= 8:
        if word(a) != word(b):
            return False
        a += 8
        b += 8
        length -= 8
    if length & 4:
        if get_32(a) != get_32(b):
            return False
        a += 4
        b += 4
    if length & 2:
        if get_16(a) != get_16(b):
            return False
        a += 2
        b += 2
    return not length & 1 or byte(a) == byte(b)


@part
def copy(to, at, length):
    """Copy bytes; the two places do not overlap."""
    while length >= 8:
        put_word(to, word(at))
        to += 8
        at += 8
        length -= 8
    if length & 4:
        put_32(to, get_32(at))
        to += 4
        at += 4
    if length & 2:
        put_16(to, get_16(at))
        to += 2
        at += 2
    if length & 1:
        put_byte(to, byte(at))


_K0, _K1 = np.uint64(0xA0761D6478BD642F), np.uint64(0xE7037ED1A0B428DB)


@part
def hashed(at, length, seed):
    """A hash of 64 bits of some bytes, in the manner of wyhash.

    ``seed`` is an int64 that nobody outside can guess.
    """
    h = np.uint64(seed) ^ _K0
    left = length
    while left >= 8:
        h = fold(h ^ word(at), _K1)
        at += 8
        left -= 8
    last = np.uint64(0)
    if left & 4:
        last = np.uint64(get_32(at))
        at += 4
    if left & 2:
        last = (last << np.uint64(16)) | np.uint64(get_16(at))
        at += 2
    if left & 1:
        last = (last << np.uint64(8)) | np.uint64(byte(at))
    return fold(h ^ last, _K0 ^ np.uint64(length))
