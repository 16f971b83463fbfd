"""``python -m tests.faults``: run the tests of the faults in faults.tsv, and print the table with
pass or fail for each.

A test belongs to a fault by its name (``fault_08``) or because the table names it. Numbers given as
arguments are the only ones to be run. Ends with 1 where a fault's test fails or is skipped, a fault
has none, or pytest itself is not content: a module of tests that cannot be imported leaves none of
them to fail.
"""

from __future__ import annotations

import csv
import re
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from recovery_kit._show import shorten

TABLE = Path(__file__).with_name("faults.tsv")


def table() -> dict[int, dict[str, str]]:
    """The faults by number."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(
            file,
            delimiter="\t",
            quoting=csv.QUOTE_NONE,
            fieldnames=["number", "case", "must", "tests"],
        )
        next(rows)
        return {int(row["number"]): row for row in rows}


def numbers(node_id: str, faults: dict[int, dict[str, str]]) -> set[int]:
    """The faults that a test belongs to."""
    named = {int(number) for number in re.findall(r"fault_(\d+)", node_id.partition("::")[2])}
    bare = node_id.partition("[")[0]
    return named | {number for number, row in faults.items() if bare in row["tests"].split()}


class Results:
    """A plugin of pytest's: leaves the other tests out, and notes how these end."""

    def __init__(self, faults: dict[int, dict[str, str]], only: set[int]) -> None:
        self.faults, self.only = faults, only
        self.passed: dict[int, set[str]] = defaultdict(set)
        self.failed: dict[int, set[str]] = defaultdict(set)

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        wanted = [item for item in items if numbers(item.nodeid, self.faults) & self.only]
        config.hook.pytest_deselected(items=[item for item in items if item not in wanted])
        items[:] = wanted

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for number in numbers(report.nodeid, self.faults):
            if report.failed or report.skipped:
                self.failed[number].add(report.nodeid)
            elif report.passed and report.when == "call":
                self.passed[number].add(report.nodeid)

    def verdict(self, number: int) -> str:
        if number not in self.only:
            return "not run"
        if self.failed[number]:
            return "FAIL"
        return "pass" if self.passed[number] else "NO TEST"


def main(only: set[int]) -> int:
    faults = table()
    results = Results(faults, only or set(faults))
    ended = pytest.main(["-q", "--no-header", "-rfEs", str(TABLE.parent)], plugins=[results])
    print(f"\n{'#':>3}  {'':7}  tests  {'case':64}  what must happen")
    for number, row in faults.items():
        count = len(results.passed[number] | results.failed[number])
        print(
            f"{number:>3}  {results.verdict(number):7}  {count:>5}  {shorten(row['case'], 64):64}  "
            f"{row['must']}"
        )
    for number, names in sorted(results.failed.items()):
        for name in sorted(names):
            print(f"FAIL {number}: {name}")
    bad = [number for number in results.only if results.verdict(number) in ("FAIL", "NO TEST")]
    print(f"\n{len(results.only) - len(bad)} of {len(results.only)} faults pass")
    return int(bool(bad or ended))


if __name__ == "__main__":
    sys.exit(main({int(number) for number in sys.argv[1:]}))
