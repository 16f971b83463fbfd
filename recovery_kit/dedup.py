"""dedup(): which of several deliveries of one event counts, and what the others are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recovery_kit._show import Facts, html_card, number, shorten, text_card
from recovery_kit.errors import (
    ConflictError,
    IdentityError,
    ParameterError,
    TableError,
    did_you_mean,
)
from recovery_kit.tables import columns, decimals
from recovery_kit.tables.arrow import column, texts, values
from recovery_kit.tables.repeats import doubts, repeated

ON_CONFLICT = ("first", "last", "reject", "raise")

PLACE = ("topic", "partition", "offset")
ORDER = ("time", *PLACE)
CONTENT = ("type", "value", "effect", "key")


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
        Every copy of every id that came with two contents: the events table's columns, then
        ``verdict`` (``"chosen"``, ``"redelivered"`` or ``"conflicting"``), ``chosen_effect`` (0
        when none was chosen) and ``worth``: what the sum over all keys would gain had this copy
        been chosen instead. Copies of an id stand together, the first delivery first.
    on_conflict : str
        The choice that was made.
    counts : dict of str to int
        ``events``, ``unique``, ``redelivered``, ``conflicting``: rows; the last three add up to the
        first.
    doubts : tuple of str
        Why the ids may not be unique, so that what was set aside were events of their own.
    """

    kept: columns.Kept
    redelivered: Any
    conflicts: Any
    on_conflict: str
    counts: dict[str, int]
    doubts: tuple[str, ...] = ()

    @cached_property
    def unique(self) -> Any:
        """The chosen copy of each event: the events table's columns, in the order of the table
        given.

        They are copied out of the events when they are first asked for; ``totals`` takes the whole
        result, and needs neither a copy nor to look through the ids again.
        """
        return self.kept.frame()

    def __repr__(self) -> str:
        return text_card("Dedup", self._facts(), self._notes())

    def _repr_html_(self) -> str:
        from recovery_kit.tables import frames

        conflicts, back = frames.opened(self.conflicts, what="conflicts")
        dearest = back(
            frames.by_size(conflicts, "worth", "event_id").drop("topic", "chosen_effect")
        )
        tables = frames.shown("Conflicting copies, those worth most first", dearest)
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
            return list(self.doubts)
        conflicts, _ = columns.entered(self.conflicts, what="conflicts")
        ids = pc.count_distinct(conflicts["event_id"]).as_py()
        choice = (
            "no copy was chosen"
            if self.on_conflict == "reject"
            else f"the {self.on_conflict} copy was chosen"
        )
        return [
            *self.doubts,
            f"{_ids(ids)} came with more than one content: {choice} "
            f"(on_conflict={self.on_conflict!r}). The column worth says what each copy would add "
            "to the sum over all keys.",
        ]


def dedup(events: Any, *, on_conflict: str = "first") -> Dedup:
    """Keep one copy of each event: the first delivery, where first is by (time, topic, partition,
    offset).

    A later copy of the same id with the same type, value and key is a *redelivery*, whatever its
    time. One with another type, value or key (or, in a table of one's own, another effect) is a
    *conflict*.

    Parameters
    ----------
    events : DataFrame or Table
        Events, a row a delivery: pandas, polars or pyarrow, with the columns of ``Replay.events``.
    on_conflict : {"first", "last", "reject", "raise"}
        Of an id with several contents take the first copy, the last, none, or stop. Other ids are
        not touched by it.

    Returns
    -------
    Dedup
        Its tables are of the kind that was given.

    Raises
    ------
    ParameterError
        When ``on_conflict`` is something else.
    TableError
        When a column is missing, of the wrong kind (an amount that is a float), or holds a null, or
        when two rows share a place in the log.
    ConflictError
        With ``on_conflict="raise"``, when an id has two contents.
    AmountError
        When amounts are too large to be set against each other.

    Notes
    -----
    Ids become hashes of 64 bits, and only the rows whose hash stands more than once are compared
    (`repeats`).
    """
    if on_conflict not in ON_CONFLICT:
        near = did_you_mean(str(on_conflict), list(ON_CONFLICT))
        raise ParameterError(
            f"on_conflict is {on_conflict!r}; expected one of {', '.join(ON_CONFLICT)}.{near}"
        )
    given = columns.Kept.whole(events, what="events")
    columns.require(given.table, columns.EVENT_KINDS, what="events")
    scale = given.table.schema.field("effect").type.scale
    most = given.largest_effect()
    decimals.guard(most, 2, scale=scale, what="effect")
    _check_places(given.table)

    rows, copies, ids = _copies(given)
    judged = _judge(copies, ids, on_conflict)
    conflicts = _conflicts(copies, judged, scale)
    if on_conflict == "raise" and len(conflicts):
        raise ConflictError(_conflict_message(conflicts))
    redelivered = copies.take(column(judged.order[(judged.verdict == REDELIVERED)[judged.order]]))
    kept = replace(given, dropped=rows[judged.verdict != CHOSEN], most=most)
    counts = {
        "events": len(given),
        "unique": len(kept),
        "redelivered": len(redelivered),
        "conflicting": int((judged.verdict == CONFLICTING).sum()),
    }
    if counts["events"] != sum(counts[name] for name in ("unique", "redelivered", "conflicting")):
        raise IdentityError(f"events = unique + redelivered + conflicting does not hold: {counts}")
    redelivered, conflicts = (
        columns.of_arrow(table, given.form) for table in (redelivered, conflicts)
    )
    doubted = _doubts(copies, judged, unique=len(given) - len(copies) + len(set(ids.tolist())))
    return Dedup(kept, redelivered, conflicts, on_conflict, counts, doubted)


CHOSEN, REDELIVERED, CONFLICTING = range(3)
_VERDICTS = texts(["chosen", "redelivered", "conflicting"], pa.large_string())


class _Judged(NamedTuple):
    """What became of each copy, by its row among the copies."""

    verdict: np.ndarray
    disputed: np.ndarray
    """Whether its id came with two contents."""
    chosen: np.ndarray
    """The row of the copy that was chosen for its id; -1 where none was."""
    order: np.ndarray
    """The rows in log order."""
    by_id: np.ndarray
    """The rows, those of an id together, the first delivery first."""
    first: np.ndarray
    """The row of the first delivery of its id."""
    other: np.ndarray
    """Whether it has another content than that one."""


def _copies(given: columns.Kept) -> tuple[np.ndarray, pa.Table, np.ndarray]:
    """Every copy of every id that stands more than once, few as a rule: rows, ascending, copies,
    and numbers for their ids.
    """
    rows = repeated(given.table["event_id"])
    copies = given.rows(rows).combine_chunks()
    ids = _numbers(copies, "event_id")
    again = np.bincount(ids, minlength=1)[ids] > 1
    return rows[again], copies.filter(column(again)).combine_chunks(), ids[again]


def _judge(copies: pa.Table, ids: np.ndarray, on_conflict: str) -> _Judged:
    topic, partition, offset = (
        _numbers(copies, "topic", ranked=True),
        *(values(copies[n]) for n in PLACE[1:]),
    )
    time = values(copies["time"].cast(pa.int64()))
    by_id = np.lexsort((offset, partition, topic, time, ids))
    edges = np.flatnonzero(np.diff(ids[by_id], prepend=-1, append=len(copies)))
    group = np.repeat(np.arange(len(edges) - 1), np.diff(edges))  # of each copy in by_id
    contents = [_numbers(copies, name)[by_id] for name in CONTENT]

    def like(chosen: np.ndarray) -> np.ndarray:
        same = np.ones(len(copies), np.bool_)
        for content in contents:
            same &= content == content[chosen]
        return same

    first = chosen = edges[:-1][group]
    same = like(chosen)
    other = ~same
    disputed = np.zeros(len(edges) - 1, np.bool_)
    disputed[group[~same]] = True
    disputed = disputed[group]
    if on_conflict == "last":
        chosen = np.where(disputed, edges[1:][group] - 1, chosen)
        same = like(chosen)
    verdict = np.where(
        same, np.where(chosen == np.arange(len(copies)), CHOSEN, REDELIVERED), CONFLICTING
    )
    chosen = by_id[chosen]
    if on_conflict == "reject":
        verdict[disputed], chosen = CONFLICTING, np.where(disputed, -1, chosen)
    back = np.argsort(by_id)
    return _Judged(
        verdict[back],
        disputed[back],
        chosen[back],
        np.lexsort((offset, partition, topic)),
        by_id,
        by_id[first][back],
        other[back],
    )


def _doubts(copies: pa.Table, judged: _Judged, *, unique: int) -> tuple[str, ...]:
    """As `repeats.doubts`, of the copies after the first of each id."""
    later = np.flatnonzero(judged.first != np.arange(len(copies)))
    first = judged.first[later]
    topic, partition, time = (
        _numbers(copies, "topic"),
        values(copies["partition"]),
        values(copies["time"].cast(pa.int64())),
    )
    return tuple(
        doubts(
            unique=unique,
            other=judged.other[later],
            apart=time[later] != time[first],
            moved=(topic[later] == topic[first]) & (partition[later] != partition[first]),
        )
    )


def _numbers(table: pa.Table, name: str, *, ranked: bool = False) -> np.ndarray:
    """A column's cells as numbers: the same for the same value and, ``ranked``, in the values'
    order.
    """
    numbers, distinct = columns.numbered(table[name])
    return columns.ranks(distinct)[numbers] if ranked else numbers


def _conflicts(copies: pa.Table, judged: _Judged, scale: int) -> pa.Table:
    rows = judged.by_id[judged.disputed[judged.by_id]]
    names = copies.select(["event_id"]).take(column(rows))
    rows = rows[np.argsort(_numbers(names, "event_id", ranked=True), kind="stable")]
    chosen = judged.chosen[rows]
    effects = decimals.words(copies["effect"], scale)
    chosen_effects = np.where(
        (chosen >= 0)[:, None], effects[chosen] if len(effects) else effects, 0
    )
    table = copies.take(column(rows))
    table = table.append_column("verdict", _VERDICTS.take(column(judged.verdict[rows])))
    table = table.append_column("chosen_effect", decimals.decimals(chosen_effects, scale))
    return table.append_column(
        "worth", decimals.decimals(decimals.minus(effects[rows], chosen_effects), scale)
    )


def _check_places(table: pa.Table) -> None:
    """A record that is read twice is no redelivery, and would pass for one."""
    if _in_log_order(table):
        return
    places = [_numbers(table, "topic"), *(values(table[name]) for name in PLACE[1:])]
    order = np.lexsort(places[::-1])
    twice = np.ones(max(len(order) - 1, 0), np.bool_)
    for place in places:
        twice &= np.diff(place[order]) == 0
    if twice.any():
        first = np.argmax(twice)
        here = np.logical_and.reduce([place == place[order[first]] for place in places])
        rows = table.filter(column(here)).to_pylist()
        ids = " and ".join(sorted(_shown(row["event_id"]) for row in rows))
        raise TableError(
            f"events: {len(rows)} rows have one place in the log, {_place(rows[0])}: events {ids}. "
            f"Each record of the log must stand once: was a part of it put in twice?"
        )


def _in_log_order(table: pa.Table) -> bool:
    """Whether offsets ascend within each partition, so that no place stands twice.

    Looks at stretches of one partition.
    """
    behind: dict[tuple[object, int], int] = {}
    for batch in table.select(list(PLACE)).to_batches():
        if not len(batch):
            continue
        topic, partition, offset = (batch.column(name) for name in PLACE)
        topics = topic if pa.types.is_dictionary(topic.type) else topic.dictionary_encode()
        names, codes = topics.dictionary, values(topics.indices)
        partitions, offsets = values(partition), values(offset)
        edges = np.flatnonzero((np.diff(codes) != 0) | (np.diff(partitions) != 0)) + 1
        if len(edges) > len(batch) // 100:  # as good as shuffled
            return False
        for rows in map(slice, [0, *edges.tolist()], [*edges.tolist(), len(batch)]):
            place = names[int(codes[rows.start])].as_py(), int(partitions[rows.start])
            here = offsets[rows]
            if (
                here[0] <= behind.get(place, -1) or (here[1:] <= here[:-1]).any()
            ):  # a difference may wrap
                return False
            behind[place] = int(here[-1])
    return True


def _conflict_message(conflicts: pa.Table, most: int = 3) -> str:
    rows = conflicts.to_pylist()
    ids = list(dict.fromkeys(row["event_id"] for row in rows))
    lines = [f"{_ids(len(ids))} came with more than one content:"]
    for event_id in ids[:most]:
        said = "; ".join(
            f"{shorten(row['type'])} {number(row['value'])} for {_shown(row['key'])} at "
            f"{_place(row)}"
            for row in [row for row in rows if row["event_id"] == event_id][:most]
        )
        lines.append(f"  {_shown(event_id)}: {said}")
    lines.append(
        'on_conflict="first", "last" or "reject" settles them and lists every copy in .conflicts'
    )
    return "\n".join(lines)


def _place(row: dict[str, Any]) -> str:
    return f"{shorten(row['topic'])} partition {row['partition']} offset {row['offset']}"


def _shown(text: str) -> str:
    return f"'{shorten(text)}'"


def _ids(count: int) -> str:
    return f"{count:,} event id{'' if count == 1 else 's'}"
