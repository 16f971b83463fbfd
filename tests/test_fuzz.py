"""A few rounds of `make fuzz`, and that it would notice."""

import random
from collections import Counter
from pathlib import Path

import pytest

from recovery_kit.payload import reader
from recovery_kit.payload.exact import Row, read_message
from tests import fuzz


def test_some_rounds_find_events_rejects_and_tombstones_and_no_difference() -> None:
    chance, seen = random.Random(20261125), Counter[str]()
    for _ in range(12):
        fuzz.fuzz_messages(chance, seen)
        for _ in range(50):
            fuzz.fuzz_batches(chance, seen)
    assert (
        min(seen[kind] for kind in ("event", "reject", "tombstone", "batch refused", "batch taken"))
        > 10
    )


def test_a_reader_that_is_wrong_about_one_id_is_found_and_cut_down(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def wrong(value: bytes, *more: object) -> Row:
        row = read_message(value, *more)  # type: ignore[arg-type]
        return row._replace(amount=row.amount + 1) if b"\\" in value else row

    monkeypatch.setattr(reader, "read_message", wrong)
    monkeypatch.setattr(fuzz, "KEPT", tmp_path)
    chance = random.Random(20261125)

    def rounds() -> None:
        for _ in range(200):
            fuzz.fuzz_messages(chance, Counter())

    with pytest.raises(SystemExit, match="read differently"):
        rounds()
    assert b"\\" in (tmp_path / "message").read_bytes()
