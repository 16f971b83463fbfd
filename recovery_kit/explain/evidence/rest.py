"""What nothing has explained: a key that one side lacks, an unreadable message, or else
unexplained.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recovery_kit._show import number, quoted
from recovery_kit.explain.case.case import Case
from recovery_kit.explain.evidence.aside import absent
from recovery_kit.explain.evidence.rejects import named
from recovery_kit.explain.evidence.tables import Row, decimal, plain

if TYPE_CHECKING:
    import pyarrow as pa

MISSING, UNKNOWN = ONE_SIDE = ("missing from expected", "unknown to the log")
"""Statuses of keys that one side lacks."""


def of_rest(case: Case, left: dict[int, int], replay: Any, listed: pa.Table | None) -> list[Row]:
    """A row for what is left of each key.

    Parameters
    ----------
    case : Case
    left : dict of int to int
        Key's number to what is unexplained, a whole number of 10**-scale; none 0.
    replay : Replay or None
        Where the events came from; its unreadable messages are the suspects.
    listed : pyarrow.Table or None
        The processed list.
    """
    names, statuses = case.keys["key"].to_list(), case.keys["status"].to_list()
    beyond = {key: amount for key, amount in left.items() if abs(amount) > case.slack}
    suspects = named(case, beyond, replay)
    unknown = {k: v for k, v in beyond.items() if statuses[k] == UNKNOWN and k not in suspects}
    made = absent(case, unknown, replay, listed=listed is not None)
    for key, amount in left.items():
        if key not in beyond:
            row = plain(key, "unexplained", amount, "within the tolerance")
        elif key in suspects:
            row = plain(key, "reject", amount, suspects[key], grade="consistent")
        elif key in unknown:
            continue
        elif statuses[key] == MISSING:
            said = _lacked(int(case.busy[key]))
            row = plain(key, "missing_key", amount, said, grade="consistent")
        else:
            said = _unexplained(case, amount, listed, quoted(names[key]))
            row = plain(key, "unexplained", amount, said)
        made.append(row)
    return made


def _lacked(events: int) -> str:
    if not events:
        return "the opening totals have this key; the log as read and the expected totals lack it"
    many = "1 event" if events == 1 else f"{events:,} events"
    return f"the log has {many} of this key that count; the expected totals lack it"


def _unexplained(case: Case, amount: int, listed: pa.Table | None, name: str) -> str:
    """Why an amount of a key stays unexplained.

    Parameters
    ----------
    case : Case
    amount : int
        What is left of the key, a whole number of 10**-scale.
    listed : pyarrow.Table or None
        The processed list.
    name : str
        The key, as it is shown.
    """
    shown = number(decimal(abs(amount), case.scale))
    if listed is not None:
        more = "more" if amount > 0 else "less"
        sides = "log and the processed list account"
        if "effect" not in listed.column_names:
            sides = "log, the ids in the processed list and what was found beside them account"
        return f"the total of {name} holds {shown} {more} than the {sides} for"
    return (
        f"no incident that was found comes to {shown}, nor any match among the key's own events "
        "that can be told from chance"
    )
