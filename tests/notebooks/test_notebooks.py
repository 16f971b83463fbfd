"""The notebooks as files: parameters, cells and committed outputs.

nbval runs them (see the Makefile).
"""

import ast
import re
from dataclasses import fields
from pathlib import Path

import nbformat
import papermill
import pytest

from recovery_kit.run.history import PARAMETERS
from recovery_kit.run.notebooks import NOTEBOOKS, notebooks_dir
from recovery_kit.run.settings import Settings

FILES = sorted(notebooks_dir().glob("*.ipynb"))
BY_HAND = {"05_one_key", "06_history"}
"""Notebooks that are not part of a run."""
HELP = {f.name: f.metadata["help"] for f in fields(Settings)} | PARAMETERS
DEFAULTS = vars(Settings()) | dict.fromkeys(PARAMETERS, "")
SECRET = re.compile(r"password|passwd|secret|token|credential|api_?key", re.IGNORECASE)


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


def test_every_notebook_of_a_run_is_there() -> None:
    found = [path.stem for path in FILES]
    assert [stem for stem in found if stem not in BY_HAND] == list(NOTEBOOKS)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_notebook_that_reads_a_log_can_leave_names_out(path: Path) -> None:
    """A notebook without the parameter would show keys in clear in a run that must not."""
    shown = papermill.inspect_notebook(str(path))
    assert ("topic" in shown) == ("pseudonymize" in shown) == ("pseudonym_lookup" in shown)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_parameters_are_those_of_settings(path: Path) -> None:
    """What papermill's help shows: each parameter with its type, default and help, the same in
    every notebook.
    """
    tagged = [cell for cell in code_cells(path) if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    shown = papermill.inspect_notebook(str(path))
    assert len(shown) == len(tagged[0].source.splitlines())
    for name, told in shown.items():
        default = DEFAULTS[name]
        assert told["inferred_type_name"] == type(default).__name__
        assert ast.literal_eval(told["default"]) == default
        assert told["help"] == HELP[name]
        assert not SECRET.search(name)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_logic_lives_in_the_package(path: Path) -> None:
    """A cell calls a verb, draws a chart or shows a table: no function, class, loop or branch."""
    for cell in code_cells(path):
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(
                node,
                ast.FunctionDef
                | ast.ClassDef
                | ast.For
                | ast.While
                | ast.If
                | ast.Try
                | ast.Lambda,
            )


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_outputs_are_committed_so_that_nbval_compares_something(path: Path) -> None:
    """nbval never compares a cell without an execution count: a stripped notebook would pass with
    nothing tested.
    """
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    ends = [ast.parse(cell.source).body[-1] for cell in cells]
    showing = [cell for cell, end in zip(cells, ends, strict=True) if isinstance(end, ast.Expr)]
    with_output = [cell for cell in showing if cell.outputs]
    assert len(with_output) >= 4
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type in ("execute_result", "display_data"), (
                f"{path.stem} left {output}"
            )
    assert not any("nbval-ignore-output" in cell.metadata.get("tags", []) for cell in with_output)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_pictures_carry_alt_text(path: Path) -> None:
    pictures = [
        o.data
        for cell in code_cells(path)
        for o in cell.outputs
        if "image/png" in o.get("data", {})
    ]
    assert pictures
    for data in pictures:
        assert 'alt="' in data["text/html"]
        assert len(data["text/plain"]) > 40
