"""Topics on a real broker, and hands to write to them."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient

from recovery_kit.kafka import log, wire
from recovery_kit.sandbox import Kafka

Send = Callable[..., None]
NewTopic = Callable[..., str]


def event(number: int, value: object = 1, **fields: object) -> bytes:
    """A message of the default schema."""
    return json.dumps({"id": f"e{number}", "type": "add", "value": value} | fields).encode()


def events(*numbers: int) -> list[bytes]:
    return [event(number) for number in numbers]


def ids(frame: Any) -> list[str]:
    """The ids of some events, in the table's order."""
    return frame["event_id"].to_list()


def numbers(frame: Any) -> list[int]:
    return [int(name[1:]) for name in ids(frame)]


def one(frame: Any, *names: str) -> Any:
    """The only row of a table, as a dict, or some cells of it."""
    (row,) = frame.to_dict("records")
    return row if not names else tuple(row[name] for name in names)


def new_topic_on(broker: Kafka) -> NewTopic:
    count = itertools.count(1)
    prefix = f"t{uuid.uuid4().hex[:6]}"

    def make(partitions: int = 1, **config: object) -> str:
        name = f"{prefix}-{next(count)}"
        broker.create_topic(
            name,
            partitions=partitions,
            config={key.replace("_", "."): value for key, value in config.items()},
        )
        return name

    return make


def send_to(producer: KafkaProducer) -> Send:
    def send(
        topic: str,
        values: Iterable[bytes | None],
        *,
        partition: int = 0,
        key: bytes | None = b"k",
        time: int | None = None,
        headers: list[tuple[str, bytes]] | None = None,
    ) -> None:
        futures = [
            producer.send(
                topic, value, key=key, partition=partition, timestamp_ms=time, headers=headers or []
            )
            for value in values
        ]
        producer.flush()
        for future in futures:
            future.get(timeout=10)

    return send


@pytest.fixture(scope="session")
def producer(broker: Kafka) -> Iterator[KafkaProducer]:
    made = KafkaProducer(
        bootstrap_servers=broker.bootstrap_servers, linger_ms=20, max_request_size=20 << 20
    )
    yield made
    made.close()


@pytest.fixture(scope="session")
def admin(broker: Kafka) -> Iterator[KafkaAdminClient]:
    with KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers) as made:
        yield made


@pytest.fixture(scope="session")
def new_topic(broker: Kafka) -> NewTopic:
    """Make a topic of its own for a test: ``new_topic(partitions, max_message_bytes=...)`` gives
    its name.
    """
    return new_topic_on(broker)


@pytest.fixture(scope="session")
def send(producer: KafkaProducer) -> Send:
    """Write messages: ``send(topic, values, partition=, key=, time=, headers=)``, in one batch
    where they fit.
    """
    return send_to(producer)


@pytest.fixture
def small_fetches(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch a fetch, whatever its size."""
    monkeypatch.setattr(wire, "PARTITION_BYTES", 1)
    monkeypatch.setattr(wire, "FETCH_BYTES", 1)


@pytest.fixture
def during_the_read(
    monkeypatch: pytest.MonkeyPatch,
    small_fetches: None,  # noqa: ARG001
) -> Iterator[Callable[[Callable[[], object]], None]]:
    """Have something done between two fetches: ``during_the_read(action)``.

    A test whose read is over before that fails.
    """
    done: list[bool] = []

    def arrange(action: Callable[[], object], after: int = 2) -> None:
        fetches = itertools.count(1)
        read = log.take
        mine = len(done)
        done.append(False)

        def read_and_act(*args: Any, **options: Any) -> Any:
            if next(fetches) == after:
                action()
                done[mine] = True
            return read(*args, **options)

        monkeypatch.setattr(log, "take", read_and_act)

    yield arrange
    assert all(done), "the read was over before anything was done to the log"
