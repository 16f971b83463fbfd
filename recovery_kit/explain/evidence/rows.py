"""Findings of every kind as rows of the two tables of a Diagnosis (see ``_tables``), with evidence
in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from recovery_kit._show import number, shorten
from recovery_kit.explain.case.arrays import Bools, Ints
from recovery_kit.explain.case.case import Case, scale_of
from recovery_kit.explain.evidence.tables import IDS, Incident, Row, decimal, plain
from recovery_kit.explain.proven import runs
from recovery_kit.explain.single.match import Finding, Part
from recovery_kit.explain.windows.window import (
    MISSED,
    SHARED_ID,
    TWICE,
    Cause,
    State,
    Window,
    claims,
    settle,
    side_of,
)
from recovery_kit.tables import decimals

if TYPE_CHECKING:
    import polars as pl

DONE = {
    "missed": "missed",
    "lag": "not processed yet",
    "applied_twice": "applied twice",
    "wrong_sign": "applied with the wrong sign",
    "wrong_factor": "applied with a wrong factor",
    "wrong_amount": "applied with another amount",
    "conflict": "applied in another version",
    SHARED_ID: "counted again",
}


def of_windows(
    case: Case, windows: Sequence[Window], wanted: set[int], *, after: int = 0
) -> tuple[list[Row], list[Incident]]:
    """What each window means for each key that differs.

    Parameters
    ----------
    case : Case
    windows : Sequence of Window
    wanted : set of int
        Numbers of the keys that get rows.
    after : int
        How many incidents there are already; the windows are numbered on from there.
    """
    rows: list[Row] = []
    incidents: list[Incident] = []
    state = settle(case, windows)
    for window, inside, _ in claims(case, windows):
        if not len(inside):  # others claim all its events
            continue
        side, at = side_of(case, window), after + len(incidents) + 1
        frame = side.events.frame(inside).with_columns(code=side.code[inside])
        cause = (
            "lag"
            if window.cause is MISSED and _to_the_end(case, window, state.hidden)
            else SHARED_ID
            if case.doubts and window.cause is TWICE and _of_copies(case, window, inside)
            else window.cause.name
        )
        kind = case.kinds[window.kind] if window.kind >= 0 else None
        fits = _fits(case, windows, window, state)
        grade = "consistent"
        if cause == SHARED_ID:
            grade, fits = "ambiguous", f"{fits}; the ids may not be unique (id_field)"
        incident = _incident(frame, at, cause, kind, grade, fits, copies=window.copies)
        incidents.append(incident)
        rows += _shared(case, frame, incident, wanted, window.cause)
    return rows, incidents


def _of_copies(case: Case, window: Window, inside: Ints) -> bool:
    """Whether a window applied twice is of copies, or of events of which most have one."""
    return window.copies or 2 * int(case.again[inside].sum()) > len(inside)


def _fits(case: Case, windows: Sequence[Window], window: Window, state: State) -> str:
    """How well a window fits beside the others, in words.

    Parameters
    ----------
    case : Case
    windows : Sequence of Window
    window : Window
        One of them.
    state : State
        What they all leave.
    """
    apart = [w for w in windows if w.rest] if window.rest else [window]
    without = settle(case, [w for w in windows if not any(w is other for other in apart)])
    if window.rest:
        before, after = (float(np.abs(s.left.astype(float)).sum()) for s in (without, state))
        whose = "leaves" if len(apart) == 1 else f"{len(apart):,} incidents of this kind leave"
        return (
            f"{whose} {after / max(before, 1.0):.1%} of what the keys differ by; edges may be some "
            "events off"
        )
    was, now = (np.abs(s.left) <= case.slack for s in (without, state))
    how = "agree within the tolerance" if case.slack else "agree exactly"
    right, wrong = int((now & ~was).sum()), int((was & ~now).sum())
    return f"{right:,} keys {how} only with it, {wrong:,} only without it"


def _to_the_end(case: Case, window: Window, hidden: Bools) -> bool:
    """Whether nothing that was applied comes after the window in any partition that it touches."""
    # A later event of which a copy stands in another partition may have been applied all the same.
    seen = (case.span[0] >= 0) & ~hidden
    return window.kind < 0 and not any(
        seen[s.end : case.places[s.place].high].any() for s in window.spans
    )


def _incident(
    frame: pl.DataFrame,
    at: int,
    cause: str,
    kind: str | None,
    grade: str,
    confidence: str,
    *,
    copies: bool = False,
) -> Incident:
    """Events on which one mistake was made, as a row of incidents.

    Parameters
    ----------
    frame : polars.DataFrame
        The events: topic, partition, offset and time are looked at.
    at : int
        The incident's number.
    cause : str
        One of `DONE`.
    kind : str or None
        The name of their type; None: all.
    grade : str
        One of `GRADES`.
    confidence : str
        How well it fits, in words.
    copies : bool
        Whether the events are redelivered copies.
    """
    import polars as pl

    places = frame.select("topic", "partition").unique().sort("topic", "partition").rows()
    topic, partition = places[0] if len(places) == 1 else (None, None)
    first, last = frame["time"].min(), frame["time"].max()
    offsets: tuple[int | None, ...] = (None, None)
    where = f"{len(places)} partitions"
    if len(places) == 1:
        offsets = tuple(frame.select(a=pl.col("offset").min(), b=pl.col("offset").max()).row(0))
        where = f"{shorten(topic)} partition {partition}, offsets {offsets[0]:,} to {offsets[1]:,}"
    what = "redelivered copies" if copies else f"{shorten(kind)} events" if kind else "events"
    said = f"{len(frame):,} {what} of {where}, {_span(first, last)}, {DONE[cause]}"
    return Incident(
        at,
        cause,
        kind,
        topic,
        partition,
        len(places),
        first,
        last,
        offsets[0],
        offsets[1],
        len(frame),
        grade,
        confidence,
        said,
    )


def _span(first: Any, last: Any) -> str:
    import pandas as pd

    a, b = (number(pd.Timestamp(t))[:-5] + "Z" for t in (first, last))
    return f"{a} to {b[11:] if a[:10] == b[:10] else b}"


def _shared(
    case: Case, frame: pl.DataFrame, incident: Incident, wanted: set[int], cause: Cause
) -> list[Row]:
    """What an incident means for each key that is wanted; no row where that is 0.

    Parameters
    ----------
    case : Case
    frame : polars.DataFrame
        The incident's events, with code, the number of their key.
    incident : Incident
    wanted : set of int
        Numbers of the keys that get rows.
    cause : Cause
        The mistake, which makes amounts of effects.
    """
    made = []
    for row in _grouped(frame.select(*_GROUPED), ["code"]).iter_rows(named=True):
        total = decimals.unscaled(row["effect"], case.scale) * cause.up
        if row["code"] in wanted and total % cause.down == 0:
            made.append(
                _row(
                    row,
                    incident.cause,
                    total // cause.down,
                    "consistent",
                    incident.incident,
                    f"{row['events']:,} of the key's events are among them: {incident.said}",
                )
            )
    return [row for row in made if row.amount]


_GROUPED = ("code", "event_id", "effect", "topic", "partition", "time")


def _grouped(frame: pl.DataFrame, by: list[str], *more: pl.Expr) -> pl.DataFrame:
    """Events by key: their sum, count, first ids, place and times."""
    import polars as pl

    one = [
        pl.when(pl.col(n).n_unique() == 1).then(pl.col(n).first()).alias(n)
        for n in ("topic", "partition")
    ]
    return frame.group_by(by, maintain_order=True).agg(
        pl.col("effect").cast(pl.Decimal(decimals.DIGITS, scale_of(frame, "effect"))).sum(),
        pl.len().alias("events"), pl.col("event_id").head(IDS).alias("event_ids"), *one,
        pl.col("time").min().alias("first"), pl.col("time").max().alias("last"), *more,
    )  # fmt: skip


def _row(
    row: dict[str, Any], cause: str, amount: int, grade: str, incident: int | None, evidence: str
) -> Row:
    """Events of one key as a row of causes.

    Parameters
    ----------
    row : dict of str to object
        A row of `_grouped`, by column.
    cause : str
    amount : int
        A whole number of 10**-scale.
    grade : str
        One of `GRADES`.
    incident : int or None
        The number of the incident that they belong to.
    evidence : str
        A sentence.
    """
    kept = {
        name: row[name]
        for name in ("code", "events", "event_ids", "topic", "partition", "first", "last")
    }
    return Row(
        cause=cause, amount=amount, grade=grade, incident=incident, evidence=evidence, **kept
    )


def of_finding(case: Case, key: int, amount: int, finding: Finding) -> list[Row]:
    """What was found for one key on its own.

    Parameters
    ----------
    case : Case
    key : int
        The key's number.
    amount : int
        What is left of it, a whole number of 10**-scale; told where the finding is not sure.
    finding : Finding
    """
    if finding.sure:
        return [_part_row(case, key, part, len(finding.parts)) for part in finding.parts]
    frames = [_frame(case, part, "event_id") for part in finding.parts]
    told = list(
        dict.fromkeys(_said(case, *pair) for pair in zip(finding.parts, frames, strict=True))
    )
    causes = {part.cause for part in finding.parts}
    if finding.any_one:
        why = "nothing tells them apart"
    else:
        told = [" and ".join(told)]
        why = "chance may well give such a match"
    cause = finding.parts[0].cause if len(causes) == 1 else "several"
    ids = [i for frame in frames for i in frame["event_id"].head(IDS).to_list()]
    row = plain(key, cause, amount, "; ".join([*told, why]), grade="ambiguous")
    return [row._replace(events=len(ids), event_ids=list(dict.fromkeys(ids))[:IDS])]


def _frame(case: Case, part: Part, *names: str) -> pl.DataFrame:
    rows = np.array(part.rows)
    if part.table == "conflicts":
        return case.conflicts[rows].select(names)
    return (case.copies if part.table == "copies" else case.events).frame(rows, *names)


def _part_row(case: Case, key: int, part: Part, of: int) -> Row:
    """One part of a finding that is sure, as a row of causes.

    Parameters
    ----------
    case : Case
    key : int
        The key's number.
    part : Part
    of : int
        How many parts the finding has.
    """
    frame = _frame(case, part, "event_id", "topic", "partition", "time")
    places = frame.select("topic", "partition").unique().rows()
    topic, partition = places[0] if len(places) == 1 else (None, None)
    evidence = _said(case, part, frame) + (
        "" if of == 1 else f"; with {of - 1} more it accounts for what is left of the key"
    )
    return Row(
        key,
        part.cause,
        part.amount,
        "consistent",
        1,
        frame["event_id"].head(IDS).to_list(),
        None,
        topic,
        partition,
        frame["time"].min(),
        frame["time"].max(),
        evidence,
    )


def _said(case: Case, part: Part, frame: pl.DataFrame) -> str:
    name = f"'{shorten(frame['event_id'][0], 40)}'"
    amount = number(decimal(part.amount, case.scale))
    if part.edge:
        many = "" if len(frame) == 1 else f" and {len(frame) - 1:,} more events"
        return f"an incident's edge lies past {name}{many} of this key, which comes to {amount}"
    what = {"copies": "redelivered event ", "conflicts": "conflicting version of "}.get(
        part.table, "event "
    )
    what += (
        name if len(frame) == 1 else f"{name}, or one of {len(frame) - 1:,} more that fit as well,"
    )
    times = f" ({part.factor} times its amount)" if part.factor else ""
    return f"{what} {DONE[part.cause]}{times} comes to {amount}"


def of_proof(case: Case, errors: pl.DataFrame) -> tuple[list[Row], list[Incident]]:
    """What the processed list proves, and the errors in it that stand together."""
    import polars as pl

    errors = errors.filter(pl.col("code").is_not_null())
    numbers = np.full(len(case.events), -1, np.int64)
    incidents: list[Incident] = []
    marked = []
    for (cause,), part in errors.group_by("cause", maintain_order=True):
        numbers[:] = -1
        own = np.sort(part["row"].drop_nulls().to_numpy().astype(np.int64))
        if cause in ("missed", "lag", "applied_twice", *runs.BY_TYPE):
            for run in runs.runs(case, own, str(cause)):
                incidents.append(_run(case, run, len(incidents) + 1, str(cause)))
                numbers[run] = len(incidents)
        theirs = pl.Series(numbers, dtype=pl.Int64)
        at = part["row"].fill_null(0)
        found = theirs.gather(at) if len(theirs) else pl.Series([-1] * len(part), dtype=pl.Int64)
        marked.append(
            part.with_columns(
                incident=pl.when(pl.col("row").is_not_null() & (found >= 0)).then(found)
            )
        )
    if not marked:
        return [], []
    frame = pl.concat(marked)
    known = frame["row"].drop_nulls().unique().sort()
    events = case.events.frame(
        known.to_numpy().astype(np.int64), "topic", "partition", "time"
    ).with_columns(row=known)
    frame = frame.join(events, on="row", how="left").with_columns(effect="amount")
    grouped = _grouped(frame, ["code", "cause", "incident"], pl.col("detail").first())
    rows = []
    for row in grouped.iter_rows(named=True):
        amount, number_ = decimals.unscaled(row["effect"], case.scale), row["incident"]
        evidence = (
            row["detail"]
            if row["events"] == 1
            else f"{row['events']:,} events; the first: {row['detail']}"
        )
        if number_:
            evidence = (
                f"{row['events']:,} of the key's events are among them: "
                f"{incidents[number_ - 1].said}"
            )
        rows.append(_row(row, row["cause"], amount, "proven", number_, evidence))
    return [row for row in rows if row.amount], incidents


def _run(case: Case, rows: Ints, at: int, cause: str) -> Incident:
    """A run of proven errors as an incident.

    Parameters
    ----------
    case : Case
    rows : int64 array, shape (n,)
        The rows of its events, ascending; of one type where the cause is one of `runs.BY_TYPE`.
    at : int
        The incident's number.
    cause : str
        One of `DONE`.
    """
    kind = case.kinds[case.kind[rows[0]]] if cause in runs.BY_TYPE else None
    return _incident(
        case.events.frame(rows),
        at,
        cause,
        kind,
        "proven",
        "every event stands in the processed list so, or is absent from it",
    )


def of_strangers(case: Case, strangers: pl.DataFrame, left: dict[int, int]) -> list[Row]:
    """Lines of unknown ids that name no key: given to the one key whose rest is just that, where
    there is one.
    """
    amounts: dict[int, list[str]] = {}
    for event_id, amount in strangers.iter_rows():
        amounts.setdefault(decimals.unscaled(amount, case.scale), []).append(event_id)
    keys: dict[int, list[int]] = {}
    for key, amount in left.items():
        keys.setdefault(amount, []).append(key)
    disputed = set(case.conflicts["event_id"].to_list())
    rows = []
    for amount, ids in amounts.items():
        owners = keys.get(amount, [])
        if len(ids) == len(owners) == 1:
            stands = ids[0] in disputed
            cause = "conflict" if stands else "not_in_log"
            said = f"the processed list has '{shorten(ids[0], 40)}' of this amount, " + (
                "of which no version was chosen" if stands else "an id that the log as read lacks"
            )
            row = plain(owners[0], cause, amount, said, grade="consistent")
            rows.append(row._replace(events=1, event_ids=ids))
    return rows
