"""Faults 8, 9, 11, 12, 14, 15, 16 and 22 on three brokers: what a cluster does to a log while it is
read.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.admin import NewTopic as Topic
from kafka.errors import KafkaConnectionError

from recovery_kit.errors import IncompleteReplay, KafkaError
from recovery_kit.kafka import changes, log
from recovery_kit.replay import replay
from recovery_kit.sandbox.node import quiet
from tests.integration.conftest import (
    NewTopic,
    Send,
    event,
    events,
    new_topic_on,
    numbers,
    one,
    send_to,
)
from tests.proxied import Proxied

Arrange = Callable[..., None]

QUICK = {
    "log.initial.task.delay.ms": 100,
    "log.retention.check.interval.ms": 300,
    "log.cleaner.backoff.ms": 200,
    "auto.leader.rebalance.enable": False,
}

pytestmark = pytest.mark.usefixtures("dead_brokers")


@pytest.fixture(scope="module")
def broker() -> Iterator[Proxied]:
    with Proxied(QUICK, brokers=3) as running:
        yield running


@pytest.fixture(scope="module")
def new_topic(broker: Proxied) -> NewTopic:
    return new_topic_on(broker)


@pytest.fixture
def admin(broker: Proxied) -> Iterator[KafkaAdminClient]:
    with quiet(), KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers) as made:
        yield made


@pytest.fixture
def send(broker: Proxied) -> Iterator[Send]:
    with quiet(), KafkaProducer(bootstrap_servers=broker.bootstrap_servers, acks="all") as producer:
        yield send_to(producer)


def leader(admin: KafkaAdminClient, topic: str) -> int:
    """The leader of partition 0; -1 where there is none, or it is not known yet; -2 where the broker
    that was asked has just been killed.
    """
    try:
        (found,) = admin.describe_topics([topic])
    except KafkaConnectionError:
        return -2
    return next((p["leader_id"] for p in found["partitions"] if p["partition_index"] == 0), -1)


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def log_start(broker: Proxied, topic: str) -> int:
    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap_servers)
    try:
        return consumer.beginning_offsets([TopicPartition(topic, 0)])[TopicPartition(topic, 0)]
    finally:
        consumer.close()


def in_batches(send: Send, topic: str, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        send(topic, [event(number)])


# --- 8 and 9: records go while they are read


@pytest.fixture
def segmented(
    broker: Proxied, admin: KafkaAdminClient, new_topic: NewTopic, send: Send
) -> tuple[str, int]:
    """Offsets 0 to 39 in ten segments or, on a busy machine, more.

    And where the last one begins.
    """
    topic = new_topic(segment_ms=100)
    for i in range(0, 40, 4):
        in_batches(send, topic, 4, i)
        time.sleep(0.12)
    segments = broker.log_dir(topic, 0, node=leader(admin, topic)).glob("*.log")
    return topic, max(int(segment.stem) for segment in segments)


def short_retention(
    broker: Proxied, admin: KafkaAdminClient, topic: str, last: int
) -> Callable[[], None]:
    """Let retention take all segments but the last."""

    def act() -> None:
        admin.alter_configs(
            [ConfigResource(ConfigResourceType.TOPIC, topic, {"retention.bytes": "1"})]
        )
        until(lambda: log_start(broker, topic) == last)

    return act


def test_fault_08_retention_deletes_segments_during_the_read(
    broker: Proxied, admin: KafkaAdminClient, segmented: tuple[str, int], during_the_read: Arrange
) -> None:
    topic, last = segmented
    during_the_read(short_retention(broker, admin, topic, last), after=5)
    with pytest.raises(
        IncompleteReplay,
        match=rf"raced: .*{topic}-0: offsets \d+ to {last - 1} went during the read",
    ) as caught:
        replay(topic, bootstrap_servers=broker.bootstrap_servers)
    assert caught.value.verdict == "raced"
    position, lost = one(caught.value.coverage, "delivered", "lost")
    assert (position >= 5, position + lost) == (True, last)


def test_fault_08_what_retention_took_during_the_read_is_counted_when_allowed(
    broker: Proxied, admin: KafkaAdminClient, segmented: tuple[str, int], during_the_read: Arrange
) -> None:
    topic, last = segmented
    during_the_read(short_retention(broker, admin, topic, last), after=5)
    found = replay(topic, bootstrap_servers=broker.bootstrap_servers, allow_incomplete=True)
    read = numbers(found.events)
    lost, delivered, after = one(found.coverage, "lost", "delivered", "log_start_after")
    assert (found.verdict, after) == ("raced", last)
    assert read == [*range(last - lost), *range(last, 40)]
    assert (delivered, delivered + lost) == (len(read), 40)
    assert f"offsets {last - lost} to {last - 1} went during the read" in found.notes[0]


def test_fault_09_the_log_start_moves_between_capture_and_first_fetch(
    broker: Proxied,
    admin: KafkaAdminClient,
    new_topic: NewTopic,
    send: Send,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    topic = new_topic()
    in_batches(send, topic, 10)
    read_spans, places = log.read_spans, iter([4, 7])

    def late(*args: Any, **options: Any) -> Any:
        admin.delete_records({TopicPartition(topic, 0): next(places)})
        return read_spans(*args, **options)

    monkeypatch.setattr(log, "read_spans", late)
    with pytest.raises(IncompleteReplay, match=r"raced: .*offsets 0 to 3 went during the read"):
        replay(topic, bootstrap_servers=broker.bootstrap_servers)
    found = replay(
        topic, bootstrap_servers=broker.bootstrap_servers, since={0: 5}, allow_incomplete=True
    )
    assert (found.verdict, numbers(found.events), one(found.coverage, "lost")) == (
        "raced",
        [7, 8, 9],
        (2,),
    )


# --- 11: the log is cut shorter


@pytest.fixture
def diverging(
    broker: Proxied, admin: KafkaAdminClient, send: Send
) -> Iterator[tuple[str, Callable[[], None]]]:
    """Offsets 0 to 29, of which a second copy holds 0 to 9 only.

    And what makes that copy the leader.
    """
    topic = f"diverging-{time.monotonic_ns()}"
    configs = {"unclean.leader.election.enable": "true", "min.insync.replicas": "1"}
    admin.create_topics([Topic(topic, replica_assignments={0: [1, 2]}, topic_configs=configs)])
    until(lambda: leader(admin, topic) == 1)
    in_batches(send, topic, 10)
    until(lambda: broker.log_dir(topic, 0, node=2).exists())
    time.sleep(0.5)  # let the copy be made
    down = [2]
    broker.kill(2)
    in_batches(send, topic, 20, first=10)

    def act() -> None:
        down.append(1)
        broker.kill(1)
        broker.start(down.pop(0))
        until(lambda: leader(admin, topic) == 2)

    yield topic, act
    broker.start(down.pop())


def test_fault_11_a_log_cut_shorter_during_the_read(
    broker: Proxied, diverging: tuple[str, Callable[[], None]], during_the_read: Arrange
) -> None:
    topic, unclean_election = diverging
    during_the_read(unclean_election, after=20)
    with pytest.raises(KafkaError, match=rf"(?=.*{topic}-0).*cut shorter"):
        replay(topic, bootstrap_servers=broker.bootstrap_servers, timeout=20)


def test_fault_11_a_log_cut_shorter_and_written_anew_behind_what_was_read(
    broker: Proxied,
    diverging: tuple[str, Callable[[], None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the offsets alone nothing is to be seen; the epochs tell."""
    topic, unclean_election = diverging
    look_back = changes.look_back

    def late(*args: Any) -> None:
        unclean_election()
        with KafkaProducer(bootstrap_servers=broker.bootstrap_servers) as producer:
            in_batches(send_to(producer), topic, 25, first=100)
        look_back(*args)

    monkeypatch.setattr(changes, "look_back", late)
    with pytest.raises(KafkaError, match=rf"cut shorter.*{topic}-0 from offset 10 on"):
        replay(topic, bootstrap_servers=broker.bootstrap_servers, timeout=20)


# --- 12: another topic of the same name


@pytest.mark.parametrize("written", [None, 0, 10, 60], ids=["gone", "empty", "shorter", "longer"])
def test_fault_12_a_topic_deleted_and_made_anew_during_the_read(
    broker: Proxied,
    admin: KafkaAdminClient,
    new_topic: NewTopic,
    send: Send,
    during_the_read: Arrange,
    written: int | None,
) -> None:
    topic = new_topic()
    in_batches(send, topic, 40)

    def anew() -> None:
        admin.delete_topics([topic])
        until(lambda: topic not in admin.list_topics())
        if written is not None:
            broker.create_topic(topic)
            in_batches(send, topic, written, first=1000)

    during_the_read(anew, after=20)
    start = time.monotonic()
    with pytest.raises(KafkaError, match=rf"(?=.*{topic}).*(made anew|cut shorter)"):
        replay(topic, bootstrap_servers=broker.bootstrap_servers)
    assert time.monotonic() - start < 25


# --- 14, 15, 16: brokers and connections that come and go


@pytest.fixture(scope="module")
def hundred(broker: Proxied, new_topic: NewTopic) -> str:
    """A hundred records in each of three partitions, a record a batch."""
    topic = new_topic(3)
    with KafkaProducer(bootstrap_servers=broker.bootstrap_servers, acks="all") as producer:
        for i in range(100):
            for p in range(3):
                send_to(producer)(topic, [event(100 * p + i)], partition=p)
    return topic


def whole(broker: Proxied, topic: str, **options: Any) -> None:
    found = replay(topic, bootstrap_servers=broker.bootstrap_proxied, **options)
    assert (found.verdict, numbers(found.events), found.notes) == ("complete", list(range(300)), ())


def test_fault_14_leaders_move_during_the_read(
    broker: Proxied, admin: KafkaAdminClient, hundred: str, during_the_read: Arrange
) -> None:
    def move() -> None:
        before = leader(admin, hundred)
        order = [before % 3 + 1, (before + 1) % 3 + 1, before]
        admin.alter_partition_reassignments({TopicPartition(hundred, p): order for p in range(3)})
        until(lambda: not admin.list_partition_reassignments())
        admin.elect_leaders(0, {hundred: [0, 1, 2]}, raise_errors=False)
        until(lambda: leader(admin, hundred) == order[0] != before)

    during_the_read(move, after=30)
    whole(broker, hundred)


@pytest.mark.parametrize("hard", [False, True], ids=["stopped", "killed"])
def test_fault_15_a_broker_restarts_during_the_read(
    broker: Proxied, admin: KafkaAdminClient, hundred: str, during_the_read: Arrange, hard: bool
) -> None:
    during_the_read(lambda: broker.restart(leader(admin, hundred), hard=hard), after=30)
    whole(broker, hundred)


@pytest.mark.usefixtures("small_fetches")
def test_fault_15_connections_are_cut_again_and_again(
    broker: Proxied, hundred: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, fetches, cuts = log.take, [], []

    def cutting(*args: Any, **options: Any) -> Any:
        fetches.append(1)
        if len(fetches) % 40 == 20:
            cuts.append(broker.cut())
        return read(*args, **options)

    monkeypatch.setattr(log, "take", cutting)
    whole(broker, hundred)
    assert len(cuts) >= 5
    assert all(cuts)


def test_fault_15_a_connection_that_hangs_is_told_and_waited_for(
    broker: Proxied, hundred: str, during_the_read: Arrange, capsys: pytest.CaptureFixture[str]
) -> None:
    def hang() -> None:
        for proxy in broker.proxies.values():
            proxy.hold()
            threading.Timer(3.5, proxy.release).start()

    during_the_read(hang, after=30)
    whole(broker, hundred)
    said = [line for line in capsys.readouterr().err.splitlines() if "waiting for" in line]
    assert said
    assert f"{hundred}-0 (no answer from broker" in said[0]
    assert "gives up after 60 s without progress" in said[0]


def test_fault_16_every_broker_is_killed_during_the_read(
    broker: Proxied, hundred: str, during_the_read: Arrange, capsys: pytest.CaptureFixture[str]
) -> None:
    during_the_read(broker.kill, after=30)
    start = time.monotonic()
    try:
        with pytest.raises(
            IncompleteReplay, match=r"timed out: .*stopped at offset \d+ of 100, no connection to"
        ) as caught:
            replay(hundred, bootstrap_servers=broker.bootstrap_proxied, timeout=4)
        assert time.monotonic() - start < 12
        assert caught.value.coverage["unread"].sum() > 0
        assert "(no connection to broker" in capsys.readouterr().err
    finally:
        broker.start()
    whole(broker, hundred)


def test_fault_16_a_partition_without_a_leader_is_told_and_waited_for(
    broker: Proxied, admin: KafkaAdminClient, send: Send, capsys: pytest.CaptureFixture[str]
) -> None:
    topic = f"leaderless-{time.monotonic_ns()}"
    admin.create_topics([Topic(topic, replica_assignments={0: [2]})])
    until(lambda: leader(admin, topic) == 2)
    in_batches(send, topic, 10)
    broker.kill(2)
    back = threading.Thread(target=lambda: (time.sleep(4), broker.start(2)))
    try:
        until(lambda: leader(admin, topic) == -1)
        start = time.monotonic()
        with pytest.raises(KafkaError, match=rf"{topic}-0 has no leader|KafkaTimeoutError"):
            replay(topic, bootstrap_servers=broker.bootstrap_servers, timeout=6)
        assert time.monotonic() - start < 20
        assert f"waiting for {topic}-0 (no leader) for" in capsys.readouterr().err
        back.start()
        found = replay(topic, bootstrap_servers=broker.bootstrap_servers, timeout=120)
    finally:
        back.join() if back.ident else broker.start(2)
    assert (found.verdict, numbers(found.events)) == ("complete", list(range(10)))
    said = capsys.readouterr().err
    assert f"waiting for {topic}-0 (no leader) for" in said
    assert "it gives up after 120 s without progress" in said


# --- 22: who holds a transaction open


def test_fault_22_who_holds_the_transaction_open_and_since_when(
    broker: Proxied, new_topic: NewTopic, send: Send
) -> None:
    topic = new_topic()
    in_batches(send, topic, 3)
    before = time.time()
    with KafkaProducer(
        bootstrap_servers=broker.bootstrap_servers,
        transactional_id="nightly\x1b[31m",
        transaction_timeout_ms=45_000,
    ) as producer:
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(topic, event(3), partition=0).get(timeout=10)
        in_batches(send, topic, 2, first=4)
        start = time.monotonic()
        found = replay(topic, bootstrap_servers=broker.bootstrap_servers)
        assert time.monotonic() - start < 20
        producer.abort_transaction()
    (note,) = found.notes
    assert note.startswith(
        f"{topic}-0: 3 records lie behind an open transaction, from offset 3 on; "
    )
    assert r"held open by transactional id 'nightly\\x1b[31m' (producer " in note
    since = note.split(", since ")[1].split("Z;")[0]
    assert int(before) <= time.mktime(time.strptime(since, "%Y-%m-%dT%H:%M:%S")) <= time.time()
    assert note.endswith("it times out after 45 s")


def test_fault_23_a_compacted_topic_is_told_before_the_read(
    broker: Proxied, new_topic: NewTopic, send: Send, capsys: pytest.CaptureFixture[str]
) -> None:
    topic = new_topic(cleanup_policy="compact,delete")
    send(topic, events(1, 2))
    found = replay([topic, new_topic()], bootstrap_servers=broker.bootstrap_servers)
    assert found.verdict == "complete"
    (note,) = found.notes
    assert note.startswith(f"topic {topic!r} has compaction on (cleanup.policy=compact,delete)")
    assert note in capsys.readouterr().err
