from __future__ import annotations

import base64
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka.net.sasl.oauth import SaslMechanismOAuth

from recovery_kit.errors import KafkaError
from recovery_kit.kafka.client import oauth
from recovery_kit.kafka.client.connection import client_options
from recovery_kit.kafka.client.oauth import ClientCredentials
from recovery_kit.kafka.client.secret import hide_secrets
from tests.kafka.client.pki import authority, issued
from tests.kafka.client.tokens import Endpoint, token_endpoint, unsecured_jwt
from tests.kafka.helpers import assert_unseen, kept

SECRET = "Tr0ub4dor+planted/&="
CA = authority()
SERVER = issued(CA, "tokens", "localhost")
MODULE = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required"

Provider = Callable[..., ClientCredentials]


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[Endpoint]:
    with token_endpoint(tmp_path, SERVER) as running:
        running.body = {"access_token": "the.token.one", "expires_in": 3600, "token_type": "Bearer"}
        yield running


@pytest.fixture
def provider(tmp_path: Path, endpoint: Endpoint) -> Provider:
    kept(tmp_path, CA.cert_pem, name="ca.pem")

    def make(
        *lines: str, url: str = endpoint.url, trust: str = "https.ca.location=ca.pem"
    ) -> ClientCredentials:
        path = kept(
            tmp_path,
            "security.protocol=SASL_SSL",
            "sasl.mechanism=OAUTHBEARER",
            f"sasl.oauthbearer.token.endpoint.url={url}",
            trust,
            *(
                lines
                or ("sasl.oauthbearer.client.id=me", f"sasl.oauthbearer.client.secret={SECRET}")
            ),
        )
        options = client_options("broker.example.com:9093", path)
        assert SECRET not in repr(options)
        found = options["sasl_oauth_token_provider"]
        assert isinstance(found, ClientCredentials)
        return found

    return make


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    "lines",
    [
        [
            "sasl.oauthbearer.client.id=me",
            f"sasl.oauthbearer.client.secret={SECRET}",
            "sasl.oauthbearer.scope=a b",
        ],
        [
            "sasl.oauthbearer.client.credentials.client.id=me",
            f"sasl.oauthbearer.client.credentials.client.secret={SECRET}",
            "sasl.oauthbearer.scope=a b",
        ],
        [f'sasl.jaas.config={MODULE} clientId="me" clientSecret="{SECRET}" scope="a b";'],
    ],
    ids=["librdkafka", "Java 4", "Java 3"],
)
def test_the_client_credentials_grant(
    provider: Provider, endpoint: Endpoint, lines: list[str]
) -> None:
    assert provider(*lines).token() == "the.token.one"
    assert endpoint.asked == [
        (basic("me", SECRET), {"grant_type": "client_credentials", "scope": "a b"})
    ]


def test_credentials_url_encoded_when_asked(provider: Provider, endpoint: Endpoint) -> None:
    provider(
        "sasl.oauthbearer.client.id=m e",
        f"sasl.oauthbearer.client.secret={SECRET}",
        "sasl.oauthbearer.header.urlencode=true",
    ).token()
    assert endpoint.asked[0][0] == basic("m+e", "Tr0ub4dor%2Bplanted%2F%26%3D")


def test_kafka_python_takes_it_with_extensions(provider: Provider) -> None:
    java = provider(
        f'sasl.jaas.config={MODULE} clientId="me" clientSecret="x" '
        'extension_logicalCluster="lkc-1";'
    )
    other = provider(
        "sasl.oauthbearer.client.id=me",
        "sasl.oauthbearer.client.secret=x",
        "sasl.oauthbearer.extensions=logicalCluster=lkc-1",
    )
    for one in (java, other):
        sent = SaslMechanismOAuth(sasl_oauth_token_provider=one).auth_bytes()
        assert sent == b"n,,\x01auth=Bearer the.token.one\x01logicalCluster=lkc-1\x01\x01"


@pytest.mark.parametrize(
    ("answer", "fetches"),
    [
        ({"access_token": "a", "expires_in": 10}, [1, 1, 2]),
        ({"access_token": "a", "expires_in": "10"}, [1, 1, 2]),
        (10.0, [1, 1, 2]),
        ({"access_token": "no.known.end"}, [1, 2, 3]),
        ({"access_token": "a", "expires_in": 0}, [1, 2, 3]),
    ],
)
def test_a_token_is_kept_until_four_fifths_of_its_life(
    provider: Provider,
    endpoint: Endpoint,
    monkeypatch: pytest.MonkeyPatch,
    answer: dict[str, Any] | float,
    fetches: list[int],
) -> None:
    # A number is the life of a token that says it by itself.
    endpoint.body = (
        {"access_token": unsecured_jwt("me", answer)} if isinstance(answer, float) else answer
    )
    one, begin, seen = provider(), time.monotonic(), []
    for later in (0.0, 7.5, 9.0):
        monkeypatch.setattr(oauth.time, "monotonic", lambda later=later: begin + later)
        one.token()
        seen.append(len(endpoint.asked))
    assert seen == fetches


@pytest.mark.parametrize(
    ("status", "headers", "body", "message"),
    [
        (
            401,
            {},
            {"error": "invalid_client", "error_description": f"no {SECRET}"},
            "401: invalid_client: no ***",
        ),
        (400, {}, b"<html>", "it answered 400"),
        (503, {}, b"", "it answered 503"),
        (302, {"Location": "http://127.0.0.1:9/"}, b"", "it answered 302"),
        (307, {"Location": "https://localhost:9/"}, b"", "it answered 307"),
        (200, {}, b"not json", "not a JSON object"),
        (200, {}, b"[" * 100_000, "not a JSON object"),
        (200, {}, [], "not a JSON object"),
        (200, {}, {"access_token": ""}, "without a usable access_token"),
        (200, {}, {"access_token": 5}, "without a usable access_token"),
        (200, {}, {"access_token": "a\x01b"}, "without a usable access_token"),
        (200, {"Content-Length": "9999"}, b'{"access_token": "', "not a JSON object"),
    ],
)
def test_no_token_says_why_and_shows_no_secret(
    provider: Provider,
    endpoint: Endpoint,
    status: int,
    headers: dict[str, str],
    body: Any,
    message: str,
) -> None:
    endpoint.status, endpoint.headers, endpoint.body = status, headers, body
    one = provider(
        "sasl.oauthbearer.client.id=me",
        f"sasl.oauthbearer.client.secret={SECRET}",
        "sasl.login.read.timeout.ms=2000",
    )
    with pytest.raises(KafkaError) as caught:
        one.token()
    assert message in str(caught.value)
    assert_unseen(SECRET, caught.value)
    assert_unseen(basic("me", SECRET), caught.value)
    assert len(endpoint.asked) == 1


def test_an_endpoint_that_does_not_answer_is_left_in_time(
    provider: Provider, endpoint: Endpoint
) -> None:
    endpoint.delay = 3.0
    one = provider(
        "sasl.oauthbearer.client.id=me",
        "sasl.oauthbearer.client.secret=x",
        "sasl.login.read.timeout.ms=300",
    )
    begin = time.monotonic()
    with pytest.raises(KafkaError, match="timed out"):
        one.token()
    assert time.monotonic() - begin < 2.0


@pytest.mark.parametrize("status", [200, 400])
def test_an_answer_that_comes_byte_by_byte_is_left_in_time(
    provider: Provider, endpoint: Endpoint, status: int
) -> None:
    endpoint.status, endpoint.body, endpoint.pause = status, b" " * 1000, 0.05
    one = provider(
        "sasl.oauthbearer.client.id=me",
        "sasl.oauthbearer.client.secret=x",
        "sasl.login.read.timeout.ms=300",
    )
    begin = time.monotonic()
    with pytest.raises(KafkaError, match=r"had no end after 0\.3 seconds: timed out"):
        one.token()
    assert time.monotonic() - begin < 5.0


def test_an_answer_of_more_than_a_mebibyte_is_not_read_whole(
    provider: Provider, endpoint: Endpoint
) -> None:
    endpoint.body = b'{"access_token": "t", "filling": "' + b"x" * (8 << 20) + b'"}'
    with pytest.raises(KafkaError, match="its answer is not a JSON object"):
        provider().token()


def test_an_endpoint_that_is_not_trusted_or_not_there(
    provider: Provider, endpoint: Endpoint
) -> None:
    with pytest.raises(KafkaError, match=r"unable to get local issuer certificate|self-signed"):
        provider(trust="").token()
    with pytest.raises(KafkaError, match=r"IP address mismatch|Hostname mismatch"):
        provider(url=endpoint.url.replace("localhost", "127.0.0.1")).token()
    with pytest.raises(KafkaError, match="refused"):
        provider(url="https://localhost:1/token").token()
    assert endpoint.asked == []


def test_java_trust_store_in_the_login_module(provider: Provider, tmp_path: Path) -> None:
    login = (
        f'{MODULE} clientId="me" clientSecret="x" ssl.truststore.location="{tmp_path}/ca.pem" '
        'ssl.truststore.type="PEM";'
    )
    assert provider(f"sasl.jaas.config={login}", trust="").token() == "the.token.one"


def test_the_secret_is_hidden_and_not_logged(
    provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    one = provider()
    one.token()
    assert hide_secrets(f"x {SECRET} y", {"sasl_oauth_token_provider": one}) == "x *** y"
    assert SECRET not in caplog.text + repr(one) + str(one)
