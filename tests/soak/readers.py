"""Replays during a soak, each held against the ledger."""

from __future__ import annotations

import random
import re
import threading
import time
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from recovery_kit.errors import IncompleteReplay, KafkaError
from recovery_kit.replay import Replay, replay
from tests.soak.ledger import NO_EVENT, Ledger, Place
from tests.soak.writers import KEYS

TIMEOUT = 30.0
"""Seconds without progress that a replay is given; no fault here lasts as long."""

HANGS = 3 * TIMEOUT

Since = dict[Place, int]


class Reader:
    """Replays topics until told to stop.

    Attributes
    ----------
    ended : how replays ended, by kind
    checked : records that were held against the ledger
    seen : how often retention and the cleaner were seen to have taken something more
    false_alarms, hangs : in words
    """

    def __init__(
        self, servers: str, topics: list[str], losing: dict[str, set[str]], ledger: Ledger
    ) -> None:
        self.servers, self.topics, self.losing, self.ledger = servers, topics, losing, ledger
        self.ended: Counter[str] = Counter()
        self.checked = 0
        self.seen: Counter[str] = Counter({"retention": 0, "cleaner": 0})
        self._gone: dict[tuple[Place, str], int] = {}
        self.false_alarms: list[str] = []
        self.hangs: list[str] = []
        self._lock = threading.Lock()

    def run(self, stop: threading.Event) -> None:
        since: Since = {}
        topics: list[str] = []
        while not stop.is_set():
            if not since:
                topics = random.sample(self.topics, random.choice([1, 1, 2]))
            since = self._one(topics, since)

    def _one(self, topics: list[str], since: Since) -> Since:
        """One replay; gives the offsets that its refusal advises to begin with, where it does."""
        known, begun = self.ledger.acknowledged(), time.monotonic()
        allow = random.random() < 0.6
        advised: Since = {}
        try:
            found = replay(
                sorted(topics),
                bootstrap_servers=self.servers,
                since=since or None,
                allow_incomplete=allow,
                timeout=TIMEOUT,
                progress=False,
            )
            how = found.verdict
            self._check(found, known, begun)
            self._judge(found.verdict, found.coverage, f"{topics}: {found.notes}")
        except IncompleteReplay as refusal:
            how = f"refused: {refusal.verdict}"
            self._judge(refusal.verdict, refusal.coverage, f"{topics}: {refusal}")
            if refusal.verdict == "truncated":
                rows = refusal.coverage.to_dict("records")
                advised = {
                    (row["topic"], row["partition"]): max(row["log_start"], row["start"])
                    for row in rows
                }
        except KafkaError as refusal:
            how = "refused: " + re.sub(r"[\d.:]+", "#", str(refusal))[:40]
            self.false_alarms.append(f"{topics}: after {time.monotonic() - begun:.0f} s: {refusal}")
        took = time.monotonic() - begun
        with self._lock:
            self.ended[how] += 1
        if took > HANGS:
            self.hangs.append(f"{topics}: {how} after {took:.0f} s")
        return advised

    def _judge(self, verdict: str, coverage: pd.DataFrame, what: str) -> None:
        """A verdict that says less than complete needs a topic from which records do go in that
        way.
        """
        bad = coverage[~coverage["verdict"].isin(["complete", "not read"])]
        for topic, how in zip(bad["topic"], bad["verdict"], strict=True):
            if how not in self.losing.get(topic, set()):
                self.false_alarms.append(f"{topic} {how}, of {what}")
        if verdict == "complete" and len(bad):
            self.ledger.accuse(f"complete, though a partition is not: {what}")
        with self._lock:
            for row in coverage.to_dict("records"):
                self._notice(
                    row, "retention", row["log_start"] if row["topic"] == "expiring" else 0
                )
                self._notice(row, "cleaner", row["removed"])

    def _notice(self, row: dict[str, Any], who: str, gone: int) -> None:
        where = (row["topic"], row["partition"]), who
        if gone > self._gone.get(where, 0):
            self.seen[who] += 1
            self._gone[where] = gone

    def _check(self, found: Replay, known: dict[Place, int], begun: float) -> None:
        events = found.events
        topics, partitions = (
            events["topic"].astype(str).to_numpy(),
            events["partition"].to_numpy(np.int64),
        )
        offsets, numbers = (
            events["offset"].to_numpy(np.int64),
            events["event_id"].astype("int64").to_numpy(),
        )
        self._whole(found, numbers)
        rows = {(row["topic"], row["partition"]): row for row in found.coverage.to_dict("records")}
        for place, row in rows.items():
            here = (topics == place[0]) & (partitions == place[1])
            at, who = offsets[here], f"a replay ({row['verdict']})"
            if len(at) and (
                np.any(np.diff(at) <= 0) or at[-1] >= row["end"] or at[0] < row["start"]
            ):
                self.ledger.accuse(
                    f"{place}: offsets twice, out of order or out of bounds, by {who}"
                )
            self.ledger.hold(place, at, numbers[here], who, begun)
            none = np.setdiff1d(np.arange(row["start"], row["position"]), at)
            if row["verdict"] == "compacted":
                self.ledger.take(place, none, time.monotonic())
            else:
                none = np.setdiff1d(none, self._lost(found, place, row))
                self.ledger.hold(place, none, np.full(len(none), NO_EVENT), who)
            self._to_the_end(place, row, known.get(place, -1))
        for place in known.keys() - rows.keys():
            if place[0] in {
                topic for topic, _ in rows
            } and f"topic {place[0]!r} got" not in " ".join(found.notes):
                self.ledger.accuse(
                    f"{place} held events before a replay that does not know it: {found.notes}"
                )
        with self._lock:
            self.checked += len(events)

    def _lost(self, found: Replay, place: Place, row: dict[str, Any]) -> np.ndarray:
        """The offsets that a replay says retention had taken, before and during the read.

        No others may be missing.
        """
        notes, name = " ".join(found.notes), f"{place[0]}-{place[1]}"
        said = re.search(rf"{name}: offsets ([\d, to]+) went during the read", notes)
        raced = re.findall(r"(\d+) to (\d+)", said[1]) if said else []
        ranges = [
            (row["start"], min(row["log_start"], row["end"])),
            *((int(a), int(b) + 1) for a, b in raced),
        ]
        lost = np.unique(np.concatenate([np.arange(*bounds) for bounds in ranges]))
        if len(lost) != row["lost"]:
            self.ledger.accuse(
                f"{place}: {row['lost']} offsets were lost, and {len(lost)} are told of: {notes}"
            )
        return lost

    def _whole(self, found: Replay, numbers: np.ndarray) -> None:
        cents = numbers % 9_973 * 100 + numbers % 100
        values = np.array([int(v * 100) for v in found.events["value"]], np.int64)
        keys = np.char.add("k", (numbers % KEYS).astype(str))
        if (
            len(found.rejects)
            or (values != cents).any()
            or (found.events["key"].to_numpy(str) != keys).any()
        ):
            self.ledger.accuse(
                f"{found.source}: {len(found.rejects)} rejects, or a value or key that is not its "
                "event's"
            )

    def _to_the_end(self, place: Place, row: dict[str, int], acknowledged: int) -> None:
        """What was acknowledged before a replay began lies before its end, or behind an open
        transaction that it tells of.
        """
        told = row["end"] + row["behind_open_transaction"]
        if acknowledged >= told:
            self.ledger.accuse(
                f"{place}: {acknowledged} was acknowledged before a replay that ends at {told}"
            )
