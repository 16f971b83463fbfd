from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaAdminClient, KafkaConsumer

from recovery_kit.errors import ParameterError
from recovery_kit.kafka.client.connection import client_options
from recovery_kit.kafka.client.jaas import parse_jaas
from recovery_kit.kafka.client.secret import Secret
from recovery_kit.replay import replay
from tests.kafka.helpers import assert_unseen, kept

SECRET = "Tr0ub4dor-planted"
HOST = "broker.example.com:9093"
PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required"
OAUTH = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    return partial(kept, tmp_path)


# --- servers and protocol


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("localhost:9092", ["localhost:9092"]),
        (" a:1 , b:2,", ["a:1", "b:2"]),
        (["a:1", "b"], ["a:1", "b:9092"]),
        ("[::1]:9092,10.0.0.1:9", ["[::1]:9092", "10.0.0.1:9"]),
        ("plaintext://a:1", ["a:1"]),
    ],
)
def test_bootstrap_servers(given: str | list[str], expected: list[str]) -> None:
    assert client_options(given) == {
        "bootstrap_servers": expected,
        "security_protocol": "PLAINTEXT",
    }


def test_bootstrap_servers_from_the_file_and_the_argument_wins(write) -> None:
    path = write("bootstrap.servers=a:1,b:2")
    assert client_options("", path)["bootstrap_servers"] == ["a:1", "b:2"]
    assert client_options(None, str(path))["bootstrap_servers"] == ["a:1", "b:2"]
    assert client_options("c:3", path)["bootstrap_servers"] == ["c:3"]
    assert client_options(None, write("metadata.broker.list=d:4"))["bootstrap_servers"] == ["d:4"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "no bootstrap_servers"),
        ("", "no bootstrap_servers"),
        (" , ", "no bootstrap_servers"),
        ("a:b", "'a:b'; expected host:port"),
        ("a:0", "expected host:port"),
        ("a:99999", "expected host:port"),
        ("a b:1", "expected host:port"),
        (f"me:{SECRET}@a:1", "a server with an @ in it"),
        ("SASL_SSL://a:1", "security.protocol is PLAINTEXT"),
    ],
)
def test_bootstrap_servers_that_cannot_be(given: str | None, message: str) -> None:
    with pytest.raises(ParameterError, match=message) as caught:
        client_options(given)
    assert SECRET not in str(caught.value)


def test_general_settings(write) -> None:
    path = write(
        "client.id=me",
        "request.timeout.ms=60000",
        "client.dns.lookup=use_all_dns_ips",
        "security.protocol=plaintext",
        "group.id=not-ours",
        "isolation.level=read_committed",
    )
    assert client_options("a:1", path) == {
        "bootstrap_servers": ["a:1"],
        "security_protocol": "PLAINTEXT",
        "client_id": "me",
        "request_timeout_ms": 60000,
        "client_dns_lookup": "use_all_dns_ips",
    }


def test_read_uncommitted_warns(write) -> None:
    with pytest.warns(UserWarning, match="aborted transactions are never read"):
        client_options("a:1", write("isolation.level=read_uncommitted"))


# --- half a configuration is refused


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["security.protocol=SSSL"], "Did you mean 'SSL'"),
        (["request.timeout.ms=soon"], "request.timeout.ms"),
        (
            ["sasl.username=me", f"sasl.password={SECRET}"],
            "security.protocol is PLAINTEXT, which would not use it",
        ),
        (
            ["security.protocol=SSL", f"sasl.password={SECRET}"],
            "security.protocol is SSL, which would not use it",
        ),
        (
            [f'sasl.jaas.config={PLAIN} username="me" password="{SECRET}";'],
            "sasl.jaas.config is set, but",
        ),
        (["sasl.mechanism=PLAIN"], "sasl.mechanism is set, but"),
        (
            ["ssl.truststore.location=x"],
            "not given, which means PLAINTEXT: the connection would not be encrypted",
        ),
        (["security.protocol=SASL_PLAINTEXT", "ssl.ca.location=x"], "is SASL_PLAINTEXT"),
        (["security.protocol=SASL_SSL"], "sasl.mechanism is missing"),
        (
            [
                "security.protocol=SASL_SSL",
                f'sasl.jaas.config={SCRAM} username="me" password="{SECRET}";',
            ],
            "To go with ScramLoginModule add sasl.mechanism=SCRAM-SHA-512",
        ),
        (
            ["security.protocol=SASL_SSL", "sasl.mechanism=SCRAM-SHA-521"],
            "Did you mean 'SCRAM-SHA-512'",
        ),
        (
            ["security.protocol=SASL_SSL", "sasl.mechanism=PLAIN"],
            "the username is missing or empty",
        ),
        (
            ["security.protocol=SASL_SSL", "sasl.mechanism=PLAIN", "sasl.username=me"],
            "the password is missing or empty",
        ),
        (
            [
                "security.protocol=SASL_SSL",
                "sasl.mechanism=PLAIN",
                "sasl.username=me",
                "sasl.password=",
            ],
            "the password is missing or empty",
        ),
        (
            [
                "security.protocol=SASL_SSL",
                "sasl.mechanism=PLAIN",
                f'sasl.jaas.config={PLAIN} username="{SECRET}";',
            ],
            "the password is missing or empty",
        ),
        (
            [
                "security.protocol=SASL_SSL",
                "sasl.mechanism=PLAIN",
                f'sasl.jaas.config={SCRAM} username="{SECRET}";',
            ],
            "sasl.mechanism is PLAIN, but sasl.jaas.config names ScramLoginModule",
        ),
        (
            [
                "security.protocol=SASL_SSL",
                "sasl.mechanism=PLAIN",
                f'sasl.jaas.config=x.Own required password="{SECRET}";',
            ],
            "the login module Own; expected one of PlainLoginModule",
        ),
        (
            [
                "security.protocol=SASL_SSL",
                "sasl.mechanism=PLAIN",
                "sasl.username=me",
                "sasl.password=other",
                f'sasl.jaas.config={PLAIN} username="me" password="{SECRET}";',
            ],
            "sasl.jaas.config and sasl.password give two different values",
        ),
        (
            [
                "security.protocol=SASL_SSL",
                "sasl.mechanism=SCRAM-SHA-256",
                f'sasl.jaas.config={SCRAM} username="me" password="{SECRET}" tokenauth="true";',
            ],
            "delegation token",
        ),
        (
            [
                "security.protocol=SASL_SSL",
                "sasl.mechanism=OAUTHBEARER",
                f'sasl.jaas.config={OAUTH} clientId="{SECRET}";',
            ],
            "needs sasl.oauthbearer.token.endpoint.url",
        ),
        (
            [
                "security.protocol=SASL_SSL",
                "sasl.mechanism=OAUTHBEARER",
                "sasl.oauthbearer.token.endpoint.url=https://a/",
                f'sasl.jaas.config={OAUTH} clientId="me";',
            ],
            "needs the client's secret",
        ),
        *(
            (
                [
                    "security.protocol=SASL_SSL",
                    "sasl.mechanism=OAUTHBEARER",
                    f"sasl.oauthbearer.token.endpoint.url={url}",
                    "sasl.oauthbearer.client.id=me",
                    f"sasl.oauthbearer.client.secret={SECRET}",
                ],
                "has to begin with https://",
            )
            for url in (
                "http://a/token",
                "a/token",
                f"https://me:{SECRET}@a/token",
                "https://",
                "https://a:x/",
            )
        ),
        (
            [
                "security.protocol=SASL_SSL",
                "sasl.mechanism=OAUTHBEARER",
                "sasl.oauthbearer.grant.type=urn:ietf:params:oauth:grant-type:jwt-bearer",
            ],
            "only client credentials",
        ),
        (
            [
                "security.protocol=SASL_SSL",
                "sasl.mechanism=PLAIN",
                f"sasl.jaas.config={PLAIN} password={SECRET}!;",
            ],
            "cannot be read at character",
        ),
        (
            [
                "security.protocol=SASL_SSL",
                "sasl.mechanism=PLAIN",
                f'sasl.jaas.config=Plain "{SECRET}',
            ],
            "cannot be read",
        ),
    ],
)
def test_half_a_configuration_is_refused_and_no_secret_shown(
    write, lines: list[str], message: str
) -> None:
    with pytest.raises(ParameterError) as caught:
        client_options(HOST, write(*lines))
    assert message in str(caught.value)
    assert_unseen(SECRET, caught.value)


@pytest.mark.parametrize(
    "lines",
    [
        [f"sasl.password={SECRET}"],
        ["security.protocol=SASL_SSL", "sasl.username=me", f"sasl.password={SECRET}"],
        [
            "security.protocol=SASL_PLAINTEXT",
            "sasl.mechanism=OAUTHBEARER",
            "sasl.oauthbearer.token.endpoint.url=http://127.0.0.1:1/token",
            "sasl.oauthbearer.client.id=me",
            f"sasl.oauthbearer.client.secret={SECRET}",
        ],
    ],
    ids=["a password beside PLAINTEXT", "SASL without a mechanism", "a token endpoint over http"],
)
def test_half_a_configuration_is_refused_before_a_byte_is_sent(write, lines: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.3)
        path = write(f"bootstrap.servers=127.0.0.1:{server.getsockname()[1]}", *lines)
        with pytest.raises(ParameterError):
            replay("t", client_config=path)
        with pytest.raises(TimeoutError):
            server.accept()


# --- SASL


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "scram-sha-512"])
@pytest.mark.parametrize("spelling", ["java", "librdkafka"])
def test_user_and_password(write, mechanism: str, spelling: str) -> None:
    module = PLAIN if mechanism == "PLAIN" else SCRAM
    lines = (
        [
            f"sasl.mechanism={mechanism}",
            f'sasl.jaas.config={module} username="me" password="{SECRET}";',
        ]
        if spelling == "java"
        else [f"sasl.mechanisms={mechanism}", "sasl.username=me", f"sasl.password={SECRET}"]
    )
    options = client_options(HOST, write("security.protocol=SASL_SSL", *lines))
    assert options["sasl_mechanism"] == mechanism.upper()
    assert options["sasl_plain_username"] == "me"
    assert options["sasl_plain_password"] == SECRET
    assert SECRET not in repr(options)
    assert set(options) <= set(KafkaConsumer.DEFAULT_CONFIG) & set(KafkaAdminClient.DEFAULT_CONFIG)


def test_scram_user_name_is_escaped_as_the_rfc_asks(write) -> None:
    lines = [
        "security.protocol=SASL_SSL",
        "sasl.mechanism=SCRAM-SHA-256",
        "sasl.username=a=b,c",
        "sasl.password=x",
    ]
    assert client_options(HOST, write(*lines))["sasl_plain_username"] == "a=3Db=2Cc"


def test_plain_in_the_clear_warns_unless_on_loopback(write) -> None:
    path = write(
        "security.protocol=SASL_PLAINTEXT",
        "sasl.mechanism=PLAIN",
        "sasl.username=me",
        "sasl.password=x",
    )
    with pytest.warns(
        UserWarning,
        match=r"PLAIN over SASL_PLAINTEXT sends the credentials to broker\.example\.com",
    ):
        client_options(HOST, path)
    assert client_options("localhost:1,127.0.0.1:1,[::1]:1", path)["sasl_mechanism"] == "PLAIN"


@pytest.mark.parametrize(
    ("mechanism", "package"), [("GSSAPI", "gssapi"), ("AWS_MSK_IAM", "botocore")]
)
def test_a_mechanism_whose_package_is_missing_names_it(
    write, monkeypatch: pytest.MonkeyPatch, mechanism: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ParameterError, match=f"needs the Python package {package}"):
        client_options(HOST, write("security.protocol=SASL_SSL", f"sasl.mechanism={mechanism}"))


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packages of these names are there.

    Nothing of them is called here, nor are Kerberos and AWS met in any test.
    """
    for package in ("gssapi", "botocore"):
        (tmp_path / f"{package}.py").touch()
        monkeypatch.delitem(sys.modules, package, raising=False)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("installed")
def test_kerberos_takes_the_name_of_the_service_and_the_ticket_cache(write) -> None:
    module = "com.sun.security.auth.module.Krb5LoginModule required"
    lines = ["security.protocol=SASL_SSL", "sasl.mechanism=GSSAPI"]
    for more, service in (
        ([], "kafka"),
        (["sasl.kerberos.service.name=log"], "log"),
        ([f'sasl.jaas.config={module} useTicketCache=true serviceName="log";'], "log"),
    ):
        options = client_options(HOST, write(*lines, *more))
        assert (options["sasl_mechanism"], options["sasl_kerberos_service_name"]) == (
            "GSSAPI",
            service,
        )
        assert set(options) <= set(KafkaConsumer.DEFAULT_CONFIG)
    for more in (
        f'sasl.jaas.config={module} keyTab="/etc/me.keytab";',
        "sasl.kerberos.keytab=/etc/me.keytab",
    ):
        with pytest.warns(UserWarning, match="the ticket cache is"):
            client_options(HOST, write(*lines, more))


@pytest.mark.usefixtures("installed")
def test_msk_iam_takes_credentials_from_the_environment_alone(write) -> None:
    module = "software.amazon.msk.auth.iam.IAMLoginModule required"
    lines = ["security.protocol=SASL_SSL", "sasl.mechanism=AWS_MSK_IAM"]
    for more in ([], [f"sasl.jaas.config={module};"]):
        options = client_options(HOST, write(*lines, *more))
        assert options["sasl_mechanism"] == "AWS_MSK_IAM"
        assert set(options) <= set(KafkaConsumer.DEFAULT_CONFIG)
    with pytest.raises(
        ParameterError, match=r"IAMLoginModule \(awsProfileName\) are not supported"
    ):
        client_options(HOST, write(*lines, f'sasl.jaas.config={module} awsProfileName="me";'))
    with pytest.raises(ParameterError, match=r"AWS_MSK_IAM needs security\.protocol=SASL_SSL"):
        client_options(HOST, write("security.protocol=SASL_PLAINTEXT", lines[1]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f'{PLAIN} username="a" password="b";', {"username": "a", "password": "b"}),
        (f"{PLAIN} username='a' password = 'it\"s' ;", {"username": "a", "password": 'it"s'}),
        (rf'{PLAIN} username="a\"b\\c\td\101" x="";', {"username": 'a"b\\c\tdA', "x": ""}),
        (
            f'{PLAIN}\n  username="a" // who\n /* what\n */ password="b;=#//";',
            {"username": "a", "password": "b;=#//"},
        ),
        (f"{PLAIN} useTicketCache=true n=12", {"useTicketCache": "true", "n": "12"}),
        (f"{PLAIN};", {}),
    ],
)
def test_jaas(text: str, expected: dict[str, str]) -> None:
    module, options = parse_jaas(Secret(text))
    assert module == "PlainLoginModule"
    assert {k: v.reveal for k, v in options.items()} == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f'{PLAIN} password="{SECRET}', "at character"),
        (f"{PLAIN} password={SECRET}@", "at character"),
        (f'"{SECRET}"', "does not begin with a login module"),
        (f"{SECRET}", "does not begin with a login module"),
        (f'{PLAIN} password="{SECRET}"; {SCRAM};', "more than one login module"),
        (f'{PLAIN} password "{SECRET}" x;', "not name="),
        (f'{PLAIN} password="{SECRET}" username=;', "in the middle"),
    ],
)
def test_jaas_that_cannot_be_read(text: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message) as caught:
        parse_jaas(Secret(text))
    assert_unseen(SECRET, caught.value)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), max_size=30))
def test_any_password_survives_jaas_quoting(password: str) -> None:
    quoted = password.replace("\\", "\\\\").replace('"', '\\"')
    assert parse_jaas(Secret(f'{PLAIN} password="{quoted}";'))[1]["password"] == password
