"""dedup(): which of several deliveries of one event counts, and what the others are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import narwhals as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recovery_kit import _frames
from recovery_kit._show import Facts, html_card, number, shorten, text_card
from recovery_kit.errors import ConflictError, IdentityError, ParameterError, TableError
from recovery_kit.repeats import repeated
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
    kept : Kept
        The events, and which of them are left out: ``unique`` before it is made.
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

    kept: _frames.Kept
    redelivered: Any
    conflicts: Any
    on_conflict: str
    counts: dict[str, int]

    @cached_property
    def unique(self) -> Any:
        """The chosen copy of each event: the events table's columns, in the order of the table given.

        They are copied out of the events when they are first asked for; ``totals`` takes the whole result, and needs no
        copy.
        """
        unique = self.kept.frame()
        _frames.known_unique[id(unique)] = unique
        return unique

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
    Ids become hashes of 64 bits, and only the rows whose hash stands more than once are compared (`repeats`).
    """
    if on_conflict not in ON_CONFLICT:
        near = did_you_mean(str(on_conflict), list(ON_CONFLICT))
        raise ParameterError(f"on_conflict is {on_conflict!r}; expected one of {', '.join(ON_CONFLICT)}.{near}")
    given = _frames.Kept.whole(events, what="events")
    schema = _checked(given.table)
    _check_places(given)

    judged = _judged(_copies(given), on_conflict, schema).collect("polars")
    conflicted = judged.filter(nw.col("conflicted"))
    if on_conflict == "raise" and len(conflicted):
        raise ConflictError(_conflict_message(conflicted))

    def told(rows: nw.DataFrame[Any], columns: list[str]) -> Any:
        named = rows.lazy().with_columns(nw.col(name).cast(schema[name]) for name in TEXTS)
        return _frames.in_form(named.select(columns), given.form)

    columns, verdict = list(given.table.column_names), nw.col("verdict")
    left_out = judged.filter(verdict != "chosen")
    kept = replace(given, dropped=np.sort(left_out["row"].to_numpy()))
    counts = {name: len(judged.filter(verdict == name)) for name in ("redelivered", "conflicting")}
    if len(given) != len(kept) + sum(counts.values()):
        raise IdentityError(
            f"events = unique + redelivered + conflicting does not hold: {len(given)}, {len(kept)}, {counts}"
        )
    return Dedup(
        kept=kept,
        redelivered=told(judged.filter(verdict == "redelivered").sort(*PLACE), columns),
        conflicts=told(conflicted.sort("event_id", *ORDER), [*columns, "verdict", "chosen_effect", "worth"]),
        on_conflict=on_conflict,
        counts={"events": len(given), "unique": len(kept), **counts},
    )


def _checked(table: pa.Table) -> nw.Schema:
    """Check the columns; give their types."""
    needs = tuple(_frames.EVENT_KINDS)
    schema = _frames.require(nw.from_native(table), needs, what="events")
    _frames.require_no_nulls(table, needs, what="events")
    most = _frames.largest(pc.min_max(table["effect"]).as_py().values())
    _frames.guard(most, 2, scale=_frames.scale_of(schema, "effect"), what="effect")
    return schema


def _copies(given: _frames.Kept) -> Table:
    """Every copy of every id that stands more than once, and its row; few, as a rule."""
    table, _ = _frames.opened(given.rows(repeated(given.table["event_id"])), what="events")
    again = table.group_by("event_id").agg(copies=nw.len()).filter(nw.col("copies") > 1).select("event_id")
    return table.join(again, on="event_id", how="semi").collect("polars").lazy()


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


def _check_places(given: _frames.Kept) -> None:
    """A record that is read twice is no redelivery, and would pass for one."""
    if _in_log_order(given.table):
        return
    rows = given.select(["event_id", *PLACE])
    twice = rows.group_by(*PLACE).agg(rows=nw.len()).filter(nw.col("rows") > 1).select(PLACE)
    first = twice.sort(*PLACE).head(1).collect("polars").lazy()
    here = rows.join(first, on=list(PLACE), how="semi").collect("polars")
    for row in here.iter_rows(named=True):
        ids = " and ".join(_shown(event_id) for event_id in here["event_id"].sort().to_list())
        raise TableError(
            f"events: {len(here)} rows have one place in the log, {_place(row)}: events {ids}. "
            f"Each record of the log must stand once: was a part of it put in twice?"
        )


def _in_log_order(table: pa.Table) -> bool:
    """Whether offsets ascend within each partition, so that no place stands twice; looks at stretches of one partition."""
    behind: dict[tuple[object, int], int] = {}
    for batch in table.select(list(PLACE)).to_batches():
        topic, partition, offset = (batch.column(name) for name in PLACE)
        topics = topic if pa.types.is_dictionary(topic.type) else topic.dictionary_encode()
        names, codes = topics.dictionary, topics.indices.to_numpy()
        partitions, offsets = partition.to_numpy(), offset.to_numpy()
        edges = np.flatnonzero((np.diff(codes) != 0) | (np.diff(partitions) != 0)) + 1
        if len(edges) > len(batch) // 100:  # as good as shuffled
            return False
        for rows in map(slice, [0, *edges.tolist()], [*edges.tolist(), len(batch)]):
            place = names[int(codes[rows.start])].as_py(), int(partitions[rows.start])
            here = offsets[rows]
            if here[0] <= behind.get(place, -1) or (np.diff(here) <= 0).any():
                return False
            behind[place] = int(here[-1])
    return True


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
