"""OAUTHBEARER by client credentials: tokens fetched from an HTTPS endpoint, kept, and renewed
before they expire.
"""

from __future__ import annotations

import base64
import binascii
import json
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any

from kafka.net.sasl.oauth import AbstractTokenProvider

from recovery_kit._show import shorten
from recovery_kit.errors import KafkaError, ParameterError
from recovery_kit.kafka.client.properties import first
from recovery_kit.kafka.client.secret import Secret
from recovery_kit.kafka.client.tls import trust_context

REFRESH_AT = 0.8
"""Part of a token's life after which a new one is fetched, as in Kafka's own client."""

_MOST_BYTES = 1 << 20


class ClientCredentials(AbstractTokenProvider):  # type: ignore[misc]  # kafka-python has no types
    """Tokens by the client-credentials grant (RFC 6749, section 4.4), as kafka-python asks for
    them.

    Parameters
    ----------
    url : str
        The token endpoint; ``https`` only.
    client_id, client_secret : str, Secret
        Sent in an ``Authorization: Basic`` header.
    scope : str, optional
        What to ask for.
    sent_extensions : mapping of str to str
        SASL extensions, such as ``logicalCluster``.
    context : ssl.SSLContext
        What the endpoint's certificate is checked against.
    timeout : float
        Seconds for a request.
    """

    def __init__(
        self,
        url: str,
        *,
        client_id: str,
        client_secret: Secret,
        scope: str | None,
        sent_extensions: Mapping[str, str],
        context: ssl.SSLContext,
        timeout: float = 10.0,
    ) -> None:
        super().__init__()
        self.secret = client_secret
        self._host = urllib.parse.urlsplit(url).hostname or "?"
        form = {"grant_type": "client_credentials"} | ({"scope": scope} if scope else {})
        basic = base64.b64encode(f"{client_id}:{client_secret.reveal}".encode()).decode()
        self._request = urllib.request.Request(
            url,
            data=urllib.parse.urlencode(form).encode(),
            headers={"Authorization": f"Basic {basic}", "Accept": "application/json"},
        )
        self._opener = urllib.request.build_opener(
            _NoRedirect(), urllib.request.HTTPSHandler(context=context)
        )
        self._extensions = dict(sent_extensions)
        self._timeout = timeout
        self._lock = threading.Lock()
        self._token = Secret()
        self._fresh_until = 0.0

    def token(self) -> str:
        """The current token; fetches one when there is none or the present one nears its end.

        Raises
        ------
        KafkaError
            When the endpoint cannot be reached, refuses the client, or answers without a token.
        """
        with self._lock:
            if time.monotonic() >= self._fresh_until:
                asked = time.monotonic()
                answer = self._fetch()
                self._token = Secret(answer["access_token"])
                self._fresh_until = asked + REFRESH_AT * _lifetime(answer)
            return self._token.reveal

    def extensions(self) -> dict[str, str]:
        """SASL extensions to send beside the token."""
        return self._extensions

    def _fetch(self) -> dict[str, object]:
        answer, problem = self._post()
        if problem:
            raise KafkaError(f"no token from {self._host}: {problem}")
        token = answer.get("access_token")
        if (
            not isinstance(token, str)
            or not token
            or not token.isascii()
            or not token.isprintable()
        ):
            raise KafkaError(
                f"no token from {self._host}: it answered without a usable access_token"
            )
        return answer

    def _post(self) -> tuple[dict[str, object], str]:
        # The problem is returned, not raised here, so that no error carries the request or the
        # answer with it.
        try:
            with self._opened() as response:
                body, status = _body(response, self._timeout), response.status
        except urllib.error.URLError as error:
            reason = error.reason
            return {}, reason.verify_message if isinstance(
                reason, ssl.SSLCertVerificationError
            ) else str(reason)
        except (OSError, HTTPException) as error:
            return {}, str(error) or type(error).__name__
        if not 200 <= status < 300:
            return {}, f"it answered {status}{self._why(body)}"
        answer = _json_object(body)
        return answer, "" if answer else "its answer is not a JSON object"

    def _opened(self) -> Any:
        try:
            return self._opener.open(self._request, timeout=self._timeout)
        except urllib.error.HTTPError as refusal:  # an answer too, with a body
            return refusal

    def _why(self, body: bytes) -> str:
        answer = _json_object(body)
        said = [str(answer[k]) for k in ("error", "error_description") if answer.get(k)]
        return (
            ": " + shorten(": ".join(said).replace(self.secret.reveal, "***"), 200) if said else ""
        )


def _body(response: Any, timeout: float) -> bytes:
    """What an answer holds, as far as it may be long, in the time that it may take.

    The socket's own time-out begins anew with each byte.
    """
    body, until = b"", time.monotonic() + timeout
    while len(body) < _MOST_BYTES and (piece := response.read1(_MOST_BYTES)):
        body += piece
        if time.monotonic() > until:
            raise TimeoutError(f"its answer had no end after {timeout:g} seconds: timed out")
    return body


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows nothing: the request carries the client's secret, which is for the configured
    endpoint alone.
    """

    def redirect_request(self, *_args: object, **_kwargs: object) -> None:
        return None


def token_provider(
    settings: Mapping[str, Secret], jaas: Mapping[str, Secret], *, path: Path
) -> ClientCredentials:
    """Build the token provider that a client.properties file describes, in the Java or the
    librdkafka spelling.

    Raises
    ------
    ParameterError
        When the endpoint, the client's id or its secret is missing, the endpoint is not ``https``,
        or the file asks for another grant.
    """
    _check_grant(settings, path=path)
    url = first(settings, "sasl.oauthbearer.token.endpoint.url")
    prefix = "sasl.oauthbearer.client."
    client = first(settings, f"{prefix}credentials.client.id", f"{prefix}id") or jaas.get(
        "clientId"
    )
    secret = first(settings, f"{prefix}credentials.client.secret", f"{prefix}secret") or jaas.get(
        "clientSecret"
    )
    if not url:
        raise ParameterError(
            f"{path}: OAUTHBEARER needs sasl.oauthbearer.token.endpoint.url, which is missing or "
            "empty"
        )
    if not client or not secret:
        lacking = "secret (clientSecret in sasl.jaas.config, or sasl.oauthbearer.client.secret)"
        lacking = (
            lacking
            if client
            else "id (clientId in sasl.jaas.config, or sasl.oauthbearer.client.id)"
        )
        raise ParameterError(
            f"{path}: OAUTHBEARER needs the client's {lacking}, which is missing or empty"
        )
    _check_url(url, path=path)
    if (first(settings, "sasl.oauthbearer.header.urlencode") or "").lower() == "true":
        client, secret = (Secret(urllib.parse.quote_plus(text)) for text in (client, secret))
    scope = first(settings, "sasl.oauthbearer.scope") or jaas.get("scope")
    return ClientCredentials(
        url.reveal,
        client_id=client.reveal,
        client_secret=secret,
        scope=scope.reveal if scope else None,
        sent_extensions=_extensions(settings, jaas),
        context=_https_context(settings, jaas, path=path),
        timeout=_timeout(settings, path=path),
    )


def _check_grant(settings: Mapping[str, Secret], *, path: Path) -> None:
    other = next(
        (
            k
            for k in settings
            if ".assertion." in k or k == "sasl.oauthbearer.metadata.authentication.type"
        ),
        None,
    )
    grant = first(settings, "sasl.oauthbearer.grant.type")
    if other or (grant and grant != "client_credentials"):
        raise ParameterError(
            f"{path}: {other or 'sasl.oauthbearer.grant.type'} asks for a way to get tokens that "
            "is not supported; only client credentials (a client's id and secret) are"
        )


def _check_url(url: Secret, *, path: Path) -> None:
    if not _is_https(url):
        raise ParameterError(
            f"{path}: sasl.oauthbearer.token.endpoint.url has to begin with https:// and a host's "
            "name, without a user: the client's secret is sent there"
        )


def _is_https(url: Secret) -> bool:
    try:
        parts = urllib.parse.urlsplit(url.reveal)
        return (
            parts.scheme == "https"
            and bool(parts.hostname)
            and "@" not in parts.netloc
            and parts.port != 0
        )
    except ValueError:
        return False


def _extensions(settings: Mapping[str, Secret], jaas: Mapping[str, Secret]) -> dict[str, str]:
    pairs = (first(settings, "sasl.oauthbearer.extensions") or Secret()).reveal.split(",")
    named = {
        k.strip(): v.strip() for k, _, v in (pair.partition("=") for pair in pairs) if k.strip()
    }
    return named | {
        k.removeprefix("extension_"): v.reveal
        for k, v in jaas.items()
        if k.startswith("extension_")
    }


def _https_context(
    settings: Mapping[str, Secret], jaas: Mapping[str, Secret], *, path: Path
) -> ssl.SSLContext:
    named = {
        key.removeprefix("https."): value
        for key, value in settings.items()
        if key.startswith("https.")
    }
    own = {f"ssl.{key}": value for key, value in named.items()}
    return trust_context(
        own | {k: v for k, v in jaas.items() if k.startswith("ssl.truststore.")}, path=path
    )


def _timeout(settings: Mapping[str, Secret], *, path: Path) -> float:
    given = [settings.get(f"sasl.login.{step}.timeout.ms") for step in ("connect", "read")]
    if not all(value is None or value.isdecimal() for value in given):
        raise ParameterError(
            f"{path}: sasl.login.connect.timeout.ms and .read.timeout.ms are whole milliseconds"
        )
    return max([int(value) / 1000 for value in given if value] or [10.0])


def _lifetime(answer: Mapping[str, object]) -> float:
    """Seconds that a token is good for: what the endpoint says, else the token's own end.

    0 when neither is known.
    """
    said = answer.get("expires_in")
    if isinstance(said, int | float) or (isinstance(said, str) and said.isdecimal()):
        return float(said)
    parts = str(answer["access_token"]).split(".")
    claims = _json_object(_base64url(parts[1])) if len(parts) == 3 else {}
    end = claims.get("exp")
    return end - time.time() if isinstance(end, int | float) else 0.0


def _base64url(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return b""


def _json_object(body: bytes) -> dict[str, object]:
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}
