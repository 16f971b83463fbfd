"""Certificates and private keys out of PEM and PKCS12 stores.

A JKS gets the command that converts it.

A store's content travels as a `Secret` that holds its bytes as Latin-1, for an error's traceback
may show variables.
"""

from __future__ import annotations

import base64
import binascii
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from recovery_kit._keep import read_at_most
from recovery_kit.errors import ParameterError
from recovery_kit.kafka.client.secret import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from cryptography.hazmat.primitives.serialization.pkcs12 import PKCS12KeyAndCertificates
    from cryptography.x509 import Certificate

# What stands within a block holds no dashes like those around it, so that one without an end is not
# looked for to the end of the file.
_BLOCK = re.compile(
    r"-----BEGIN ([A-Z0-9 ]+)-----((?:[^-]++|-(?!----))*+)-----END \1-----", re.DOTALL
)
_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]+")


def read_store(store: Path, *, setting: str) -> Secret:
    """Read a store's bytes.

    Raises
    ------
    ParameterError
        When the file cannot be read, or is a Java key store (JKS or JCEKS).
    """
    problem, content = "", b""
    try:
        content = read_at_most(store)
    except OSError as error:
        problem = error.strerror or type(error).__name__
    if problem:
        raise ParameterError(f"{setting}: {store} cannot be read: {problem}")
    if content[:4] in (b"\xfe\xed\xfe\xed", b"\xce\xce\xce\xce"):
        converted = store.with_suffix(".p12")
        raise ParameterError(
            f"{setting}: {store} is a Java key store, which only Java can read. Convert it with\n  "
            f"keytool -importkeystore -srckeystore {shlex.quote(str(store))} -destkeystore "
            f"{shlex.quote(str(converted))} -deststoretype PKCS12\nand name {converted} instead"
        )
    return Secret(content.decode("latin-1"))


def certificates(content: Secret, *, password: Secret | None, where: str) -> list[bytes]:
    """Every certificate of a trust store, DER-encoded.

    Raises
    ------
    ParameterError
        When the store holds none or cannot be opened; ``where`` names it.
    """
    from cryptography.hazmat.primitives.serialization import Encoding

    if "-----BEGIN" in content:
        found = _certificates(content, where=where)
    else:
        opened = _open_pkcs12(content, password=password, where=where)
        held = [entry.certificate for entry in (opened.cert, *opened.additional_certs) if entry]
        found = [certificate.public_bytes(Encoding.DER) for certificate in held]
    if not found:
        raise ParameterError(
            f"{where} holds no certificate; expected PEM or PKCS12 with those to trust"
        )
    return found


def identity_pem(
    key: Secret, chain: Secret, *, password: Secret | None, passphrase: Secret, where: str
) -> Secret:
    """A client's private key and certificates as one PEM text, the key encrypted with
    ``passphrase``.

    Parameters
    ----------
    key, chain : Secret
        PEM texts, or twice the content of one PKCS12 store.
    password : Secret, optional
        What the key or the store is encrypted with.
    passphrase : Secret
        What to encrypt the result with.
    where : str
        What to call them in an error.

    Raises
    ------
    ParameterError
        When the key or its certificate is missing, does not open with the password, or the two do
        not belong together.
    """
    from cryptography.hazmat.primitives import serialization as ser
    from cryptography.x509 import load_der_x509_certificate

    if "-----BEGIN" in key or "-----BEGIN" in chain:
        private: PrivateKeyTypes = _private_key(key, password=password, where=where)
        certs = [load_der_x509_certificate(der) for der in _certificates(chain, where=where)]
    else:
        opened = _open_pkcs12(key, password=password, where=where)
        if opened.key is None:
            raise ParameterError(
                f"{where} holds no private key; expected the client's own key and certificate"
            )
        private = opened.key
        certs = [entry.certificate for entry in (opened.cert, *opened.additional_certs) if entry]
    encrypted = private.private_bytes(
        ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.BestAvailableEncryption(passphrase.encode())
    )
    ordered = _own_first(private, certs, where=where)
    return Secret(
        "".join(
            part.decode()
            for part in (encrypted, *(c.public_bytes(ser.Encoding.PEM) for c in ordered))
        )
    )


def _own_first(
    private: PrivateKeyTypes, certs: list[Certificate], *, where: str
) -> list[Certificate]:
    own = [c for c in certs if c.public_key() == private.public_key()]
    if not own:
        found = (
            f"{len(certs)} certificates, none of which belongs"
            if certs
            else "no certificate that belongs"
        )
        raise ParameterError(
            f"{where} holds {found} to the private key; expected the client's own certificate"
        )
    return own[:1] + [c for c in certs if c not in own]


def _blocks(pem: Secret) -> list[tuple[str, Secret]]:
    """Label and text of each PEM block, its lines mended: a properties file may have joined them
    with blanks or not.
    """
    blocks = []
    for label, body in _BLOCK.findall(pem):
        lines = body.strip()
        if _BASE64.fullmatch(lines):
            joined = "".join(lines.split())
            lines = "\n".join(joined[i : i + 64] for i in range(0, len(joined), 64))
        blocks.append((label, Secret(f"-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n")))
    return blocks


def _certificates(pem: Secret, *, where: str) -> list[bytes]:
    held = [text for label, text in _blocks(pem) if label in ("CERTIFICATE", "X509 CERTIFICATE")]
    try:
        found = [base64.b64decode("".join(text.splitlines()[1:-1]), validate=True) for text in held]
    except binascii.Error:
        found = []
    if len(found) < pem.count("-----BEGIN CERTIFICATE-----"):
        raise ParameterError(
            f"{where} holds a certificate that is damaged: cut short, or not base64"
        )
    return found


def _private_key(pem: Secret, *, password: Secret | None, where: str) -> PrivateKeyTypes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    block = next((text for label, text in _blocks(pem) if label.endswith("PRIVATE KEY")), None)
    if block is None:
        raise ParameterError(
            f"{where} holds no private key in PEM format; expected one that begins -----BEGIN"
        )
    locked = "ENCRYPTED" in block
    if locked and not password:
        raise ParameterError(
            f"the private key of {where} is encrypted; give its password as ssl.key.password"
        )
    problem = ""
    try:
        key = load_pem_private_key(
            block.encode(), password.encode() if password and locked else None
        )
    except (ValueError, TypeError, UnsupportedAlgorithm):
        problem = "ssl.key.password does not open it, or it" if locked else "it"
    if problem:
        raise ParameterError(
            f"the private key of {where} cannot be used: {problem} is damaged or of an unknown kind"
        )
    return key


def _open_pkcs12(
    content: Secret, *, password: Secret | None, where: str
) -> PKCS12KeyAndCertificates:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

    problem = ""
    try:
        return load_pkcs12(content.encode("latin-1"), password.encode() if password else None)
    except ValueError:
        problem = "its password is wrong" if password else "its password is missing"
        problem += ", or it is not a PEM or PKCS12 store"
    except UnsupportedAlgorithm as error:
        problem = f"it is encrypted in a way that is not supported ({error})"
    raise ParameterError(f"{where} cannot be opened: {problem}")
