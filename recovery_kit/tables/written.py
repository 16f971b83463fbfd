"""How a user's file is written: the options of ``csv``, what they make of amounts, and the words
in which an error names the one that fits.
"""

from __future__ import annotations

import itertools
import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from recovery_kit._show import shorten
from recovery_kit.errors import ParameterError, did_you_mean

FILES = ("expected", "opening", "processed")
"""The parameters that name a user's file; ``csv`` may hold a mapping for each by its name."""

_NEGATIVES = {"(1)": r"^\((.*)\)$", "1-": r"^(.*)-$", "−1": r"^−(.*)$"}
_DECIMALS = (".", ",")
_THOUSANDS = (",", ".", " ", "'", "’")
_UNBROKEN = "[\u00a0\u2009\u202f]"


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _mark(value: object) -> bool:
    return isinstance(value, str) and len(value) == 1 and value not in '"\r\n'


def _sign(text: str) -> bool:
    return all(unicodedata.category(c) == "Sc" for c in text)


def _currency(value: object) -> bool:
    if not isinstance(value, str) or value in ("", "e", "E"):
        return False
    return all(c.isalpha() or _sign(c) for c in value)


def _surely_a_currency(text: str) -> bool:
    """Not any letters: 5k and 5 CR say something else than 5."""
    return bool(text) and (_sign(text) or re.fullmatch("[A-Z]{3}", text) is not None)


_OPTIONS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "separator": (_mark, 'one character, such as ";" or "\\t"'),
    "decimal": (lambda v: v in _DECIMALS, '"." or ","'),
    "thousands": (lambda v: v in _THOUSANDS, 'one of "," "." " " "\'" "’"'),
    "negative": (lambda v: v in _NEGATIVES, 'one of "(1)", "1-" and "−1", where 1 is any number'),
    "currency": (_currency, 'a sign or a code, such as "€" or "EUR"'),
    "footer": (_whole, "how many rows at the foot are no rows of the table, 0 or more"),
    "sheet": (lambda v: isinstance(v, str) and bool(v), "the name of a sheet"),
}
"""What each option may be: whether a value will do, and what is expected, in words."""


@dataclass(frozen=True)
class Written:
    """How one file is written; ``""`` or None is not told.

    Attributes
    ----------
    separator : str
        Between the cells of a line. Not told: a tab in a ``.tsv`` file, else a comma.
    decimal : str
        Before the decimals of an amount that is text. Not told: a point, unless ``thousands`` is
        one.
    thousands : str
        Between groups of three digits; ``" "`` also stands for blanks that do not break.
    negative : str
        How negative amounts may be written besides -1: ``"(1)"``, ``"1-"`` or ``"−1"``.
    currency : str
        What may stand before or after an amount.
    footer : int or None
        How many rows at the foot are not part of the table.
    sheet : str
        Of an Excel file.
    words : callable
        What was told and some more options, in the caller's words.
    parameters : mapping of str to str, optional
        Our columns to the notebook's parameters that name them; None for a caller in Python.
    """

    separator: str = ""
    decimal: str = ""
    thousands: str = ""
    negative: str = ""
    currency: str = ""
    footer: int | None = None
    sheet: str = ""
    words: Callable[[Mapping[str, object]], str] = field(default=str, compare=False)
    parameters: Mapping[str, str] | None = field(default=None, compare=False)

    @classmethod
    def by_keyword(cls, options: Mapping[str, Any] | Written | None, reader: str) -> Written:
        """What a caller in Python gave to a reader as ``csv=``; of a notebook's, as it is.

        Raises
        ------
        ParameterError
            An option that is not known, or a value that it cannot have.
        """
        if isinstance(options, Written):
            return options
        told = dict(options or {})
        return cls(
            **_checked(told), words=lambda more: f"{reader}(source, csv={_json({**told, **more})})"
        )

    @classmethod
    def by_parameter(
        cls, options: Mapping[str, Any], file: str, parameters: Mapping[str, str]
    ) -> Written:
        """What the parameter ``csv`` says of one file: what it says of all, and of this one.

        Raises
        ------
        ParameterError
            An option that is not known, or a value that it cannot have.
        """
        common = {name: value for name, value in options.items() if name not in FILES}
        own = {name: _inner(name, options[name]) for name in FILES if name in options}
        _checked(common)

        def words(more: Mapping[str, object]) -> str:
            # Of this file alone where it would change, or may change, what is read of another.
            alone = bool(own) or any(name in common for name in more)
            mine = {file: {**own.get(file, {}), **more}} if alone else more
            return f"csv: {_json({**options, **mine})}"

        mine = _checked(common | own.get(file, {}))
        return cls(**mine, words=words, parameters=parameters)

    @property
    def options(self) -> dict[str, Any]:
        """What was told, by name."""
        found = {f.name: getattr(self, f.name) for f in fields(self) if f.name in _OPTIONS}
        return {name: value for name, value in found.items() if value not in ("", None)}

    def option(self, **more: object) -> str:
        """Name some options, beside those that were given, in the caller's words."""
        return self.words(more)

    def plain(self, text: pa.Array) -> tuple[pa.Array, pa.Array]:
        """Amounts as digits and a point, and which cells are no amount written so."""
        text = pc.ascii_trim_whitespace(text)
        if self.currency or self.thousands == " ":
            text = pc.ascii_trim_whitespace(pc.replace_substring_regex(text, _UNBROKEN, " "))
        fits = pc.match_substring_regex(text, self._pattern())
        if self.currency:
            fits = pc.and_(fits, pc.less(pc.count_substring(text, self.currency), 2))
            text = pc.replace_substring(text, self.currency, "")
        drop = {" ", self.thousands} - {""}
        for mark in sorted(drop if self.currency or self.thousands else ()):
            text = pc.replace_substring(text, mark, "")
        if self.decimal == ",":
            text = pc.replace_substring(text, ",", ".")
        if self.negative:
            text = pc.replace_substring_regex(text, _NEGATIVES[self.negative], r"-\1")
        return text, pc.invert(fits)

    def _pattern(self) -> str:
        group, point = re.escape(self.thousands), self.decimal or "."
        whole = rf"(?:[0-9]{{1,3}}(?:{group}[0-9]{{3}})+|[0-9]+)" if group else "[0-9]+"
        mark = "" if point == self.thousands else re.escape(point)
        number = rf"(?:{whole}(?:{mark}[0-9]*)?|{mark}[0-9]+)" if mark else whole
        number += "(?:[eE][+-]?[0-9]{1,3})?"
        sign = re.escape(self.currency)
        before, after = (f"(?:{sign} ?)?", f"(?: ?{sign})?") if sign else ("", "")
        forms = [
            f"[+-]? ?{before}{number}{after}" if sign else f"[+-]?{number}",
            f"{before}[+-]?{number}{after}",
        ]
        forms += {
            "": [],
            "(1)": [rf"\({before}{number}{after}\)", rf"{before}\({number}\){after}"],
            "1-": [f"{before}{number}-{after}", f"{before}{number}{after}-"],
            "−1": [f"− ?{before}{number}{after}", f"{before}−{number}{after}"],
        }[self.negative]
        return f"^(?:{'|'.join(forms)})$"

    def advice(self, cell: str) -> str:
        """Which options would read a cell that these do not, each with what it makes of it."""
        found: dict[str, dict[str, str]] = {}
        for more in self._others(cell):
            changed: dict[str, Any] = dict(more)
            other = replace(self, **changed)
            text, odd = other.plain(pa.array([cell], pa.large_string()))
            if not odd[0].as_py():
                found.setdefault(text[0].as_py(), more)
        if not found:
            return ""
        fewest = min(map(len, found.values()))
        told = [
            f"{reading} with {self.option(**more)}"
            for reading, more in found.items()
            if len(more) == fewest
        ]
        return f" It is read as {', or as '.join(told)}"

    def _others(self, cell: str) -> list[dict[str, str]]:
        """What else could be told: first what leaves the given options as they are."""
        ends = re.findall(r"^[^0-9.,]+|[^0-9.,]+$", cell)
        signs = {re.sub(r"[\s()+−-]", "", end) for end in ends}
        choices = {
            "decimal": ("", *_DECIMALS),
            "thousands": ("", *_THOUSANDS),
            "negative": ("", *_NEGATIVES),
            "currency": ("", *sorted(filter(_surely_a_currency, signs))),
        }
        every = []
        for values in itertools.product(*choices.values()):
            more = {
                name: value
                for name, value in zip(choices, values, strict=True)
                if value and value != getattr(self, name)
            }
            merged = {n: more.get(n) or getattr(self, n) for n in ("decimal", "thousands")}
            if more and not (merged["decimal"] and merged["decimal"] == merged["thousands"]):
                every.append(more)
        return sorted(every, key=lambda more: (len(more), any(n in self.options for n in more)))


def _inner(file: str, options: object) -> dict[str, Any]:
    if not isinstance(options, Mapping):
        raise ParameterError(
            f"csv has {file} {shorten(repr(options))}; expected a mapping of options"
        )
    return _checked(dict(options))


def _checked(options: dict[str, Any]) -> dict[str, Any]:
    for name, value in options.items():
        if name not in _OPTIONS:
            near = did_you_mean(str(name), list(_OPTIONS))
            raise ParameterError(
                f"csv names {shorten(repr(name))}; expected options among "
                f"{', '.join(_OPTIONS)}.{near}"
            )
        fits, expected = _OPTIONS[name]
        if not fits(value):
            raise ParameterError(f"csv has {name} {shorten(repr(value))}; expected {expected}")
    if "thousands" in options and options["thousands"] == options.get("decimal"):
        raise ParameterError(
            f"csv has {options['decimal']!r} both for decimal and for thousands; expected two marks"
        )
    return options


def _json(options: Mapping[str, object]) -> str:
    return json.dumps(options, ensure_ascii=False)


def doubtful(plain: pa.Array, typed: pa.Array | None, written: Written) -> str | None:
    """An amount of a column in which each point has just what a point between thousands has around
    it; None where one has not, or where it was told what a point is.

    Parameters
    ----------
    plain : pyarrow.Array
        Amounts as `Written.plain` gives them.
    typed : pyarrow.Array or None
        Which of them are numbers as such, not text: their points are what they are.
    written : Written
    """
    if written.decimal or written.thousands:
        return None
    text = plain if typed is None else plain.filter(pc.invert(typed))
    pointed = text.filter(pc.match_substring(text, "."))
    grouped = pc.match_substring_regex(pointed, r"^[+-]?[1-9][0-9]{0,2}\.[0-9]{3}$")
    return pointed[0].as_py() if len(pointed) and pc.all(grouped).as_py() else None
