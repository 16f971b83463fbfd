"""Events that do not count: keys that stand in none but these, and copies under ids that may not be
unique.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from recovery_kit._show import shorten
from recovery_kit.explain.case.case import Case
from recovery_kit.explain.evidence.rejects import naming
from recovery_kit.explain.evidence.tables import IDS, Row, plain
from recovery_kit.explain.windows.window import SHARED_ID
from recovery_kit.tables import decimals

if TYPE_CHECKING:
    import polars as pl

MOST = 3
"""Places told of one key."""


def absent(case: Case, left: dict[int, int], replay: Any, *, listed: bool) -> list[Row]:
    """What is said of keys that only the expected totals have: where their events stand and why
    they do not count, or else that the log as read holds none.

    Parameters
    ----------
    case : Case
    left : dict of int to int
        Key's number to what is unexplained, a whole number of 10**-scale.
    replay : Replay or None
        Where the events came from.
    listed : bool
        Whether there is a processed list, and so no cause but this one.
    """
    if not left:
        return []
    versions, unreadable = _versions(case, set(left)), naming(case, set(left), replay)
    unread = _unread(case, replay)
    made = []
    for key, amount in left.items():
        mine, named = versions.get(key, []), unreadable.get(key, [])
        told = []
        if mine:
            told.append(f"none of its events counts: {_some(_set_aside(row) for row in mine)}")
        if named:
            them = "message that could not be read names" if len(named) == 1 else (
                "messages that could not be read name"
            )  # fmt: skip
            told.append(f"{len(named):,} {them} it: {_some(iter(named))}")
        if not mine:
            told.insert(0, "the log as read holds no event of it")
        effects = [decimals.unscaled(row["effect"], case.scale) for row in mine]
        fits = amount in effects or (
            len({row["event_id"] for row in mine}) == len(mine) > 0 and sum(effects) == amount
        )
        grade = "consistent" if mine or named or unread or not listed else "proven"
        told += [] if mine or named else unread
        said = "; ".join(["the expected totals have this key", *told])
        row = plain(key, "conflict" if fits else "unknown_key", amount, said, grade=grade)
        ids = list(dict.fromkeys(row["event_id"] for row in mine))
        made.append(row._replace(events=len(mine), event_ids=ids[:IDS]))
    return made


def _versions(case: Case, wanted: set[int]) -> dict[int, list[dict[str, Any]]]:
    """By key its events that were set aside for another version, or with it; each with the place of
    the one that was chosen, if one was.
    """
    import polars as pl

    names = ("event_id", "topic", "partition", "offset", "key")
    mine = case.conflicts.filter(
        pl.col("code").is_in(list(wanted)) & (pl.col("verdict") != "chosen")
    )
    chosen = case.conflicts.filter(pl.col("verdict") == "chosen").select(names)
    found: dict[int, list[dict[str, Any]]] = {}
    for row in mine.join(
        chosen, on="event_id", how="left", suffix="_chosen", maintain_order="left"
    ).iter_rows(named=True):
        found.setdefault(row["code"], []).append(row)
    return found


def _set_aside(row: dict[str, Any]) -> str:
    if row["key_chosen"] is None:
        why = "no version of this id was chosen, on_conflict='reject'"
    else:
        why = f"the version that was chosen is of another key, '{shorten(row['key_chosen'], 40)}', "
        why += f"at {_place(row, '_chosen')}"
    return f"'{shorten(row['event_id'], 40)}' at {_place(row)} was set aside ({why})"


def _place(row: dict[str, Any], of: str = "") -> str:
    topic, partition, offset = (row[name + of] for name in ("topic", "partition", "offset"))
    return f"{shorten(topic)} partition {partition} offset {offset}"


def _some(told: Any) -> str:
    every = list(told)
    more = f", and {len(every) - MOST:,} more" if len(every) > MOST else ""
    return ", ".join(every[:MOST]) + more


def _unread(case: Case, replay: Any) -> list[str]:
    """What else the log may hold: in words."""
    told = []
    verdict = case.verdict if replay is None else replay.verdict
    if verdict not in (None, "complete"):
        told.append(f"the log was not read whole ({verdict})")
    if (window := getattr(replay, "window", None)) and str(window) != "the whole log":
        told.append(f"only a part of it was asked for ({window})")
    if count := len(getattr(replay, "rejects", ())):
        told.append(f"{count:,} of its messages could not be read")
    return told


def of_shared_ids(case: Case) -> list[Row]:
    """Keys whose difference is just what was set aside of them as copies, where ids may not be
    unique: they may have been events of their own, and the system right.
    """
    import polars as pl

    exact = pl.Decimal(decimals.DIGITS, case.scale)
    copies = case.copies.frame(np.arange(len(case.copies)), *_NAMES).with_columns(
        code=pl.Series(case.codes(*case.copies.numbers("key")), dtype=pl.Int64)
    )
    # Copies of a disputed id stand in both tables.
    versions = case.conflicts.filter(pl.col("verdict") == "conflicting")
    aside = pl.concat(
        [t.select("code", *_NAMES).with_columns(_plain(exact)) for t in (copies, versions)]
    )
    sums = aside.filter(pl.col("code") >= 0).group_by("code", maintain_order=True).agg(
        pl.col("effect").sum(), pl.len().alias("events"), pl.col("event_id").unique(
            maintain_order=True).head(IDS),
        pl.col("time").min().alias("first"), pl.col("time").max().alias("last"),
    )  # fmt: skip
    made = []
    for code, effect, events, ids, first, last in sums.iter_rows():
        amount = decimals.unscaled(effect, case.scale)
        if abs(case.difference[code]) <= case.slack or not amount:
            continue
        if abs(case.difference[code] - amount) <= case.slack:
            copies_ = "copy that was set aside comes" if events == 1 else (
                "copies that were set aside come"
            )  # fmt: skip
            said = f"the key's {events:,} {copies_} to this"
            row = plain(code, SHARED_ID, amount, said, grade="ambiguous")
            made.append(row._replace(events=events, event_ids=ids, first=first, last=last))
    return made


def doubted(rows: list[Row]) -> list[Row]:
    """The rows; those that copies explain whose ids may not be unique say that nothing tells
    whether the system or the ids are wrong.
    """
    why = "; the ids may not be unique (id_field), and then the system may be right"
    return [
        row._replace(grade="ambiguous", evidence=row.evidence + why)
        if row.cause == SHARED_ID
        else row
        for row in rows
    ]


_NAMES = ("event_id", "effect", "time")


def _plain(exact: Any) -> list[pl.Expr]:
    import polars as pl

    return [pl.col("event_id").cast(pl.String), pl.col("effect").cast(exact)]
