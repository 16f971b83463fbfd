import socket
import tempfile
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from recovery_kit.errors import SandboxError
from recovery_kit.sandbox import Kafka, kafka, lease
from recovery_kit.sandbox.node import HOST, Node, choose_ports
from tests.sandbox.processes import first_line, gone, python, running


def _produce(servers, topic, *values):
    with KafkaProducer(bootstrap_servers=servers, acks="all") as producer:
        for value in values:
            producer.send(topic, value, partition=0)
        producer.flush()


def _consume(servers, topic):
    place = TopicPartition(topic, 0)
    with KafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False) as consumer:
        consumer.assign([place])
        consumer.seek_to_beginning(place)
        end = consumer.end_offsets([place])[place]
        read = []
        while consumer.position(place) < end:
            read += [record.value for record in consumer.poll(timeout_ms=500).get(place, [])]
    return read


def _folders():
    return set(lease.runtime_folder().glob("kafka-*"))


def test_what_is_produced_can_be_consumed_and_lies_on_disk(broker):
    broker.create_topic("sandbox-basic", partitions=2, config={"segment.bytes": 1 << 20})
    assert (broker.log_dir("sandbox-basic", 1)).is_dir()
    _produce(broker.bootstrap_servers, "sandbox-basic", b"one", b"two")
    assert _consume(broker.bootstrap_servers, "sandbox-basic") == [b"one", b"two"]
    (segment,) = broker.log_dir("sandbox-basic", 0).glob("*.log")
    assert b"two" in segment.read_bytes()
    assert "Kafka Server started" in broker.log_text()
    assert broker.bootstrap_servers in repr(broker)


def test_nothing_is_removed_by_age_and_no_topic_is_made_by_asking(broker):
    with KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers) as admin:
        resource = ConfigResource(ConfigResourceType.BROKER, "1")
        settings = admin.describe_configs([resource], config_filter="all")["broker"]["1"]
    assert settings["log.retention.ms"]["value"] == "-1"
    assert settings["auto.create.topics.enable"]["value"] == "false"
    with KafkaConsumer(bootstrap_servers=broker.bootstrap_servers) as consumer:
        assert consumer.partitions_for_topic("sandbox-never-made") in (None, set())
        assert "sandbox-never-made" not in consumer.topics()


@pytest.mark.usefixtures("dead_brokers")
def test_a_broker_comes_back_on_its_ports_with_its_data():
    with Kafka({"group.initial.rebalance.delay.ms": 1}) as own:
        servers, folder, pids = own.bootstrap_servers, own.folder, [own.pid()]
        own.create_topic("kept")
        _produce(servers, "kept", b"before")
        own.restart()
        pids.append(own.pid())
        assert _consume(servers, "kept") == [b"before"]
        own.kill()
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((HOST, own.nodes[0].ports["PLAINTEXT"]), timeout=5)
        own.start()
        pids.append(own.pid())
        assert own.bootstrap_servers == servers
        assert _consume(servers, "kept") == [b"before"]
        with pytest.raises(SandboxError, match=r"no broker 2; there are \[1\]"):
            own.stop(2)
    assert len(set(pids)) == 3
    assert gone(*pids, folder)
    with pytest.raises(SandboxError, match="not running"):
        _ = own.folder


def test_it_ends_with_an_owner_that_is_killed():
    owner = python(
        "from recovery_kit.sandbox import Kafka; import time\nbroker = Kafka(heap_mb=256).open(); "
        "print(broker.folder, broker.pid(), flush=True); time.sleep(300)"
    )
    with owner:
        folder, pid = first_line(owner)
        assert running(int(pid))
        owner.kill()
    assert gone(int(pid), Path(folder))


def test_what_cannot_start_says_why_and_leaves_nothing(monkeypatch):
    # A folder of its own: in the user's, other tests' brokers come and go.
    apart = tempfile.TemporaryDirectory(prefix="rk", dir="/tmp")
    monkeypatch.setattr("tempfile.tempdir", apart.name)
    with pytest.raises(
        SandboxError,
        match=r"(?s)config is not accepted.*Invalid value many for configuration num.part",
    ):
        Kafka({"num.partitions": "many"}).open()
    with pytest.raises(
        SandboxError, match="too little memory for it; free some, or give another heap_mb"
    ):
        Kafka(heap_mb=4).open()
    assert _folders() == set()
    apart.cleanup()


def test_a_port_that_somebody_takes_meanwhile_is_not_insisted_on(monkeypatch):
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        unlucky = (
            Node(
                1,
                {
                    "PLAINTEXT": taken.getsockname()[1],
                    "CONTROLLER": choose_ports(1, ["x"])[0].ports["x"],
                },
            ),
        )
        offers = iter([unlucky])
        monkeypatch.setattr(
            kafka, "choose_ports", lambda *wanted: next(offers, None) or choose_ports(*wanted)
        )
        with Kafka(heap_mb=256) as own:
            assert own.nodes != unlucky
            own.create_topic("works")


def test_three_brokers_keep_three_copies():
    with Kafka(brokers=3, heap_mb=256) as own:
        own.create_topic("copied")
        _produce(
            own.bootstrap_servers, "copied", b"thrice"
        )  # acknowledged when every copy is written
        copies = [own.log_dir("copied", 0, node=number) / f"{0:020}.log" for number in (1, 2, 3)]
        assert all(b"thrice" in copy.read_bytes() for copy in copies)
