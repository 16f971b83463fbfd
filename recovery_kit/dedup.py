"""dedup(): which of several deliveries of one event counts, and what the others are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import narwhals as nw

from recovery_kit import _frames
from recovery_kit._show import Facts, html_card, number, shorten, text_card
from recovery_kit.errors import ConflictError, IdentityError, ParameterError, TableError
from recovery_kit.schema import did_you_mean

if TYPE_CHECKING:
    from recovery_kit._frames import Table

ON_CONFLICT = ("first", "last", "reject", "raise")

PLACE = ("topic", "partition", "offset")
ORDER = ("time", *PLACE)
CONTENT = ("type", "value", "effect", "key")
TEXTS = ("event_id", "type", "key", "topic")


@dataclass(frozen=True, repr=False, eq=False)
class Dedup:
    """Each event once, and what was set aside.

    Attributes
    ----------
    unique : DataFrame or Table
        The chosen copy of each event: the events table's columns, in the order of the table given.
    redelivered : DataFrame or Table
        Copies with the same content as the chosen one: the events table's columns, in log order.
    conflicts : DataFrame or Table
        Every copy of every id that came with two contents: the events table's columns, then ``verdict``
        (``"chosen"``, ``"redelivered"`` or ``"conflicting"``), ``chosen_effect`` (0 when none was chosen) and
        ``worth``: what the sum over all keys would gain had this copy been chosen instead. Copies of an id
        stand together, the first delivery first.
    on_conflict : str
        The choice that was made.
    counts : dict of str to int
        ``events``, ``unique``, ``redelivered``, ``conflicting``: rows; the last three add up to the first.
    """

    unique: Any
    redelivered: Any
    conflicts: Any
    on_conflict: str
    counts: dict[str, int]

    def __repr__(self) -> str:
        return text_card("Dedup", self._facts(), self._notes())

    def _repr_html_(self) -> str:
        conflicts, back = _frames.opened(self.conflicts, what="conflicts")
        dearest = back(_frames.by_size(conflicts, "worth", "event_id").drop("topic", "chosen_effect"))
        tables = _frames.shown("Conflicting copies, those worth most first", dearest)
        return html_card("Dedup", self._facts(), tables, self._notes())

    def _facts(self) -> Facts:
        counts = self.counts
        return [
            ("events (rows)", counts["events"]),
            ("unique", counts["unique"]),
            ("redelivered, same content", counts["redelivered"]),
            ("conflicting, other content", counts["conflicting"]),
        ]

    def _notes(self) -> list[str]:
        if not self.counts["conflicting"]:
            return []
        conflicts = nw.from_native(self.conflicts, eager_only=True)
        ids = conflicts["event_id"].n_unique()
        choice = "no copy was chosen" if self.on_conflict == "reject" else f"the {self.on_conflict} copy was chosen"
        return [
            f"{_ids(ids)} came with more than one content: {choice} (on_conflict={self.on_conflict!r}). "
            f"The column worth says what each copy would add to the sum over all keys."
        ]


def dedup(events: Any, *, on_conflict: str = "first") -> Dedup:
    """Keep one copy of each event: the first delivery, where first is by (time, topic, partition, offset).

    A later copy of the same id with the same type, value and key is a *redelivery*, whatever its time. One with
    another type, value or key (or, in a table of one's own, another effect) is a *conflict*.

    Parameters
    ----------
    events : DataFrame or Table
        Events, a row a delivery: pandas, polars or pyarrow, with the columns of ``Replay.events``.
    on_conflict : {"first", "last", "reject", "raise"}
        Of an id with several contents take the first copy, the last, none, or stop. Other ids are not touched by it.

    Returns
    -------
    Dedup
        Its tables are of the kind that was given.

    Raises
    ------
    ParameterError
        When ``on_conflict`` is something else.
    TableError
        When a column is missing, of the wrong kind (an amount that is a float), or holds a null, or when two
        rows share a place in the log.
    ConflictError
        With ``on_conflict="raise"``, when an id has two contents.
    AmountError
        When amounts are too large to be set against each other.

    Notes
    -----
    Only ids that stand more than once are sorted and compared.
    """
    if on_conflict not in ON_CONFLICT:
        near = did_you_mean(str(on_conflict), list(ON_CONFLICT))
        raise ParameterError(f"on_conflict is {on_conflict!r}; expected one of {', '.join(ON_CONFLICT)}.{near}")
    table, back = _frames.opened(events, what="events")
    schema, rows = _checked(table)

    copies = _copies(table).collect("polars").lazy()  # few rows, and looked at several times
    judged = _judged(copies, on_conflict, schema).collect("polars")
    _check_places(judged.lazy())
    conflicted = judged.filter(nw.col("conflicted"))
    if on_conflict == "raise" and len(conflicted):
        raise ConflictError(_conflict_message(conflicted))

    columns, judgement = schema.names(), ["verdict", "chosen_effect", "worth"]
    rest = judged.lazy().with_columns(nw.col(name).cast(schema[name]) for name in TEXTS)
    verdict = nw.col("verdict")
    unique = back(_frames.without(table, rest.filter(verdict != "chosen").select(PLACE), on=PLACE))
    result = Dedup(
        unique=unique,
        redelivered=back(rest.filter(verdict == "redelivered").sort(*PLACE).select(columns)),
        conflicts=back(rest.filter(nw.col("conflicted")).sort("event_id", *ORDER).select(columns + judgement)),
        on_conflict=on_conflict,
        counts={
            "events": rows,
            "unique": len(unique),
            **{name: len(judged.filter(verdict == name)) for name in ("redelivered", "conflicting")},
        },
    )
    if result.counts["events"] != sum(result.counts[name] for name in ("unique", "redelivered", "conflicting")):
        _check_places(table)  # ids that stand once are looked at only now
        raise IdentityError(f"events = unique + redelivered + conflicting does not hold: {result.counts}")
    _frames.known_unique[id(unique)] = unique
    return result


def _checked(table: Table) -> tuple[nw.Schema, int]:
    """Check the columns; give their types and the number of rows."""
    needs = tuple(_frames.EVENT_KINDS)
    schema = _frames.require(table, needs, what="events")
    ends = {"least": nw.col("effect").min(), "most": nw.col("effect").max()}
    found = _frames.measured(table, needs, what="events", **ends)
    most = _frames.largest([found["least"], found["most"]])
    _frames.guard(most, 2, scale=_frames.scale_of(schema, "effect"), what="effect")
    return schema, found["rows"]


def _copies(table: Table) -> Table:
    """Every copy of every id that stands more than once."""
    repeated = table.group_by("event_id").agg(copies=nw.len()).filter(nw.col("copies") > 1).select("event_id")
    return table.join(repeated, on="event_id", how="semi")


def _judged(copies: Table, on_conflict: str, schema: nw.Schema) -> Table:
    """Add to each copy ``verdict``, ``conflicted`` (its id has two contents), ``chosen_effect`` and ``worth``."""
    # A category's order and its equality across frames are the engine's own affair; text has no such traps.
    copies = copies.with_columns(nw.col(*TEXTS).cast(nw.String))
    judged = _beside_chosen(copies, "first")
    disputed = judged.filter(~nw.col("same")).select("event_id").unique()
    judged = judged.join(disputed.with_columns(conflicted=nw.lit(True)), on="event_id", how="left")
    judged = judged.with_columns(nw.coalesce("conflicted", nw.lit(False)))
    if on_conflict == "last":
        again = _beside_chosen(copies.join(disputed, on="event_id", how="semi"), "last")
        judged = nw.concat([judged.filter(~nw.col("conflicted")), again.with_columns(conflicted=nw.lit(True))])
    none_chosen = nw.col("conflicted") if on_conflict == "reject" else nw.lit(False)
    scale = _frames.scale_of(schema, "effect")
    exact = nw.Decimal(_frames.DIGITS, scale)
    return (
        judged.with_columns(
            verdict=nw.when(none_chosen | ~nw.col("same"))
            .then(nw.lit("conflicting"))
            .otherwise(nw.when("at").then(nw.lit("chosen")).otherwise(nw.lit("redelivered"))),
            chosen_effect=nw.when(none_chosen)
            .then(_frames.exactly(0, scale))
            .otherwise(nw.col("chosen_effect").cast(exact)),
        )
        .with_columns(worth=nw.col("effect").cast(exact) - nw.col("chosen_effect"))
        .drop("at", "same", *(f"chosen_{name}" for name in CONTENT + PLACE if name != "effect"))
    )


def _beside_chosen(copies: Table, keep: Literal["first", "last"]) -> Table:
    """Set each copy beside the first or the last of its id: is it that one (``at``), has it that content (``same``)."""
    end = getattr(nw.col(*CONTENT, *PLACE), keep)()
    beside = copies.with_columns(end.over("event_id", order_by=ORDER).name.prefix("chosen_"))
    return beside.with_columns(at=_all_equal(PLACE), same=_all_equal(CONTENT))


def _all_equal(names: tuple[str, ...]) -> nw.Expr:
    return nw.all_horizontal(*(nw.col(name) == nw.col(f"chosen_{name}") for name in names), ignore_nulls=False)


def _check_places(rows: Table) -> None:
    """A record that is read twice is no redelivery, and would pass for the chosen copy twice."""
    twice = rows.group_by(*PLACE).agg(rows=nw.len()).filter(nw.col("rows") > 1).select(PLACE)
    first = twice.sort(*PLACE).head(1).collect("polars").lazy()
    here = rows.join(first, on=list(PLACE), how="semi").select("event_id", *PLACE).collect("polars")
    for row in here.iter_rows(named=True):
        ids = " and ".join(_shown(event_id) for event_id in here["event_id"].sort().to_list())
        raise TableError(
            f"events: {len(here)} rows have one place in the log, {_place(row)}: events {ids}. "
            f"Each record of the log must stand once: was a part of it put in twice?"
        )


def _conflict_message(conflicted: nw.DataFrame[Any], most: int = 3) -> str:
    ids = conflicted["event_id"].unique().sort()
    lines = [f"{_ids(len(ids))} came with more than one content:"]
    for event_id in ids.head(most).to_list():
        copies = conflicted.filter(nw.col("event_id") == event_id).sort(*ORDER).head(most)
        said = "; ".join(
            f"{shorten(row['type'])} {number(row['value'])} for {_shown(row['key'])} at {_place(row)}"
            for row in copies.iter_rows(named=True)
        )
        lines.append(f"  {_shown(event_id)}: {said}")
    lines.append('on_conflict="first", "last" or "reject" settles them and lists every copy in .conflicts')
    return "\n".join(lines)


def _place(row: dict[str, Any]) -> str:
    return f"{shorten(row['topic'])} partition {row['partition']} offset {row['offset']}"


def _shown(text: str) -> str:
    return f"'{shorten(text)}'"


def _ids(count: int) -> str:
    return f"{count:,} event id{'' if count == 1 else 's'}"
