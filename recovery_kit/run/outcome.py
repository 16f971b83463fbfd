"""What came of a run, for people."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from recovery_kit import _show, errors
from recovery_kit.run import why

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
        0 all matched (or no expected totals were given), 1 divergences, 2 error (nothing compared
        and too many rejects among them), 3 replay not complete, 130 interrupted.
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
        notes = [self.error] if self.error else []
        if self.summary:
            notes += [
                *self.summary.get("doubts", ()),
                *self.summary["reconciliation"].get("notes", ()),
            ]
        return _show.text_card(
            f"recovery-kit: {self._word()} (exit code {self.exit_code})",
            [*self._facts(), ("files", self.folder)],
            notes,
        )

    def _word(self) -> str:
        found = self.summary.get("reconciliation")
        if found is None or self.exit_code not in (errors.MATCHED, errors.ERROR):
            return _WORDS.get(self.exit_code, "ERROR")
        if self.exit_code == errors.ERROR:
            asked = found["expected_keys"] is not None or not found["recovered_keys"]
            return "NOTHING WAS COMPARED" if asked and not found["compared"] else "ERROR"
        if found["expected_keys"] is None:
            return "nothing was compared, for expected is not given"
        allowed = f"fails a run ({self.manifest.get('fail_on', '')})"
        if self.summary["replay"]["verdict"] != "complete":
            return f"replay not complete, which is not what {allowed}"
        if found["divergent"]:
            return f"divergences, below what {allowed}"
        return _WORDS[errors.MATCHED]

    def _facts(self) -> _show.Facts:
        if not self.summary:
            return []
        log, told, r = (self.summary[name] for name in ("replay", "dedup", "reconciliation"))
        counts = ", ".join(
            f"{log[n]:,} {n}" for n in ("events", "rejects", "tombstones", "outside") if log[n]
        )
        statuses = ", ".join(f"{n:,} {status}" for status, n in r["statuses"].items() if n)
        facts: list[tuple[str, object]] = [
            ("log", f"{log['source']}, {log['partitions']} partitions, {log['verdict']}"),
            ("messages", f"{log['delivered']:,}{counts and ': '}{counts}"),
            (
                "events",
                f"{told['unique']:,} unique, {told['redelivered']:,} redelivered, "
                f"{told['conflicting']:,} conflicting",
            ),
            ("keys", f"{r['keys']:,}{statuses and ': '}{statuses}"),
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
        facts += why.facts(self.summary["why"]) if "why" in self.summary else []
        by = self.manifest.get("fail_on")
        return [*facts, ("fails on", by)] if by else facts


def _money(text: str) -> str:
    return f"{Decimal(text):,f}"
