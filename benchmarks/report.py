"""Medians of runs, as a table and as JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
PACKAGES = (
    "kafka-python",
    "crc32c",
    "confluent-kafka",
    "orjson",
    "pandas",
    "polars",
    "pyarrow",
    "numba",
    "duckdb",
)
FIGURES = ("wall", "cpu", "memory_mb", "others")


def report(title: str, runs: list[dict], events: int, names: Mapping[str, str], path: Path) -> str:
    """Write the runs and their medians as JSON; the medians as a table.

    The first contender is the kit.
    """
    medians: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(run["contender"] for run in runs):
        mine = [run for run in runs if run["contender"] == name]
        middle = {what: statistics.median(run[what] for run in mine) for what in FIGURES}
        medians[name] = {**middle, "events_per_s": events / middle["wall"]}
    rounds = 1 + max(run["round"] for run in runs)
    title = f"{title}; medians of {rounds} rounds; x: times the kit's"
    lines = [
        title,
        "",
        f"{'contender':<32} {'wall s':>8} {'x':>6} {'events/s':>11} {'cpu s':>8} {'x':>6} "
        f"{'peak MB':>8} {'x':>6} {'others s':>9}",
    ]
    kit = next(iter(medians.values()))
    for name, m in medians.items():
        wall, cpu, memory = (f"{m[what] / kit[what]:.2f}" for what in FIGURES[:3])
        lines.append(
            f"{names[name]:<32} {m['wall']:>8.2f} {wall:>6} {m['events_per_s']:>11,.0f} "
            f"{m['cpu']:>8.2f} {cpu:>6} {m['memory_mb']:>8,.0f} {memory:>6} {m['others']:>9.2f}"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    found = {"title": title, "machine": _machine(), "medians": medians, "runs": runs}
    path.write_text(json.dumps(found, indent=1) + "\n")
    return "\n".join(lines)


def _machine() -> dict[str, object]:
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }
