"""Single events: what is left of one key's difference, matched with its own events, copies and conflicts.

Anything can be matched by chance: a key with 200 events offers some 2,000 amounts. So before a match is believed its
chance is reckoned: how many of that many events, drawn from all the other keys' events, would match as well? Only where
that is far below one, and every match names the same cause, is the match called a cause; the rest is ambiguous.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recovery_kit import _frames
from recovery_kit.explain._case import Case, Ints, wrapped
from recovery_kit.explain._window import CAUSES, TWICE, Cause, State

if TYPE_CHECKING:
    import polars as pl

CHANCE = 0.02
"""Most matches that chance may be expected to give before one match tells nothing."""

SPREAD = 4.0
"""By how much sums of a log's amounts, which favour some of its multiples, may be likelier than all amounts alike."""

MOST_CANDIDATES = 3_000
"""Candidates of one key beyond which pairs of them are not tried: chance would match one."""


class Part(NamedTuple):
    """One cause of one key: its name, its amount, and the event it may be about: rows of ``table``, any one of them."""

    cause: str
    amount: int
    table: str  # "events", "copies" or "conflicts"
    rows: tuple[int, ...]
    factor: str = ""


class Finding(NamedTuple):
    """What explains a key: all the parts together when it is sure, any one of them when it is ambiguous."""

    parts: tuple[Part, ...]
    sure: bool
    chance: float


@dataclass(frozen=True)
class Background:
    """How often each amount occurs in the whole log."""

    amounts: Ints  # sorted
    counts: Ints
    total: int
    unit: int
    alike: float  # chance that two events have one amount

    def share(self, amount: int, own: int, events: int) -> float:
        """The chance that one event of another key has this effect."""
        at = int(np.searchsorted(self.amounts, amount))
        here = int(self.counts[at]) if at < len(self.amounts) and self.amounts[at] == amount else 0
        exact = max(here - own, 0) / max(self.total - events, 1)
        reach = max(abs(amount) // 10, 5 * self.unit)
        a, b = np.searchsorted(self.amounts, (amount - reach, amount + reach + 1))
        smooth = float(self.counts[a:b].sum()) / self.total / (2 * reach / self.unit + 1)
        return max(exact, smooth)


def background(case: Case) -> Background:
    """Count the log's effects."""
    amounts, counts = case.amounts
    share = counts / max(len(case.effect), 1)
    return Background(amounts, counts, max(len(case.effect), 1), case.unit, float((share**2).sum()))


def singles(case: Case, state: State, left: dict[int, int], causes: tuple[Cause, ...] = CAUSES) -> dict[int, Finding]:
    """Explain what is left of each key, where it can be told.

    Parameters
    ----------
    left : dict of int to int
        Key's number to what is unexplained, exactly.
    """
    if not left:
        return {}
    back = background(case)
    events = _by_key(np.where(state.hidden, -1, case.code), left)
    copies = _by_key(case.copies["code"].fill_null(-1).to_numpy(), left)
    copied = _Exact(case.copies["effect"], case.scale)
    versions = _versions(case, left)
    if case.wide:  # multiples may pass 64 bits
        causes = tuple(cause for cause in causes if abs(cause.up) == cause.down == 1)
    found = {}
    for key, amount in left.items():
        rows = events.get(key, np.empty(0, np.int64))
        extras = [Part("applied_twice", copied[int(c)], "copies", (int(c),)) for c in copies.get(key, ())]
        known = [p for p in extras if TWICE in causes] + versions.get(key, [])
        finding = _of_key(case.effect[rows], rows, known, amount, case.slack, back, causes)
        if not finding and not case.wide and not case.slack:
            finding = _two(case.effect[rows], rows, known, amount, back, causes)
            finding = finding or _two_enlarged(case.effect[rows], rows, amount, back, causes)
        if finding:
            found[key] = finding
    return found


def _of_key(
    effects: Ints, rows: Ints, known: list[Part], amount: int, slack: int, back: Background, causes: tuple[Cause, ...]
) -> Finding | None:
    special = [p for p in known if abs(p.amount - amount) <= slack]
    chance = len({p.amount for p in known}) * max(back.share(amount, 0, 0), back.share(-amount, 0, 0)) * (2 * slack + 1)
    if special and chance < 5 * CHANCE and len({p.cause for p in special}) == 1:
        return Finding((_any(special),), True, chance)
    single, luck = _matches(effects, rows, amount, slack, back, causes)
    matches = special + single
    if not matches:
        return None
    same = len({p.cause for p in matches}) == 1
    return Finding((_any(matches),) if same else tuple(matches), same and luck < CHANCE, luck)


def _matches(
    effects: Ints, rows: Ints, amount: int, slack: int, back: Background, causes: tuple[Cause, ...]
) -> tuple[list[Part], float]:
    """Single events that explain the amount, and how many matches chance would give."""
    made, luck = [], 0.0
    for cause in causes:
        if not slack and amount * cause.down % cause.up:
            continue
        wanted = wrapped(amount * cause.down // cause.up)
        reach = -(-slack * cause.down // abs(cause.up))
        hits = rows[np.abs(effects - wanted) <= reach]
        luck += _luck(effects, wanted, len(hits), cause, back) * (2 * reach // back.unit + 1)
        if len(hits):
            exact = amount if not slack else _exact(int(effects[np.abs(effects - wanted) <= reach][0]), cause)
            made.append(Part(cause.name, exact, "events", tuple(hits.tolist()), _named(cause)))
    return made, luck


def _luck(effects: Ints, wanted: int, hits: int, cause: Cause, back: Background) -> float:
    """How many of the key's events chance would match, by one cause.

    An amount that has nothing to do with the key may well be another event's, so the log's own amounts tell how often it
    would match. A multiple of an amount is no other event's: it can be any amount of that size, and most are no multiple.
    """
    if abs(cause.up) <= 2:
        return len(effects) * back.share(wanted, hits, len(effects)) / abs(cause.up)
    size = abs(wanted)
    near = np.unique(effects[(np.abs(effects) * 2 >= size) & (np.abs(effects) <= 2 * size)])
    other = abs(wanted * cause.up) // cause.down
    return len(near) * max(SPREAD * back.unit / max(1.5 * other, 1), back.share(wanted * cause.up // cause.down, 0, 0))


def _two(
    effects: Ints, rows: Ints, known: list[Part], amount: int, back: Background, causes: tuple[Cause, ...]
) -> Finding | None:
    """Two causes together, where the candidates are so few that two of them do not add up to the amount by chance."""
    if len(rows) * len(causes) + len(known) > MOST_CANDIDATES:
        return None
    parts = list(known)
    for cause in causes:
        exact = effects * cause.up % cause.down == 0
        changes = effects[exact] * cause.up // cause.down
        parts += [
            Part(cause.name, int(c), "events", (int(row),), _named(cause))
            for row, c in zip(rows[exact], changes, strict=True)
        ]
    if len(parts) < 2:
        return None
    values = np.array([wrapped(p.amount) for p in parts], np.int64)
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    reach = max(abs(amount) // 10, 20 * back.unit)
    near = np.searchsorted(ranked, amount - values + reach + 1) - np.searchsorted(ranked, amount - values - reach)
    pairs = len(parts) ** 2 / 2
    chance = max(float(near.sum()) / 2 / (2 * reach / back.unit), pairs * back.alike)
    if chance > CHANCE / 2:
        return None
    a, b = np.searchsorted(ranked, amount - values), np.searchsorted(ranked, amount - values, side="right")
    hits = [
        (i, int(j))
        for i in np.flatnonzero(b > a)
        for j in order[a[i] : b[i]]
        if i < j and (parts[i].table, parts[i].rows) != (parts[j].table, parts[j].rows)
    ]
    if len({tuple(sorted((parts[i].cause, parts[i].amount) for i in pair)) for pair in hits}) != 1:
        return None
    i, j = hits[0]
    return Finding((parts[i], parts[j]), True, chance)


def _two_enlarged(
    effects: Ints, rows: Ints, amount: int, back: Background, causes: tuple[Cause, ...]
) -> Finding | None:
    """Two events taken many times over: which two may be anyone's guess, but hardly another amount divides so.

    An amount beyond any of the key's own, that is a multiple of 99 or of 999, and two of its events that it is a multiple of.
    """
    for cause in sorted(causes, key=lambda c: -c.up):
        step = cause.up * back.unit
        if (
            cause.down > 1
            or 1 / cause.up > CHANCE
            or amount % step
            or abs(amount) <= cause.up * int(np.median(np.abs(effects)) if len(effects) else 0)
        ):
            continue
        ranked = np.argsort(effects, kind="stable")
        wanted = amount // cause.up - effects
        at = np.searchsorted(effects[ranked], wanted)
        met = np.flatnonzero((at < len(rows)) & (effects[ranked[np.minimum(at, len(rows) - 1)]] == wanted))
        for i, j in ((int(i), int(ranked[at[i]])) for i in met):
            if i != j:
                parts = (
                    Part(cause.name, int(effects[e]) * cause.up, "events", (int(rows[e]),), _named(cause))
                    for e in (i, j)
                )
                return Finding(tuple(parts), True, 1 / cause.up)
    return None


def _any(parts: list[Part]) -> Part:
    """One part that stands for several of the same cause: the event may be any of theirs."""
    first = parts[0]
    return first._replace(rows=tuple(row for p in parts if p.table == first.table for row in p.rows))


def _exact(effect: int, cause: Cause) -> int:
    return effect * cause.up // cause.down


def _named(cause: Cause) -> str:
    if cause.name != "wrong_factor":
        return ""
    return f"{cause.up + cause.down}" if cause.down == 1 else f"1/{cause.down}"


def _by_key(code: Ints, wanted: dict[int, int]) -> dict[int, Ints]:
    """Rows by key, of the wanted keys."""
    rows = np.flatnonzero(np.isin(code, np.fromiter(wanted, np.int64)))
    rows = rows[np.argsort(code[rows], kind="stable")]
    if not len(rows):
        return {}
    keys, starts = np.unique(code[rows], return_index=True)
    return dict(zip(keys.tolist(), np.split(rows, starts[1:]), strict=True))


class _Exact:
    """A column's amounts as whole numbers, exactly, one at a time."""

    def __init__(self, amounts: pl.Series, scale: int) -> None:
        self.amounts, self.scale = amounts, scale

    def __getitem__(self, row: int) -> int:
        return _frames.unscaled(self.amounts[row], self.scale)


def _versions(case: Case, wanted: dict[int, int]) -> dict[int, list[Part]]:
    """By key, what the choice of another version of a conflicted event is worth to it."""
    import polars as pl

    conflicts = case.conflicts.with_row_index("row")
    if not len(conflicts):
        return {}
    amounts = _Exact(case.conflicts["effect"], case.scale)
    chosen = {
        event: (code, amounts[row])
        for event, code, row in conflicts.filter(pl.col("verdict") == "chosen")
        .select("event_id", "code", "row")
        .iter_rows()
    }
    made: dict[int, list[Part]] = {}
    others = conflicts.filter(pl.col("verdict") == "conflicting").select("event_id", "code", "row")
    for event, code, row in others.iter_rows():
        owner, effect = chosen.get(event, (code, 0))
        here = [(code, amounts[row] - effect)] if owner == code else [(code, amounts[row]), (owner, -effect)]
        for key, worth in here:
            if key in wanted and worth:
                made.setdefault(key, []).append(Part("conflict", worth, "conflicts", (int(row),)))
    return made
