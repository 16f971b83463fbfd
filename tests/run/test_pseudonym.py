"""Tokens for keys and ids: the same for the same, in every table, and nothing else of them left."""

import dataclasses
import json
import stat
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recovery_kit.errors import ParameterError, TableError
from recovery_kit.payload.messages import REJECT_SCHEMA, TOMBSTONE_SCHEMA
from recovery_kit.replay import Replay
from recovery_kit.run.pseudonym import (
    VARIABLE,
    Pseudonyms,
    pseudonyms,
    table_without_names,
    without_names,
)
from recovery_kit.run.settings import Settings
from recovery_kit.schema import EventSchema
from recovery_kit.sources.window import Window
from recovery_kit.tables.arrow import to_pandas
from recovery_kit.tables.given import read_processed, read_totals
from tests.events import FORMS, events

SECRET = "a secret of at least sixteen"
NAMES = Pseudonyms(("key", "id"), "(all)", None, SECRET.encode())


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, SECRET)


def log(*rows: tuple[str, str, str]) -> pd.DataFrame:
    """Events of these ids, values and keys."""
    found = events(
        [(id_, "add", value, key, 0, "t", 0, at) for at, (id_, value, key) in enumerate(rows)]
    )
    frame: pd.DataFrame = FORMS["pandas"](found)
    return frame


def replay(frame: pd.DataFrame) -> Replay:
    place = {
        "topic": "t",
        "partition": 0,
        "offset": 90,
        "time": 0,
        "headers": [{"name": "acct-77", "value": b"acct-77"}],
    }
    rejects = [
        place
        | {
            "reason": "type 'acct-77' has no effect in the schema",
            "key": b"acct-77",
            "value": b"acct-77",
        }
    ]
    rejects += [place | {"reason": "the message key is not UTF-8", "key": b"\xff", "value": None}]
    return Replay(
        events=frame,
        rejects=to_pandas(pa.Table.from_pylist(rejects, REJECT_SCHEMA)),
        tombstones=to_pandas(pa.Table.from_pylist([place | {"key": b"acct-77"}], TOMBSTONE_SCHEMA)),
        coverage=pd.DataFrame(),
        verdict="complete",
        schema=EventSchema(),
        source="t",
        window=Window(),
    )


def test_nothing_of_a_name_is_left() -> None:
    frame = log(("acct-77:1", "5.00", "acct-77"), ("acct-78:1", "1.00", "acct-78"))
    found = without_names(replay(frame), NAMES)
    shown = "".join(
        repr(table.to_dict("records")) for table in (found.events, found.rejects, found.tombstones)
    )
    assert "acct-7" not in shown
    token = NAMES.token("key", b"acct-77")
    assert found.events["key"].tolist() == [token, NAMES.token("key", b"acct-78")]
    assert [bytes(k) for k in found.rejects["key"]] == [
        token.encode(),
        NAMES.token("key", b"\xff").encode(),
    ]
    assert found.rejects["reason"].tolist() == [
        "the type has no effect in the schema",
        "the message key is not UTF-8",
    ]
    assert list(found.events.dtypes) == list(frame.dtypes)
    assert list(found.rejects.dtypes) == list(replay(frame).rejects.dtypes)
    assert found.events["effect"].tolist() == [Decimal("5.00"), Decimal("1.00")]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
def test_a_token_is_the_same_for_the_same_and_never_for_another(texts: list[str]) -> None:
    made = NAMES.tokens("key", pa.chunked_array([pa.array(texts, pa.large_string())])).to_pylist()
    assert len(set(made)) == len(set(texts))
    assert [made[texts.index(text)] for text in texts] == made
    other = (
        dataclasses.replace(NAMES, _secret=b"another secret altogether")
        .tokens("key", pa.array(texts))
        .to_pylist()
    )
    assert {a for a, t in zip(made, texts, strict=True) if t != "(all)"}.isdisjoint(other)


def test_keys_and_ids_have_tokens_of_their_own_and_no_key_stays() -> None:
    assert NAMES.token("key", b"a") != NAMES.token("id", b"a")
    assert NAMES.tokens("key", pa.array(["(all)"])).to_pylist() == ["(all)"]
    assert NAMES.about == {"what": "key,id", "key": NAMES.about["key"]}
    assert SECRET not in repr(NAMES)


def test_expected_totals_get_the_same_tokens(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text("key,total\nacct-77,5.00\nacct-79,2.00\n")
    found = table_without_names(lambda: read_totals(tmp_path / "e.csv"), "expected", NAMES)
    assert found.to_pylist() == [
        {"key": NAMES.token("key", b"acct-77"), "total": Decimal("5.00")},
        {"key": NAMES.token("key", b"acct-79"), "total": Decimal("2.00")},
    ]


def test_keys_of_a_processed_list_get_the_same_tokens(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("event_id,key\ne1,acct-77\ne2,acct-78\n")
    found = table_without_names(lambda: read_processed(tmp_path / "p.csv"), "processed", NAMES)
    assert found["key"].to_pylist() == [
        NAMES.token("key", name) for name in (b"acct-77", b"acct-78")
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("key,total\nacct-77,1\nacct-77,2\n", "expected, line 2: cannot be read exactly"),
        ("key,total\na,1\nb,acct-77\n", "expected, line 3: cannot be read exactly"),
        ("acct-77,5.00\n", "expected: cannot be read exactly"),
        ("key,total\nacct-77,1,2\n", "expected, line 2: cannot be read exactly"),
    ],
)
def test_an_error_says_where_but_not_what(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "e.csv").write_text(content)
    with pytest.raises(TableError, match=message) as told:
        table_without_names(lambda: read_totals(tmp_path / "e.csv"), "expected", NAMES)
    assert "acct-77" not in str(told.value)
    assert told.value.__suppress_context__


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="there is no such file"):
        table_without_names(lambda: read_totals(tmp_path / "e.csv"), "expected", NAMES)


def test_ids_that_contain_their_keys_are_refused_where_only_keys_are_replaced() -> None:
    only_keys = dataclasses.replace(NAMES, what=("key",))
    with pytest.raises(ParameterError, match="event ids contain their keys; expected key,id"):
        without_names(replay(log(("acct-77:1", "5.00", "acct-77"))), only_keys)
    found = without_names(replay(log(("e-1", "5.00", "1"), ("e-2", "1.00", "acct-77"))), only_keys)
    assert found.events["event_id"].tolist() == ["e-1", "e-2"]
    assert len(without_names(replay(log()), only_keys).events) == 0


def test_a_lookup_is_written_on_demand_for_its_owner_alone(tmp_path: Path) -> None:
    lookup = tmp_path / "lookup.jsonl"
    names = dataclasses.replace(NAMES, lookup=lookup)
    names.tokens("key", pa.array(["a", "b\nc"]))
    names.tokens("key", pa.array(["b\nc", "d", "(all)"]))
    rows = [json.loads(line) for line in lookup.read_text().splitlines()]
    assert [row["clear"] for row in rows] == ["a", "b\nc", "d"]
    assert rows[0] == {"token": NAMES.token("key", b"a"), "kind": "key", "clear": "a"}
    assert stat.S_IMODE(lookup.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("values", "secret", "message"),
    [
        ({"pseudonymize": "keys"}, SECRET, "Did you mean 'key'?"),
        ({"pseudonymize": "key"}, "", f"{VARIABLE} is not set"),
        ({"pseudonymize": "key"}, "short", "is 5 characters long"),
        ({"pseudonym_lookup": "/x"}, SECRET, "pseudonymize is empty"),
        ({"pseudonymize": "key", "key_spelling": "case"}, SECRET, "expected one of the two"),
        (
            {"pseudonymize": "key", "run_dir": "/r", "pseudonym_lookup": "/r/x"},
            SECRET,
            "outside of it",
        ),
    ],
)
def test_what_cannot_work_is_told(
    values: dict[str, Any], secret: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, secret)
    with pytest.raises(ParameterError) as told:
        pseudonyms(Settings.of(values))
    assert message in str(told.value)
    assert "openssl rand" in str(told.value) or "is 5" not in str(told.value)


def test_nothing_is_replaced_unless_asked() -> None:
    assert pseudonyms(Settings()) is None
    assert pseudonyms(Settings(pseudonymize="id, key")) == NAMES
