"""Compiles the kernels with numba to one piece of machine code that needs nothing but itself."""

from __future__ import annotations

import inspect
import re
from typing import Any

ELSEWHERE = {"memcpy", "memset", "memmove"}
"""What the machine code may call besides itself: the C library has them in every process."""


def build() -> tuple[dict[str, tuple[str, int]], bytes]:
    """Compile every kernel: (name to symbol and number of arguments, object code for this
    processor).
    """
    import llvmlite.binding as llvm

    from recovery_kit.kernels import decode, ids, match, prefixes, scan, sweep, tally

    symbols: dict[str, tuple[str, int]] = {}
    whole = None
    modules = (decode, ids, match, prefixes, scan, sweep, tally)
    for kernel in (kernel for module in modules for kernel in module.KERNELS):
        symbol, text = _compiled(kernel)
        module = llvm.parse_assembly(text)
        if whole is None:
            whole = module
        else:
            whole.link_in(module)
        symbols[kernel.__name__] = symbol, len(inspect.signature(kernel.py_func).parameters)
    assert whole is not None
    outside = {
        f.name for f in whole.functions if f.is_declaration and not f.name.startswith("llvm.")
    } - ELSEWHERE
    if outside:
        raise RuntimeError(f"the kernels call {', '.join(sorted(outside))}, which only numba has")
    machine = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=3,
        reloc="pic",
        jit=True,
    )
    return symbols, machine.emit_object(whole)


def _compiled(kernel: Any) -> tuple[str, str]:
    from numba import int64

    arguments = (int64,) * len(inspect.signature(kernel.py_func).parameters)
    kernel.compile(arguments)
    (signature,) = kernel.signatures
    symbol = kernel.overloads[signature].fndesc.llvm_func_name
    text = kernel.inspect_llvm(signature)
    assert re.search(rf"define [^@]*i32 @\"?{re.escape(symbol)}\"?\(", text), symbol
    return symbol, text
