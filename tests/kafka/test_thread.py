"""An error in kafka-python's own thread is told at once, in its own words.

What is used of kafka-python for that is still there.
"""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.cluster import ClusterMetadata
from kafka.consumer.fetcher import Fetcher
from kafka.errors import KafkaConnectionError
from kafka.net.connection import KafkaConnection
from kafka.net.selector import NetworkSelector
from kafka.net.transport import KafkaTCPTransport

from recovery_kit.errors import KafkaError
from recovery_kit.kafka import log, receive, thread, wire
from recovery_kit.kafka.client.secret import Secret
from recovery_kit.replay import replay
from recovery_kit.sandbox import Kafka
from tests.messages import NOON

PLACES = {
    "reading": (receive, "_receive"),
    "what arrived": (KafkaConnection, "data_received"),
    "writing": (KafkaTCPTransport, "_sock_send"),
    "an answer to a fetch": (Fetcher, "_handle_fetch_response"),
    "the loop itself": (NetworkSelector, "_schedule_tasks"),
}


class PlantedError(Exception):
    """No error that anything knows."""


@pytest.fixture(scope="module")
def topic(broker: Kafka) -> str:
    broker.create_topic("thread")
    with KafkaProducer(bootstrap_servers=broker.bootstrap_servers) as producer:
        producer.send("thread", b'{"id":"e","type":"add","value":1}', timestamp_ms=NOON).get(10)
    return "thread"


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def plant(patch: pytest.MonkeyPatch, home: Any, name: str, error: Exception) -> None:
    """From now on, what is called so fails in kafka-python's thread."""
    real = inspect.getattr_static(home, name)

    def defective(*args: Any, **options: Any) -> Any:
        if threading.current_thread().name.startswith("kafka-io"):
            raise error
        return real(*args, **options)

    patch.setattr(home, name, defective)


def read(consumer: KafkaConsumer, topic: str) -> int:
    (span,) = log.capture(consumer, [TopicPartition(topic, 0)], {}, {}, whole=True, timeout=60)
    return sum(d.offsets for _, d in log.read_spans(consumer, [span], timeout=60))


def test_what_is_used_of_kafka_python_is_there() -> None:
    once = inspect.getsource(NetworkSelector._poll_once)
    assert once.count("self._task_done(self._current)") == 2
    forever = inspect.getsource(NetworkSelector.run_forever)
    assert "self._exception = exc" in forever
    assert "self._fail_pending_waiters(exc)" in forever
    assert "raise self._exception from None" in inspect.getsource(NetworkSelector.run)
    stop = inspect.getsource(NetworkSelector.stop)
    assert stop.index("self._stop = True") < stop.index("self._fail_pending_waiters(")
    assert "add_callback(self._handle_fetch_response," in inspect.getsource(
        Fetcher._send_fetches_async
    )
    assert "self.update_metadata(response)" in inspect.getsource(
        ClusterMetadata._do_refresh_metadata
    )
    assert "self.failed_update(exc)" in inspect.getsource(ClusterMetadata._do_refresh_metadata)
    assert "await self.refresh_metadata()" in inspect.getsource(ClusterMetadata._refresh_loop)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("where", [p for p in PLACES if p != "an answer to a fetch"])
def test_an_error_in_the_thread_ends_a_read_at_once(
    broker: Kafka, topic: str, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    with wire.connected(broker.bootstrap_servers, None, timeout=60) as consumer:
        assert read(consumer, topic) == 1
        plant(monkeypatch, *PLACES[where], PlantedError("planted"))
        began = time.monotonic()
        with pytest.raises(KafkaError, match=r"failed in its own thread: PlantedError: planted\."):
            read(consumer, topic)
        assert time.monotonic() - began < 5


@pytest.mark.parametrize("where", ["reading", "an answer to a fetch"])
def test_a_replay_ends_with_the_error_of_the_thread(
    broker: Kafka, topic: str, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """From its first fetch on; what came before went well."""
    real = log.read_spans

    def and_fail(*args: Any, **options: Any) -> Any:
        plant(monkeypatch, *PLACES["reading"], IndexError("index 7 is out of range"))
        return real(*args, **options)

    if where == "reading":
        monkeypatch.setattr(log, "read_spans", and_fail)
    else:
        plant(monkeypatch, *PLACES[where], IndexError("index 7 is out of range"))
    began = time.monotonic()
    with pytest.raises(KafkaError, match=r"IndexError: index 7 is out of range\. Nothing more"):
        replay(topic, bootstrap_servers=broker.bootstrap_servers, timeout=60)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("home", "name"), [PLACES["what arrived"], (ClusterMetadata, "update_metadata")]
)
def test_an_error_while_it_connects_ends_that_at_once(
    broker: Kafka, monkeypatch: pytest.MonkeyPatch, home: Any, name: str
) -> None:
    plant(monkeypatch, home, name, PlantedError("planted"))
    began = time.monotonic()
    with pytest.raises(KafkaError, match="PlantedError: planted"):
        wire.open_consumer({"bootstrap_servers": [broker.bootstrap_servers]}, timeout=60)
    assert time.monotonic() - began < 5


def test_a_look_at_the_cluster_that_fails_is_tried_again(
    broker: Kafka, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kafka-python ends its refreshing for good on what is no error of its own."""
    with wire.connected(broker.bootstrap_servers, None, timeout=10) as consumer:
        failures = [IndexError("no address"), OSError("no route")]
        send = consumer._manager.send

        def failing(request: Any, *args: Any, **options: Any) -> Any:
            if failures and type(request).__name__ == "MetadataRequest":
                raise failures.pop()
            return send(request, *args, **options)

        monkeypatch.setattr(consumer._manager, "send", failing)
        assert wire.describe(consumer, topic, 10) is not None
        assert failures == []
        assert not consumer._cluster._refresh_loop_future.is_done
        assert read(consumer, topic) == 1


def test_the_librarys_own_errors_stay_its_own() -> None:
    heard: list[BaseException] = []

    def refused() -> None:
        raise KafkaConnectionError("refused")

    with pytest.raises(KafkaConnectionError):
        thread.watched(refused, heard.append)()
    assert heard == []


def test_no_secret_and_nothing_that_a_terminal_obeys_is_told() -> None:
    error = thread._error(
        ValueError("pa55word\x1b[2J"), {"sasl_plain_password": Secret("pa55word")}
    )
    assert "ValueError: ***\\x1b[2J." in str(error)
    assert str(thread._error(MemoryError(), {})).count("MemoryError. Nothing") == 1
