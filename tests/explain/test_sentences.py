"""Every sentence that explain() and dedup() can make: a case that brings it about, and one that
comes close, in which it would be false and is withheld.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import NamedTuple

import pytest

import recovery_kit
from tests.explain.said import CASES

PACKAGE = Path(recovery_kit.__file__).parent

SOURCES = [
    *sorted((PACKAGE / "explain" / "evidence").glob("*.py")),
    PACKAGE / "explain" / "diagnose.py",
    PACKAGE / "explain" / "proven" / "listed.py",
    PACKAGE / "dedup.py",
    PACKAGE / "tables" / "repeats.py",
]


class Sentence(NamedTuple):
    says: str
    case: str
    close: str


TABLE = [
    Sentence(*row)
    for row in (
        # Windows.
        (
            "300 events of log partition 1, offsets 700 to 999, 2026-03-02 12:22:45Z to 12:32:25Z, "
            "missed: 40 keys, -49,492.12 net; 40 keys agree exactly only with it, 0 only without "
            "it",
            "window_missed",
            "window_missed_within",
        ),
        ("40 keys agree within the tolerance only with it", "window_missed_within",
         "window_missed"),
        ("11 of the key's events are among them: 300 events", "window_missed", "one_missed"),
        ("offsets 1,900 to 1,970, 2026-03-02 13:04:07Z to 13:06:38Z, not processed yet: 33 keys",
         "window_to_the_end", "window_missed"),
        ("169 subtract events of 2 partitions, 2026-03-02 12:16:41Z to 12:24:59Z, applied with the "
         "wrong sign", "window_of_signs", "window_of_factors"),
        ("applied with a wrong factor: 75 keys", "window_of_factors", "window_of_signs"),
        ("offsets 600 to 659, 2026-03-02 12:20:25Z to 12:22:34Z, applied twice", "window_of_events",
         "window_of_events_doubted"),
        ("redelivered copies of log partition", "window_of_copies", "window_of_events"),
        ("60 events of log partition 0, offsets 600 to 659, 2026-03-02 12:20:25Z to 12:22:34Z, "
         "counted again", "window_of_events_doubted", "window_of_events"),
        ("the ids may not be unique (id_field), and then the system may be right",
         "copies_doubted_by_list", "window_of_copies"),
        ("0 only without it; the ids may not be unique (id_field)", "window_of_copies_doubted",
         "window_of_copies"),
        ("every event stands in the processed list so, or is absent from it",
         "window_of_signs_by_list", "window_of_signs"),
        ("leaves 0.0% of what the keys differ by; edges may be some events off", "guessed_one",
         "guessed_two"),
        ("2 incidents of this kind leave 0.0% of what the keys", "guessed_two", "guessed_one"),
        # Single events.
        ("event 'e17' missed comes to -179.21", "one_missed", "list_lacks"),
        (", or one of 5 more that fit as well, missed", "one_of_two", "one_missed"),
        ("nothing tells them apart", "two_ways", "two_by_chance"),
        ("chance may well give such a match", "two_by_chance", "two_missed"),
        ("; with 1 more it accounts for what is left of the key", "two_missed", "one_missed"),
        ("(100 times its amount) comes to 17,741.79", "hundredfold", "one_missed"),
        ("redelivered event 'e59' applied twice comes to", "copy_applied", "copy_harmless"),
        ("conflicting version of 'e73' applied in another version", "version_applied",
         "copy_harmless"),
        ("an incident's edge lies past 'e11' of this key, which comes to -5.00", "edge_past_one",
         "edge_past_three"),
        ("'e11' and 2 more events of this key, which", "edge_past_three", "edge_past_one"),
        # Keys of one side.
        ("the log has 8 events of this key that count; the expected totals lack it",
         "expected_lacks", "expected_lacks_one"),
        ("the log has 1 event of this key that count", "expected_lacks_one", "opening_only"),
        ("the opening totals have this key; the log as read and the expected totals lack it",
         "opening_only", "expected_lacks"),
        ("the expected totals have this key; the log as read holds no event of it", "log_lacks",
         "key_rejected"),
        ("the log as read holds no event of it", "log_lacks", "key_of_a_version_not_chosen"),
        ("the log was not read whole (truncated)", "log_lacks_and_was_not_read_whole",
         "log_lacks"),
        ("only a part of it was asked for (from 2026-03-02T12:00:00.000Z",
         "log_lacks_in_its_window", "log_lacks"),
        ("1 of its messages could not be read", "unreadable_names_neither", "log_lacks"),
        ("1 message that could not be read names it: log partition 0 offset 9000 (not JSON)",
         "unreadable_names_key", "unreadable_names_neither"),
        ("2 messages that could not be read name it", "unreadable_names_key_twice",
         "unreadable_names_key"),
        ("an unreadable message (not JSON), log partition 0 offset 9000, names this key and 5.00",
         "unreadable_names_key_and_amount", "unreadable_names_key"),
        ("none of its events counts: 'x' at log partition 0 offset 193 was set aside (no version "
         "of this id was chosen, on_conflict='reject')", "key_rejected",
         "key_of_a_version_not_chosen"),
        ("was set aside (the version that was chosen is of another key, 'k004', at log partition 0 "
         "offset 192)", "key_of_a_version_not_chosen", "key_of_the_version_chosen"),
        # What nothing explains.
        ("no incident that was found comes to 1,234.56, nor any match among the key's own events "
         "that can be told from chance", "by_hand", "one_missed"),
        ("within the tolerance", "within", "one_missed"),
        ("the total of k003 holds 1,234.56 more than the log and the processed list account for",
         "list_and_total_differ", "list_has_a_stranger"),
        ("more than the log, the ids in the processed list and what was found beside them account "
         "for", "ids_and_total_differ", "list_and_total_differ"),
        # A processed list.
        ("in the log, not in the processed list", "list_lacks", "list_has_another_key"),
        ("3 events; the first: in the log", "list_lacks_three", "list_lacks"),
        ("not processed, nor any later event of its partition that counts and stands in no other "
         "as well", "list_ends_early", "list_lacks"),
        ("in the processed list 2 times", "list_has_twice", "list_has_another_amount"),
        (r"applied to another key: '\x1b[31mother'", "list_has_another_key", "list_lacks"),
        ("applied to this key; the log says another", "list_has_another_key",
         "list_has_a_version_not_chosen"),
        ("applied to this key, as a version says that was not chosen",
         "list_has_a_version_not_chosen", "list_has_another_key"),
        ("applied as 179.22, the log says 179.21", "list_has_another_amount",
         "list_has_the_amount_of_a_version_not_chosen"),
        ("applied as 5.00, a version not chosen; chosen was 9.00",
         "list_has_the_amount_of_a_version_not_chosen", "list_has_another_amount"),
        ("applied with another amount", "list_has_other_amounts", "list_has_another_amount"),
        ("in the processed list, not in the log as read", "list_has_a_stranger",
         "list_has_a_rejected_version"),
        ("one of several versions, none of which was chosen", "list_has_a_rejected_version",
         "list_has_a_version_not_chosen"),
        ("the processed list has 'hand' of this amount, an id that the log as read lacks",
         "list_has_a_stranger_of_no_key", "list_has_a_rejected_version_of_no_key"),
        ("has 'x' of this amount, of which no version was chosen",
         "list_has_a_rejected_version_of_no_key", "list_has_a_stranger_of_no_key"),
        ("1 processed id not in the log as read, of 1,234.56 in all, of which the list does not "
         "say the keys", "list_has_a_stranger_of_no_key", "list_has_a_stranger"),
        ("1 processed id not in the log as read, of which the list does not say the amounts",
         "list_has_a_stranger_of_no_amount", "list_has_a_rejected_version_of_no_amount"),
        ("1 processed id in the log in several versions, of which none was chosen, of which",
         "list_has_a_rejected_version_of_no_amount", "list_has_a_stranger_of_no_amount"),
        ("not in the log as read, for keys that neither side has, of 0.07 in all",
         "list_has_a_key_that_neither_side_has", "list_has_a_stranger"),
        # Ids that are not unique.
        ("the key's 1 copy that was set aside comes to this; the ids may not be unique (id_field), "
         "and then the system may be right", "one_copy_of_doubted_ids", "copy_applied"),
        ("the key's 49 copies that were set aside come to this", "ids_of_the_type",
         "window_of_copies"),
        ("The ids may not be unique: 60 of 60 copies have another type, value or key than the "
         "first of their id, which a redelivery repeats. If they are not, events were set aside "
         "as copies: set id_field to a field that no two events share", "ids_of_two_counters",
         "version_applied"),
        ("100 of 100 copies of the same content have both another time and another partition than "
         "the first of their id, as hardly a redelivery has", "ids_of_a_partition",
         "window_of_copies"),
        ("49 of 49 copies have another time than the first of their id, and there are but 1 ids: "
         "more than two copies of each on average", "ids_of_the_type", "window_of_copies"),
        # Dedup.
        ("1 event id came with more than one content: the first copy was chosen "
         "(on_conflict='first'). The column worth says what each copy would add to the sum over "
         "all keys.", "version_applied", "key_of_the_version_chosen"),
        ("came with more than one content: no copy was chosen", "key_rejected",
         "key_of_a_version_not_chosen"),
        ("1 event id came with more than one content", "key_rejected", "right"),
    )
]  # fmt: skip

NOT_SAID = {
    "the whole log", "missing from expected", "unknown to the log", "what reconcile() gives",
    "what dedup() gives", "Conflicting copies, those worth most first", "events (rows)",
    "redelivered, same content", "conflicting, other content",
    # Of a ConflictError: tests/test_dedup.py.
    'on_conflict="first", "last" or "reject" settles them and lists every copy in .conflicts',
}  # fmt: skip
"""Names, and what errors say."""


def templates(path: Path) -> set[str]:
    """The parts of two words and more of all texts in a source that are no docstrings, and not of
    an error that is raised there.
    """
    tree = ast.parse(path.read_text())
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise):
            skipped |= {id(inner) for inner in ast.walk(node)}
        if isinstance(node, ast.Expr):
            skipped.add(id(node.value))
    texts = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in skipped
    }
    return {t for t in texts if len(re.findall(r"[a-z]{2,}", t)) > 1 and " " in t.strip()}


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.case}: {row.says[:40]}")
def test_a_sentence_is_said_where_it_is_true_and_not_where_it_would_be_false(row: Sentence) -> None:
    assert row.says in CASES[row.case]()
    assert row.says not in CASES[row.close]()


def test_every_sentence_in_the_sources_has_a_row() -> None:
    told = "\n".join(row.says for row in TABLE)
    found = {text for path in SOURCES for text in templates(path)}
    assert {text for text in found if text not in told} == NOT_SAID
    assert len(found) > 80


def test_nothing_is_said_where_nothing_is_wrong() -> None:
    for case in ("right", "right_by_list"):
        assert CASES[case]().startswith("Dedup\n")
        assert "!" not in CASES[case]()
