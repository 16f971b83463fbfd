"""explain(): every divergence gets its causes, each with a grade of evidence."""

from __future__ import annotations

from dataclasses import replace
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np

from recovery_kit._show import number, quoted
from recovery_kit.errors import AmountError, IdentityError, ParameterError
from recovery_kit.explain.case.case import Case, open_case
from recovery_kit.explain.diagnosis import Diagnosis
from recovery_kit.explain.evidence import tables
from recovery_kit.explain.evidence.rejects import named
from recovery_kit.explain.evidence.rows import of_finding, of_proof, of_strangers, of_windows
from recovery_kit.explain.proven.listed import Proof, prove
from recovery_kit.explain.windows.window import CAUSES, SCALED, SIGN, Cause, State, Window, settle
from recovery_kit.tables import decimals, frames
from recovery_kit.tables.given import doubts, read_processed

if TYPE_CHECKING:
    from recovery_kit.dedup import Dedup
    from recovery_kit.explain.evidence.tables import Row
    from recovery_kit.reconcile import Reconciliation


def explain(
    reconciliation: Reconciliation, dedup: Dedup, *, processed: Any = None, replay: Any = None
) -> Diagnosis:
    """Say why totals differ: which mistakes of the system of record explain each key's difference.

    Parameters
    ----------
    reconciliation : Reconciliation
        Where totals differ.
    dedup : Dedup
        The events that the recovered totals came from.
    processed : DataFrame, Table, str or Path, optional
        What the system applied, in its order: whatever `read_processed` takes, with ``event_id``,
        and ``effect`` and ``key`` where they are known.
    replay : Replay, optional
        Where the events came from; its unreadable messages are then among the suspects.

    Returns
    -------
    Diagnosis
        Its tables are of the kind that ``reconciliation.table`` is.

    Raises
    ------
    ParameterError
        When ``reconciliation`` or ``dedup`` is something else.
    TableError
        When ``processed`` cannot be read exactly, or ``dedup`` is not what ``reconciliation`` was
        worked out from.
    AmountError
        When amounts are too large to be set against each other.
    IdentityError
        When causes do not add up to a difference: a defect in the kit.

    Notes
    -----
    With ``processed`` each event is set beside what was applied for it, by its id, and causes are
    *proven*. What the list does not account for stays *unexplained*. A list without effects proves
    what was missed and what was applied twice; the rest is searched for as below.

    From totals alone, causes are at best *consistent*. First the incidents, each a window of the
    log, of one partition or all, that was missed, applied twice, or applied with the wrong sign or
    a wrong factor for one type: the window that puts right the most keys, judged by bits of
    evidence (see ``incidents``), then the next in the light of it, until none is beyond doubt; a
    key that a window would put wrong speaks against it. Windows that overlap on every key are found
    through one another (see ``overlaps``). A missed window that reaches the end of the log is
    *lag*. Then single events of each key: its redelivered copies and conflicting versions first,
    then one event missed, applied twice, with its sign turned, or scaled, then two of these. A
    match is believed only as far as amounts that have nothing to do with the key would hardly be
    matched, over all keys together (see ``single``). Where several fit, all are listed and the
    grade is *ambiguous*.

    The cost is that of going through the divergent keys' events some tens of times, and with
    ``processed`` of looking each id up once; memory is a few columns of whole numbers, and the ids.
    Windows that overlap on every key, in a log of up to 400,000 events, take seconds to some tens
    of seconds more.
    """
    for what, given, names, expected in (
        ("reconciliation", reconciliation, ("table", "tolerance"), "what reconcile() gives"),
        ("dedup", dedup, ("kept", "redelivered", "conflicts"), "what dedup() gives"),
    ):
        if not all(hasattr(given, name) for name in names):
            raise ParameterError(f"{what} is a {type(given).__name__}; expected {expected}")
    case = open_case(reconciliation, dedup)
    listed, notes = None, list[str]()
    if processed is not None:
        listed = read_processed(processed)
        notes = doubts(
            listed, case.events.kept.table.schema.field("effect").type.scale, what="processed"
        )
    finer = _scale_of(listed)
    if finer > case.scale:
        slack = decimals.unscaled(reconciliation.tolerance, finer)
        case = replace(case, scale=finer, slack=slack)
    _guard(case)
    if listed is None:
        rows, incidents = _from_totals(case)
    else:
        rows, incidents = _from_list(case, listed, notes)
    rows += _rest(case, rows, replay, listed is not None)
    _check(case, rows)
    back = frames.opened(reconciliation.table, what="reconciliation")[1]
    causes, shared, summary = tables.told(case, rows, incidents, notes)
    return Diagnosis(
        back(nw.from_native(causes.lazy())), back(nw.from_native(shared.lazy())), summary
    )


def _scale_of(listed: Any) -> int:
    """Decimals of a list's effects; 0 where there is no list, or none in it."""
    if listed is None or "effect" not in listed.column_names:
        return 0
    scale: int = listed["effect"].type.scale
    return scale


def _guard(case: Case) -> None:
    most = decimals.largest([*case.keys["difference"].to_list(), case.events.kept.largest_effect()])
    if decimals.unscaled(most, case.scale) * 1000 * max(len(case.events), 1) >= 10**decimals.DIGITS:
        raise AmountError(
            f"amounts of up to {most:f} with {case.scale} decimals are too large to be set against "
            f"each other, a thousandfold, in {decimals.DIGITS} digits. Look for a wrong amount, "
            "or take fewer decimals"
        )


def _off(case: Case) -> set[int]:
    """The numbers of the keys to explain."""
    return {key for key, amount in enumerate(case.difference) if abs(amount) > case.slack}


def _from_totals(case: Case) -> tuple[list[Row], list[tables.Incident]]:
    from recovery_kit.explain.incidents import search  # compiled parts stand behind it

    windows = search(case)
    rows, incidents = of_windows(case, windows, _off(case))
    state = settle(case, windows)
    return rows + _one_by_one(case, windows, state, _left(case, rows)), incidents


def _left(case: Case, rows: list[Row]) -> dict[int, int]:
    """What the rows leave unexplained of each key to explain, beyond the tolerance."""
    left = ((key, case.difference[key] - told) for key, told in _told(case, rows).items())
    return {key: amount for key, amount in left if abs(amount) > case.slack}


def _told(case: Case, rows: list[Row]) -> dict[int, int]:
    """What the rows come to, of each key to explain and of each that they name."""
    told = dict.fromkeys(_off(case), 0)
    for row in rows:
        told[row.code] = told.get(row.code, 0) + row.amount
    return told


def _one_by_one(
    case: Case,
    windows: list[Window],
    state: State,
    left: dict[int, int],
    causes: tuple[Cause, ...] = CAUSES,
) -> list[Row]:
    """Single events; but a key that one side lacks has a reason of its own.

    Parameters
    ----------
    case : Case
    windows : list of Window
        The incidents.
    state : State
        What they leave.
    left : dict of int to int
        Key's number to what is unexplained, a whole number of 10**-scale.
    causes : tuple of Cause
        The mistakes to look for.
    """
    from recovery_kit.explain.single.edges import slips
    from recovery_kit.explain.single.match import singles

    statuses = case.keys["status"].to_list()
    both = {k: amount for k, amount in left.items() if statuses[k] not in _MISSING}
    found = singles(case, state, both, causes, slips(case, windows, state, both))
    return [
        row for key, finding in found.items() for row in of_finding(case, key, both[key], finding)
    ]


_MISSING = {
    "missing from expected": (
        "missing_key",
        "the log has {events} for this key, the expected totals lack it",
    ),
    "unknown to the log": (
        "unknown_key",
        "the expected totals have this key, and the log holds no event of it",
    ),
}


def _from_list(
    case: Case, listed: Any, notes: list[str]
) -> tuple[list[Row], list[tables.Incident]]:
    proof = prove(case, listed)
    notes += proof.notes
    rows, incidents = of_proof(case, proof.errors)
    if proof.with_effects:
        return rows + of_strangers(case, proof.strangers, _left(case, rows)), incidents
    left = _left(case, rows)
    if not left:
        return rows, incidents
    return _beyond_the_list(case, proof, rows, incidents, left)


def _beyond_the_list(
    case: Case,
    proof: Proof,
    rows: list[Row],
    incidents: list[tables.Incident],
    left: dict[int, int],
) -> tuple[list[Row], list[tables.Incident]]:
    """Ids alone prove what was missed and what came twice.

    Signs, factors and versions are left to be searched for.

    Parameters
    ----------
    case : Case
    proof : Proof
        Of a list without effects.
    rows : list of Row
        The causes that it proves.
    incidents : list of Incident
        The incidents that it proves, numbered from 1.
    left : dict of int to int
        Key's number to what the rows leave unexplained, a whole number of 10**-scale.
    """
    import polars as pl

    from recovery_kit.explain.incidents import search

    context = Context(prec=60)
    rest = [Decimal(left.get(k, 0)).scaleb(-case.scale, context) for k in range(len(case.keys))]
    applied = np.ones(len(case.events), bool)
    applied[proof.errors.filter(pl.col("cause").is_in(["missed", "lag"]))["row"].to_numpy()] = False
    kind = pl.Decimal(decimals.DIGITS, case.scale)
    smaller = replace(
        case,
        keys=case.keys.with_columns(difference=pl.Series(rest, dtype=kind)),
        events=case.events.only(applied),
        copies=case.copies.only(np.zeros(len(case.copies), bool)),
    )
    causes = (SIGN, *SCALED)
    windows = search(smaller, causes)
    more, shared = of_windows(smaller, windows, set(left), after=len(incidents))
    state = settle(smaller, windows)
    more += _one_by_one(smaller, windows, state, _left(smaller, more), causes)
    return rows + more, incidents + shared


def _rest(case: Case, rows: list[Row], replay: Any, listed: bool) -> list[Row]:
    """What nothing has explained: a key that one side lacks, an unreadable message, or else
    unexplained.

    Parameters
    ----------
    case : Case
    rows : list of Row
        The causes found so far.
    replay : Replay or None
        Where the events came from; its unreadable messages are the suspects.
    listed : bool
        Whether there is a processed list.
    """
    gaps = ((key, case.difference[key] - told) for key, told in _told(case, rows).items())
    left = {key: amount for key, amount in gaps if amount}
    names, statuses = case.keys["key"].to_list(), case.keys["status"].to_list()
    suspects = named(case, {k: v for k, v in left.items() if abs(v) > case.slack}, replay)
    made = []
    for key, amount in left.items():
        missing = _MISSING.get(statuses[key])
        if abs(amount) <= case.slack:
            row = tables.plain(key, "unexplained", amount, "within the tolerance")
        elif key in suspects:
            row = tables.plain(key, "reject", amount, suspects[key], grade="consistent")
        elif missing:
            cause, why = missing
            grade = "proven" if listed and cause == "unknown_key" else "consistent"
            said = why.format(events=f"{case.busy[key]:,} events")
            row = tables.plain(key, cause, amount, said, grade=grade)
        else:
            said = _unexplained(case, amount, listed, quoted(names[key]))
            row = tables.plain(key, "unexplained", amount, said)
        made.append(row)
    return made


def _unexplained(case: Case, amount: int, listed: bool, name: str) -> str:
    """Why an amount of a key stays unexplained.

    Parameters
    ----------
    case : Case
    amount : int
        What is left of the key, a whole number of 10**-scale.
    listed : bool
        Whether there is a processed list.
    name : str
        The key, as it is shown.
    """
    shown = number(tables.decimal(abs(amount), case.scale))
    if listed:
        more = "more" if amount > 0 else "less"
        return f"the total of {name} holds {shown} {more} than the processed list accounts for"
    return f"no incident, and nothing of the key's own beyond chance, comes to {shown}"


def _check(case: Case, rows: list[Row]) -> None:
    """Identity 3: for every key, difference = the sum of its causes, the unexplained among them."""
    for key, total in _told(case, rows).items():
        if total != case.difference[key]:
            raise IdentityError(
                f"the causes of {quoted(case.keys['key'][key])} add up to "
                f"{tables.decimal(total, case.scale)}, its difference is "
                f"{tables.decimal(case.difference[key], case.scale)}"
            )
