"""One ``ssl.SSLContext`` out of a client.properties file: PEM and PKCS12 stores, hostname check
on.
"""

from __future__ import annotations

import secrets
import ssl
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

from recovery_kit.errors import ParameterError
from recovery_kit.kafka.client.properties import find_file, first, warn_if_exposed
from recovery_kit.kafka.client.secret import Secret
from recovery_kit.kafka.client.stores import certificates, identity_pem, read_store

_INLINE_KEY, _KEY_FILE = ("ssl.keystore.key", "ssl.key.pem"), "ssl.key.location"
_INLINE_CHAIN, _CHAIN_FILE = (
    ("ssl.keystore.certificate.chain", "ssl.certificate.pem"),
    "ssl.certificate.location",
)
_INLINE_TRUST, _TRUST_FILES = (
    ("ssl.truststore.certificates", "ssl.ca.pem"),
    ("ssl.truststore.location", "ssl.ca.location"),
)
_IDENTITY = (*_INLINE_KEY, _KEY_FILE, *_INLINE_CHAIN, _CHAIN_FILE, "ssl.keystore.location")
STORES = (*_INLINE_TRUST, *_TRUST_FILES, *_IDENTITY)
"""Settings that make no sense without TLS."""

_VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}


def tls_context(settings: Mapping[str, Secret], *, path: Path) -> ssl.SSLContext:
    """Build the context that brokers are met with.

    Parameters
    ----------
    settings : mapping of str to Secret
        As `properties.read_properties` gives them. Without a trust store the
        system's certificate authorities are trusted. A store's kind is found by looking at it:
        ``ssl.*.type`` is often wrong.
    path : pathlib.Path
        The file that the settings come from, for messages and relative paths.

    Returns
    -------
    ssl.SSLContext
        TLS 1.2 at least. The hostname is checked unless the file says
        ``ssl.endpoint.identification.algorithm=``.

    Raises
    ------
    ParameterError
        When a store cannot be read or opened, is a JKS (the message gives the command that converts
        it), holds no certificate, or when a private key is there without its certificate or the
        other way round.

    Warns
    -----
    UserWarning
        When the file turns a check off, names ciphers that OpenSSL does not know, or a private key
        is there for all.
    """
    context = trust_context(settings, path=path)
    _turn_checks_off(context, settings, path=path)
    _limit(context, settings, path=path)
    if any(settings.get(key) for key in _IDENTITY):
        _load_identity(context, settings, path=path)
    return context


def trust_context(settings: Mapping[str, Secret], *, path: Path) -> ssl.SSLContext:
    """The part of `tls_context` that says whom to trust; the same arguments and errors."""
    content, named = first(settings, *_INLINE_TRUST), first(settings, *_TRUST_FILES)
    where = f"{path}: {_INLINE_TRUST[0]}"
    if not content and (not named or named == "probe"):
        return _system_trust()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not content and named:
        store = find_file(named.reveal, beside=path)
        if store.is_dir():
            context.load_verify_locations(capath=str(store))
            return context
        where = f"{path}: the trust store {store}"
        content = read_store(store, setting=f"{path}: {_TRUST_FILES[0]}")
    trusted = certificates(
        content or Secret(), password=settings.get("ssl.truststore.password"), where=where
    )
    problem = _failure(lambda: context.load_verify_locations(cadata=b"".join(trusted)))
    if problem:
        raise ParameterError(f"{where} holds a certificate that is damaged: {problem}")
    # As in Java, whatever is in the trust store is trusted, also when it is not a root.
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    return context


def _system_trust() -> ssl.SSLContext:
    # OpenSSL alone knows neither the key chain of macOS nor, where Python was built elsewhere, the
    # place of a Linux distribution's authorities.
    import truststore

    context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _turn_checks_off(
    context: ssl.SSLContext, settings: Mapping[str, Secret], *, path: Path
) -> None:
    algorithm = settings.get("ssl.endpoint.identification.algorithm")
    if algorithm is not None and algorithm.lower() in ("", "none"):
        context.check_hostname = False
        _warn(
            f"{path}: ssl.endpoint.identification.algorithm is off: a broker's name is not checked"
        )
    elif algorithm is not None and algorithm.lower() != "https":
        raise ParameterError(
            f"{path}: ssl.endpoint.identification.algorithm is {algorithm.reveal!r}; expected https"
        )
    if settings.get("enable.ssl.certificate.verification", "").lower() == "false":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        _warn(
            f"{path}: enable.ssl.certificate.verification is false: anybody can pose as the broker"
        )


def _limit(context: ssl.SSLContext, settings: Mapping[str, Secret], *, path: Path) -> None:
    versions = (
        (first(settings, "ssl.enabled.protocols") or Secret()).reveal.replace(",", " ").split()
    )
    known = sorted(_VERSIONS[version] for version in versions if version in _VERSIONS)
    if versions and not known:
        raise ParameterError(
            f"{path}: ssl.enabled.protocols is {versions}; expected TLSv1.2 or TLSv1.3 among them"
        )
    if known:
        context.minimum_version, context.maximum_version = known[0], known[-1]
    ciphers, revoked = first(settings, "ssl.cipher.suites"), first(settings, "ssl.crl.location")
    if ciphers and _failure(lambda: context.set_ciphers(ciphers.reveal.replace(",", ":"))):
        _warn(f"{path}: ssl.cipher.suites names no cipher as OpenSSL does; the setting is not used")
    if settings.get("ssl.engine.factory.class"):
        _warn(f"{path}: ssl.engine.factory.class is Java code; it is not used")
    if revoked:
        file = find_file(revoked.reveal, beside=path)
        problem = _failure(lambda: context.load_verify_locations(cafile=str(file)))
        if problem:
            raise ParameterError(f"{path}: ssl.crl.location: {file} cannot be read: {problem}")
        context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF


def _load_identity(context: ssl.SSLContext, settings: Mapping[str, Secret], *, path: Path) -> None:
    key = first(settings, *_INLINE_KEY) or _file(settings, _KEY_FILE, path=path)
    chain = first(settings, *_INLINE_CHAIN) or _file(settings, _CHAIN_FILE, path=path)
    passwords = ["ssl.key.password", "ssl.keystore.password"]
    if not key and not chain:
        key = chain = _file(settings, "ssl.keystore.location", path=path)
        if key and "-----BEGIN" not in key:
            passwords.reverse()  # a PKCS12 store has one password, that of the store
    passphrase = Secret(secrets.token_urlsafe(32))
    pem = identity_pem(
        key or chain or Secret(),
        chain or key or Secret(),
        password=first(settings, *passwords),
        passphrase=passphrase,
        where=f"the client's key and certificate in {path}",
    )
    # ssl reads a private key from a file only: it is there, encrypted anew and for this user alone,
    # while ssl reads it.
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "identity.pem")
        file.touch(mode=0o600)
        file.write_text(pem.reveal)
        problem = _failure(lambda: context.load_cert_chain(file, password=passphrase.reveal))
    if problem:
        raise ParameterError(f"{path}: the client's key and certificate cannot be used: {problem}")


def _file(settings: Mapping[str, Secret], key: str, *, path: Path) -> Secret | None:
    named = settings.get(key)
    if not named:
        return None
    file = find_file(named.reveal, beside=path)
    content = read_store(file, setting=f"{path}: {key}")
    if "PRIVATE KEY-----" in content and "ENCRYPTED" not in content:
        warn_if_exposed(file)
    return content


def _failure(call: Callable[[], object]) -> str:
    """What went wrong in a call of the ssl module, as text; the exception itself is left behind."""
    try:
        call()
    except (ssl.SSLError, OSError, ValueError) as error:
        return str(getattr(error, "reason", None) or getattr(error, "strerror", None) or error)
    return ""


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=4)
