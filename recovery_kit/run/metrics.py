"""What machines read of a run: metrics.prom, for Prometheus' textfile collector, and one line of
JSON, for log collectors.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from recovery_kit._keep import plain

NAME = "metrics.prom"

_COUNTS = (
    "delivered",
    "events",
    "outside",
    "rejects",
    "tombstones",
    "control",
    "aborted",
    "removed",
    "lost",
)
_OFFSETS = ("log_start", "start", "end", "position", "high_watermark")

Samples = Iterable[tuple[Mapping[str, object], object]]


def exposition(manifest: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    """A run in Prometheus' text format; every sample has the run's ``topic`` as a label.

    Parameters
    ----------
    manifest, summary : mapping
        What ``manifest.json`` and ``summary.json`` hold; an empty summary where the run did not
        come so far.
    """
    topic = manifest["parameters"]["topic"]
    lines = []
    for name, help_, samples in _families(manifest, summary):
        shown = [
            _sample(f"recovery_kit_{name}", {"topic": topic, **labels}, value)
            for labels, value in samples
        ]
        if shown:
            lines += [
                f"# HELP recovery_kit_{name} {help_}",
                f"# TYPE recovery_kit_{name} gauge",
                *shown,
            ]
    return "\n".join(lines) + "\n"


def json_line(manifest: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    """A run as one line of JSON, amounts as text.

    No key is in it: logs go further than a run directory does.
    """
    names = ("exit_code", "error", "started", "ended", "seconds", "by", "host", "fail_on", "code")
    found = {n: v for n, v in summary.get("reconciliation", {}).items() if n != "largest_key"}
    told = {
        "event": "recovery-kit run",
        **{name: manifest[name] for name in names},
        "run_dir": manifest["parameters"]["run_dir"],
        "topic": manifest["parameters"]["topic"],
        "replay": summary.get("replay") or manifest["replay"],
        "dedup": summary.get("dedup", {}),
        "reconciliation": found,
    }
    return json.dumps(told, default=plain)


def _families(
    manifest: Mapping[str, Any], summary: Mapping[str, Any]
) -> Iterator[tuple[str, str, Samples]]:
    code = manifest["code"]
    about = {"version": code["version"], "commit": code["commit"] or "", "host": manifest["host"]}
    yield "run_info", "Which code ran, and where.", [(about, 1)]
    yield (
        "run_exit_code",
        "0 all matched, 1 divergences, 2 error, 3 replay not complete, 130 interrupted.",
        [({}, manifest["exit_code"])],
    )
    for name in ("started", "ended"):
        seconds = int(datetime.fromisoformat(manifest[name]).timestamp())
        yield f"run_{name}_timestamp_seconds", f"When the run {name}.", [({}, seconds)]
    yield "run_duration_seconds", "How long the run took.", [({}, manifest["seconds"])]
    taken = (({"notebook": n["name"]}, n["seconds"]) for n in manifest["notebooks"])
    yield "notebook_duration_seconds", "How long each notebook took.", taken
    verdict = manifest["replay"].get("verdict")
    if verdict:
        yield (
            "replay_complete",
            "1 where every offset was accounted for, else 0.",
            [({"verdict": verdict}, int(verdict == "complete"))],
        )
    offsets = (
        ({"partition": f"{row['topic']}-{row['partition']}", "bound": name}, row[name])
        for row in manifest["coverage"]
        for name in _OFFSETS
        if row.get(name) is not None
    )
    yield "partition_offset", "Offsets of each partition, as captured.", offsets
    if not summary:
        return
    counts = (({"kind": name}, summary["replay"][name]) for name in _COUNTS)
    yield "replay_offsets", "Offsets and messages of the log by kind.", counts
    yield (
        "events",
        "Events by what dedup said.",
        (({"kind": k}, n) for k, n in summary["dedup"].items()),
    )
    found = summary["reconciliation"]
    yield "keys", "Keys by status.", (({"status": s}, n) for s, n in found["statuses"].items())
    yield "divergent_keys", "Keys to look at.", [({}, found["divergent"])]
    for name, help_ in (
        ("net_difference", "Sum of expected - recovered over all keys."),
        ("absolute_difference", "Sum of the absolute differences over all keys."),
    ):
        if found[name] is not None:
            yield name, help_, [({}, found[name])]


def _sample(name: str, labels: Mapping[str, object], value: object) -> str:
    shown = ",".join(f'{label}="{_escaped(str(text))}"' for label, text in labels.items())
    return f"{name}{{{shown}}} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
