"""What a replay tells of how far it has come."""

from __future__ import annotations

import re
import sys

import pytest

from recovery_kit.replay import replay, replayed
from recovery_kit.sandbox import Kafka
from recovery_kit.schema import EventSchema
from recovery_kit.sources.progress import Progress
from recovery_kit.sources.window import Window
from tests.sources.test_source import Listed, event

LINE = re.compile(r"replay: ([\d,]+) of ([\d,]+) offsets \((\d+)%\), (\S+) offsets/s, (\S+) left")


def test_offsets_are_counted_over_all_partitions_to_the_last(
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = Listed([event(i) for i in range(40)], [event(i) for i in range(100, 121)])
    with Progress(60, enabled=True, after=0) as tell:
        replayed(source, EventSchema(), Window(), tell=tell)
    told = [LINE.fullmatch(line) for line in capsys.readouterr().err.splitlines()]
    assert len(told) > 3
    assert {found and found[2] for found in told} == {"61"}
    done = [int(found[1]) for found in told if found]
    assert done == sorted(done)
    assert done[-1] == 61
    assert told[-1] is not None
    assert told[-1][3] == "100"


def test_what_is_lost_is_not_still_to_come(capsys: pytest.CaptureFixture[str]) -> None:
    source = Listed([event(i) for i in range(40)])
    source.spans[0].lost = source.spans[0].tally.position = 10
    with Progress(60, enabled=True, after=0) as tell:
        tell.spans = source.spans
        tell.step()
    assert capsys.readouterr().err.startswith("replay: 0 of 30 offsets (0%), ")


def test_what_is_waited_for_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    Progress(60, enabled=True).waiting(7.2, "t-0 (no leader)")
    Progress(60, enabled=False).waiting(7.2, "t-0 (no leader)")
    assert capsys.readouterr().err == (
        "replay: waiting for t-0 (no leader) for 7 s; it gives up after 60 s without progress\n"
    )


def test_a_short_replay_tells_nothing_and_loads_no_tqdm(
    broker: Kafka, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.create_topic("progress-none")
    monkeypatch.delitem(sys.modules, "tqdm", raising=False)
    replay("progress-none", bootstrap_servers=broker.bootstrap_servers)
    assert capsys.readouterr().err == ""
    assert "tqdm" not in sys.modules
