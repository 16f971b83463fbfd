"""The house stands as CONTRIBUTING.md draws it: imports go down, none in a circle, Kafka in one room."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "recovery_kit"

Sources = Mapping[str, str]
"""Path below the package, with slashes, to source text."""
Imports = Mapping[str, set[str]]
"""What each module imports: paths to paths."""


def sources() -> Sources:
    top = ROOT / PACKAGE
    return {p.relative_to(top).as_posix(): p.read_text("utf-8") for p in top.rglob("*.py")}


def drawn() -> list[list[str]]:
    """The rooms of the map, from the top down: a row may name several files or one folder."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text[text.index("| room | what is in it |") :].split("\n\n")[0].splitlines()[2:]
    return [re.findall(r"`([^`]+)`", row.split("|")[1]) for row in table]


def imported(code: str, paths: Sources) -> Iterator[str]:
    """Modules of the package that some code imports, anywhere in it."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            first, *rest = name.split(".")
            # The longest beginning that is a module: what is behind it is a name in that.
            for length in range(len(rest), -1, -1) if first == PACKAGE else ():
                at = "/".join(rest[:length])
                found = [p for p in (f"{at}.py", f"{at}/__init__.py".lstrip("/")) if p in paths]
                if found:
                    yield found[0]
                    break


def imports(found: Sources) -> Imports:
    return {path: set(imported(code, found)) - {path} for path, code in found.items()}


def room(path: str, rooms: list[list[str]]) -> int:
    """The row of the map that a module belongs to: the one that names the most of its path."""
    at = {
        name: row
        for row, names in enumerate(rooms)
        for name in names
        if path == name or (name.endswith("/") and path.startswith(name))
    }
    assert at, f"{path} has no room in CONTRIBUTING.md's map"
    return at[max(at, key=len)]


def circle(graph: Mapping[object, set[object]] | Imports) -> list[object]:
    """Some that import one another; empty where none do."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def folders(graph: Imports) -> dict[str, set[str]]:
    """Folder to the folders that it imports, a file at the top being a folder of its own."""

    def of(path: str) -> str:
        return path.rpartition("/")[0] or path

    made: dict[str, set[str]] = {}
    for path, wanted in graph.items():
        made.setdefault(of(path), set()).update({of(other) for other in wanted} - {of(path)})
    return made


def upward(graph: Imports, rooms: list[list[str]]) -> list[str]:
    return [
        f"{path} imports {other}, which stands above it"
        for path, wanted in graph.items()
        for other in sorted(wanted)
        if room(other, rooms) < room(path, rooms)
    ]


def strangers(found: Sources) -> list[str]:
    """Modules outside kafka/ that import kafka-python."""
    return [
        path
        for path, code in found.items()
        if not path.startswith("kafka/")
        for node in ast.walk(ast.parse(code))
        if (isinstance(node, ast.Import) and any(_is_kafka(a.name) for a in node.names))
        or (isinstance(node, ast.ImportFrom) and _is_kafka(node.module or ""))
    ]


def _is_kafka(name: str) -> bool:
    return name.partition(".")[0] == "kafka"


def test_the_map_draws_every_room_once_and_none_that_is_not_there() -> None:
    names = [name for names in drawn() for name in names]
    assert len(names) == len(set(names)) > 20
    for name in names:
        place = ROOT / PACKAGE / name
        assert place.is_dir() if name.endswith("/") else place.is_file(), name
    for path in sources():
        assert room(path, drawn()) >= 0
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text[text.index("| room | what is in it |") :].split("\n\n")[0].splitlines()[2:]
    for row in table:  # the files that a row tells of are in its room
        (where, *_), told = re.findall(r"`([^`]+/)?[^`]*`", row.split("|")[1]), row.split("|")[2]
        for name in re.findall(r"`(\w+\.py)`", told):
            assert (ROOT / PACKAGE / where / name).is_file(), (where, name)


def test_imports_go_down_and_never_in_a_circle() -> None:
    graph = imports(sources())
    assert len(graph) > 100
    assert sum(map(len, graph.values())) > 400
    assert circle(graph) == []
    assert circle(folders(graph)) == []
    assert upward(graph, drawn()) == []


def test_only_kafkas_room_knows_kafka_python() -> None:
    found = sources()
    assert strangers(found) == []
    assert any("from kafka" in code for path, code in found.items() if path.startswith("kafka/"))


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("errors.py", "from recovery_kit import _show"),
        ("tables/columns.py", "def f():\n    from recovery_kit.totals import Totals"),
        (
            "sources/span.py",
            "if TYPE_CHECKING:\n    from recovery_kit.kafka.deliver import Delivery",
        ),
        ("sources/window.py", "import recovery_kit.replay"),
        ("kafka/client/secret.py", "from recovery_kit.kafka import wire"),
        ("explain/case/case.py", "from recovery_kit.explain import Diagnosis"),
        ("_show.py", "from recovery_kit import charts"),
    ],
)
def test_an_upward_import_that_is_planted_is_found(path: str, line: str) -> None:
    found = dict(sources())
    found[path] += f"\n{line}\n"
    (said, *_) = upward(imports(found), drawn())
    assert said.startswith(f"{path} imports ")
    assert said.endswith(", which stands above it")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sources/coverage.py", "sources/gather.py"),
        ("kafka/log.py", "kafka/changes.py"),
        ("explain/windows/window.py", "explain/windows/edges.py"),
    ],
)
def test_a_circle_that_is_planted_is_found(one: str, other: str) -> None:
    found = dict(sources())
    for path, wanted in ((one, other), (other, one)):
        module = wanted.removesuffix(".py").replace("/", ".")
        found[path] += f"\ndef planted():\n    import recovery_kit.{module}\n"
    assert circle(imports(found))


def test_a_circle_of_folders_through_other_modules_is_found() -> None:
    found = dict(sources())
    found["sources/progress.py"] += "\nfrom recovery_kit.report import _grids\n"
    graph = imports(found)
    assert circle(graph) == []
    assert circle(folders(graph))


def test_kafka_python_where_it_does_not_belong_is_found() -> None:
    found = dict(sources())
    found["replay.py"] += "\ndef f():\n    from kafka.errors import KafkaError\n"
    assert strangers(found) == ["replay.py"]


def test_a_file_without_a_room_is_found() -> None:
    with pytest.raises(AssertionError, match=r"shed\.py has no room"):
        room("shed.py", drawn())
