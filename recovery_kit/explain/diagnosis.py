"""What explain() gives: causes by key, the incidents behind them, and what they add up to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import narwhals as nw

from recovery_kit._show import Facts, html_card, text_card
from recovery_kit.explain.evidence import GRADES as GRADES
from recovery_kit.tables import frames


@dataclass(frozen=True, repr=False, eq=False)
class Diagnosis:
    """Why totals differ.

    Attributes
    ----------
    causes : DataFrame or Table
        A row a cause of a key, the largest differences first: ``key``, ``cause``, ``amount``
        (exact; what the cause adds to expected - recovered), ``grade`` (one of `GRADES`),
        ``events`` (how many it is about), ``event_ids`` (the first few; where any one of several
        events fits, those), ``incident`` (its number, or null), ``topic``, ``partition`` (null
        where they are several or none), ``first``, ``last`` (times of the events), ``evidence`` (a
        sentence). For every key the amounts add up to its difference.
    incidents : DataFrame or Table
        A row a cause that many keys share, those worth most first: ``incident``, ``cause``,
        ``type`` (null: all), ``topic``, ``partition`` (null: several), ``partitions`` (how many),
        ``first``, ``last`` (times), ``first_offset``, ``last_offset`` (null: several partitions),
        ``keys``, ``events``, ``amount`` (net), ``money`` (the sum of every key's absolute amount),
        ``grade``, ``confidence`` (in words), ``evidence``.
    summary : dict
        ``keys`` (with a cause), ``incidents``, ``causes`` (cause to its keys, net amount and
        money), ``grades`` (grade to money), ``difference`` (net), ``money`` (the sum of all causes'
        absolute amounts), ``explained`` (that of the proven and consistent ones), ``notes``.
    """

    causes: Any
    incidents: Any
    summary: dict[str, Any]

    def __repr__(self) -> str:
        return text_card(self._title(), self._facts(), [*self._told(), *self.summary["notes"]])

    def _repr_html_(self) -> str:
        tables = []
        for caption, frame, hidden in (
            ("Incidents, by money", self.incidents, ("confidence",)),
            ("Causes by key, the largest differences first", self.causes, ("event_ids", "topic")),
        ):
            entered = nw.from_native(frame, eager_only=True).drop(hidden)
            tables += frames.shown(caption, entered.to_native())
        return html_card(self._title(), self._facts(), tables, self.summary["notes"])

    def _title(self) -> str:
        said = self.summary
        return f"Diagnosis: {said['keys']:,} keys, {said['incidents']:,} incidents"

    def _facts(self) -> Facts:
        facts: list[tuple[str, object]] = [
            (f"{grade}, amount", self.summary["grades"][grade]) for grade in GRADES
        ]
        facts += [
            (f"{cause}, net, {about['keys']:,} keys", about["amount"])
            for cause, about in self.summary["causes"].items()
        ]
        return [*facts, ("difference, net", self.summary["difference"])]

    def _told(self) -> list[str]:
        rows = nw.from_native(self.incidents, eager_only=True).select("incident", "evidence")
        return [f"incident {number}: {evidence}" for number, evidence in rows.head(10).iter_rows()]
