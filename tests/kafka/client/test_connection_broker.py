"""Secured connections to a real Apache Kafka: what works, and the reason why what does not work
does not.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import ScramMechanism, UserScramCredentialUpsertion
from kafka.errors import KafkaError as LibraryError

from recovery_kit.errors import KafkaError
from recovery_kit.kafka.client.connection import (
    client_options,
    explain_failure,
    probe,
    require_connection,
)
from recovery_kit.sandbox import Kafka
from tests.kafka.client.pki import Pair, authority, issued
from tests.kafka.client.tokens import token_endpoint, unsecured_jwt
from tests.kafka.helpers import assert_unseen, kept

SECRET = 'Tr0ub4dor"planted\\ =,;#€'
WRONG = "wr0ng-and-planted"
NOBODY = "127.0.0.1:1"
CA, OTHER = authority(), authority("another")
BROKER = issued(CA, "broker", "127.0.0.1", "localhost")
ME, STRANGER = issued(CA, "me"), issued(OTHER, "stranger")

_QUOTED = SECRET.replace("\\", "\\\\").replace('"', '\\"')
_MODULE = "org.apache.kafka.common.security."
_PLAIN, _SCRAM, _OAUTH = (
    f"{_MODULE}{name} required"
    for name in (
        "plain.PlainLoginModule",
        "scram.ScramLoginModule",
        "oauthbearer.OAuthBearerLoginModule",
    )
)
_UNSECURED = f"{_MODULE}oauthbearer.internals.unsecured.OAuthBearerUnsecured"

Options = Callable[..., dict[str, object]]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    folder = tmp_path_factory.mktemp("broker")
    own = kept(folder, BROKER.key_pem(), BROKER.cert_pem, name="broker.pem")
    trusted = kept(folder, CA.cert_pem, name="ca.pem")
    config: dict[str, object] = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": own,
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": trusted,
        "listener.name.ssl.ssl.client.auth": "required",
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
    }
    for listener in ("sasl_ssl", "sasl_plaintext"):
        at = f"listener.name.{listener}"
        config |= {
            f"{at}.plain.sasl.jaas.config": f'{_PLAIN} user_alice="{_QUOTED}";',
            f"{at}.scram-sha-256.sasl.jaas.config": f"{_SCRAM};",
            f"{at}.scram-sha-512.sasl.jaas.config": f"{_SCRAM};",
            f"{at}.oauthbearer.sasl.jaas.config": (
                f'{_OAUTH} unsecuredLoginStringClaim_sub="broker";'
            ),
            f"{at}.oauthbearer.sasl.login.callback.handler.class": (
                f"{_UNSECURED}LoginCallbackHandler"
            ),
            f"{at}.oauthbearer.sasl.server.callback.handler.class": (
                f"{_UNSECURED}ValidatorCallbackHandler"
            ),
            f"{at}.oauthbearer.connections.max.reauth.ms": 3_600_000,
        }
    with Kafka(config, listeners=("SSL", "SASL_SSL", "SASL_PLAINTEXT")) as running:
        running.create_topic("ledger-events")
        with KafkaAdminClient(bootstrap_servers=running.bootstrap_servers) as admin:
            for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
                users = [
                    UserScramCredentialUpsertion(name, mechanism, SECRET)
                    for name in ("alice", "a=b,c")
                ]
                assert set(admin.alter_user_scram_credentials(users).values()) == {None}
        yield running


@pytest.fixture
def options(broker: Kafka, tmp_path: Path) -> Options:
    kept(tmp_path, CA.cert_pem, name="ca.pem")

    def make(
        protocol: str,
        *lines: str,
        listener: str | None = None,
        trust: str = "ssl.ca.location=ca.pem",
    ) -> dict[str, object]:
        secured = [trust] if protocol.endswith("SSL") else []
        path = kept(tmp_path, f"security.protocol={protocol}", *secured, *lines)
        return client_options(broker.bootstrap(listener or protocol), path)

    return make


@pytest.fixture(autouse=True)
def no_secret_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    logged = "\n".join(
        f"{r.name} {r.getMessage()} {r.exc_text or ''}" for r in caplog.get_records("call")
    )
    for secret in (SECRET, repr(SECRET)[1:-1], str(SECRET.encode())[2:-1], WRONG):
        assert secret not in logged


def works(options: dict[str, object]) -> bool:
    """Both of kafka-python's clients do their work with these options, and the probe agrees."""
    assert all(ok for _, ok, _ in probe(options))
    partition = TopicPartition("ledger-events", 0)
    with KafkaAdminClient(**options) as admin:
        assert "ledger-events" in admin.list_topics()
    consumer = KafkaConsumer(group_id=None, **options)
    try:
        return consumer.end_offsets([partition]) == {partition: 0}
    finally:
        consumer.close()


def password(value: str) -> str:
    return "sasl.password=" + value.replace("\\", "\\\\")


def java(module: str) -> str:
    quoted = _QUOTED.replace("\\", "\\\\")
    return f'sasl.jaas.config={module} username="alice" password="{quoted}";'


@pytest.mark.parametrize("protocol", ["SASL_SSL", "SASL_PLAINTEXT"])
@pytest.mark.parametrize(
    ("mechanism", "module"),
    [("PLAIN", _PLAIN), ("SCRAM-SHA-256", _SCRAM), ("SCRAM-SHA-512", _SCRAM)],
)
def test_passwords(options: Options, protocol: str, mechanism: str, module: str) -> None:
    assert works(
        options(protocol, f"sasl.mechanism={mechanism}", "sasl.username=alice", password(SECRET))
    )
    require_connection(options(protocol, f"sasl.mechanism={mechanism}", java(module)))


def test_scram_user_with_an_odd_name(options: Options) -> None:
    require_connection(
        options("SASL_SSL", "sasl.mechanism=SCRAM-SHA-512", "sasl.username=a=b,c", password(SECRET))
    )


def mine(folder: Path, who: Pair = ME) -> list[str]:
    store = folder / "me.p12"
    store.write_bytes(who.pkcs12(WRONG))
    return [f"ssl.keystore.location={store}", f"ssl.keystore.password={WRONG}"]


def test_mutual_tls(options: Options, tmp_path: Path) -> None:
    assert works(options("SSL", *mine(tmp_path)))


def test_oauthbearer(options: Options, tmp_path: Path) -> None:
    with token_endpoint(tmp_path, BROKER) as endpoint:
        endpoint.body = {"access_token": unsecured_jwt("alice"), "expires_in": 3600}
        given = options(
            "SASL_SSL",
            "sasl.mechanism=OAUTHBEARER",
            f"sasl.oauthbearer.token.endpoint.url={endpoint.url}",
            "https.ca.location=ca.pem",
            f'sasl.jaas.config={_OAUTH} clientId="me" clientSecret="{WRONG}";',
        )
        assert works(given)
        assert len(endpoint.asked) == 1


def test_a_connection_outlives_its_token(options: Options, tmp_path: Path) -> None:
    with token_endpoint(tmp_path, BROKER) as endpoint:
        given = options(
            "SASL_SSL",
            "sasl.mechanism=OAUTHBEARER",
            f"sasl.oauthbearer.token.endpoint.url={endpoint.url}",
            "https.ca.location=ca.pem",
            "sasl.oauthbearer.client.id=me",
            f"sasl.oauthbearer.client.secret={WRONG}",
        )
        consumer = None
        begin = time.monotonic()
        while time.monotonic() - begin < 7.0:
            endpoint.body = {"access_token": unsecured_jwt("alice", 3.0), "expires_in": 3.0}
            consumer = consumer or KafkaConsumer(group_id=None, **given)
            assert consumer.end_offsets([TopicPartition("ledger-events", 0)])
            time.sleep(0.2)
        assert consumer
        consumer.close()
        assert len(endpoint.asked) >= 3


PLAIN = ["sasl.mechanism=PLAIN", "sasl.username=alice"]

REFUSED: dict[str, tuple[str, str, Callable[[Options, Path], dict[str, object]]]] = {
    "wrong password, PLAIN": (
        "SASL",
        "refuses the credentials (PLAIN): Authentication failed: Invalid username or password",
        lambda options, _: options("SASL_SSL", *PLAIN, password(WRONG)),
    ),
    "wrong password, SCRAM": (
        "SASL",
        "refuses the credentials (SCRAM-SHA-512)",
        lambda options, _: options(
            "SASL_SSL", "sasl.mechanism=SCRAM-SHA-512", "sasl.username=alice", password(WRONG)
        ),
    ),
    "unknown authority": (
        "TLS",
        "Name its certificate authority in ssl.truststore.location",
        lambda options, _: options(
            "SASL_SSL",
            *PLAIN,
            password(SECRET),
            trust=f"ssl.ca.pem={OTHER.cert_pem.replace(chr(10), ' ')}",
        ),
    ),
    "no client certificate": (
        "TLS",
        "refuses this client's certificate, or lack of one",
        lambda options, _: options("SSL"),
    ),
    "a stranger's certificate": (
        "TLS",
        "refuses this client's certificate, or lack of one",
        lambda options, folder: options("SSL", *mine(folder, STRANGER)),
    ),
    "plain text to TLS": (
        "Kafka",
        "speaks TLS, and security.protocol is PLAINTEXT; set it to SSL or SASL_SSL",
        lambda options, _: options("PLAINTEXT", listener="SASL_SSL"),
    ),
    "plain SASL to TLS": (
        "SASL",
        "speaks TLS, and security.protocol is SASL_PLAINTEXT",
        lambda options, _: options("SASL_PLAINTEXT", *PLAIN, password(SECRET), listener="SASL_SSL"),
    ),
    "TLS to plain text": (
        "TLS",
        "does not speak TLS",
        lambda options, _: options("SSL", listener="PLAINTEXT"),
    ),
    "no SASL to SASL": (
        "Kafka",
        "does its listener ask for SASL?",
        lambda options, _: options("PLAINTEXT", listener="SASL_PLAINTEXT"),
    ),
    "SASL to no SASL": (
        "SASL",
        "is a listener without SASL",
        lambda options, _: options(
            "SASL_PLAINTEXT", *PLAIN, password(SECRET), listener="PLAINTEXT"
        ),
    ),
}


@pytest.mark.parametrize(("layer", "reason", "case"), REFUSED.values(), ids=REFUSED)
def test_27_the_reason_within_ten_seconds_and_no_secret(
    options: Options,
    tmp_path: Path,
    layer: str,
    reason: str,
    case: Callable[[Options, Path], dict[str, object]],
    capfd: pytest.CaptureFixture[str],
) -> None:
    given, begin = case(options, tmp_path), time.monotonic()
    rows = probe(given)
    assert [ok for _, ok, _ in rows] == [True] * (len(rows) - 1) + [False]
    assert rows[-1][0] == layer
    assert reason in rows[-1][2]
    with pytest.raises(KafkaError, match=f"cannot connect to Kafka, {layer} fails") as caught:
        require_connection(given)
    assert time.monotonic() - begin < 10.0
    shown = str(rows) + "".join(capfd.readouterr())
    for secret in (SECRET, WRONG):
        assert_unseen(secret, caught.value)
        assert secret not in shown


def test_40_what_kafka_python_says_by_itself_is_explained(
    options: Options, capfd: pytest.CaptureFixture[str]
) -> None:
    given = options("SASL_SSL", *PLAIN, password(WRONG))
    with pytest.raises(LibraryError, match="Unable to bootstrap") as caught:
        KafkaAdminClient(bootstrap_timeout_ms=1500, **given)
    error = explain_failure(caught.value, given)
    assert "SASL fails" in str(error)
    assert "Invalid username or password" in str(error)
    assert_unseen(WRONG, caught.value)
    assert WRONG not in str(error) + "".join(capfd.readouterr())


def test_an_error_of_another_kind_is_kept(options: Options) -> None:
    given = options("SASL_SSL", *PLAIN, password(SECRET))
    error = explain_failure(LibraryError(f"something about {SECRET}"), given)
    assert "something about ***" in str(error)
    assert explain_failure(error, given) is error


def test_one_server_of_several_is_enough(options: Options, broker: Kafka) -> None:
    given = options("SASL_SSL", *PLAIN, password(SECRET))
    for others in ([NOBODY], [NOBODY, broker.bootstrap("PLAINTEXT"), broker.bootstrap("SSL")]):
        require_connection({**given, "bootstrap_servers": [*others, broker.bootstrap("SASL_SSL")]})


def test_a_refused_password_is_sent_once(
    options: Options, broker: Kafka, caplog: pytest.LogCaptureFixture
) -> None:
    given = options("SASL_SSL", *PLAIN, password(WRONG))
    with pytest.raises(KafkaError, match="refuses the credentials"):
        require_connection({**given, "bootstrap_servers": [broker.bootstrap("SASL_SSL")] * 3})
    sent = [
        r
        for r in caplog.records
        if "Sending request" in r.getMessage() and "SaslAuthenticate" in r.getMessage()
    ]
    assert len(sent) == 1
