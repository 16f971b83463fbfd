"""Certificates and keys made on the spot, for tests."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

_NOW = datetime.datetime.now(datetime.UTC)


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def cert_pem(self) -> str:
        return self.certificate.public_bytes(ser.Encoding.PEM).decode()

    def key_pem(
        self, password: str | None = None, *, form: ser.PrivateFormat = ser.PrivateFormat.PKCS8
    ) -> str:
        how = ser.BestAvailableEncryption(password.encode()) if password else ser.NoEncryption()
        return self.key.private_bytes(ser.Encoding.PEM, form, how).decode()

    def pkcs12(self, password: str, *, chain: tuple[Pair, ...] = ()) -> bytes:
        how = ser.BestAvailableEncryption(password.encode())
        others = [link.certificate for link in chain]
        return pkcs12.serialize_key_and_certificates(b"me", self.key, self.certificate, others, how)


def authority(name: str = "recovery-kit test authority") -> Pair:
    return _made(name, issuer=None, is_authority=True)


def issued(by: Pair, name: str, *hosts: str, expired: bool = False) -> Pair:
    return _made(name, issuer=by, hosts=hosts, expired=expired)


def _made(
    name: str,
    *,
    issuer: Pair | None,
    hosts: tuple[str, ...] = (),
    is_authority: bool = False,
    expired: bool = False,
) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begin = _NOW - datetime.timedelta(days=30)
    end = _NOW + datetime.timedelta(days=-1 if expired else 30)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )
    if hosts:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_host(h) for h in hosts]), critical=False
        )
    return Pair(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
