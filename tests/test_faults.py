"""The table of faults: every fault has a test, and every test that the table names is there."""

from __future__ import annotations

import re
from pathlib import Path

from tests.faults import numbers, table

ROOT = Path(__file__).parent.parent


def test_faults() -> None:
    faults = table()
    assert list(faults) == list(range(1, 78))
    assert numbers("tests/a.py::test_fault_08_what[x]", faults) == {8}
    assert numbers("tests/a.py::test_faults_32_to_35[fault_33]", faults) == {33}
    sources = {
        path: path.read_text(encoding="utf-8") for path in Path(__file__).parent.rglob("test_*.py")
    }
    named = {
        int(number)
        for text in sources.values()
        for number in re.findall(r"def test_fault_(\d+)_", text)
    }
    for number, row in faults.items():
        for test in row["tests"].split():
            path, _, function = test.partition("::")
            assert f"def {function}(" in sources[ROOT / path]
            named.add(number)
    assert named | {32, 33} == set(faults)  # those two are parameters of one test
