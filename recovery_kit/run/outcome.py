"""What came of a run, for people."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from recovery_kit import _show, errors
from recovery_kit.run.judge import FailOn, judge

_WORDS = {
    errors.MATCHED: "all matched",
    errors.DIVERGED: "DIVERGENCES",
    errors.ERROR: "ERROR",
    errors.INCOMPLETE: "REPLAY NOT COMPLETE",
    errors.INTERRUPTED: "interrupted",
}


@dataclass(frozen=True, repr=False)
class Outcome:
    """What came of a run.

    Attributes
    ----------
    exit_code : int
        0 all matched (or nothing to compare with), 1 divergences, 2 error, 3 replay not complete,
        130 interrupted.
    folder : Path
        The run directory.
    summary : dict
        What ``summary.json`` holds; empty where the run did not come so far.
    error : str
        What went wrong, for people; empty when nothing did.
    manifest : dict
        What ``manifest.json`` holds.
    """

    exit_code: int
    folder: Path
    summary: dict[str, Any]
    error: str = ""
    manifest: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        facts: list[tuple[str, object]] = []
        if self.summary:
            log, told, r = (self.summary[name] for name in ("replay", "dedup", "reconciliation"))
            counts = ", ".join(
                f"{log[n]:,} {n}" for n in ("events", "rejects", "tombstones", "outside") if log[n]
            )
            statuses = ", ".join(f"{n:,} {status}" for status, n in r["statuses"].items() if n)
            facts = [
                ("log", f"{log['source']}, {log['partitions']} partitions, {log['verdict']}"),
                ("messages", f"{log['delivered']:,}: {counts}"),
                (
                    "events",
                    f"{told['unique']:,} unique, {told['redelivered']:,} redelivered, "
                    f"{told['conflicting']:,} conflicting",
                ),
                ("keys", f"{r['keys']:,}: {statuses}"),
            ]
            if r["divergent"]:
                facts += [
                    ("net difference", f"{_money(r['net_difference'])} (expected - recovered)"),
                    ("absolute differences", _money(r["absolute_difference"])),
                    *(
                        (
                            f"  {_show.quoted(d['key'], 26)}",
                            f"{_money(d['difference'])}  {d['status']}",
                        )
                        for d in self.summary["largest"]
                    ),
                ]
        facts.append(("files", self.folder))
        word = _WORDS.get(self.exit_code, "ERROR")
        if self.exit_code == errors.MATCHED and self.summary and judge(self.summary, FailOn()):
            word = f"divergences, below what fails a run ({self.manifest.get('fail_on', '')})"
        return _show.text_card(
            f"recovery-kit: {word} (exit code {self.exit_code})",
            facts,
            [self.error] if self.error else [],
        )


def _money(text: str) -> str:
    return f"{Decimal(text):,f}"
