"""Writers that put into the ledger what was acknowledged to them, and nothing that was not."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError

from tests.soak.ledger import NO_EVENT, Ledger

BATCH, KEYS = 40, 997

Sent = list[tuple[int, Any]]


def message(number: int) -> tuple[bytes, bytes]:
    """Key and value of an event.

    Both follow from its number, so that a reader can tell whether they are whole.
    """
    return b"k%d" % (number % KEYS), b'{"id":"%d","type":"add","value":%d.%02d}' % (
        number,
        number % 9_973,
        number % 100,
    )


def write(
    servers: str, name: str, topics: list[str], ledger: Ledger, stop: threading.Event, pace: float
) -> None:
    """Write to some topics without transactions until told to stop."""

    def turn(producer: KafkaProducer) -> None:
        while not stop.is_set():
            sent = _send(producer, random.choice(topics), ledger)
            producer.flush(timeout=25)
            _acknowledge(sent, ledger, name)
            stop.wait(pace)

    _again(servers, stop, turn)


def transact(
    servers: str, name: str, topics: list[str], ledger: Ledger, stop: threading.Event, pace: float
) -> None:
    """Write to some topics in transactions, of which a third is aborted and some stay open for a
    while.
    """

    def turn(producer: KafkaProducer) -> None:
        _in_time(producer.init_transactions)
        while not stop.is_set():
            producer.begin_transaction()
            sent: Sent = []
            for topic in random.sample(topics, random.randint(1, len(topics))):
                sent += _send(producer, topic, ledger)
            producer.flush(timeout=25)
            stop.wait(pace * random.choice([1, 1, 1, 15]))
            good = random.random() < 0.67
            ended = "untold"
            try:
                _in_time(producer.commit_transaction if good else producer.abort_transaction)
                ended = "committed" if good else "aborted"
            finally:
                ledger.ended(ended)
            _acknowledge(sent, ledger, name, good=good)

    _again(servers, stop, turn, transactional_id=name, transaction_timeout_ms=30_000)


def _again(
    servers: str, stop: threading.Event, turn: Callable[[KafkaProducer], None], **options: object
) -> None:
    """Take turns with a new producer after each failure.

    What the old one had in flight stays unknown to the ledger.
    """
    lasting = {
        "acks": "all",
        "enable_idempotence": True,
        "request_timeout_ms": 6000,
        "delivery_timeout_ms": 20_000,
    }
    while not stop.is_set():
        with contextlib.suppress(KafkaError):
            producer = KafkaProducer(
                bootstrap_servers=servers, linger_ms=5, max_block_ms=20_000, **lasting, **options
            )
            try:
                turn(producer)
            finally:
                producer.close(timeout=1)
        time.sleep(0.2)


def _in_time(step: Callable[[], None], seconds: float = 10.0) -> None:
    """Take one step of a transaction.

    Kafka-python 3.0.12 may wait for ever for its end when brokers come and go.
    """
    done: list[bool] = []

    def take() -> None:
        with contextlib.suppress(KafkaError):
            step()
            done.append(True)

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    thread.join(seconds)
    if not done:
        raise KafkaError("the transaction did not come to its end; nobody knows which")


def _send(producer: KafkaProducer, topic: str, ledger: Ledger) -> Sent:
    sent: Sent = []
    for number in ledger.numbers(BATCH):
        key, value = message(number)
        sent.append((number, producer.send(topic, value, key=key)))
    return sent


def _acknowledge(sent: Sent, ledger: Ledger, writer: str, *, good: bool = True) -> None:
    for number, future in sent:
        if future.succeeded() and future.value.offset >= 0:
            told = future.value
            ledger.acknowledge(
                (told.topic, told.partition), told.offset, number if good else NO_EVENT, writer
            )
    if not all(future.succeeded() for _, future in sent):
        raise KafkaError(
            "something was not acknowledged; with a new producer it cannot come out of order"
        )
