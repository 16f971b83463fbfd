"""What machines read of a run: metrics.prom, for Prometheus' textfile collector, and one line of
JSON, for log collectors.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from recovery_kit._keep import plain
from recovery_kit.sources.span import COUNTS

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

NAME = "metrics.prom"

_OFFSETS = ("log_start", "start", "end", "position", "high_watermark")

Samples = Iterable[tuple[Mapping[str, object], Any]]


def exposition(manifest: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    """A run in Prometheus' text format; every sample has the run's ``topic`` as a label.

    Prometheus' samples are floats: exact amounts stand in ``summary.json``.

    Parameters
    ----------
    manifest, summary : mapping
        What ``manifest.json`` and ``summary.json`` hold; an empty summary where the run did not
        come so far.
    """
    from prometheus_client import generate_latest

    return generate_latest(_Gauges(manifest, summary)).decode()


class _Gauges:
    """A run's gauges, in the form that prometheus-client collects."""

    def __init__(self, manifest: Mapping[str, Any], summary: Mapping[str, Any]) -> None:
        self._topic = manifest["parameters"]["topic"]
        self._families = list(_families(manifest, summary))

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.metrics_core import GaugeMetricFamily

        for name, help_, samples in self._families:
            family = GaugeMetricFamily(f"recovery_kit_{name}", help_)
            for labels, value in samples:
                told = {"topic": self._topic} | {n: str(text) for n, text in labels.items()}
                family.add_sample(family.name, told, float(value))
            if family.samples:
                yield family


def json_line(manifest: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    """A run as one line of JSON, amounts as text.

    No key is in it, nor a sentence of evidence, which may hold what messages say: logs go further
    than a run directory does.
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
        "why": _without_evidence(summary.get("why", {})),
    }
    return json.dumps(told, default=plain)


def _without_evidence(why: Mapping[str, Any]) -> dict[str, Any]:
    if not why:
        return {}
    rows = [{n: v for n, v in row.items() if n != "evidence"} for row in why["incidents"]]
    return {**why, "incidents": rows}


def _families(
    manifest: Mapping[str, Any], summary: Mapping[str, Any]
) -> Iterator[tuple[str, str, Samples]]:
    code = manifest["code"]
    about = {"version": code["version"], "commit": code["commit"] or "", "host": manifest["host"]}
    yield "run_info", "Which code ran, and where.", [(about, 1)]
    yield (
        "run_exit_code",
        "0 nothing that fails a run, 1 divergences, 2 error, nothing compared or too many rejects, "
        "3 replay not complete, 130 interrupted.",
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
    counts = (({"kind": name}, summary["replay"][name]) for name in COUNTS)
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
        ("compared", "Keys of both sides that are matched or diverged."),
        ("absent_zeros", "Matched keys with a total of zero that the other side lacks."),
        ("within_tolerance", "Matched keys that are not equal."),
    ):
        yield f"{name}_keys", help_, [({}, found[name])]
    for name, help_ in (
        ("net_difference", "Sum of expected - recovered over all keys."),
        ("absolute_difference", "Sum of the absolute differences over all keys."),
    ):
        if found[name] is not None:
            yield name, help_, [({}, found[name])]
    yield from _causes(summary.get("why", {}))


def _causes(why: Mapping[str, Any]) -> Iterator[tuple[str, str, Samples]]:
    about = {"incident": ("incident", "cause", "grade"), "cause": ("cause", "grade")}
    for what, names in about.items():
        rows = why.get(f"{what}s", ())
        for amount, help_ in (
            ("keys", "Keys"),
            ("amount", "Net amount"),
            ("money", "Absolute amount"),
        ):
            samples = [({n: row[n] for n in names}, row[amount]) for row in rows]
            yield f"{what}_{amount}", f"{help_} of each {what}, by grade of evidence.", samples
