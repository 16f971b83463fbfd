"""What is waited for when nothing comes from a broker: told every few seconds, and asked for again
less and less often.

What is used of kafka-python's insides here is what ``tests/kafka/test_inquire.py`` holds.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable

from kafka import KafkaConsumer, TopicPartition

from recovery_kit.kafka.client.probe import require_broker

FIRST_WORD, NEXT_WORD = 2.0, 5.0
"""Seconds of silence before it is told what is waited for, and between one telling and the next."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
"""Seconds between one try and the next, at first and at most.

Each is shortened at random by up to a half.
"""

OnWait = Callable[[float, str], None]


def unheard(_seconds: float, _what: str) -> None:
    """What is told to whoever does not want to know what is waited for."""


class Waiting:
    """How long nothing has come: tells of it every few seconds, and pauses longer from one try to
    the next.
    """

    def __init__(self, on_wait: OnWait = unheard) -> None:
        self.on_wait = on_wait
        self.over()

    def over(self) -> None:
        """Something has come."""
        self._since, self._word, self._pause = time.monotonic(), FIRST_WORD, FIRST_PAUSE

    @property
    def seconds(self) -> float:
        """Seconds since something came."""
        return time.monotonic() - self._since

    def tell(
        self, consumer: KafkaConsumer, partitions: Iterable[TopicPartition], most: int = 4
    ) -> None:
        """Tell what is waited for, if it is time to; a KafkaError where waiting is of no use."""
        if self.seconds >= self._word:
            said = [
                f"{tp.topic}-{tp.partition} ({why})"
                for tp, why in obstacles(consumer, partitions).items()
            ]
            more = f" and {len(said) - most} more" if len(said) > most else ""
            self.on_wait(self.seconds, ", ".join(said[:most]) + more)
            self._word = self.seconds + NEXT_WORD

    def pause(self, most: float) -> None:
        """Wait before another try, for at most so many seconds."""
        time.sleep(max(0.0, min(most, random.uniform(0.5, 1.0) * self._pause)))
        self._pause = min(2 * self._pause, LONGEST_PAUSE)


def obstacles(
    consumer: KafkaConsumer, partitions: Iterable[TopicPartition], timeout: float = 3.0
) -> dict[TopicPartition, str]:
    """Why nothing comes from each partition; looking for that takes at most so many seconds.

    Raises a KafkaError where the broker that leads one refuses this client, or is not who it says:
    kafka-python 3.0.12 would try for ever.
    """
    leaders = {tp: leader(consumer, tp) for tp in partitions}
    deadline = time.monotonic() + timeout
    said = {
        node: _obstacle(consumer, node, deadline - time.monotonic())
        for node in dict.fromkeys(leaders.values())
    }
    return {tp: said[node] for tp, node in leaders.items()}


def _obstacle(consumer: KafkaConsumer, node: int | None, timeout: float) -> str:
    if node is None:
        return "the cluster does not name it any more"
    if node == -1:
        return "no leader"
    broker, connection = consumer._cluster.broker_metadata(node), consumer._manager._conns.get(node)
    if broker is None:
        return f"no connection to broker {node}"
    server = f"{broker.host}:{broker.port}"
    if connection is not None and connection.connected:
        return f"no answer from broker {node} at {server}"
    why = require_broker(server, consumer.config, timeout)
    return f"no connection to broker {node} at {server}" + (f": {why}" if why else "")


def leader(consumer: KafkaConsumer, tp: TopicPartition) -> int | None:
    """The broker that leads a partition, as last heard.

    -1 where none does, None where the partition is unknown.
    """
    found: int | None = consumer._cluster.leader_for_partition(tp)
    return found
