"""Faults 8, 14, 15, 23 and 27 on three brokers with everything at once: TLS, mutual TLS, SASL,
ACLs, retention, compaction.

The third broker's certificate is one that clients do not trust: what is led by it cannot be read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ConfigResource,
    ConfigResourceType,
    KafkaAdminClient,
    ResourcePattern,
    ResourceType,
)
from kafka.admin import NewTopic as Topic

from recovery_kit import cli
from recovery_kit.errors import IncompleteReplay, KafkaError
from recovery_kit.replay import replay
from recovery_kit.sandbox import Kafka
from recovery_kit.sandbox.node import Node
from tests.integration.conftest import event, numbers, one, send_to
from tests.integration.test_faults_cluster import leader, until
from tests.kafka.client.pki import Pair, authority, issued
from tests.kafka.helpers import assert_unseen, kept

SECRET = "pl4nted-in-the-cluster"
CA, OTHER = authority(), authority("another")
PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"
Arrange = Callable[..., None]

pytestmark = pytest.mark.usefixtures("dead_brokers")


class Secured(Kafka):
    """Three brokers, each with a certificate of its own."""

    def _properties(self, node: Node) -> str:
        path = super()._properties(node)
        pair = issued(OTHER if node.number == 3 else CA, f"broker-{node.number}", "127.0.0.1")
        own = kept(self.folder, pair.key_pem(), pair.cert_pem, name=f"broker-{node.number}.pem")
        with Path(path).open("a", encoding="ascii") as file:
            file.write(f"ssl.keystore.location={own}\n")
        return path


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """Alice, by password, and the certificate "reader" may read what begins with "open"."""
    trusted = kept(tmp_path_factory.mktemp("brokers"), CA.cert_pem, name="ca.pem")
    config: dict[str, object] = {
        "ssl.keystore.type": "PEM",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": trusted,
        "listener.name.ssl.ssl.client.auth": "required",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_ssl.plain.sasl.jaas.config": f'{PLAIN} user_alice="{SECRET}";',
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "log.initial.task.delay.ms": 100,
        "log.retention.check.interval.ms": 300,
        "log.cleaner.backoff.ms": 200,
        "auto.leader.rebalance.enable": False,
    }
    with Secured(config, listeners=("SSL", "SASL_SSL"), brokers=3) as running:
        with KafkaAdminClient(bootstrap_servers=running.bootstrap_servers) as admin:
            pattern = ResourcePattern(ResourceType.TOPIC, "open", ACLResourcePatternType.PREFIXED)
            for who in ("User:alice", "User:CN=reader"):
                admin.create_acls(
                    [ACL(who, "*", ACLOperation.READ, ACLPermissionType.ALLOW, pattern)]
                )
        yield running


@pytest.fixture
def admin(broker: Kafka) -> Iterator[KafkaAdminClient]:
    with KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers) as made:
        yield made


@pytest.fixture
def filled(broker: Kafka, admin: KafkaAdminClient) -> Callable[..., str]:
    """Make a topic on some brokers, its leader first, and write sixty events to it, a batch
    each.
    """

    def make(name: str, places: dict[int, list[int]], **config: object) -> str:
        configs = {key.replace("_", "."): str(value) for key, value in config.items()}
        admin.create_topics([Topic(name, replica_assignments=places, topic_configs=configs)])
        until(lambda: leader(admin, name) == places[0][0])
        with KafkaProducer(bootstrap_servers=broker.bootstrap_servers, acks="all") as producer:
            for i in range(60):
                send_to(producer)(name, [event(i)], key=b"k%d" % (i % 7))
        return name

    return make


@pytest.fixture
def alice(tmp_path: Path) -> Path:
    kept(tmp_path, CA.cert_pem, name="ca.pem")
    return kept(
        tmp_path,
        "security.protocol=SASL_SSL",
        "sasl.mechanism=PLAIN",
        f'sasl.jaas.config={PLAIN} username="alice" password="{SECRET}";',
        "ssl.truststore.type=PEM",
        "ssl.truststore.location=ca.pem",
    )


def with_certificate(folder: Path, pair: Pair) -> Path:
    kept(folder, CA.cert_pem, name="ca.pem")
    (folder / "me.p12").write_bytes(pair.pkcs12(SECRET))
    own = ["ssl.keystore.location=me.p12", f"ssl.keystore.password={SECRET}"]
    return kept(
        folder, "security.protocol=SSL", "ssl.ca.location=ca.pem", *own, name="mine.properties"
    )


def test_fault_15_the_leader_is_killed_during_a_read_by_password(
    broker: Kafka, filled: Callable[..., str], alice: Path, during_the_read: Arrange
) -> None:
    topic = filled("open-killed", {0: [1, 2]})
    during_the_read(lambda: broker.kill(1), after=20)
    try:
        found = replay(topic, bootstrap_servers=broker.bootstrap("SASL_SSL"), client_config=alice)
    finally:
        broker.start(1)
    assert (found.verdict, numbers(found.events), found.notes) == ("complete", list(range(60)), ())


def test_fault_14_the_leader_moves_during_a_read_by_certificate(
    broker: Kafka,
    admin: KafkaAdminClient,
    filled: Callable[..., str],
    tmp_path: Path,
    during_the_read: Arrange,
) -> None:
    topic = filled("open-moved", {0: [1, 2]})

    def move() -> None:
        admin.alter_partition_reassignments({TopicPartition(topic, 0): [2, 1]})
        until(lambda: not admin.list_partition_reassignments())
        admin.elect_leaders(0, {topic: [0]}, raise_errors=False)
        until(lambda: leader(admin, topic) == 2)

    during_the_read(move, after=20)
    mine = with_certificate(tmp_path, issued(CA, "reader"))
    found = replay(topic, bootstrap_servers=broker.bootstrap("SSL"), client_config=mine)
    assert (found.verdict, numbers(found.events), found.notes) == ("complete", list(range(60)), ())


def test_fault_08_retention_by_way_of_a_password(
    broker: Kafka,
    admin: KafkaAdminClient,
    filled: Callable[..., str],
    alice: Path,
    during_the_read: Arrange,
) -> None:
    topic = filled("open-short", {0: [2, 1]}, segment_ms=20)

    def shorten() -> None:
        admin.alter_configs(
            [ConfigResource(ConfigResourceType.TOPIC, topic, {"retention.bytes": "1"})]
        )
        until(lambda: not (broker.log_dir(topic, 0, node=2) / f"{0:020}.log").exists())

    during_the_read(shorten, after=5)
    with pytest.raises(
        IncompleteReplay, match=rf"raced: .*{topic}-0: offsets \d+ to \d+ went during the read"
    ) as caught:
        replay(topic, bootstrap_servers=broker.bootstrap("SASL_SSL"), client_config=alice)
    delivered, lost, unread = one(caught.value.coverage, "delivered", "lost", "unread")
    assert (delivered >= 5, lost > 0, delivered + lost + unread) == (True, True, 60)


def test_fault_23_compaction_by_way_of_a_certificate(
    broker: Kafka, filled: Callable[..., str], tmp_path: Path
) -> None:
    quick = {"min_cleanable_dirty_ratio": 0.001, "max_compaction_lag_ms": 100, "segment_ms": 20}
    topic = filled("open-compacted", {0: [1, 2]}, cleanup_policy="compact", **quick)
    mine = with_certificate(tmp_path, issued(CA, "reader"))

    def read(**options: Any) -> Any:
        return replay(
            topic, bootstrap_servers=broker.bootstrap("SSL"), client_config=mine, **options
        )

    until(lambda: read(allow_incomplete=True).verdict == "compacted")
    with pytest.raises(
        IncompleteReplay, match=rf"compacted: .*{topic}-0: [\d,]+ of 60 offsets hold no record"
    ):
        read()


def test_fault_27_a_broker_of_several_whose_certificate_is_not_trusted(
    broker: Kafka, filled: Callable[..., str], alice: Path
) -> None:
    topic = filled("open-untrusted", {0: [3], 1: [1]})
    trusted = broker.bootstrap("SASL_SSL").split(",")[:2]
    start = time.monotonic()
    with pytest.raises(
        KafkaError, match=r"TLS fails: the certificate of \S+ is not accepted"
    ) as caught:
        replay(topic, bootstrap_servers=trusted, client_config=alice)
    assert time.monotonic() - start < 10
    assert_unseen(SECRET, caught.value)


def test_fault_27_the_leader_comes_to_be_one_that_is_not_trusted(
    broker: Kafka,
    admin: KafkaAdminClient,
    filled: Callable[..., str],
    alice: Path,
    during_the_read: Arrange,
) -> None:
    topic = filled("open-betrayed", {0: [1, 3]})
    moved = []

    def move() -> None:
        admin.alter_partition_reassignments({TopicPartition(topic, 0): [3, 1]})
        until(lambda: not admin.list_partition_reassignments())
        admin.elect_leaders(0, {topic: [0]}, raise_errors=False)
        until(lambda: leader(admin, topic) == 3)
        moved.append(time.monotonic())

    during_the_read(move, after=20)
    trusted = broker.bootstrap("SASL_SSL").split(",")[:2]
    with pytest.raises(
        KafkaError,
        match=r"cannot connect to Kafka any more, TLS fails: the certificate of \S+ is not",
    ):
        replay(topic, bootstrap_servers=trusted, client_config=alice)
    assert time.monotonic() - moved[0] < 10


@pytest.mark.parametrize("who", ["reader", "stranger"])
def test_fault_27_what_a_certificate_may_read(
    broker: Kafka,
    filled: Callable[..., str],
    tmp_path: Path,
    who: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    topic = filled(f"open-{who}", {0: [1]})
    mine = with_certificate(tmp_path, issued(CA, who))
    servers = broker.bootstrap("SSL").split(",")[0]
    at = ["check", "--bootstrap-servers", servers, "--topic", topic, "--client-config", str(mine)]
    if who == "reader":
        found = replay(topic, bootstrap_servers=servers, client_config=mine)
        assert (found.verdict, len(found.events)) == ("complete", 60)
        assert cli.main(at) == 0
    else:
        start = time.monotonic()
        with pytest.raises(KafkaError, match=f"not authorised to read topic '{topic}'"):
            replay(topic, bootstrap_servers=servers, client_config=mine)
        assert cli.main(at) == 2
        assert time.monotonic() - start < 20
    told = capsys.readouterr().out
    assert "  TLS" in told
    assert (f"! ACL fails: not authorised to read topic '{topic}'" in told) == (who == "stranger")


@pytest.mark.parametrize(("wrong", "layer"), [("password", "SASL"), ("authority", "TLS")])
def test_fault_27_check_names_the_layer(
    broker: Kafka, alice: Path, capsys: pytest.CaptureFixture[str], wrong: str, layer: str
) -> None:
    if wrong == "password":
        alice.write_text(alice.read_text().replace(SECRET, "wr0ng-and-planted"))
    else:
        kept(alice.parent, OTHER.cert_pem, name="ca.pem")
    servers = broker.bootstrap("SASL_SSL").split(",")[0]
    start = time.monotonic()
    assert (
        cli.main(
            ["check", "--bootstrap-servers", servers, "--topic", "t", "--client-config", str(alice)]
        )
        == 2
    )
    assert time.monotonic() - start < 10
    told = "".join(capsys.readouterr())
    assert f"! {layer} fails: " in told
    assert ("  TLS  " in told) == (layer == "SASL")
    assert SECRET not in told
    assert "wr0ng-and-planted" not in told
