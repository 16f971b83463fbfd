"""Which field of a message is the id, type, value, key and time, and what each type does to a
total.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from functools import cached_property
from types import MappingProxyType

import pyarrow as pa

from recovery_kit._show import brief
from recovery_kit.errors import SchemaError

DIGITS = 28
"""Most digits an amount may have, so that sums of 10**9 of them fit in a decimal128 of 38 digits.
"""

TIME_UNITS = {"s": 1_000, "ms": 1, "us": -1_000}
"""Epoch units: milliseconds a unit, or, negative, units a millisecond."""

TIME_TYPE = pa.timestamp("ms", tz="UTC")

_OFFSET = re.compile(r"[+-](0\d|1[0-4]):[0-5]\d")


@dataclass(frozen=True)
class EventSchema:
    r"""How to read one event out of one message.

    Parameters
    ----------
    id, type, value : str
        Names of the payload's fields. A dot reaches into a nested object (``data.amount``); a dot
        that is part of a name is written ``\.``.
    key : str, optional
        The payload field that says whose total the event belongs to. Not given: the message key.
    time : str, optional
        The payload field with the event's own time, an ISO 8601 string or an epoch number. Not
        given: the record's timestamp.
    decimals : int
        Decimal places of an amount. A value with more is a reject, never rounded.
    effects : mapping of str to int, decimal.Decimal or str
        What each type does to a total: its value times this factor. A type that is not here is a
        reject.
    time_unit : {"ms", "s", "us"}
        The unit of times that are numbers.
    utc_offset : str, optional
        The offset, such as ``"+00:00"``, of ISO times written without one. Not given: those are
        rejects.
    no_key : str
        The key of events that have none: with ``key`` not given and no message key there is one
        total.

    Raises
    ------
    SchemaError
        When a name is empty, two fields collide, a factor is not an exact number, or a unit is
        unknown.

    Examples
    --------
    >>> EventSchema(id="meta.id", value="data.amount", key="data.account", effects={"credit": 1,
      "debit": -1}) EventSchema(id='meta.id', value='data.amount', key='data.account',
      effects={'credit': 1, 'debit': -1})
    """

    id: str = "id"
    type: str = "type"
    value: str = "value"
    key: str | None = None
    time: str | None = None
    decimals: int = 2
    effects: Mapping[str, int | Decimal | str] = field(
        default_factory=lambda: {"add": 1, "subtract": -1}
    )
    time_unit: str = "ms"
    utc_offset: str | None = None
    no_key: str = "(all)"

    def __post_init__(self) -> None:
        if type(self.decimals) is not int or not 0 <= self.decimals <= 18:
            raise SchemaError(
                f"decimals is {self.decimals!r}; expected a whole number from 0 to 18"
            )
        if self.time_unit not in TIME_UNITS:
            raise SchemaError(
                f"time_unit is {self.time_unit!r}; expected one of {', '.join(TIME_UNITS)}"
            )
        if self.utc_offset is not None and not _OFFSET.fullmatch(self.utc_offset):
            raise SchemaError(
                f"utc_offset is {self.utc_offset!r}; expected an offset such as '+00:00'"
            )
        if not self.effects:
            raise SchemaError("effects is empty; expected at least one type, such as {'add': 1}")
        if not isinstance(self.no_key, str) or not self.no_key:
            raise SchemaError(
                f"no_key is {self.no_key!r}; expected the key of events that have none, such as "
                "'(all)'"
            )
        for text in (
            self.id,
            self.type,
            self.value,
            self.key,
            self.time,
            self.no_key,
            *self.effects,
        ):
            if any("\ud800" <= c <= "\udfff" for c in str(text)):
                raise SchemaError(f"{text!r} is not valid Unicode, so that no message can hold it")
        object.__setattr__(
            self,
            "effects",
            MappingProxyType({str(k): _factor(k, v) for k, v in self.effects.items()}),
        )
        if self.amount_scale > 18:
            raise SchemaError(
                f"decimals and the factors of effects need {self.amount_scale} decimals; at most 18"
            )
        seen: dict[tuple[str, ...], str] = {}
        for role, path in self.paths.items():
            for other, name in seen.items():
                if path[: len(other)] == other or other[: len(path)] == path:
                    raise SchemaError(
                        f"{name} and {role} both read {'.'.join(path)!r}; each needs a field of "
                        "its own"
                    )
            seen[path] = role

    def __hash__(self) -> int:
        return hash(repr(self))

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self.to_dict(),)

    def __repr__(self) -> str:
        shown = ((k, v) for k, v in self.to_dict().items() if v != _DEFAULTS[k])
        return f"EventSchema({', '.join(f'{k}={v!r}' for k, v in shown)})"

    @cached_property
    def paths(self) -> dict[str, tuple[str, ...]]:
        """Role to path into the payload, for the roles that are read from there, in a fixed
        order.
        """
        roles = ("id", "type", "value", "key", "time")
        return {
            role: _path(role, name) for role in roles if (name := getattr(self, role)) is not None
        }

    @cached_property
    def factors(self) -> dict[str, int]:
        """Type to its factor, as a whole number of 10**-factor_decimals."""
        return {
            name: int(Decimal(f).scaleb(self.factor_decimals)) for name, f in self.effects.items()
        }

    @property
    def factor_decimals(self) -> int:
        """Decimals that the factors need; 0 where they are whole numbers."""
        return max(
            (
                max(0, -int(Decimal(f).normalize().as_tuple().exponent))
                for f in self.effects.values()
            ),
            default=0,
        )

    @property
    def amount_scale(self) -> int:
        """Decimals of an effect: those of a value and of a factor together, so that the product is
        exact.
        """
        return self.decimals + self.factor_decimals

    @property
    def arrow_types(self) -> dict[str, pa.DataType]:
        """The events table: column name to Arrow type, in order."""
        return {
            "event_id": pa.large_string(),
            "type": pa.dictionary(pa.int32(), pa.string()),
            "value": pa.decimal128(DIGITS, self.decimals),
            "effect": pa.decimal128(DIGITS, self.amount_scale),
            "key": pa.large_string(),
            "time": TIME_TYPE,
            "topic": pa.dictionary(pa.int32(), pa.string()),
            "partition": pa.int32(),
            "offset": pa.int64(),
        }

    def to_dict(self) -> dict[str, object]:
        """Plain values, as JSON can hold them; ``EventSchema(**d)`` is the way back."""
        effects = {
            k: int(v) if Decimal(v) == int(Decimal(v)) else str(v) for k, v in self.effects.items()
        }
        return {name: effects if name == "effects" else getattr(self, name) for name in _DEFAULTS}


def _path(role: str, name: str) -> tuple[str, ...]:
    if not isinstance(name, str):
        raise SchemaError(f"{role} is {name!r}; expected the name of a payload field")
    parts = tuple(part.replace("\\.", ".") for part in re.split(r"(?<!\\)\.", name))
    if not all(parts):
        raise SchemaError(
            f"{role} is {name!r}; expected field names joined by dots, none of them empty"
        )
    return parts


def _factor(name: str, factor: object) -> Decimal:
    if isinstance(factor, bool | float):
        raise SchemaError(
            f"the effect of {name!r} is {brief(factor)}; give a whole number or a decimal in "
            "quotes, such as '-1'"
        )
    try:
        # A list or mapping may be endless as text, see `told`.
        plain = isinstance(factor, str) or not isinstance(factor, Container)
        exact = Decimal(str(factor) if plain else "NaN")
    except InvalidOperation:
        exact = Decimal("NaN")
    if not exact.is_finite() or abs(exact) >= 10**9 or exact != round(exact, 9):
        raise SchemaError(
            f"the effect of {name!r} is {brief(factor)}; expected a number below 10**9 with at "
            "most 9 decimals"
        )
    return exact


def _rebuild(values: dict[str, object]) -> EventSchema:
    return EventSchema(**values)  # type: ignore[arg-type]


_DEFAULTS: dict[str, object] = {
    "id": "id", "type": "type", "value": "value", "key": None, "time": None, "decimals": 2,
    "effects": {"add": 1, "subtract": -1}, "time_unit": "ms", "utc_offset": None, "no_key": "(all)",
}  # fmt: skip
