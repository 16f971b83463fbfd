"""What a run ends with: its exit code, and the thresholds that it is judged by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from recovery_kit import errors
from recovery_kit.errors import ParameterError, did_you_mean

_NAMES = ("keys", "amount", "incomplete", "rejects")
_FORMS = "keys=10, amount=1000.00, incomplete, rejects=10 or rejects=5%"


@dataclass(frozen=True, kw_only=True)
class FailOn:
    """What makes a run fail, besides one that compared nothing.

    As it is: any divergence, a replay that is not complete, and one reject in a hundred messages.

    Attributes
    ----------
    keys : int or None
        Exit code 1 where at least so many keys diverge.
    amount : decimal.Decimal or None
        Exit code 1 where the absolute differences sum to at least so much, in the log's own unit.
    incomplete : bool
        Exit code 3 where the replay is not complete. Without ``allow_incomplete`` it ends with 3 in
        any case.
    rejects : str
        Exit code 2 where at least so many messages are rejects: a number, or with a percent sign a
        share of events and rejects together.
    """

    keys: int | None = 1
    amount: Decimal | None = None
    incomplete: bool = True
    rejects: str = "1%"

    def __post_init__(self) -> None:
        _threshold("rejects", self.rejects, f"rejects={self.rejects}")

    def __str__(self) -> str:
        named = [
            f"{n}={v}" for n, v in (("keys", self.keys), ("amount", self.amount)) if v is not None
        ]
        last = ["incomplete"] if self.incomplete else []
        return ", ".join([*named, *last, f"rejects={self.rejects}"])


def fail_on(thresholds: Sequence[str]) -> FailOn:
    """Read thresholds as a command line gives them.

    Of ``keys``, ``amount`` and ``incomplete`` only what is named fails a run; none of them named is
    the default. Rejects fail it from their default share on where no other is named.

    Parameters
    ----------
    thresholds : sequence of str
        ``keys=10``, ``amount=1000.00``, ``incomplete``, ``rejects=10`` or ``rejects=5%``, each name
        at most once.

    Raises
    ------
    ParameterError
        A threshold of another form, or one that is given twice.
    """
    found: dict[str, Any] = {}
    for text in thresholds:
        name, _, value = text.partition("=")
        if name in found:
            raise ParameterError(f"--fail-on names {name} twice; expected it once")
        found[name] = _threshold(name, value, text)
    others = {"keys": None, "incomplete": False} if found.keys() - {"rejects"} else {}
    return FailOn(**others | found)


def judge(summary: Mapping[str, Any], by: FailOn) -> tuple[int, str]:
    """The exit code of a run that came to its end, from what ``summary.json`` holds, and why, where
    that is for something else than its divergences or its replay's verdict.
    """
    whole = summary["replay"]["verdict"] == "complete"
    if by.incomplete and not whole:
        return errors.INCOMPLETE, ""
    hollow = _nothing_compared(summary)
    if hollow and whole:
        return errors.ERROR, hollow
    if many := _many_rejects(summary["replay"], by.rejects):
        return errors.ERROR, many
    found = summary["reconciliation"]
    if by.keys is not None and found["divergent"] >= by.keys:
        return errors.DIVERGED, ""
    if by.amount is not None and Decimal(found["absolute_difference"] or 0) >= by.amount:
        return errors.DIVERGED, ""
    return (errors.INCOMPLETE, hollow) if hollow else (errors.MATCHED, "")


def _nothing_compared(summary: Mapping[str, Any]) -> str:
    """Why a run has nothing to show: no total, or no key of which it could say whether it matches.

    Empty where it has, and where it was asked for recovered totals alone.
    """
    log, found = summary["replay"], summary["reconciliation"]
    ours, theirs = found["recovered_keys"], found["expected_keys"]
    if not ours:
        counts = ", ".join(
            f"{log[name]:,} {words}"
            for name, words in (
                ("events", "events"),
                ("rejects", "rejects"),
                ("tombstones", "tombstones"),
                ("outside", "outside the window"),
            )
        )
        return (
            f"nothing was compared: the log gave no total, of {log['delivered']:,} messages "
            f"({counts}). {_look_at(log)}"
        )
    if theirs is None or found["compared"]:
        return ""
    if log["verdict"] != "complete":
        return (
            f"nothing was compared: the replay is {log['verdict']}, so none of {found['keys']:,} "
            "keys can be called matched or diverged"
        )
    return (
        f"nothing was compared: the log gives {ours:,} keys, expected holds {theirs:,}, and none "
        "is on both sides. Set key_field and expected_key so that both name the same thing, or "
        "topic and expected so that both are of one system; reconciliation.parquet lists the keys"
    )


def _look_at(log: Mapping[str, Any]) -> str:
    """The parameters that may have kept every event out."""
    if log["events"]:
        return "Each event has a conflict, and on_conflict is reject: set it to first or last"
    elsewhere = "Set topic, partitions, since and until so that they hold the events"
    if not log["rejects"]:
        return elsewhere
    return f"{_REJECTED}. {elsewhere}" if log["outside"] else _REJECTED


_REJECTED = (
    "report.html lists the reasons; set id_field, type_field, value_field, key_field, time_field, "
    "decimals or effects (0 for a type that changes no total) to what the messages hold"
)


def _many_rejects(log: Mapping[str, Any], limit: str) -> str:
    """Why a run has too many rejects; empty where it has not."""
    rejects, events = log["rejects"], log["events"]
    most = Decimal(limit.removesuffix("%"))
    if limit.endswith("%"):
        most = most * (rejects + events) / 100
    if not rejects or rejects < most:
        return ""
    return (
        f"{rejects:,} messages are rejects, beside {events:,} events, and are in no total; "
        f"{limit} fails a run (--fail-on rejects={limit}). {_REJECTED}"
    )


def _threshold(name: str, value: str, text: str) -> object:
    share = value.removesuffix("%")
    if name == "incomplete" and text == name:
        return True
    if name in ("keys", "rejects") and _whole(value):
        return int(value) if name == "keys" else value
    if name == "amount" and _above_zero(value):
        return Decimal(value)
    if name == "rejects" and share != value and _above_zero(share) and Decimal(share) <= 100:
        return value
    near = "" if name in _NAMES else did_you_mean(name, list(_NAMES))
    raise ParameterError(f"--fail-on is {text!r}; expected {_FORMS}, with a number above 0.{near}")


def _whole(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) > 0


def _above_zero(text: str) -> bool:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return False
    return number.is_finite() and number > 0
