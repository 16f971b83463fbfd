"""Waiting for brokers: told every few seconds, and asked again less and less often."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from kafka import KafkaConsumer, TopicPartition

from recovery_kit.kafka import waiting
from recovery_kit.kafka.waiting import FIRST_PAUSE, LONGEST_PAUSE, Waiting

PLACES = [TopicPartition("t", p) for p in range(6)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Time that passes by being slept away, or told to."""
    made = SimpleNamespace(now=100.0, slept=[])

    def sleep(seconds: float) -> None:
        made.slept.append(seconds)
        made.now += seconds

    monkeypatch.setattr(waiting, "time", SimpleNamespace(monotonic=lambda: made.now, sleep=sleep))
    return made


def test_pauses_get_longer_differ_and_end_at_the_deadline(clock: SimpleNamespace) -> None:
    runs = []
    for _ in range(2):
        clock.slept.clear()
        one = Waiting()
        for _ in range(8):
            one.pause(60.0)
        runs.append(list(clock.slept))
        for i, slept in enumerate(clock.slept):
            longest = min(FIRST_PAUSE * 2**i, LONGEST_PAUSE)
            assert longest / 2 <= slept <= longest
    assert runs[0] != runs[1]
    one.pause(0.01)
    one.pause(-3.0)
    assert clock.slept[-2:] == [0.01, 0.0]
    one.over()
    one.pause(60.0)
    assert clock.slept[-1] <= FIRST_PAUSE


def test_it_is_told_after_two_seconds_and_then_every_five(
    clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[float, str]] = []
    monkeypatch.setattr(waiting, "obstacles", lambda _, places: dict.fromkeys(places, "no leader"))
    consumer: KafkaConsumer = None
    one = Waiting(lambda seconds, what: told.append((seconds, what)))
    for _ in range(16):
        one.tell(consumer, PLACES[:1])
        clock.now += 1
    assert told == [(seconds, "t-0 (no leader)") for seconds in (2.0, 7.0, 12.0)]
    one.over()
    one.tell(consumer, PLACES)
    assert len(told) == 3
    clock.now += 2
    one.tell(consumer, PLACES)
    assert told[-1][1].endswith("t-3 (no leader) and 2 more")
