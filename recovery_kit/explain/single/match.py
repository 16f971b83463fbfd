"""Single events: what is left of one key's difference, matched with its own events, copies and
conflicts.

Anything can be matched by chance: a key with 200 events offers some 2,000 amounts. So a match is
believed only when amounts that have nothing to do with the key would hardly be matched: the amount
is moved, again and again, by the difference of two of the log's amounts, so that it stays an amount
such as this log gives, with its decimals, its multiples and its usual prices, and it is counted how
often the key's events match it then. That share is the match's p-value. Of all keys that are left
together as many are believed as keep the false ones among them, as far as can be expected, below
`FALSE` (Benjamini and Hochberg, 1995): one match among a hundred keys that nothing explains says
little, and five of seven keys that are off by 99 times one of their amounts say a lot. A match that
is not believed, or where causes differ, is ambiguous.

The simplest comes first: a redelivered copy or a conflicting version, then one event missed,
applied twice, with its sign turned, or scaled; the same with the edge of a window an event nearer
or farther, where no key that the window puts right forbids it; then two of all these together.
Cost: O(e log e) a key of e events, and `DECOYS` look-ups where it has a match.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from recovery_kit._progress import SILENT, Progress
from recovery_kit.explain.case.arrays import Bools, Ints, ranked, whole, wrapped
from recovery_kit.explain.case.case import Case
from recovery_kit.explain.single.chance import DECOYS, Decoys, Hit, among
from recovery_kit.explain.windows.window import CAUSES, SHARED_ID, TWICE, Cause, State
from recovery_kit.tables import decimals

FALSE = 0.02
"""Expected part of false ones among the matches that are believed."""

MOST_CANDIDATES = 3_000
"""Candidates of one key beyond which pairs of them are not tried: chance would match one."""


class Part(NamedTuple):
    """One cause of one key: its name, its amount, and the event it may be about: rows of ``table``,
    any one of them.
    """

    cause: str
    amount: int
    table: str  # "events", "copies" or "conflicts"
    rows: tuple[int, ...]
    factor: str = ""
    edge: bool = False  # an incident's edge lies past these events, for this key


class Finding(NamedTuple):
    """What explains a key: all the parts together, or any one of them where it says so, which is
    never sure.
    """

    parts: tuple[Part, ...]
    sure: bool
    chance: float
    any_one: bool = False


class Slip(NamedTuple):
    """A window's edge moved past one or more events of a key, and what that adds to the key's
    total.
    """

    cause: str
    amount: int
    rows: tuple[int, ...]


class Own(NamedTuple):
    """What one key has to explain an amount with."""

    rows: Ints
    effects: Ints
    known: list[Part]
    causes: tuple[Cause, ...]
    slack: int


def singles(
    case: Case,
    state: State,
    left: dict[int, int],
    causes: tuple[Cause, ...] = CAUSES,
    slips: dict[int, list[Slip]] | None = None,
    *,
    tell: Progress = SILENT,
) -> dict[int, Finding]:
    """Explain what is left of each key, where it can be told.

    Parameters
    ----------
    case : Case
    state : State
        What the incidents leave; an event that they hide explains nothing.
    left : dict of int to int
        Key's number to what is unexplained, exactly: a whole number of 10**-scale.
    causes : tuple of Cause
        The mistakes to look for.
    slips : dict of int to list of Slip, optional
        How the edges of windows may move past the key's events.
    tell : Progress
        Told how many keys are done.
    """
    if not left:
        return {}
    tell.stage("keys")
    events = _by_key(np.where(state.hidden, -1, case.code), left)
    copies = _by_key(case.codes(*case.copies.numbers("key")), left)
    low, high = case.copies.effects(case.scale)
    versions = _versions(case, left)
    if case.wide:  # multiples may pass 64 bits
        causes = tuple(cause for cause in causes if abs(cause.up) == cause.down == 1)
    decoys = Decoys(case)
    found = {}
    for number, (key, amount) in enumerate(left.items()):
        if tell.due():
            tell.tell(number, len(left))
        rows = events.get(key, np.empty(0, np.int64))
        mine = copies.get(key, np.empty(0, np.int64)).tolist()
        again = SHARED_ID if case.doubts else TWICE.name
        extras = [Part(again, whole(low[c], high[c]), "copies", (c,)) for c in mine]
        known = [p for p in extras if TWICE in causes] + versions.get(key, [])
        own = Own(rows, case.effect[rows], known, causes, case.slack)
        plain = case.wide or bool(case.slack)
        if finding := _of_key(own, amount, decoys, (slips or {}).get(key, []), plain=plain):
            found[key] = finding
    return _late(case, state, _doubted(case, _believed(found, len(left))))


def _doubted(case: Case, found: dict[int, Finding]) -> dict[int, Finding]:
    """An event applied twice that came twice: where ids may not be unique, it may be two."""
    if not case.doubts:
        return found

    def named(p: Part) -> Part:
        twice = p.cause == TWICE.name and p.table == "events" and case.again[list(p.rows)].any()
        return p._replace(cause=SHARED_ID) if twice else p

    return {key: f._replace(parts=tuple(map(named, f.parts))) for key, f in found.items()}


def _late(case: Case, state: State, found: dict[int, Finding]) -> dict[int, Finding]:
    """A missed event is lag where nothing that was applied comes after it in its partition."""

    def single(p: Part) -> bool:
        return p.cause == "missed" and p.table == "events" and len(p.rows) == 1

    alone = [p.rows[0] for f in found.values() if f.sure for p in f.parts if single(p)]
    if not alone:
        return found
    seen = (case.span[0] >= 0) & ~state.hidden
    seen[alone] = False
    ends = []
    for place in case.places:
        inside = np.flatnonzero(seen[place.low : place.high])
        ends.append((place.low + int(inside[-1]) if len(inside) else place.high, place.high))

    def named(p: Part) -> Part:
        return (
            p._replace(cause="lag")
            if single(p) and any(last < p.rows[0] < end for last, end in ends)
            else p
        )

    return {
        key: f._replace(parts=tuple(named(p) for p in f.parts)) if f.sure else f
        for key, f in found.items()
    }


def _believed(found: dict[int, Finding], keys: int) -> dict[int, Finding]:
    """Of the matches that are sure by themselves, those that are so among all keys."""
    chances = np.sort([f.chance for f in found.values() if f.sure])
    fit = np.flatnonzero(chances * keys <= FALSE * np.arange(1, len(chances) + 1))
    most = chances[fit[-1]] if len(fit) else -1.0
    return {key: f if f.chance <= most else f._replace(sure=False) for key, f in found.items()}


def _of_key(
    own: Own, amount: int, decoys: Decoys, slips: list[Slip], *, plain: bool
) -> Finding | None:
    """The simplest match; the edges of windows are moved before two causes are put together.

    Parameters
    ----------
    own : Own
    amount : int
        What is left of the key, exactly: a whole number of 10**-scale.
    decoys : Decoys
    slips : list of Slip
        How the edges of windows may move past the key's events.
    plain : bool
        Whether pairs of the key's own events, copies and versions are not tried.
    """
    for slip in [None, *slips]:
        rest = amount - slip.amount if slip else amount
        part = (Part(slip.cause, slip.amount, "events", slip.rows, edge=True),) if slip else ()
        if slip and abs(rest) <= own.slack:
            return Finding(part, True, decoys.chance(amount, among(_modulo(slips), own.slack)))
        if known := [p for p in own.known if abs(p.amount - rest) <= own.slack]:
            hit = among(_modulo(own.known), own.slack)
            if one := _one(known):
                return Finding((*part, one), True, decoys.chance(rest, hit) * _tried(slips))
        matches, hits = _matches(own, rest)
        if one := _one(known + matches):
            return Finding((*part, one), True, decoys.chance(rest, *hits) * _tried(slips))
        if known + matches and not slip:
            return Finding(tuple(known + matches), False, 1.0, any_one=True)
    return None if plain else _pair(own, amount, decoys) or _enlarged(own, amount, decoys)


def _tried(slips: list[Slip]) -> int:
    return len(slips) + 1


def _one(parts: list[Part]) -> Part | None:
    """One part that stands for several of the same cause: the event may be any of theirs."""
    if len({p.cause for p in parts}) != 1:
        return None
    return parts[0]._replace(
        rows=tuple(row for p in parts if p.table == parts[0].table for row in p.rows),
        factor=parts[0].factor if len({p.factor for p in parts}) == 1 else "",
    )


def _modulo(found: Sequence[Part | Slip]) -> Ints:
    return np.array([wrapped(f.amount) for f in found], np.int64)


def _matches(own: Own, amount: int) -> tuple[list[Part], list[Hit]]:
    """Single events that explain the amount, cause by cause, and what else each of these causes
    would explain.
    """
    made, hits = [], []
    for cause in own.causes:
        if not own.slack and amount * cause.down % cause.up:
            continue
        reach = -(-own.slack * cause.down // abs(cause.up))
        met = np.abs(own.effects - wrapped(amount * cause.down // cause.up)) <= reach
        if met.any():
            exact = amount if not own.slack else int(own.effects[met][0]) * cause.up // cause.down
            made.append(
                Part(cause.name, exact, "events", tuple(own.rows[met].tolist()), _named(cause))
            )
            hits.append(_scaled(own, cause, reach))
    return made, hits


def _scaled(own: Own, cause: Cause, reach: int) -> Hit:
    within = among(own.effects, reach)

    def hit(tried: Ints) -> Bools:
        made: Bools = within(tried * cause.down // cause.up)
        return made if own.slack else made & (tried * cause.down % cause.up == 0)

    return hit


def _pair(own: Own, amount: int, decoys: Decoys) -> Finding | None:
    """Two causes together."""
    if len(own.rows) * len(own.causes) + len(own.known) > MOST_CANDIDATES:
        return None
    parts = list(own.known)
    for cause in own.causes:
        exact = own.effects * cause.up % cause.down == 0
        changes = own.effects[exact] * cause.up // cause.down
        parts += [
            Part(cause.name, int(c), "events", (int(row),), _named(cause))
            for row, c in zip(own.rows[exact], changes, strict=True)
        ]
    if len(parts) < 2:
        return None
    values = np.array([wrapped(p.amount) for p in parts], np.int64)
    pairs = [
        (parts[i], parts[j])
        for i, j in _sums_to(values, amount)
        if (parts[i].table, parts[i].rows) != (parts[j].table, parts[j].rows)
    ]
    if len({tuple(sorted((p.cause, p.amount) for p in pair)) for pair in pairs}) != 1:
        return None
    distinct = np.unique(values)

    def hit(tried: Ints) -> Bools:
        wanted = tried[:, None] - distinct
        at = np.minimum(np.searchsorted(distinct, wanted), len(distinct) - 1)
        return np.asarray((distinct[at] == wanted).any(axis=1))

    return Finding(pairs[0], True, decoys.chance(amount, hit, count=DECOYS // 10))


def _sums_to(values: Ints, amount: int) -> Iterator[tuple[int, int]]:
    """Pairs of values, by their numbers, that add up to the amount."""
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    a, b = (
        np.searchsorted(ranked, amount - values),
        np.searchsorted(ranked, amount - values, side="right"),
    )
    for i in np.flatnonzero(b > a).tolist():
        yield from ((i, j) for j in order[a[i] : b[i]].tolist() if i < j)


def _enlarged(own: Own, amount: int, decoys: Decoys) -> Finding | None:
    """Two events taken many times over: which two may be anyone's guess, but hardly another amount
    divides so.

    An amount beyond any of the key's own, that is a multiple of 9, 99 or 999, and two of its events
    that it is a multiple of.
    """
    usual = int(np.median(np.abs(own.effects))) if len(own.effects) else 0
    for cause in sorted(own.causes, key=lambda c: -c.up):
        if cause.up <= 2 or cause.down > 1 or amount % cause.up or abs(amount) <= cause.up * usual:
            continue
        ranked = np.argsort(own.effects, kind="stable")
        sorted_, wanted = own.effects[ranked], amount // cause.up - own.effects
        at = np.minimum(np.searchsorted(sorted_, wanted), len(sorted_) - 1)
        for i in np.flatnonzero(sorted_[at] == wanted):
            j = ranked[at[i]]
            if i != j:
                parts = (
                    Part(
                        cause.name,
                        int(own.effects[e]) * cause.up,
                        "events",
                        (int(own.rows[e]),),
                        _named(cause),
                    )
                    for e in (i, j)
                )
                return Finding(tuple(parts), True, decoys.chance(amount, _divides(cause.up)))
    return None


def _divides(step: int) -> Hit:
    return lambda tried: tried % step == 0


def _named(cause: Cause) -> str:
    if cause.name != "wrong_factor":
        return ""
    return f"{cause.up + cause.down}" if cause.down == 1 else f"1/{cause.down}"


def _by_key(code: Ints, wanted: dict[int, int]) -> dict[int, Ints]:
    """Rows by key, of the wanted keys."""
    asked = np.zeros(
        max(int(code.max(initial=0)), *wanted) + 2, bool
    )  # the last is for a code of -1
    asked[list(wanted)] = True
    rows = np.flatnonzero(asked[code])
    rows = rows[ranked(code[rows], len(asked))]
    firsts = np.flatnonzero(np.diff(code[rows], prepend=-1))
    return dict(
        zip(code[rows[firsts]].tolist(), np.split(rows, firsts[1:]), strict=False)
    )  # of none, one empty part


def _versions(case: Case, wanted: dict[int, int]) -> dict[int, list[Part]]:
    """By key, what the choice of another version of a conflicted event is worth to it; or, where
    ids may not be unique, what each version that was not chosen is, as an event of its own.
    """
    import polars as pl

    conflicts = case.conflicts.with_row_index("row")
    if not len(conflicts):
        return {}
    amounts = [decimals.unscaled(amount, case.scale) for amount in case.conflicts["effect"]]
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
        if case.doubts:
            here = [(code, amounts[row])]
        elif owner == code:
            here = [(code, amounts[row] - effect)]
        else:
            here = [(code, amounts[row]), (owner, -effect)]
        cause = SHARED_ID if case.doubts else "conflict"
        for key, worth in here:
            if key in wanted and worth:
                made.setdefault(key, []).append(Part(cause, worth, "conflicts", (int(row),)))
    return made
