"""The lists of packages agree, make lists its commands and says what it lacks, no file tells where
it was made.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import distributions, packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
DEV = [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
PINS = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()

# In two parts, so that this file does not match itself.
HOSTS = {
    "pypi": "org",
    "pythonhosted": "org",
    "maven": "org",
    "maven.apache": "org",
    "npmjs": "org",
    "crates": "io",
    "golang": "org",
    "anaconda": "org",
    "deb.debian": "org",
}
FOLDERS = "work", "root", "home", "Users"
TRACE = re.compile(
    "|".join(
        [rf"\b{re.escape(f'{name}.{end}')}\b" for name, end in HOSTS.items()]
        + [rf"(?<![\w.~-])/{f}/" for f in FOLDERS]
    )
)


def requirements(lines: list[str]) -> dict[str, Requirement]:
    return {canonicalize_name(r.name): r for r in map(Requirement, lines)}


def make(*args: str, folder: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if k not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}}
    command = ["make", "--no-print-directory", *args]
    return subprocess.run(
        command, cwd=folder, env=env | variables, capture_output=True, text=True, timeout=60
    )


def test_conda_gets_the_same_packages_and_bounds_as_pip() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    *conda, last = environment["dependencies"]
    assert conda[:2] == [f"python {PROJECT['requires-python']}", "pip"]
    assert last["pip"][-1] == "-e ."
    given = requirements(conda[2:] + last["pip"][:-1])
    wanted = requirements(PROJECT["dependencies"])
    assert {n: r.specifier for n, r in given.items()} == {n: r.specifier for n, r in wanted.items()}


def test_constraints_are_names_and_exact_versions() -> None:
    assert [
        line for line in PINS if not re.fullmatch(r"[A-Za-z0-9][\w.-]*==[0-9][\w.!+]*", line)
    ] == []
    names = [line.split("==")[0] for line in PINS]
    assert len(set(map(canonicalize_name, names))) == len(names)


@pytest.mark.parametrize(
    "wanted", PYPROJECT["build-system"]["requires"] + PROJECT["dependencies"] + DEV
)
def test_constraints_hold_every_direct_dependency_within_its_bounds(wanted: str) -> None:
    requirement = Requirement(wanted)
    pinned = requirements(PINS)[canonicalize_name(requirement.name)]
    version = str(pinned.specifier).removeprefix("==")
    assert requirement.specifier.contains(version)


def test_constraints_suit_the_first_patch_of_the_oldest_python() -> None:
    # Debian has 3.11.2; a package that asks for 3.11.5 would stop the set-up there.
    first = PROJECT["requires-python"].removeprefix(">=") + ".0"
    asked = {
        f"{d.name}=={d.version}": d.metadata["Requires-Python"] or ""
        for d in distributions()
        if d.name
    }
    checked = {pin: asked[pin] for pin in PINS if pin in asked}
    assert len(checked) > len(PINS) / 2
    assert {
        pin: python for pin, python in checked.items() if first not in SpecifierSet(python)
    } == {}


def test_the_package_imports_nothing_that_it_does_not_declare() -> None:
    declared = set(requirements(PROJECT["dependencies"] + DEV)) | {
        canonicalize_name(PROJECT["name"])
    }
    owners = packages_distributions()
    undeclared = {
        f"{module} in {path.relative_to(ROOT)}"
        for path in sorted((ROOT / "recovery_kit").rglob("*.py"))
        for module in imported(path) - sys.stdlib_module_names
        if declared.isdisjoint(map(canonicalize_name, owners.get(module, [module])))
    }
    assert undeclared == set()


def imported(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [
        node.module
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module and not node.level
    ]
    return {name.partition(".")[0] for name in names}


def test_help_is_the_default_and_names_every_command() -> None:
    phony = re.findall(
        r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    shown = make("help").stdout
    listed = re.findall(r"^  make (\S+) +\S.*$", shown, re.MULTILINE)
    assert sorted(listed) == sorted(" ".join(phony).split())
    assert make().stdout == shown


def test_one_oldest_python_everywhere() -> None:
    oldest = re.findall(
        r"^OLDEST := (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert [f">={oldest[0]}"] == [PROJECT["requires-python"]]
    assert PYPROJECT["tool"]["mypy"]["python_version"] == oldest[0]
    assert PYPROJECT["tool"]["ruff"]["target-version"] == "py" + oldest[0].replace(".", "")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["PYTHON=no-such-python"], "no-such-python is not here: install Python"),
        (["OLDEST=99.0"], "is not Python 99.0 or later: name one"),
        ([], "apt install python3-venv"),
    ],
)
def test_set_up_says_what_it_lacks(tmp_path: Path, given: list[str], says: str) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    # What Debian's python3 is without python3-venv.
    (tmp_path / "ensurepip.py").write_text("raise ImportError", encoding="utf-8")
    done = make(
        "types", f"PYTHON={sys.executable}", *given, folder=tmp_path, PYTHONPATH=str(tmp_path)
    )
    assert done.returncode == 2
    assert says in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_no_file_names_a_registry_host_or_a_machine_path() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    paths = [ROOT / os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
    texts = {path: path.read_bytes() for path in paths if path.is_file()}
    assert ROOT / "pyproject.toml" in texts
    found = {
        f"{path.relative_to(ROOT)}:{number}: {match[0]}"
        for path, content in texts.items()
        if b"\0" not in content
        for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1)
        for match in TRACE.finditer(line)
    }
    assert found == set()


@pytest.mark.parametrize(("name", "end"), HOSTS.items())
def test_a_registry_host_is_found(name: str, end: str) -> None:
    assert TRACE.search(f"see https://repo.{name}.{end}/simple")
    assert not TRACE.search(f"org.{name}.{end}er")


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_machine_path_is_found_and_a_relative_one_is_not(folder: str) -> None:
    assert TRACE.search(f'open("/{folder}/me/x")')
    assert not TRACE.search(f"docs/{folder}/x ~/{folder}/x ../{folder}/x")
