"""Unreadable messages as suspects: the system may have read what the kit could not."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Any

from recovery_kit._show import number, shorten
from recovery_kit.explain.case.case import Case
from recovery_kit.explain.evidence.tables import decimal
from recovery_kit.tables import frames

# Whole: no part of a date, a time, an id or a longer number.
_NUMBER = re.compile(rb"(?<![\w.+-])(?<!\d:)-?\d{1,28}(?:\.\d{1,18})?(?![\w.+-])(?!:\d)")

_NAME = re.compile(rb'"((?:[^"\\]|\\.)*)"|([\w.:-]+)')


def named(case: Case, left: dict[int, int], replay: Any) -> dict[int, str]:
    """The keys whose rest an unreadable message names: evidence by the key's number.

    A message is a suspect when its bytes, or its message key, hold the key, and its bytes hold the
    amount; and only where no other message is one for the same key.
    """
    if replay is None or not left or not len(replay.rejects):
        return {}
    keys = case.keys["key"].to_list()
    wanted: dict[Decimal, list[int]] = {}
    for key, amount in left.items():
        wanted.setdefault(decimal(abs(amount), case.scale), []).append(key)
    found: dict[int, list[str]] = {}
    table, _ = frames.opened(replay.rejects, what="rejects")
    columns = ("topic", "partition", "offset", "reason", "key", "value")
    for topic, partition, offset, reason, own, value in (
        table.select(*columns).collect("polars").iter_rows()
    ):
        for size in {n.copy_abs() for n in _numbers(value or b"")} & wanted.keys():
            for key in wanted[size]:
                name = keys[key].encode()
                if own == name or re.search(
                    rb"(?<![\w-])" + re.escape(name) + rb"(?![\w-])", value
                ):
                    where = f"{shorten(topic)} partition {partition} offset {offset}"
                    found.setdefault(key, []).append(
                        f"an unreadable message ({shorten(reason)}), {where}, names this key and "
                        f"{number(size)}"
                    )
    return {key: told[0] for key, told in found.items() if len(told) == 1}


def naming(case: Case, wanted: set[int], replay: Any) -> dict[int, list[str]]:
    """Unreadable messages of which the message key, or a text or a word in the bytes, is one of
    some keys: by the key's number where each stands, and why it could not be read.
    """
    if replay is None or not wanted or not len(replay.rejects):
        return {}
    keys = case.keys["key"].to_list()
    numbers = {keys[key].encode(): key for key in wanted}
    table, _ = frames.opened(replay.rejects, what="rejects")
    columns = ("topic", "partition", "offset", "reason", "key", "value")
    found: dict[int, list[str]] = {}
    for topic, partition, offset, reason, own, value in (
        table.select(*columns).collect("polars").iter_rows()
    ):
        names = {own, *(a or b for a, b in _NAME.findall(value or b""))}
        for name in sorted(names & numbers.keys()):
            found.setdefault(numbers[name], []).append(
                f"{shorten(topic)} partition {partition} offset {offset} ({shorten(reason)})"
            )
    return found


def _numbers(raw: bytes) -> set[Decimal]:
    made = set()
    for text in _NUMBER.findall(raw):
        try:
            made.add(Decimal(text.decode()))
        except InvalidOperation:  # pragma: no cover - the pattern lets only numbers through
            continue
    return made - {Decimal(0)}
