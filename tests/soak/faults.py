"""What goes wrong during a soak, one thing after the other, each healed before long."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable

from kafka import TopicPartition
from kafka.admin import KafkaAdminClient, OffsetSpec
from kafka.errors import KafkaError

from recovery_kit.errors import SandboxError
from tests.proxied import Proxied

MOST_PARTITIONS = 6


class FaultMaker:
    """Makes faults on a cluster until told to stop.

    Attributes
    ----------
    made : how many of each kind
    """

    def __init__(self, cluster: Proxied, topics: list[str], deletable: str) -> None:
        self.cluster, self.topics, self.deletable = cluster, topics, deletable
        self._partitions = dict.fromkeys(topics, 3)
        self.of_brokers = {self.kill: 3, self.stop: 2, self.pause: 3, self.restart: 1}
        self.of_the_rest = {
            self.move_leaders: 3,
            self.delete_records: 3,
            self.add_partitions: 1,
            self.cut: 6,
            self.hold: 3,
        }
        self.made = Counter({_name(kind): 0 for kind in (*self.of_brokers, *self.of_the_rest)})

    def run(
        self, kinds: dict[Callable[[], bool], int], stop: threading.Event, pause: float
    ) -> None:
        """One fault of these kinds, each as often as its weight says, after the other."""
        while not stop.is_set():
            (kind,) = random.choices(list(kinds), list(kinds.values()))
            with contextlib.suppress(KafkaError, SandboxError):
                if kind():
                    self.made[_name(kind)] += 1
            stop.wait(random.uniform(0, 2 * pause))

    def heal(self) -> None:
        """Start whatever is down, let go of whatever is held."""
        for proxy in self.cluster.proxies.values():
            proxy.release()
        for node in self.cluster.nodes:
            with contextlib.suppress(SandboxError):  # it is up
                self.cluster.start(node.number)

    def kill(self) -> bool:
        node = self._node()
        self.cluster.kill(node)
        time.sleep(random.uniform(0, 3))
        self.cluster.start(node)
        return True

    def stop(self) -> bool:
        node = self._node()
        self.cluster.stop(node)
        time.sleep(random.uniform(0, 2))
        self.cluster.start(node)
        return True

    def restart(self) -> bool:
        self.cluster.restart(self._node(), hard=random.random() < 0.5)
        return True

    def pause(self) -> bool:
        """Stop a broker in its tracks, for shorter or longer than the cluster waits for it (3
        s).
        """
        pid = self.cluster.pid(self._node())
        os.kill(pid, signal.SIGSTOP)
        time.sleep(random.uniform(0.3, 5))
        os.kill(pid, signal.SIGCONT)
        return True

    def move_leaders(self) -> bool:
        topic = random.choice(self.topics)
        with self._admin() as admin:
            order = random.sample([1, 2, 3], 3)
            places = {TopicPartition(topic, p): order for p in range(3)}
            admin.alter_partition_reassignments(places)
            time.sleep(0.3)
            admin.elect_leaders(0, {topic: [0, 1, 2]}, raise_errors=False)
        return True

    def delete_records(self) -> bool:
        tp = TopicPartition(self.deletable, random.randrange(3))
        with self._admin() as admin:
            first = admin.list_partition_offsets({tp: OffsetSpec.EARLIEST})[tp].offset
            end = admin.list_partition_offsets({tp: OffsetSpec.LATEST})[tp].offset
            if end - first < 10:
                return False
            admin.delete_records({tp: first + random.randint(1, (end - first) // 2)})
        return True

    def add_partitions(self) -> bool:
        topic = random.choice(self.topics)
        if self._partitions[topic] >= MOST_PARTITIONS:
            return False
        with self._admin() as admin:
            admin.create_partitions({topic: self._partitions[topic] + 1})
        self._partitions[topic] += 1
        return True

    def cut(self) -> bool:
        return self.cluster.cut() > 0

    def hold(self) -> bool:
        held = random.sample(list(self.cluster.proxies.values()), random.randint(1, 3))
        for proxy in held:
            proxy.hold()
        time.sleep(random.uniform(0.2, 3))
        for proxy in held:
            proxy.release()
        return True

    def _node(self) -> int:
        return random.choice(self.cluster.nodes).number

    def _admin(self) -> KafkaAdminClient:
        return KafkaAdminClient(
            bootstrap_servers=self.cluster.bootstrap_servers,
            request_timeout_ms=6000,
            bootstrap_timeout_ms=6000,
        )


def _name(kind: Callable[[], bool]) -> str:
    return kind.__name__.replace("_", " ")
