"""What a run ends with: its exit code, and the thresholds that it is judged by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from recovery_kit import errors
from recovery_kit.errors import ParameterError, did_you_mean

_FORMS = "keys=10, amount=1000.00 or incomplete"


@dataclass(frozen=True, kw_only=True)
class FailOn:
    """What makes a run fail. As it is: any divergence, and a replay that is not complete.

    Attributes
    ----------
    keys : int or None
        Exit code 1 where at least so many keys diverge.
    amount : decimal.Decimal or None
        Exit code 1 where the absolute differences sum to at least so much, in the log's own unit.
    incomplete : bool
        Exit code 3 where the replay is not complete. Without ``allow_incomplete`` it ends with 3 in
        any case.
    """

    keys: int | None = 1
    amount: Decimal | None = None
    incomplete: bool = True

    def __str__(self) -> str:
        named = [
            f"{n}={v}" for n, v in (("keys", self.keys), ("amount", self.amount)) if v is not None
        ]
        return ", ".join([*named, *(["incomplete"] if self.incomplete else [])])


def fail_on(thresholds: Sequence[str]) -> FailOn:
    """Read thresholds as a command line gives them: only what is named fails a run.

    None named is the default.

    Parameters
    ----------
    thresholds : sequence of str
        ``keys=10``, ``amount=1000.00`` or ``incomplete``, each at most once.

    Raises
    ------
    ParameterError
        A threshold of another form, or one that is given twice.
    """
    if not thresholds:
        return FailOn()
    found: dict[str, Any] = {}
    for text in thresholds:
        name, _, value = text.partition("=")
        if name in found:
            raise ParameterError(f"--fail-on names {name} twice; expected it once")
        found[name] = _threshold(name, value, text)
    return FailOn(**{"keys": None, "incomplete": False} | found)


def judge(summary: Mapping[str, Any], by: FailOn) -> int:
    """The exit code of a run that came to its end, from what ``summary.json`` holds."""
    if by.incomplete and summary["replay"]["verdict"] != "complete":
        return errors.INCOMPLETE
    found = summary["reconciliation"]
    if by.keys is not None and found["divergent"] >= by.keys:
        return errors.DIVERGED
    if by.amount is not None and Decimal(found["absolute_difference"] or 0) >= by.amount:
        return errors.DIVERGED
    return errors.MATCHED


def _threshold(name: str, value: str, text: str) -> object:
    if name == "incomplete" and text == name:
        return True
    if name == "keys" and value.isascii() and value.isdigit() and int(value) > 0:
        return int(value)
    if name == "amount":
        try:
            amount = Decimal(value)
        except InvalidOperation:
            amount = Decimal(0)
        if amount.is_finite() and amount > 0:
            return amount
    near = (
        ""
        if name in ("keys", "amount", "incomplete")
        else did_you_mean(name, ["keys", "amount", "incomplete"])
    )
    raise ParameterError(f"--fail-on is {text!r}; expected {_FORMS}, with a number above 0.{near}")
