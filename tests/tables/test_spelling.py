"""Keys that differ only by their spelling: told with the setting that joins them, and never joined
without it.
"""

import unicodedata
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery_kit.errors import ParameterError
from recovery_kit.reconcile import Reconciliation, reconcile
from recovery_kit.tables.spelling import alike, pairs, rules_of
from recovery_kit.totals import totals
from tests.events import FORMS, Event, column, events, notes_of, rows


def compared(
    ours: list[str], theirs: list[str], key_spelling: str = "", form: str = "pyarrow"
) -> Reconciliation:
    """Each key with a total of 1 more than the last, the same for both sides by place."""
    log: list[Event] = [
        (f"e{n}", "add", f"{n + 1}.00", key, n, "t", 0, n) for n, key in enumerate(ours)
    ]
    expected = pa.table({"key": theirs, "total": [n + 1 for n in range(len(theirs))]})
    return reconcile(totals(FORMS[form](events(log))), expected, key_spelling=key_spelling)


CASES = [
    (["AB1"], [" AB1"], "blanks"),
    (["AB1"], ["AB1\u00a0"], "blanks"),
    (["AB1"], ["\ufeffAB1\t"], "blanks"),
    (["0012"], ["12"], "zeros"),
    (["0"], ["000"], "zeros"),
    (["AB1"], ["ab1"], "case"),
    (["caf\u00e9"], ["cafe\u0301"], "unicode"),
    (["12"], ["１２"], "unicode"),
    (["100000"], ["1E5"], "exponent"),
    (["123000"], ["1.23e+5"], "exponent"),
    (["ab1"], [" AB1 "], "blanks,case"),
    (["000100"], ["1E2"], "exponent,zeros"),
]


@pytest.mark.parametrize(("ours", "theirs", "setting"), CASES)
def test_a_spelling_is_told_with_the_setting_that_joins_it(
    ours: list[str], theirs: list[str], setting: str
) -> None:
    ours, theirs = [*ours, "same"], [*theirs, "same"]
    apart = compared(ours, theirs)
    assert apart.summary["statuses"]["matched"] == 1
    assert apart.summary["divergent"] == 2
    assert apart.summary["spelling"] == {"joined": 0, setting: 1, "crowded": 0}
    assert len(notes_of(apart)) == 1
    assert "1 key that only expected has and 1 key that only the log has" in notes_of(apart)[0]
    assert f"They are not joined; key_spelling {setting} would join them" in notes_of(apart)[0]
    assert rows(apart.spelling) == [
        {"key": ours[0], "expected_key": theirs[0], "rules": setting, "joined": False}
    ]
    joined = compared(ours, theirs, setting)
    assert joined.summary["statuses"]["matched"] == 2
    assert sorted(column(joined.table, "key")) == sorted(ours)
    assert joined.summary["spelling"] == {"joined": 1, "crowded": 0}
    assert f"joined as key_spelling {setting} asks" in notes_of(joined)[0]
    assert rows(joined.spelling)[0]["joined"]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (["1.5E0"], ["1"]),
        (["12"], ["120"]),
        (["A00"], ["A0"]),
        (["1E-2"], ["0"]),
        (["a b"], ["ab"]),
        (["a"], ["b"]),
    ],
)
def test_other_keys_are_not_alike(ours: list[str], theirs: list[str]) -> None:
    result = compared(ours, theirs)
    assert notes_of(result) == ()
    assert len(result.spelling) == 0


@pytest.mark.parametrize(
    ("ours", "theirs", "crowded"),
    [
        (["AB1"], ["ab1", "aB1"], 3),
        (["AB1", "ab1"], ["AB1", "Ab1"], 2),
        (["0012", "012"], ["12"], 3),
        (["AB1", "ab1"], ["AB1"], 0),
    ],
)
def test_keys_that_are_alike_on_one_side_are_never_joined(
    ours: list[str], theirs: list[str], crowded: int
) -> None:
    for setting in ("", "case,zeros"):
        result = compared(ours, theirs, setting)
        assert result.summary["spelling"] == {"joined": 0, "crowded": crowded}
        assert sorted(column(result.table, "key")) == sorted(set(ours) | set(theirs))
        assert [note for note in notes_of(result) if "no key_spelling joins" in note] == list(
            notes_of(result)
        )
        assert len(notes_of(result)) == bool(crowded)


@pytest.mark.parametrize("form", FORMS)
def test_the_pairs_have_the_form_of_the_totals_and_show_in_quotes(form: str) -> None:
    result = compared(["AB1"], ["AB1 "], form=form)
    assert type(result.spelling) is type(result.table)
    card = result._repr_html_()
    assert "Keys that differ by their spelling alone" in card
    assert "&#x27;AB1 &#x27;" in card
    assert "such as 'AB1 ' and 'AB1'" in repr(result)


def test_each_kind_has_its_own_note() -> None:
    result = compared(["AB1", "0012", "13", "x"], ["ab1", "12", "0013", "y"])
    assert result.summary["spelling"] == {"joined": 0, "case": 1, "zeros": 2, "crowded": 0}
    assert [note.split(" that only")[0] for note in notes_of(result)] == ["2 keys", "1 key"]


def test_one_rule_joins_what_it_joins_and_the_rest_is_still_told() -> None:
    result = compared(["AB1", "0012"], ["ab1", "12"], "zeros")
    assert result.summary["spelling"] == {"joined": 1, "case": 1, "crowded": 0}
    assert result.summary["statuses"]["matched"] == 1


def test_a_rule_that_is_not_known() -> None:
    for wrong in ("blank", "zeros;case"):
        with pytest.raises(
            ParameterError, match=f"key_spelling is '{wrong}'; expected names among"
        ):
            compared(["a"], ["a"], wrong)
    with pytest.raises(ParameterError, match="key_spelling is 5; expected text"):
        compared(["a"], ["a"], 5)  # type: ignore[arg-type]
    assert rules_of(" zeros, case ,") == ("case", "zeros")


KEYS = st.lists(
    st.text(st.sampled_from("aAßéE\u0301 0125\u00a0\u200b.ﬁ"), max_size=4), unique=True, max_size=6
)


@settings(deadline=None)
@given(KEYS, KEYS)
def test_each_setting_joins_as_many_as_it_is_told_to(ours: list[str], theirs: list[str]) -> None:
    found = alike(ours, theirs)
    alone = set(ours) ^ set(theirs)
    for pair in found.pairs:
        assert {pair.key, pair.expected_key} <= alone
        assert pair in pairs(ours, theirs, pair.rules)
    for side in ([p.key for p in found.pairs], [p.expected_key for p in found.pairs]):
        assert len(set(side)) == len(side)


@settings(deadline=None)
@given(
    KEYS,
    KEYS,
    st.sampled_from(["", "blanks", "case,unicode", "blanks,case,exponent,unicode,zeros"]),
)
def test_no_key_and_no_amount_is_lost(ours: list[str], theirs: list[str], setting: str) -> None:
    if not theirs:
        return
    result = compared(ours, theirs, setting)
    joined = result.summary["spelling"]["joined"]
    assert result.summary["keys"] == len(set(ours) | set(theirs)) - joined
    assert (result.summary["expected"] or 0) == Decimal(len(theirs) * (len(theirs) + 1) // 2)
    assert (result.summary["recovered"] or 0) == Decimal(len(ours) * (len(ours) + 1) // 2)


def test_the_sum_of_the_others_is_told() -> None:
    def notes(*amounts: int, last: str = "All accounts") -> tuple[str, ...]:
        log: list[Event] = [("e", "add", "1.00", "a", 0, "t", 0, 0)]
        given: dict[str, Any] = {"key": ["a", "b", last], "total": list(amounts)}
        found = reconcile(totals(events(log)), pa.table(given))
        return tuple(note for note in found.notes if "a row of totals" in note)

    assert len(notes(1, 2, 3)) == 1
    assert (
        "Expected has 'All accounts', a key that the log lacks, with the sum" in notes(1, 2, 3)[0]
    )
    assert notes(1, 2, 4) == notes(0, 0, 0) == ()


def test_forms_of_unicode_that_look_the_same_are_told_apart_in_the_note() -> None:
    decomposed = unicodedata.normalize("NFD", "é")
    note = notes_of(compared(["é"], [decomposed]))[0]
    assert "differ by nothing but Unicode forms" in note
    assert r"such as 'e\u0301' and '\xe9'" in note
