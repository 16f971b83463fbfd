"""explain(): every divergence gets its causes, each with a grade of evidence."""

from __future__ import annotations

from dataclasses import replace
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np

from recovery_kit._progress import Progress
from recovery_kit._show import quoted
from recovery_kit.errors import AmountError, IdentityError, ParameterError
from recovery_kit.explain.case.case import Case, open_case
from recovery_kit.explain.diagnosis import Diagnosis
from recovery_kit.explain.evidence import tables
from recovery_kit.explain.evidence.aside import doubted, of_shared_ids
from recovery_kit.explain.evidence.rest import ONE_SIDE, of_rest
from recovery_kit.explain.evidence.rows import of_finding, of_proof, of_strangers, of_windows
from recovery_kit.explain.proven.listed import Proof, prove
from recovery_kit.explain.windows.window import (
    CAUSES,
    SCALED,
    SHARED_ID,
    SIGN,
    Cause,
    State,
    Window,
    settle,
)
from recovery_kit.tables import decimals, frames
from recovery_kit.tables.given import doubts, read_processed

if TYPE_CHECKING:
    from recovery_kit.dedup import Dedup
    from recovery_kit.explain.evidence.tables import Row
    from recovery_kit.reconcile import Reconciliation


def explain(
    reconciliation: Reconciliation,
    dedup: Dedup,
    *,
    processed: Any = None,
    replay: Any = None,
    progress: bool = True,
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
    progress : bool
        Tell how far it has come where it takes more than five seconds, as `replay` does.

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

    Where ids may not be unique (``Dedup.doubts``), copies may be events of their own and the system
    right: a key that is off by just what was set aside of it, and what copies would explain
    besides, is a *shared_id*, which is ambiguous. A key that only the expected totals have is told
    where its events stand and why they do not count, if there are any.

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
    notes = [*notes, *case.doubts]
    with Progress("explain", enabled=progress) as tell:
        if listed is None:
            rows, incidents = _from_totals(case, tell)
        else:
            rows, incidents = _from_list(case, listed, notes, tell)
    gaps = ((key, case.difference[key] - told) for key, told in _told(case, rows).items())
    rows += of_rest(case, {key: amount for key, amount in gaps if amount}, replay, listed)
    rows = doubted(rows)
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


def _from_totals(case: Case, tell: Progress) -> tuple[list[Row], list[tables.Incident]]:
    from recovery_kit.explain.incidents import search  # compiled parts stand behind it

    shared = of_shared_ids(case) if case.doubts else []
    case = _less(case, shared)
    windows = search(case, tell=tell)
    rows, incidents = of_windows(case, windows, _off(case))
    state = settle(case, windows)
    rows += _one_by_one(case, windows, state, _left(case, rows), tell=tell)
    return shared + rows, incidents


def _less(case: Case, rows: list[Row]) -> Case:
    """The case where what some rows come to is settled."""
    if not rows:
        return case
    told = _told(case, rows)
    return _with(case, [gap - told.get(key, 0) for key, gap in enumerate(case.difference)])


def _with(case: Case, differences: list[int]) -> Case:
    """The case with other differences, by key."""
    import polars as pl

    context, kind = Context(prec=60), pl.Decimal(decimals.DIGITS, case.scale)
    exact = [Decimal(amount).scaleb(-case.scale, context) for amount in differences]
    return replace(case, keys=case.keys.with_columns(difference=pl.Series(exact, dtype=kind)))


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
    *,
    tell: Progress,
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
    tell : Progress
        Told how far it has come.
    """
    from recovery_kit.explain.single.edges import slips
    from recovery_kit.explain.single.match import singles

    statuses = case.keys["status"].to_list()
    both = {k: amount for k, amount in left.items() if statuses[k] not in ONE_SIDE}
    found = singles(case, state, both, causes, slips(case, windows, state, both), tell=tell)
    return [
        row for key, finding in found.items() for row in of_finding(case, key, both[key], finding)
    ]


def _from_list(
    case: Case, listed: Any, notes: list[str], tell: Progress
) -> tuple[list[Row], list[tables.Incident]]:
    """The causes and incidents that a list of what was processed proves.

    Parameters
    ----------
    case : Case
    listed : Listed
        What was processed.
    notes : list of str
        Added to.
    tell : Progress
        Told how far it has come.
    """
    proof = prove(case, listed)
    notes += proof.notes
    rows, incidents = of_proof(case, proof.errors)
    rows = _rather_shared(case, rows)
    if proof.with_effects:
        return rows + of_strangers(case, proof.strangers, _left(case, rows)), incidents
    left = _left(case, rows)
    if not left:
        return rows, incidents
    return _beyond_the_list(case, proof, rows, incidents, left, tell)


def _rather_shared(case: Case, rows: list[Row]) -> list[Row]:
    """The rows of a list; but where ids may not be unique, a key of which the list tells an id that
    came again is rather off by all that was set aside of it, where it is.
    """
    by_list = {row.code for row in rows if row.cause == SHARED_ID}
    told = _told(case, rows)
    shared = [
        row
        for row in (of_shared_ids(case) if case.doubts else [])
        if row.code in by_list or abs(case.difference[row.code] - told[row.code]) > case.slack
    ]
    instead = {row.code for row in shared}
    return [row for row in rows if row.code not in instead] + shared


def _beyond_the_list(
    case: Case,
    proof: Proof,
    rows: list[Row],
    incidents: list[tables.Incident],
    left: dict[int, int],
    tell: Progress,
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
    tell : Progress
        Told how far it has come.
    """
    import polars as pl

    from recovery_kit.explain.incidents import search

    applied = np.ones(len(case.events), bool)
    applied[proof.errors.filter(pl.col("cause").is_in(["missed", "lag"]))["row"].to_numpy()] = False
    smaller = replace(
        _with(case, [left.get(key, 0) for key in range(len(case.keys))]),
        events=case.events.only(applied),
        copies=case.copies.only(np.zeros(len(case.copies), bool)),
    )
    causes = (SIGN, *SCALED)
    windows = search(smaller, causes, tell=tell)
    more, shared = of_windows(smaller, windows, set(left), after=len(incidents))
    state = settle(smaller, windows)
    more += _one_by_one(smaller, windows, state, _left(smaller, more), causes, tell=tell)
    return rows + more, incidents + shared


def _check(case: Case, rows: list[Row]) -> None:
    """Identity 3: for every key, difference = the sum of its causes, the unexplained among them."""
    for key, total in _told(case, rows).items():
        if total != case.difference[key]:
            raise IdentityError(
                f"the causes of {quoted(case.keys['key'][key])} add up to "
                f"{tables.decimal(total, case.scale)}, its difference is "
                f"{tables.decimal(case.difference[key], case.scale)}"
            )
