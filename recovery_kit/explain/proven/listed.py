"""With a list of what the system processed: every event of the log set beside what was applied for
it.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recovery_kit._show import number, shorten
from recovery_kit.explain.case.arrays import Bools, Ints, whole
from recovery_kit.explain.case.case import Case
from recovery_kit.explain.case.ids import found
from recovery_kit.explain.windows.window import SHARED_ID
from recovery_kit.tables import columns, decimals
from recovery_kit.tables.arrow import column
from recovery_kit.tables.files import load
from recovery_kit.tables.given import read_processed

if TYPE_CHECKING:
    import polars as pl


class Proof(NamedTuple):
    """What the processed list proves.

    ``errors`` has a row an error: code, key, cause, amount (decimal), event_id, row (of the log;
    null when it is not there), detail. ``strangers`` are lines for ids that the log lacks and that
    name no key: event_id, amount.
    """

    errors: pl.DataFrame
    strangers: pl.DataFrame
    with_effects: bool
    notes: list[str]


def read(source: Any) -> pa.Table:
    """The processed list: event_id, and effect, time and key where the source has them.

    Keys are text.
    """
    table = read_processed(source)
    raw = load(source, {"key"}, what="processed")
    if "key" in raw.names:
        import polars as pl

        key = raw.table["key"]
        if key.null_count:  # it would be called missing from the list
            row = pc.index(key.combine_chunks().is_null(), True).as_py()
            raise raw.fault(
                row, "key", "nothing here; expected a key in every row, or no column key at all"
            )
        if not columns.is_text(key.type):
            key = pl.Series(key).cast(pl.String).to_arrow()
        table = table.append_column("key", key.cast(pa.large_string()))
    return table


def prove(case: Case, listed: pa.Table) -> Proof:
    """Set the log and the list side by side, id by id: one sieve, and joins of what remains in
    it.
    """
    import polars as pl

    with_effects, with_keys = "effect" in listed.column_names, "key" in listed.column_names
    exact = pl.Decimal(decimals.DIGITS, case.scale)
    rows, lines = _sieve(case, listed)
    log = case.events.frame(rows, "event_id", "key", "type", "effect").with_columns(
        pl.col("effect").cast(exact), row=pl.Series(rows, dtype=pl.UInt32), code=case.code[rows]
    )
    processed = pl.DataFrame(pl.from_arrow(listed.filter(column(lines))))
    effect = pl.col("effect").cast(exact)
    told = [effect.first().alias("once"), effect.sum().alias("sum")] if with_effects else []
    by = ["event_id", "key"] if with_keys else ["event_id"]
    applied = processed.group_by(by, maintain_order=True).agg(pl.len().alias("times"), *told)
    met = log.join(applied, on=by, how="left", maintain_order="left")
    if not with_effects:
        met = met.with_columns(
            once=pl.col("effect"), sum=pl.col("effect") * pl.col("times").cast(exact)
        )
    elsewhere = _elsewhere(log, applied, with_keys)
    parts = [_missed(met, elsewhere), _twice(met), _wrong(case, met)]
    strangers = processed.clear().select("event_id").with_columns(amount=pl.lit(None, exact))
    strange = applied.join(log, on="event_id", how="anti", maintain_order="left")
    if with_effects:
        parts.append(_astray(case, elsewhere))
        if with_keys:
            parts.append(_strange(case, strange))
        else:
            strangers = strange.select("event_id", amount="sum")
    notes = _without_an_event(case, strange, with_effects=with_effects, with_keys=with_keys)
    errors = pl.concat(
        [
            part.select(_COLUMNS).with_columns(pl.col("amount").cast(exact))
            for part in parts
            if len(part)
        ]
        or [_empty(exact)]
    )
    return Proof(_tails(case, _shared(case, errors)), strangers, with_effects, notes)


def _without_an_event(
    case: Case, strange: pl.DataFrame, *, with_effects: bool, with_keys: bool
) -> list[str]:
    """Ids of the list of which no event counts, told where they are no errors of a key.

    Parameters
    ----------
    case : Case
    strange : polars.DataFrame
        Them, with ``sum`` and ``key`` where the list has effects and keys.
    with_effects, with_keys : bool
        Whether it has.
    """
    import polars as pl

    of_no_key = ""
    if with_effects and with_keys:
        strange = strange.join(case.keys.select("key"), on="key", how="anti")
        of_no_key = ", for keys that neither side has"
    disputed = pl.col("event_id").is_in(case.conflicts["event_id"].unique().implode())
    notes = []
    for which, where in (
        (~disputed, "not in the log as read"),
        (disputed, "in the log in several versions, of which none was chosen"),
    ):
        if len(ids := strange.filter(which)):
            told = "of which the list does not say the amounts"
            if with_effects:
                told = f"of {number(money(ids['sum']))} in all"
                told += "" if with_keys else ", of which the list does not say the keys"
            many = "id" if len(ids) == 1 else "ids"
            notes.append(f"{len(ids):,} processed {many} {where}{of_no_key}, {told}")
    return notes


def _shared(case: Case, errors: pl.DataFrame) -> pl.DataFrame:
    """The errors, where ids may not be unique: of an id that came again that may be the error."""
    import polars as pl

    if not case.doubts:
        return errors
    copies = case.copies.frame(np.arange(len(case.copies)), "event_id")["event_id"]
    again = pl.concat([copies, case.conflicts["event_id"]]).unique()
    shared = pl.col("event_id").is_in(again.implode()) & (pl.col("cause") != "missed")
    return errors.with_columns(
        cause=pl.when(shared).then(pl.lit(SHARED_ID)).otherwise("cause"),
    )


def _sieve(case: Case, listed: pa.Table) -> tuple[Ints, Bools]:
    """The rows of the log and the lines of the list, all but the events that were applied once, and
    as the log says.
    """
    row = found(listed["event_id"].combine_chunks(), *case.events.ids)
    sound = row >= 0
    times = np.bincount(row[sound], minlength=len(case.events) + 1)
    sound &= times[row] == 1
    if "key" in listed.column_names:
        sound &= case.coded(listed["key"]) == np.append(case.code, -1)[row]
    if "effect" in listed.column_names:
        for told, true in zip(
            decimals.words(listed["effect"], case.scale).T, case.effects, strict=True
        ):
            sound &= told == np.append(true, 0)[row]
    off = np.ones(len(case.events), bool)
    off[row[sound]] = False
    return np.flatnonzero(off), ~sound


_COLUMNS = ("code", "key", "cause", "amount", "event_id", "row", "detail")


def _empty(exact: Any) -> pl.DataFrame:
    import polars as pl

    kinds = (pl.Int64, pl.String, pl.String, exact, pl.String, pl.UInt32, pl.String)
    return pl.DataFrame(schema=dict(zip(_COLUMNS, kinds, strict=True)))


def _elsewhere(log: pl.DataFrame, applied: pl.DataFrame, with_keys: bool) -> pl.DataFrame:
    """Lines that put an event of the log on another key than the log does."""
    import polars as pl

    if not with_keys:
        return log.clear().with_columns(other=pl.lit(None, pl.String))
    others = applied.rename({"key": "other"})
    return log.join(others, on="event_id", maintain_order="left_right").filter(
        pl.col("key") != pl.col("other")
    )


def _missed(met: pl.DataFrame, elsewhere: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    absent = met.filter(pl.col("times").is_null())
    moved = elsewhere.group_by("row").agg(pl.col("other").first())
    absent = absent.join(moved, on="row", how="left")
    return absent.with_columns(
        cause=pl.when(pl.col("other").is_null())
        .then(pl.lit("missed"))
        .otherwise(pl.lit("wrong_key")),
        amount=-pl.col("effect"),
        detail=pl.when(pl.col("other").is_null())
        .then(pl.lit("in the log, not in the processed list"))
        .otherwise(pl.lit("applied to another key: ") + _clean("other")),
    )


def _twice(met: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    return met.filter(pl.col("times") > 1).with_columns(
        cause=pl.lit("applied_twice"),
        amount=pl.col("sum") - pl.col("once"),
        detail=pl.lit("in the processed list ")
        + pl.col("times").cast(pl.String)
        + pl.lit(" times"),
    )


def _wrong(case: Case, met: pl.DataFrame) -> pl.DataFrame:
    """Events applied with another effect than the log's: with its sign turned, of another version,
    or enlarged.
    """
    import polars as pl

    off = met.filter(pl.col("once") != pl.col("effect"))
    exact = off.schema["effect"]
    versions = case.conflicts.filter(pl.col("verdict") == "conflicting")
    versions = versions.select(
        "event_id", pl.col("effect").cast(exact).alias("once"), version=pl.lit(True)
    ).unique()
    off = off.join(versions, on=["event_id", "once"], how="left")
    ratios = _ratios(
        off.filter(pl.col("once") != -pl.col("effect")).select("once", "effect").unique()
    )
    off = off.join(ratios, on=["once", "effect"], how="left")
    turned = pl.col("once") == -pl.col("effect")
    how = (
        pl.lit("applied as ")
        + pl.col("once").cast(pl.String)
        + pl.when("version")
        .then(pl.lit(", a version not chosen; chosen was "))
        .otherwise(pl.lit(", the log says "))
        + pl.col("effect").cast(pl.String)
    )
    return off.with_columns(
        cause=pl.when("version")
        .then(pl.lit("conflict"))
        .when(turned)
        .then(pl.lit("wrong_sign"))
        .when(pl.col("ratio").is_not_null())
        .then(pl.lit("wrong_factor"))
        .otherwise(pl.lit("wrong_amount")),
        amount=pl.col("once") - pl.col("effect"),
        detail=how
        + pl.when(pl.col("ratio").is_not_null())
        .then(pl.lit(", times ") + pl.col("ratio"))
        .otherwise(pl.lit("")),
    )


def _ratios(pairs: pl.DataFrame) -> pl.DataFrame:
    """Applied over true, where that is a power of ten, or one ratio that several amounts share."""
    import polars as pl

    pairs = pairs.filter(pl.col("effect") != 0)
    once, effect = (_wholes(pairs[name]) for name in ("once", "effect"))
    shared = np.gcd(once, effect) * np.sign(effect)
    ratios = list(zip((once // shared).tolist(), (effect // shared).tolist(), strict=True))
    often = Counter(ratios)
    usual = {ratio for n in (10, 100, 1000) for ratio in ((n, 1), (1, n))}
    named = {
        (p, q): f"{p}/{q}" if q > 1 else f"{p}"
        for (p, q), times in often.items()
        if (abs(p), q) in usual or (times >= 3 and p)
    }
    told = pl.Series("ratio", [named.get(ratio) for ratio in ratios], dtype=pl.String)
    return pairs.with_columns(told).drop_nulls("ratio")


def _wholes(amounts: pl.Series) -> Any:
    """Amounts as whole numbers of their last place.

    As Python's own where they may not fit 64 bits, signs and all.
    """
    array = amounts.to_arrow()
    low, high = decimals.words(array, array.type.scale).T
    if (high == low >> 62).all():
        return low
    return np.array([whole(*halves) for halves in zip(low, high, strict=True)], object)


def _astray(case: Case, elsewhere: pl.DataFrame) -> pl.DataFrame:
    """The other side of an event put on another key: what that key got.

    A conflict when a version of it says so.
    """
    import polars as pl

    if not len(elsewhere):
        return elsewhere.with_columns(cause=pl.lit(""), amount="effect", detail=pl.lit(""))
    versions = case.conflicts.filter(pl.col("verdict") == "conflicting").select(
        "event_id", other="key", version=pl.lit(True)
    )
    named = elsewhere.drop("code", "key").join(
        versions.unique(), on=["event_id", "other"], how="left"
    )
    named = _coded(case, named.rename({"other": "key"}))
    return named.with_columns(
        cause=pl.when("version").then(pl.lit("conflict")).otherwise(pl.lit("wrong_key")),
        amount="sum",
        detail=pl.when("version")
        .then(pl.lit("applied to this key, as a version says that was not chosen"))
        .otherwise(pl.lit("applied to this key; the log says another")),
    )  # fmt: skip


def _strange(case: Case, strange: pl.DataFrame) -> pl.DataFrame:
    """Lines of ids that the log does not hold as one event."""
    import polars as pl

    disputed = case.conflicts.select("event_id", disputed=pl.lit(True)).unique()
    strange = _coded(case, strange.join(disputed, on="event_id", how="left"))
    return strange.with_columns(
        cause=pl.when("disputed").then(pl.lit("conflict")).otherwise(pl.lit("not_in_log")),
        amount="sum", row=pl.lit(None, pl.UInt32),
        detail=pl.when("disputed").then(pl.lit("one of several versions, none of which was chosen"))
        .otherwise(pl.lit("in the processed list, not in the log as read")),
    )  # fmt: skip


def _coded(case: Case, frame: pl.DataFrame) -> pl.DataFrame:
    return frame.join(case.keys.select("key", "code"), on="key", how="left")


_LATE = (
    "not processed, nor any later event of its partition that counts and stands in no other as well"
)


def _clean(name: str) -> pl.Expr:
    import polars as pl

    return pl.col(name).map_elements(lambda text: f"'{shorten(text, 40)}'", return_dtype=pl.String)


def _tails(case: Case, errors: pl.DataFrame) -> pl.DataFrame:
    """Missed events with none applied after them in their partition are lag: the system has not
    come there yet.
    """
    import polars as pl

    missed = np.zeros(len(case.events), bool)
    missed[errors.filter(pl.col("cause") == "missed")["row"].to_numpy()] = True
    behind = np.zeros(len(case.events), bool)
    for place in case.places:
        rows = slice(place.low, place.high)
        seen = np.flatnonzero(~missed[rows] & (case.span[0][rows] >= 0))  # a copy may have come
        first = place.low + (int(seen[-1]) + 1 if len(seen) else 0)
        behind[first : place.high] = bool(len(seen))
    last = pl.Series(np.flatnonzero(behind & missed), dtype=pl.UInt32)
    late = (pl.col("cause") == "missed") & pl.col("row").is_in(last.implode())
    return errors.with_columns(
        cause=pl.when(late).then(pl.lit("lag")).otherwise("cause"),
        detail=pl.when(late).then(pl.lit(_LATE)).otherwise("detail"),
    )


def money(amounts: pl.Series) -> Decimal:
    """The exact sum; zero when there is none."""
    return Decimal(amounts.sum() or 0)
