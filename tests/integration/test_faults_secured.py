"""Faults 27, 28 and 40 on a broker with TLS, passwords and ACLs: the reason at once, and no secret
anywhere.
"""

from __future__ import annotations

import gc
import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kafka import KafkaProducer
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    KafkaAdminClient,
    ResourcePattern,
    ResourceType,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from recovery_kit.errors import IncompleteReplay, KafkaError
from recovery_kit.kafka import log
from recovery_kit.replay import replay
from recovery_kit.run.notebooks import run
from recovery_kit.run.settings import Settings
from recovery_kit.sandbox import Kafka
from tests.integration.conftest import event, numbers, send_to
from tests.kafka.client.pki import authority, issued
from tests.kafka.client.tokens import token_endpoint, unsecured_jwt
from tests.kafka.helpers import assert_unseen, kept

SECRET, WRONG = "pl4nted-and-right", "pl4nted-and-wrong"
CA, OTHER = authority(), authority("another")
BROKER = issued(CA, "broker", "127.0.0.1", "localhost")
SCRAM = ["sasl.mechanism=SCRAM-SHA-512", "sasl.username=alice"]

Arrange = Callable[..., None]
Config = Callable[..., Path]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """Alice may read "open" and describe "described".

    Every two seconds she must say again who she is.
    """
    own = kept(
        tmp_path_factory.mktemp("broker"), BROKER.key_pem(), BROKER.cert_pem, name="broker.pem"
    )
    at, module = "listener.name.sasl_ssl", "org.apache.kafka.common.security"
    unsecured = f"{module}.oauthbearer.internals.unsecured.OAuthBearerUnsecured"
    config: dict[str, object] = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": own,
        "sasl.enabled.mechanisms": "SCRAM-SHA-512,OAUTHBEARER",
        f"{at}.scram-sha-512.sasl.jaas.config": f"{module}.scram.ScramLoginModule required;",
        f"{at}.scram-sha-512.connections.max.reauth.ms": 2000,
        f"{at}.oauthbearer.sasl.jaas.config": (
            f"{module}.oauthbearer.OAuthBearerLoginModule required "
            'unsecuredLoginStringClaim_sub="broker";'
        ),
        f"{at}.oauthbearer.sasl.login.callback.handler.class": f"{unsecured}LoginCallbackHandler",
        f"{at}.oauthbearer.sasl.server.callback.handler.class": (
            f"{unsecured}ValidatorCallbackHandler"
        ),
        f"{at}.oauthbearer.connections.max.reauth.ms": 2000,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }
    with Kafka(config, listeners=("SASL_SSL",)) as running:
        for topic in ("open", "described", "hidden"):
            running.create_topic(topic)
        with KafkaProducer(bootstrap_servers=running.bootstrap_servers) as producer:
            for i in range(60):
                send_to(producer)("open", [event(i)])
        with KafkaAdminClient(bootstrap_servers=running.bootstrap_servers) as admin:
            admin.create_acls(
                [allowed("open", ACLOperation.READ), allowed("described", ACLOperation.DESCRIBE)]
            )
        change_password(running, SECRET)
        yield running


def allowed(topic: str, operation: ACLOperation) -> ACL:
    pattern = ResourcePattern(ResourceType.TOPIC, topic)
    return ACL("User:alice", "*", operation, ACLPermissionType.ALLOW, pattern)


def change_password(broker: Kafka, password: str) -> None:
    with KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers) as admin:
        user = UserScramCredentialUpsertion("alice", ScramMechanism.SCRAM_SHA_512, password)
        assert set(admin.alter_user_scram_credentials([user]).values()) == {None}
    time.sleep(0.3)  # brokers hear of it a moment later


@pytest.fixture
def config(tmp_path: Path) -> Config:
    def make(*lines: str, ca: str = CA.cert_pem) -> Path:
        kept(tmp_path, ca, name="ca.pem")
        return kept(tmp_path, "security.protocol=SASL_SSL", "ssl.ca.location=ca.pem", *lines)

    return make


@pytest.fixture
def right(config: Config) -> Path:
    return config(*SCRAM, f"sasl.password={SECRET}")


@pytest.fixture(autouse=True)
def no_secret_is_logged_or_printed(
    dead_brokers: None,  # noqa: ARG001
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> Iterator[None]:
    """Fault 40, for every test here, with every logger at DEBUG."""
    caplog.set_level(logging.DEBUG)
    logging.getLogger("kafka").setLevel(
        logging.DEBUG
    )  # which dead_brokers quiets; here all of it is to be seen
    yield
    logged = "\n".join(
        f"{r.name} {r.getMessage()} {r.args!r} {r.exc_text or ''}"
        for r in caplog.get_records("call")
    )
    shown = logged + "".join(capfd.readouterr())
    caplog.clear()  # records hold on to sockets, which kafka-python leaves to the garbage collector
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "unclosed <ssl.SSLSocket", ResourceWarning)
        gc.collect()
    for secret in (SECRET, WRONG):
        assert secret not in shown


CASES: dict[str, tuple[str, str, list[str], str]] = {
    "wrong password": (
        "open",
        "SASL fails: .*refuses the credentials",
        [*SCRAM, f"sasl.password={WRONG}"],
        CA.cert_pem,
    ),
    "certificate not trusted": (
        "open",
        "TLS fails: the certificate of .* is not accepted",
        [*SCRAM, f"sasl.password={SECRET}"],
        OTHER.cert_pem,
    ),
    "no ACL at all": (
        "hidden",
        "not authorised to read topic 'hidden'; it needs the ACL operations Describe and Read",
        [*SCRAM, f"sasl.password={SECRET}"],
        CA.cert_pem,
    ),
    "no ACL to read": (
        "described",
        "not authorised to read described",
        [*SCRAM, f"sasl.password={SECRET}"],
        CA.cert_pem,
    ),
}


@pytest.mark.parametrize(("topic", "reason", "lines", "ca"), CASES.values(), ids=CASES)
def test_fault_27_the_reason_at_once_and_no_secret(
    broker: Kafka, config: Config, topic: str, reason: str, lines: list[str], ca: str
) -> None:
    if topic == "described":  # an empty topic is done before anything must be read
        with KafkaProducer(bootstrap_servers=broker.bootstrap_servers) as producer:
            send_to(producer)(topic, [event(1)])
    start = time.monotonic()
    with pytest.raises(KafkaError, match=reason) as caught:
        replay(
            topic,
            bootstrap_servers=broker.bootstrap("SASL_SSL"),
            client_config=config(*lines, ca=ca),
        )
    assert time.monotonic() - start < 10
    for secret in (SECRET, WRONG):
        assert_unseen(secret, caught.value)


def test_fault_27_a_right_that_is_taken_away_during_the_read(
    broker: Kafka, right: Path, during_the_read: Arrange
) -> None:
    acl = allowed("open", ACLOperation.READ)

    def forbid() -> None:
        with KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers) as admin:
            admin.delete_acls([acl])
        time.sleep(0.3)

    during_the_read(forbid, after=20)
    try:
        with pytest.raises(KafkaError, match="not authorised to read open"):
            replay(
                "open",
                bootstrap_servers=broker.bootstrap("SASL_SSL"),
                client_config=right,
                timeout=10,
            )
    finally:
        with KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers) as admin:
            admin.create_acls([acl])
        time.sleep(0.3)


def slow(monkeypatch: pytest.MonkeyPatch, pause: float) -> None:
    read = log.take

    def slowly(*args: object, **options: bool) -> object:
        time.sleep(pause)
        return read(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(log, "take", slowly)


@pytest.mark.usefixtures("small_fetches")
def test_fault_28_a_session_that_expires_during_the_read_is_renewed(
    broker: Kafka, right: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    slow(monkeypatch, 0.1)
    found = replay("open", bootstrap_servers=broker.bootstrap("SASL_SSL"), client_config=right)
    assert (found.verdict, numbers(found.events)) == ("complete", list(range(60)))
    renewed = [r for r in caplog.records if "Beginning SASL re-authentication" in r.getMessage()]
    assert len(renewed) >= 2


@pytest.mark.usefixtures("small_fetches")
def test_fault_28_a_token_that_expires_during_the_read_is_renewed(
    broker: Kafka,
    config: Config,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    slow(monkeypatch, 0.1)
    tokens: list[str] = []
    with token_endpoint(tmp_path, BROKER) as endpoint:

        def issue() -> None:
            tokens.append(unsecured_jwt("alice", 5.0))
            endpoint.body = {"access_token": tokens[-1], "expires_in": 3.0}

        issue()
        given = config(
            "sasl.mechanism=OAUTHBEARER",
            f"sasl.oauthbearer.token.endpoint.url={endpoint.url}",
            "https.ca.location=ca.pem",
            "sasl.oauthbearer.client.id=me",
            f"sasl.oauthbearer.client.secret={SECRET}",
        )
        read = log.take

        def renewing(*args: object, **options: bool) -> object:
            issue()
            return read(*args, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(log, "take", renewing)
        found = replay("open", bootstrap_servers=broker.bootstrap("SASL_SSL"), client_config=given)
        assert (found.verdict, numbers(found.events)) == ("complete", list(range(60)))
        assert len(endpoint.asked) >= 2
    logged = "".join(f"{r.getMessage()} {r.args!r}" for r in caplog.records)
    assert not [token for token in tokens if token in logged]


@pytest.mark.usefixtures("small_fetches")
def test_fault_28_a_token_that_cannot_be_renewed_is_an_error_that_says_why(
    broker: Kafka, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow(monkeypatch, 0.1)
    with token_endpoint(tmp_path, BROKER) as endpoint:
        endpoint.body = {"access_token": unsecured_jwt("alice", 60.0), "expires_in": 2.0}
        given = config(
            "sasl.mechanism=OAUTHBEARER",
            f"sasl.oauthbearer.token.endpoint.url={endpoint.url}",
            "https.ca.location=ca.pem",
            "sasl.oauthbearer.client.id=me",
            f"sasl.oauthbearer.client.secret={SECRET}",
        )
        read = log.take

        def refusing(*args: object, **options: bool) -> object:
            endpoint.status, endpoint.body = 401, {"error": "invalid_client"}
            return read(*args, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(log, "take", refusing)
        with pytest.raises(
            (KafkaError, IncompleteReplay), match=r"no token from localhost: it answered 401"
        ) as caught:
            replay(
                "open",
                bootstrap_servers=broker.bootstrap("SASL_SSL"),
                client_config=given,
                timeout=8,
            )
    assert_unseen(SECRET, caught.value)


@pytest.mark.usefixtures("small_fetches")
def test_fault_28_a_password_that_is_changed_during_the_read_is_an_error(
    broker: Kafka, right: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, fetches = log.take, []

    def changing(*args: object, **options: bool) -> object:
        fetches.append(1)
        time.sleep(0.1)
        if len(fetches) == 10:
            change_password(broker, WRONG)
        return read(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(log, "take", changing)
    start = time.monotonic()
    try:
        with pytest.raises(
            KafkaError, match=r"SASL fails: .*refuses the credentials \(SCRAM-SHA-512\)"
        ) as caught:
            replay("open", bootstrap_servers=broker.bootstrap("SASL_SSL"), client_config=right)
        assert time.monotonic() - start < 20
        assert_unseen(SECRET, caught.value)
    finally:
        change_password(broker, SECRET)


def test_fault_40_a_password_is_nowhere_after_a_replay(
    broker: Kafka, right: Path, during_the_read: Arrange, caplog: pytest.LogCaptureFixture
) -> None:
    found = replay("open", bootstrap_servers=broker.bootstrap("SASL_SSL"), client_config=right)
    shown = repr(found) + found._repr_html_() + found.coverage.to_csv() + repr(vars(found))
    assert SECRET not in shown
    assert any(r.name.startswith("kafka") and r.levelno == logging.DEBUG for r in caplog.records)
    during_the_read(broker.kill, after=10)
    try:
        with pytest.raises(IncompleteReplay, match="timed out") as caught:
            replay(
                "open",
                bootstrap_servers=broker.bootstrap("SASL_SSL"),
                client_config=right,
                timeout=3,
            )
        assert_unseen(SECRET, caught.value)
    finally:
        broker.start()


@pytest.mark.parametrize("password", [SECRET, WRONG], ids=["right", "wrong"])
def test_fault_40_a_password_is_in_nothing_that_a_run_writes(
    broker: Kafka, config: Config, tmp_path: Path, password: str
) -> None:
    """Executed notebooks, tables, manifest, summary, report: of a run that works and of one that
    does not.
    """
    folder = tmp_path / "run"
    outcome = run(
        Settings.of(
            {
                "bootstrap_servers": broker.bootstrap("SASL_SSL"),
                "client_config": str(config(*SCRAM, f"sasl.password={password}")),
                "topic": "open",
                "run_dir": str(folder),
            },
            strict=True,
        )
    )
    assert outcome.exit_code == (0 if password == SECRET else 2)
    assert "refuses the credentials" in outcome.error or password == SECRET
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".ipynb" for path in written)
    for path in written:
        data = path.read_bytes()
        assert password.encode() not in data
        assert json.dumps(password)[1:-1].encode() not in data
    assert password not in repr(outcome) + repr(vars(outcome))
