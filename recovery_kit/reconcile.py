"""reconcile(): recovered totals beside the totals that the system of record holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import narwhals as nw

from recovery_kit._show import Facts, html_card, quoted, text_card
from recovery_kit.compared import COUNTERS as COUNTERS
from recovery_kit.compared import STATUSES as STATUSES
from recovery_kit.compared import at_scale, divergent, summed, told
from recovery_kit.errors import IdentityError, ParameterError
from recovery_kit.tables import decimals, frames, spelling
from recovery_kit.tables.columns import entered, of_arrow
from recovery_kit.tables.given import doubts, read_totals
from recovery_kit.totals import Totals

if TYPE_CHECKING:
    from recovery_kit.tables.frames import Table


@dataclass(frozen=True, repr=False, eq=False)
class Reconciliation:
    """Where recovered and expected totals differ, and by how much.

    Attributes
    ----------
    table : DataFrame or Table
        A row a key of either side, sorted by key: ``key``, ``expected``, ``recovered`` (null where
        a side lacks the key), ``difference`` (expected - recovered, a side that lacks the key
        counting as 0), ``status``: one of ``"matched"`` (also a total of zero that the other side
        lacks, unless ``strict_keys``), ``"diverged"``, ``"missing from expected"`` (only the log
        has the key), ``"unknown to the log"`` (only the expected side has it), ``"indeterminate"``
        (the log was not read whole, so neither matched nor diverged can be said) or ``"not
        compared"`` (no expected totals were given; the difference is null). Where expected has
        events, added or subtracted, then also ``expected_events``, ``events`` and so on, and
        ``differs``: the names of what differs.
    summary : dict
        ``keys``, ``statuses`` (status to count), ``divergent`` (the rows of ``divergences``); over
        all keys the sums ``expected``, ``recovered``, ``net_difference``, ``absolute_difference``,
        ``expected_above`` and ``expected_below`` (the positive and the negative differences; they
        add up to the net one); of the divergences ``largest_difference`` with ``largest_key``,
        ``median_difference`` and ``p90_difference`` (absolute, by nearest rank, so that each is a
        difference that occurs); ``tolerance``, ``verdict``. How much the comparison rests on:
        ``recovered_keys`` and ``expected_keys`` (how many each side has), ``compared`` (the keys of
        both sides that are matched or diverged), and of the matched ones ``absent_zeros`` (a total
        of zero that the other side lacks) and ``within_tolerance`` (not equal); ``largest_total``
        (absolute, of either side); ``spelling``, how many keys were ``joined`` though spelled
        otherwise, how many would be by a ``key_spelling``, and how many are ``crowded``, alike but
        not one to one; ``notes``, sentences that a reader must know. Counts are int, amounts exact
        Decimals; None where there is nothing to tell of.
    tolerance : decimal.Decimal
        The largest absolute difference that counts as none.
    verdict : str or None
        The replay's verdict; None when no replay was given.
    spelling : DataFrame or Table, optional
        A row a pair of keys that differ only by how they are spelled: ``key``, as the log has it,
        ``expected_key``, ``rules`` (the ``key_spelling`` that joins them) and ``joined``. None
        where nothing was compared.
    notes : tuple of str
        What a reader must know besides of how the two sides were read and set side by side.
    """

    table: Any
    summary: dict[str, Any]
    tolerance: Decimal
    verdict: str | None
    spelling: Any = None
    notes: tuple[str, ...] = ()

    @property
    def divergences(self) -> Any:
        """The rows to look at, largest absolute difference first: all but matched ones and those
        that would match.
        """
        table, back = frames.opened(self.table, what="table")
        return back(divergent(table, self.tolerance))

    def __repr__(self) -> str:
        return text_card(self._title(), self._facts(), self._notes())

    def _repr_html_(self) -> str:
        tables = frames.shown("Divergences, largest first", self.divergences)
        if self.spelling is not None:
            tables += frames.shown("Keys that differ by their spelling alone", self.spelling)
        return html_card(self._title(), self._facts(), tables, self._notes())

    def _title(self) -> str:
        said = self.summary
        if said["expected_keys"] is None:
            return f"Recovered totals of {said['keys']:,} keys, compared with nothing"
        if not said["compared"]:
            return f"Reconciliation: none of {said['keys']:,} keys could be compared"
        return f"Reconciliation: {said['divergent']:,} of {said['keys']:,} keys diverge"

    def _facts(self) -> Facts:
        said = self.summary
        if said["expected_keys"] is None:
            return [("keys", said["keys"]), ("recovered, over all keys", said["recovered"])]
        facts = [
            (status, count)
            for status, count in said["statuses"].items()
            if count or status == "matched"
        ]
        facts += [
            ("expected, over all keys", said["expected"]),
            ("recovered, over all keys", said["recovered"]),
            ("net difference, expected - recovered", said["net_difference"]),
            ("absolute differences", said["absolute_difference"]),
        ]
        if said["divergent"]:
            facts += [
                (
                    f"largest difference, of {quoted(said['largest_key'], 24)}",
                    said["largest_difference"],
                ),
                ("median divergence", said["median_difference"]),
            ]
        return [*facts, ("tolerance", self.tolerance)]

    def _notes(self) -> list[str]:
        if self.verdict in (None, "complete"):
            return list(self.notes)
        unknown = self.summary["statuses"]["unknown to the log"]
        more = f"; the {unknown:,} unknown to the log may stand in that" if unknown else ""
        return [
            f"The replay is not complete, but {self.verdict}: recovered totals lack what was not "
            f"read, so no key can be called matched or diverged{more}",
            *self.notes,
        ]


def reconcile(
    totals: Totals,
    expected: Any,
    *,
    tolerance: int | Decimal | str = 0,
    strict_keys: bool = False,
    key_spelling: str = "",
    replay: Any = None,
) -> Reconciliation:
    """Set recovered totals beside expected ones.

    Parameters
    ----------
    totals : Totals
        What ``totals`` worked out from the log.
    expected : DataFrame, Table, Totals, str, Path or None
        What the system of record holds; None compares nothing and gives the recovered totals.
        Whatever ``read_totals`` takes. Where it also has ``events``, ``added`` or ``subtracted``
        these are compared too: counts exactly, amounts within the tolerance.
    tolerance : int, decimal.Decimal or str
        The largest absolute difference that counts as none, in the log's own unit.
    strict_keys : bool
        Whether a key that one side lacks diverges also where the other side's total is zero. Not
        so by default: no row and zero are then the same, unless a counter that expected has says
        otherwise.
    replay : Replay, optional
        Where the events came from. When its ``verdict`` is not ``"complete"``, no key is matched or
        diverged.
    key_spelling : str
        What two keys may differ by and still be one, by commas: ``"blanks"`` (or control
        characters, at the ends), ``"zeros"`` (in front of a number), ``"case"``, ``"unicode"``
        (NFKC forms) and ``"exponent"`` (``1E5`` and ``100000``). Only keys that one side lacks are
        joined, and only one to one; they have the log's spelling then. Empty: none are joined, and
        those that could be are told.

    Returns
    -------
    Reconciliation
        Its table is of the kind that ``totals.table`` is.

    Raises
    ------
    ParameterError
        When ``totals`` is no Totals, ``tolerance`` is negative, a float or no number, ``replay``
        has no verdict, or ``key_spelling`` names a rule that is not known.
    TableError
        When ``expected`` cannot be read exactly.
    AmountError
        When the two sides' amounts, aligned to the larger number of decimals, do not fit an exact
        decimal.
    """
    if not isinstance(totals, Totals):
        raise ParameterError(
            f"totals is a {type(totals).__name__}; expected what totals(unique) gives"
        )
    verdict = None if replay is None else getattr(replay, "verdict", None)
    if replay is not None and not isinstance(verdict, str):
        raise ParameterError(
            f"replay is a {type(replay).__name__}, without a verdict; expected what replay() gives"
        )
    allowed, rules = _tolerance(tolerance), spelling.rules_of(key_spelling)
    if expected is None:
        return _not_compared(totals, allowed, verdict)
    given = read_totals(expected, what="expected")
    names = entered(totals.table, what="totals")[0]["key"]
    given, joined, alike = spelling.respelled(given, names, rules)
    theirs, _ = frames.opened(given, what="expected")
    ours, back = frames.opened(totals.table, what="totals")
    counters = [name for name in COUNTERS if name in given.column_names]
    scale = _common_scale(ours, theirs)
    limit, whole = at_scale(allowed, scale), verdict in (None, "complete")

    table = _compared(
        ours, theirs, counters, limit=limit, scale=scale, whole=whole, strict_keys=strict_keys
    ).collect("polars")
    scale_of_log = frames.scale_of(ours.collect_schema(), "total")
    summary = {
        **summed(table, allowed),
        "tolerance": allowed,
        "verdict": verdict,
        "spelling": {"joined": len(joined), **alike.counts, "crowded": alike.crowded},
    }
    summary["notes"] = notes = [
        *told(summary),
        *totals.notes,
        *doubts(given, scale_of_log, what="expected"),
        *spelling.told(joined, alike),
        *_sum_of_the_others(table),
    ]
    _check_identity(summary, ours, theirs, scale)
    pairs = of_arrow(spelling.table(joined, alike), entered(totals.table, what="totals")[1])
    return Reconciliation(back(table.lazy()), summary, allowed, verdict, pairs, tuple(notes))


def _sum_of_the_others(table: nw.DataFrame[Any]) -> list[str]:
    """Tell a key that the log lacks and that has what all others of expected have together."""
    expected = nw.col("expected")
    given = table.filter(~expected.is_null()).with_columns(rest=expected.sum() - expected)
    odd = given.filter(
        (nw.col("status") == "unknown to the log") & (expected == nw.col("rest")) & (expected != 0)
    )
    return [
        f"Expected has {quoted(key, always=True)}, a key that the log lacks, with the sum of all "
        "its other totals: is it a row of totals? One at the foot of the file is left out by the "
        'option footer of csv, {"footer": 1}'
        for key in odd["key"].to_list()
        if len(given) > 2
    ]


def _not_compared(totals: Totals, allowed: Decimal, verdict: str | None) -> Reconciliation:
    """The recovered totals in a reconciliation's form, with nothing beside them."""
    ours, back = frames.opened(totals.table, what="totals")
    nothing = nw.when(nw.col("key").is_null()).then(nw.col("total"))  # no key is null
    columns = {"expected": nothing, "recovered": nw.col("total"), "difference": nothing}
    table = ours.select("key", **columns, status=nw.lit("not compared")).collect("polars")
    sides = (
        "expected",
        "expected_keys",
        "net_difference",
        "absolute_difference",
        "expected_above",
        "expected_below",
    )
    unknown = dict.fromkeys(sides, None)
    summary = {**summed(table, allowed), **unknown, "tolerance": allowed, "verdict": verdict}
    summary["notes"] = list(totals.notes)
    return Reconciliation(back(table.lazy()), summary, allowed, verdict, notes=totals.notes)


def _tolerance(given: object) -> Decimal:
    try:
        exact = (
            Decimal(given)
            if isinstance(given, int | Decimal | str) and not isinstance(given, bool)
            else None
        )
    except InvalidOperation:
        exact = None
    if exact is None or not exact.is_finite() or exact < 0:
        raise ParameterError(
            f"tolerance is {given!r}; expected 0 or more, exactly: a whole number, a Decimal, or "
            "text such as '0.05'"
        )
    return exact


def _common_scale(ours: Table, theirs: Table) -> int:
    """Find the larger number of decimals of the two sides.

    Refuse amounts that do not fit 38 digits with it.
    """
    scale, rows = 0, 0
    extremes: list[Decimal | None] = []
    for side in (ours, theirs):
        schema = side.collect_schema()
        amounts = [name for name in ("total", "added", "subtracted") if name in schema]
        scale = max(scale, *(frames.scale_of(schema, name) for name in amounts))
        ends = {
            f"{end} {name}": getattr(nw.col(name), end)()
            for name in amounts
            for end in ("min", "max")
        }
        found = frames.measured(side, ("key",), what="totals", **ends)
        rows += found.pop("rows")
        extremes += found.values()
    decimals.guard(decimals.largest(extremes), rows, scale=scale, what="expected and recovered")
    return scale


def _compared(
    ours: Table,
    theirs: Table,
    counters: list[str],
    *,
    limit: nw.Expr,
    scale: int,
    whole: bool,
    strict_keys: bool,
) -> Table:
    exact = nw.Decimal(decimals.DIGITS, scale)
    kinds = {name: nw.Int64() if name == "events" else exact for name in counters}
    left = ours.select(
        "key",
        nw.col("total").cast(exact).alias("recovered"),
        *(nw.col(name).cast(kind) for name, kind in kinds.items()),
    )
    right = theirs.select(
        nw.col("key").alias("expected_key"),
        nw.col("total").cast(exact).alias("expected"),
        *(nw.col(name).cast(kind).alias(f"expected_{name}") for name, kind in kinds.items()),
    )
    joined = left.join(right, left_on="key", right_on="expected_key", how="full")

    expected, recovered, zero = nw.col("expected"), nw.col("recovered"), frames.exactly(0, scale)
    none = {name: nw.lit(0) if name == "events" else zero for name in counters}
    most = {name: nw.lit(0) if name == "events" else limit for name in counters}
    beyond = {"total": (expected - recovered).abs() > limit}
    # Of a key that one side lacks: whether no row says the same as what the other side has.
    same = nw.coalesce(expected, recovered) == zero
    for name in counters:
        own, held = nw.col(name), nw.col(f"expected_{name}")
        beyond[name] = (held - own).abs() > most[name]
        gap = nw.coalesce(held, none[name]) - nw.coalesce(own, none[name])
        same = same & (gap.abs() <= most[name])
    named = [nw.when(apart).then(nw.lit(name)) for name, apart in beyond.items()]
    settled = nw.when(nw.col("differs") != "").then(nw.lit("diverged")).otherwise(nw.lit("matched"))
    lacks = nw.lit(True) if strict_keys else ~same
    status = (
        nw.when(expected.is_null() & lacks)
        .then(nw.lit("missing from expected"))
        .otherwise(
            nw.when(recovered.is_null() & lacks)
            .then(nw.lit("unknown to the log"))
            .otherwise(settled if whole else nw.lit("indeterminate"))
        )
    )
    pairs = [column for name in counters for column in (f"expected_{name}", name)]
    return (
        joined.with_columns(
            nw.coalesce("key", "expected_key"),
            difference=nw.coalesce(expected, zero) - nw.coalesce(recovered, zero),
            differs=nw.concat_str(named, separator=", ", ignore_nulls=True),
        )
        .with_columns(status=status)
        .select(
            "key",
            "expected",
            "recovered",
            "difference",
            "status",
            *pairs,
            *(["differs"] if counters else []),
        )
        .sort("key")
    )


def _check_identity(summary: Mapping[str, Any], ours: Table, theirs: Table, scale: int) -> None:
    """Hold the joined table against sums of each side on its own."""
    recovered, expected = (
        decimals.unscaled(side.select(nw.col("total").sum()).collect("polars").item(), scale)
        for side in (ours, theirs)
    )
    if decimals.unscaled(summary["net_difference"], scale) != expected - recovered:
        raise IdentityError(
            f"the differences sum to {summary['net_difference']}, not to expected - recovered"
        )
    if summary["keys"] != sum(summary["statuses"].values()):
        raise IdentityError(f"{summary['keys']} keys, but these statuses: {summary['statuses']}")
