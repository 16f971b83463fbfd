"""reconcile(): recovered totals beside the totals that the system of record holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import narwhals as nw

from recovery_kit._show import Facts, html_card, shorten, text_card
from recovery_kit.errors import IdentityError, ParameterError
from recovery_kit.tables import decimals, frames
from recovery_kit.tables.given import read_totals
from recovery_kit.totals import Totals

if TYPE_CHECKING:
    from recovery_kit.tables.frames import Table

STATUSES = (
    "matched",
    "diverged",
    "missing from expected",
    "unknown to the log",
    "indeterminate",
    "not compared",
)

COUNTERS = ("events", "added", "subtracted")
"""What is compared beside the total where the expected side has it, for a missing +x and a missing
-x cancel.
"""


@dataclass(frozen=True, repr=False, eq=False)
class Reconciliation:
    """Where recovered and expected totals differ, and by how much.

    Attributes
    ----------
    table : DataFrame or Table
        A row a key of either side, sorted by key: ``key``, ``expected``, ``recovered`` (null where
        a side lacks the key), ``difference`` (expected - recovered, a side that lacks the key
        counting as 0), ``status``: one of ``"matched"``, ``"diverged"``, ``"missing from
        expected"`` (only the log has the key), ``"unknown to the log"`` (only the expected side has
        it), ``"indeterminate"`` (the log was not read whole, so neither matched nor diverged can be
        said) or ``"not compared"`` (no expected totals were given; the difference is null). Where
        expected has events, added or subtracted, then also ``expected_events``, ``events`` and so
        on, and ``differs``: the names of what differs.
    summary : dict
        ``keys``, ``statuses`` (status to count), ``divergent`` (the rows of ``divergences``); over
        all keys the sums ``expected``, ``recovered``, ``net_difference``, ``absolute_difference``,
        ``expected_above`` and ``expected_below`` (the positive and the negative differences; they
        add up to the net one); of the divergences ``largest_difference`` with ``largest_key``,
        ``median_difference`` and ``p90_difference`` (absolute, by nearest rank, so that each is a
        difference that occurs); ``tolerance``, ``verdict``. Counts are int, amounts exact Decimals;
        None where there is nothing to tell of.
    tolerance : decimal.Decimal
        The largest absolute difference that counts as none.
    verdict : str or None
        The replay's verdict; None when no replay was given.
    """

    table: Any
    summary: dict[str, Any]
    tolerance: Decimal
    verdict: str | None

    @property
    def divergences(self) -> Any:
        """The rows to look at, largest absolute difference first: all but matched ones and those
        that would match.
        """
        table, back = frames.opened(self.table, what="table")
        return back(_divergent(table, self.tolerance))

    def __repr__(self) -> str:
        return text_card(self._title(), self._facts(), self._notes())

    def _repr_html_(self) -> str:
        tables = frames.shown("Divergences, largest first", self.divergences)
        return html_card(self._title(), self._facts(), tables, self._notes())

    def _title(self) -> str:
        if self.summary["statuses"]["not compared"]:
            return f"Recovered totals of {self.summary['keys']:,} keys, compared with nothing"
        return (
            f"Reconciliation: {self.summary['divergent']:,} of {self.summary['keys']:,} keys "
            "diverge"
        )

    def _facts(self) -> Facts:
        said = self.summary
        if said["statuses"]["not compared"]:
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
                    f"largest difference, of {shorten(said['largest_key'], 24)}",
                    said["largest_difference"],
                ),
                ("median divergence", said["median_difference"]),
            ]
        return [*facts, ("tolerance", self.tolerance)]

    def _notes(self) -> list[str]:
        if self.verdict in (None, "complete"):
            return []
        unknown = self.summary["statuses"]["unknown to the log"]
        more = f"; the {unknown:,} unknown to the log may stand in that" if unknown else ""
        return [
            f"The replay is not complete, but {self.verdict}: recovered totals lack what was not "
            f"read, so no key can be called matched or diverged{more}"
        ]


def reconcile(
    totals: Totals, expected: Any, *, tolerance: int | Decimal | str = 0, replay: Any = None
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
    replay : Replay, optional
        Where the events came from. When its ``verdict`` is not ``"complete"``, no key is matched or
        diverged.

    Returns
    -------
    Reconciliation
        Its table is of the kind that ``totals.table`` is.

    Raises
    ------
    ParameterError
        When ``totals`` is no Totals, ``tolerance`` is negative, a float or no number, or ``replay``
        has no verdict.
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
    allowed = _tolerance(tolerance)
    if expected is None:
        return _not_compared(totals, allowed, verdict)
    given = read_totals(expected, what="expected")
    theirs, _ = frames.opened(given, what="expected")
    ours, back = frames.opened(totals.table, what="totals")
    counters = [name for name in COUNTERS if name in given.column_names]
    scale = _common_scale(ours, theirs)
    limit, whole = _at_scale(allowed, scale), verdict in (None, "complete")

    table = _compared(ours, theirs, counters, limit=limit, scale=scale, whole=whole).collect(
        "polars"
    )
    summary = {**_summary(table, allowed), "tolerance": allowed, "verdict": verdict}
    _check_identity(summary, ours, theirs, scale)
    return Reconciliation(back(table.lazy()), summary, allowed, verdict)


def _not_compared(totals: Totals, allowed: Decimal, verdict: str | None) -> Reconciliation:
    """The recovered totals in a reconciliation's form, with nothing beside them."""
    ours, back = frames.opened(totals.table, what="totals")
    nothing = nw.when(nw.col("key").is_null()).then(nw.col("total"))  # no key is null
    columns = {"expected": nothing, "recovered": nw.col("total"), "difference": nothing}
    table = ours.select("key", **columns, status=nw.lit("not compared")).collect("polars")
    sides = (
        "expected",
        "net_difference",
        "absolute_difference",
        "expected_above",
        "expected_below",
    )
    unknown = dict.fromkeys(sides, None)
    summary = {**_summary(table, allowed), **unknown, "tolerance": allowed, "verdict": verdict}
    return Reconciliation(back(table.lazy()), summary, allowed, verdict)


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


def _at_scale(allowed: Decimal, scale: int) -> nw.Expr:
    """The tolerance as a literal.

    Cut to the scale, which changes no comparison, for differences are multiples of it.
    """
    context = Context(prec=120, rounding=ROUND_FLOOR)
    most = Decimal(10**decimals.DIGITS - 1).scaleb(-scale, context)
    return frames.exactly(
        min(allowed, most).quantize(Decimal(1).scaleb(-scale), context=context), scale
    )


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
    ours: Table, theirs: Table, counters: list[str], *, limit: nw.Expr, scale: int, whole: bool
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
    beyond = {"total": (expected - recovered).abs() > limit}
    for name in counters:
        gap = (nw.col(f"expected_{name}") - nw.col(name)).abs()
        beyond[name] = gap > (0 if name == "events" else limit)
    named = [nw.when(apart).then(nw.lit(name)) for name, apart in beyond.items()]
    settled = nw.when(nw.col("differs") != "").then(nw.lit("diverged")).otherwise(nw.lit("matched"))
    status = (
        nw.when(expected.is_null())
        .then(nw.lit("missing from expected"))
        .otherwise(
            nw.when(recovered.is_null())
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


def _divergent(table: Table, allowed: Decimal) -> Table:
    """The rows to look at: all but the matched, and of the indeterminate those that differ."""
    schema = table.collect_schema()
    status = nw.col("status")
    differs = nw.col("difference").abs() > _at_scale(allowed, frames.scale_of(schema, "difference"))
    if "differs" in schema:
        differs = differs | (nw.col("differs") != "")
    settled = status.is_in(["matched", "not compared"])
    look = table.filter(~settled & ((status != "indeterminate") | differs))
    return frames.by_size(look, "difference", "key")


def _summary(table: nw.DataFrame[Any], allowed: Decimal) -> dict[str, Any]:
    difference = nw.col("difference")
    sums = table.select(
        nw.col("expected", "recovered").sum(),
        net_difference=difference.sum(),
        absolute_difference=difference.abs().sum(),
        expected_above=nw.when(difference > 0).then(difference).sum(),
        expected_below=nw.when(difference < 0).then(difference).sum(),
    )
    counts = dict(table.group_by("status").agg(keys=nw.len()).iter_rows())
    look = _divergent(table.lazy(), allowed).collect("polars")
    sizes = look["difference"].abs()
    return {
        "keys": len(table),
        "statuses": {status: counts.get(status, 0) for status in STATUSES},
        "divergent": len(look),
        **next(sums.iter_rows(named=True)),
        "largest_difference": look["difference"][0] if len(look) else None,
        "largest_key": look["key"][0] if len(look) else None,
        # By nearest rank; the sizes descend.
        "median_difference": sizes[len(look) // 2] if len(look) else None,
        "p90_difference": sizes[len(look) // 10] if len(look) else None,
    }


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
