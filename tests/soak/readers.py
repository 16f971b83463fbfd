"""Replays during a soak, each held against the ledger."""

from __future__ import annotations

import random
import re
import threading
import time
from collections import Counter

import numpy as np
import pandas as pd

from recovery_kit.errors import IncompleteReplay, KafkaError
from recovery_kit.replay import Replay, replay
from tests.soak.ledger import NO_EVENT, Ledger, Place

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
    false_alarms, hangs : in words
    """

    def __init__(self, servers: str, topics: list[str], losing: dict[str, set[str]], ledger: Ledger) -> None:
        self.servers, self.topics, self.losing, self.ledger = servers, topics, losing, ledger
        self.ended: Counter[str] = Counter()
        self.checked = 0
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
        allow = random.random() < 0.4
        advised: Since = {}
        try:
            found = replay(
                sorted(topics), bootstrap_servers=self.servers, since=since or None, allow_incomplete=allow,
                timeout=TIMEOUT, progress=False,
            )  # fmt: skip
            self._check(found, known)
            how = found.verdict
            self._judge(found.verdict, found.coverage, f"{topics}: {found.notes}")
        except IncompleteReplay as refusal:
            how = f"refused: {refusal.verdict}"
            self._judge(refusal.verdict, refusal.coverage, f"{topics}: {refusal}")
            if refusal.verdict == "truncated":
                rows = refusal.coverage.to_dict("records")
                advised = {(row["topic"], row["partition"]): max(row["log_start"], row["start"]) for row in rows}
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
        """A verdict that says less than complete needs a topic from which records do go in that way."""
        bad = coverage[~coverage["verdict"].isin(["complete", "not read"])]
        for topic, how in zip(bad["topic"], bad["verdict"], strict=True):
            if how not in self.losing.get(topic, set()):
                self.false_alarms.append(f"{topic} {how}, of {what}")
        if verdict == "complete" and len(bad):
            self.ledger.accuse(f"complete, though a partition is not: {what}")

    def _check(self, found: Replay, known: dict[Place, int]) -> None:
        events = found.events
        topics, partitions = events["topic"].astype(str).to_numpy(), events["partition"].to_numpy(np.int64)
        offsets, numbers = events["offset"].to_numpy(np.int64), events["event_id"].astype("int64").to_numpy()
        self._whole(found, numbers)
        for row in found.coverage.to_dict("records"):
            place = row["topic"], row["partition"]
            here = (topics == place[0]) & (partitions == place[1])
            at, who = offsets[here], f"a replay ({row['verdict']})"
            if len(at) and (np.any(np.diff(at) <= 0) or at[-1] >= row["end"] or at[0] < row["start"]):
                self.ledger.accuse(f"{place}: offsets twice, out of order or out of bounds, by {who}")
            self.ledger.hold(place, at, numbers[here], who)
            if row["verdict"] in ("complete", "truncated"):
                none = np.setdiff1d(np.arange(row["start"] + row["lost"], row["position"]), at)
                self.ledger.hold(place, none, np.full(len(none), NO_EVENT), who)
            self._to_the_end(place, row, known.get(place, -1))
        with self._lock:
            self.checked += len(events)

    def _whole(self, found: Replay, numbers: np.ndarray) -> None:
        cents = numbers % 9_973 * 100 + numbers % 100
        values = np.array([int(v * 100) for v in found.events["value"]], np.int64)
        keys = np.char.add("k", (numbers % 50).astype(str))
        if len(found.rejects) or (values != cents).any() or (found.events["key"].to_numpy(str) != keys).any():
            self.ledger.accuse(
                f"{found.source}: {len(found.rejects)} rejects, or a value or key that is not its event's"
            )

    def _to_the_end(self, place: Place, row: dict[str, int], acknowledged: int) -> None:
        """What was acknowledged before a replay began lies before its end, or behind an open transaction that it tells of."""
        told = row["end"] + row["behind_open_transaction"]
        if acknowledged >= told:
            self.ledger.accuse(f"{place}: {acknowledged} was acknowledged before a replay that ends at {told}")
