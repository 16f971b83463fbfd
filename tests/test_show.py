"""How results draw themselves: escaped, exact, defused."""

import html
from decimal import Decimal
from html.parser import HTMLParser

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recovery_kit import _show

HOSTILE = "<script>alert('x')</script>\x1b[2J\u202e=cmd|calc"


class Tags(HTMLParser):
    """Collects the tags that a browser would see."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        self.seen.add(tag)


@given(st.text())
def test_clean_text_holds_nothing_that_a_terminal_obeys(text: str) -> None:
    shown = _show.clean(text)
    assert shown.isprintable()
    assert not set(shown) & set("\x1b\x07\u202e\u2066\n\r")
    if text.isprintable():
        assert shown == text


@given(st.text(), st.binary())
def test_fault_39_a_card_escapes_whatever_a_message_holds(text: str, data: bytes) -> None:
    table = pd.DataFrame({"key": [text], "value": [data], text or "column": ["x"]})
    tags = Tags()
    tags.feed(_show.html_card(text, [("label", text)], [(text, table)], [text]))
    assert tags.seen <= {"div", "style", "h4", "table", "tr", "th", "td", "caption"}


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("AB1", "AB1"),
        ("a b", "a b"),
        ("0012", "0012"),
        (" AB1", "' AB1'"),
        ("AB1 ", "'AB1 '"),
        ("a  b", "'a  b'"),
        ("AB1\u00a0", r"'AB1\xa0'"),
        ("AB\u200b1", r"'AB\u200b1'"),
        ("AB1\t", r"'AB1\t'"),
        ("", "''"),
        ("'AB1'", "''AB1''"),
    ],
)
def test_a_key_that_could_be_taken_for_another_is_in_quotes(key: str, shown: str) -> None:
    assert _show.quoted(key) == shown
    card = _show.html_card("t", [], [("c", pd.DataFrame({"key": [key], "expected_key": [key]}))])
    assert card.count(f"<td class='t'>{html.escape(shown)}</td>") == 2


def test_a_hostile_card() -> None:
    card = _show.html_card("t", [("k", HOSTILE)], [("c", pd.DataFrame({"key": [HOSTILE]}))])
    assert "<script" not in card
    assert "\x1b" not in card
    assert "\u202e" not in card
    assert "\x1b" not in _show.text_card(HOSTILE, [("k", HOSTILE)], [HOSTILE])


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Decimal("-1234567.10"), "-1,234,567.10"),
        (Decimal("1E+3"), "1,000"),
        (Decimal("0.00"), "0.00"),
        (12345, "12,345"),
        (True, "yes"),
        (None, "–"),
        (pd.NA, "–"),
        (pd.NaT, "–"),
        (float("nan"), "–"),
        (b"\xff\x1b[0m", "\\xff\\x1b[0m"),
        (pd.Timestamp("2026-03-02T13:00:00.5+01:00"), "2026-03-02 12:00:00.500Z"),
    ],
)
def test_cells_as_people_read_them(value: object, shown: str) -> None:
    assert _show.number(value) == shown


def test_a_long_table_says_what_it_leaves_out() -> None:
    card = _show.html_card("t", [], [("keys", pd.DataFrame({"n": range(25)}))])
    assert "first 20 of 25" in card
    assert card.count("<tr>") == 21 + 0  # the heading and twenty rows


@given(st.text(), st.integers(20, 300))
def test_what_an_error_says_is_cut_between_words_and_never_grows(text: str, width: int) -> None:
    said = _show.told(text, width)
    assert said.isprintable()
    assert len(said) <= width
    whole = _show.clean(" ".join(text.split()))
    if len(whole) <= width:
        assert said == whole
    else:
        assert said.endswith("…")
        assert whole.startswith(said.removesuffix("…").removesuffix(" "))
    if said.endswith(" …"):
        assert whole[len(said) - 2] == " "


def test_an_error_of_one_endless_word_is_still_told() -> None:
    assert _show.told("x" * 500, 100) == "x" * 99 + "…"
    assert _show.told("why " + "x" * 500, 100).startswith("why xxx")
    assert _show.told("no such\nhost " * 50, 100).endswith("no such …")
