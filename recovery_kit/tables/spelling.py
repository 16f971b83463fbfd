"""Keys that differ only by how they are spelled: found and told, joined only where that is asked.

A key of one side and a key of the other are a pair by some rules when the rules make them the same,
and no other key of either side with them.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from recovery_kit._show import quoted
from recovery_kit.errors import ParameterError, did_you_mean

Rules = tuple[str, ...]


class Pair(NamedTuple):
    """One key as the log spells it, as expected does, and the rules that make them the same."""

    key: str
    expected_key: str
    rules: Rules


class Alike(NamedTuple):
    """Pairs, and how many lone keys some rules make the same as several keys of a side."""

    pairs: list[Pair]
    crowded: int

    @property
    def counts(self) -> dict[str, int]:
        """How many pairs each setting of ``key_spelling`` would join."""
        return dict(Counter(",".join(pair.rules) for pair in self.pairs))


# Each rule is tried on every key that may be like another, so it leaves early where it can.


def _composed(key: str) -> str:
    return key if key.isascii() else unicodedata.normalize("NFKC", key)


def _stripped(key: str) -> str:
    """Without what shows as nothing at the ends: blanks, control and format characters."""
    first, behind = 0, len(key)
    while first < behind and _nothing(key[first]):
        first += 1
    while first < behind and _nothing(key[behind - 1]):
        behind -= 1
    return key[first:behind]


def _nothing(c: str) -> bool:
    return c.isspace() or (not c.isprintable() and unicodedata.category(c) in ("Cc", "Cf"))


def _written_out(key: str) -> str:
    if "e" not in key and "E" not in key:
        return key
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?[eE]\+?[0-9]{1,2}", key, re.ASCII):
        return key
    number = Decimal(key)
    return f"{number:f}".partition(".")[0] if number == number.to_integral_value() else key


def _unpadded(key: str) -> str:
    if not (key.startswith("0") and key.isascii() and key.isdigit()):
        return key
    return key.lstrip("0") or "0"


_RULES: dict[str, tuple[Callable[[str], str], str]] = {
    "unicode": (_composed, "Unicode forms of a character"),
    "blanks": (_stripped, "blanks or control characters at the ends"),
    "case": (str.casefold, "upper and lower case"),
    "exponent": (_written_out, "a number with an exponent, as 1E5 for 100000"),
    "zeros": (_unpadded, "zeros in front of a number"),
}
"""What each rule makes of a key, and what it overlooks, in words; in the order of their turn."""


def rules_of(key_spelling: str) -> Rules:
    """The rules that a setting names, joined by commas.

    Raises
    ------
    ParameterError
        It names another.
    """
    if not isinstance(key_spelling, str):
        raise ParameterError(
            f"key_spelling is {key_spelling!r}; expected text such as 'blanks,zeros'"
        )
    named = [word.strip() for word in key_spelling.split(",") if word.strip()]
    for word in named:
        if word not in _RULES:
            raise ParameterError(
                f"key_spelling is {key_spelling!r}; expected names among {', '.join(_RULES)}, "
                f"joined by commas.{did_you_mean(word, list(_RULES))}"
            )
    return tuple(rule for rule in _RULES if rule in named)


def spelled(key: str, rules: Iterable[str]) -> str:
    """What some rules, in the order of their turn, make of a key."""
    for rule in rules:
        key = _RULES[rule][0](key)
    return key


def pairs(ours: Sequence[str], theirs: Sequence[str], rules: Rules) -> list[Pair]:
    """The lone keys of two sides that some rules pair, in the order of ours.

    Parameters
    ----------
    ours, theirs : sequence of str
        Every key of the log and of the expected side, each once.
    rules : tuple of str
    """
    return _pairs(ours, theirs, rules, _alone(ours, theirs)) if rules else []


def _pairs(ours: Iterable[str], theirs: Iterable[str], rules: Rules, alone: set[str]) -> list[Pair]:
    by = [_by_form(side, rules) for side in (ours, theirs)]
    return [
        Pair(mine[0], other[0], rules)
        for form, mine in by[0].items()
        if len(mine) == 1 and len(other := by[1].get(form, [])) == 1 and alone.issuperset(mine)
    ]


def alike(ours: Sequence[str], theirs: Sequence[str]) -> Alike:
    """All pairs by the fewest rules that make them, and what is left.

    Parameters
    ----------
    ours, theirs : sequence of str
        Every key of the log and of the expected side, each once.
    """
    alone, every = _alone(ours, theirs), tuple(_RULES)
    near = [_by_form(side, every) for side in (ours, theirs)] if alone else [{}, {}]
    groups = {form: (near[0][form], near[1][form]) for form in near[0].keys() & near[1].keys()}
    groups = {form: sides for form, sides in groups.items() if all(map(alone.intersection, sides))}
    lone = sum(key in alone for sides in groups.values() for side in sides for key in side)
    found: list[Pair] = []
    sizes = range(1, len(every) + 1)
    for rules in itertools.chain.from_iterable(itertools.combinations(every, n) for n in sizes):
        ours, theirs = ([key for g in groups.values() for key in g[at]] for at in (0, 1))
        made = [p for p in _pairs(ours, theirs, rules, alone) if p.expected_key in alone]
        found += made
        alone.difference_update(key for pair in made for key in (pair.key, pair.expected_key))
        groups = {form: g for form, g in groups.items() if all(map(alone.intersection, g))}
    return Alike(sorted(found), lone - 2 * len(found))


def respelled(
    given: pa.Table, names: pa.ChunkedArray, rules: Rules
) -> tuple[pa.Table, list[Pair], Alike]:
    """An expected table with the log's spelling of the keys that rules join, the pairs that were
    joined, and those that other rules would join.
    """
    sides = [names.cast(pa.large_string()), given["key"]]
    if any(pc.all(pc.is_in(a, value_set=b)).as_py() for a, b in (sides, sides[::-1])):
        return given, [], Alike([], 0)  # no key of a side is alone: the usual case, and fast
    ours, theirs = (side.to_pylist() for side in sides)
    joined = pairs(ours, theirs, rules)
    if joined:
        ours_of = {pair.expected_key: pair.key for pair in joined}
        theirs = [ours_of.get(key, key) for key in theirs]
        at = given.column_names.index("key")
        given = given.set_column(at, "key", pa.array(theirs, pa.large_string()))
    return given, joined, alike(ours, theirs)


def _alone(ours: Sequence[str], theirs: Sequence[str]) -> set[str]:
    """The keys that only one side has; none where each key of a side stands on the other too."""
    mine, others = set(ours), set(theirs)
    return mine ^ others if mine - others and others - mine else set()


def _by_form(keys: Iterable[str], rules: Rules) -> dict[str, list[str]]:
    by: dict[str, list[str]] = {}
    for key in keys:
        by.setdefault(spelled(key, rules), []).append(key)
    return by


def table(joined: Sequence[Pair], found: Alike) -> pa.Table:
    """The pairs as `Reconciliation.spelling` has them."""
    every = [*joined, *found.pairs]
    return pa.table(
        {
            "key": pa.array([pair.key for pair in every], pa.large_string()),
            "expected_key": pa.array([pair.expected_key for pair in every], pa.large_string()),
            "rules": pa.array([",".join(pair.rules) for pair in every], pa.large_string()),
            "joined": pa.array([at < len(joined) for at in range(len(every))], pa.bool_()),
        }
    )


def told(joined: Sequence[Pair], found: Alike) -> list[str]:
    """What a reader of the result must know, in sentences."""
    notes = [
        f"{_count(n, 'key')} of expected {'is' if n == 1 else 'are'} spelled otherwise in the log, "
        f"and joined as key_spelling {','.join(rules)} asks, such as {_example(joined, rules)}"
        for rules, n in Counter(pair.rules for pair in joined).items()
    ]
    for rules, n in Counter(pair.rules for pair in found.pairs).most_common():
        by = " and ".join(_RULES[rule][1] for rule in rules)
        notes.append(
            f"{_count(n, 'key')} that only expected has and {_count(n, 'key')} that only the log "
            f"has differ by nothing but {by}, such as {_example(found.pairs, rules)}. They are not "
            f"joined; key_spelling {','.join(rules)} would join them"
        )
    if found.crowded:
        notes.append(
            f"{_count(found.crowded, 'key')} that only one side has {_differ(found.crowded)} from "
            "keys of the other side only by spelling, but more than one of a side are alike: no "
            "key_spelling joins these"
        )
    return notes


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _differ(n: int) -> str:
    return "differs" if n == 1 else "differ"


def _example(found: Sequence[Pair], rules: Rules) -> str:
    """Both spellings of one pair, in quotes whatever they are, for the difference may not show."""
    pair = next(pair for pair in found if pair.rules == rules)
    plain = "unicode" not in rules  # what two forms of one character are, only their codes show
    theirs, ours = (key if plain else key.encode("unicode_escape").decode() for key in pair[1::-1])
    return f"{quoted(theirs, always=True)} and {quoted(ours, always=True)}"
