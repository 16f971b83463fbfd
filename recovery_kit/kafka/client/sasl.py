"""Settings of a client.properties file to kafka-python's SASL arguments.

Half of a configuration is refused.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Mapping
from pathlib import Path

from recovery_kit.errors import ParameterError, did_you_mean
from recovery_kit.kafka.client.jaas import MECHANISMS, parse_jaas
from recovery_kit.kafka.client.properties import first
from recovery_kit.kafka.client.secret import Secret

_KNOWN = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "GSSAPI", "AWS_MSK_IAM")
_CREDENTIALS = (
    "sasl.jaas.config", "sasl.username", "sasl.password", "sasl.mechanism", "sasl.mechanisms",
    "sasl.oauthbearer.client.secret", "sasl.oauthbearer.client.credentials.client.secret",
)  # fmt: skip
_LOOPBACK = ("localhost", "127.", "[::1]", "::1")


def sasl_options(
    settings: Mapping[str, Secret], *, protocol: str, servers: list[str], path: Path
) -> dict[str, object]:
    """Work out the ``sasl_*`` arguments of a kafka-python client.

    Parameters
    ----------
    settings : mapping of str to Secret
        As `recovery_kit.kafka.client.properties.read_properties` gives them.
    protocol : str
        ``security.protocol``, in capitals.
    servers : list of str
        Bootstrap servers, ``host:port``.
    path : pathlib.Path
        The file that the settings come from, for messages and relative paths.

    Returns
    -------
    dict of str to object
        Empty when the protocol is without SASL.

    Raises
    ------
    ParameterError
        When credentials stand beside a protocol that does not use them, a mechanism is missing, not
        known or lacks its credentials, or needs a package that is not installed.

    Warns
    -----
    UserWarning
        When a password would cross the network in the clear, and for Kerberos settings that are not
        used.
    """
    given = [key for key in _CREDENTIALS if settings.get(key)]
    if protocol not in ("SASL_PLAINTEXT", "SASL_SSL"):
        if given:
            raise ParameterError(
                f"{path}: {given[0]} is set, but security.protocol is {protocol}, which would not "
                "use it; set security.protocol to SASL_SSL (or SASL_PLAINTEXT), or take the sasl "
                "settings out"
            )
        return {}
    jaas_text = first(settings, "sasl.jaas.config")
    module, jaas = parse_jaas(jaas_text) if jaas_text else ("", {})
    mechanism = _mechanism(settings, module=module, protocol=protocol, path=path)
    options: dict[str, object] = {"sasl_mechanism": mechanism}
    if mechanism == "OAUTHBEARER":
        from recovery_kit.kafka.client.oauth import token_provider

        options["sasl_oauth_token_provider"] = token_provider(settings, jaas, path=path)
    elif mechanism == "GSSAPI":
        options |= _kerberos(settings, jaas)
    elif mechanism == "AWS_MSK_IAM":
        _check_msk(jaas, protocol=protocol, path=path)
    else:
        options |= _password(settings, jaas, mechanism=mechanism, path=path)
    clear = [s for s in servers if not s.startswith(_LOOPBACK)]
    if protocol == "SASL_PLAINTEXT" and mechanism in ("PLAIN", "OAUTHBEARER") and clear:
        warnings.warn(
            f"{mechanism} over SASL_PLAINTEXT sends the credentials to {clear[0]} in the clear; "
            "use SASL_SSL",
            UserWarning,
            stacklevel=3,
        )
    return options


def _mechanism(settings: Mapping[str, Secret], *, module: str, protocol: str, path: Path) -> str:
    served = MECHANISMS.get(module, ())
    if module and not served:
        raise ParameterError(
            f"{path}: sasl.jaas.config names the login module {module}; expected one of "
            f"{', '.join(MECHANISMS)}"
        )
    named = first(settings, "sasl.mechanism", "sasl.mechanisms")
    if not named:
        hint = f" To go with {module} add sasl.mechanism={served[-1]}." if served else ""
        raise ParameterError(
            f"{path}: security.protocol is {protocol}, but sasl.mechanism is missing; expected one "
            f"of {', '.join(_KNOWN)}.{hint}"
        )
    mechanism = named.reveal.upper()
    if mechanism not in _KNOWN:
        raise ParameterError(
            f"{path}: sasl.mechanism is {named.reveal!r}; expected one of {', '.join(_KNOWN)}."
            + did_you_mean(mechanism, list(_KNOWN))
        )
    if module and mechanism not in served:
        raise ParameterError(
            f"{path}: sasl.mechanism is {mechanism}, but sasl.jaas.config names {module}, which "
            f"serves {' and '.join(served)}; make the two agree"
        )
    return mechanism


def _password(
    settings: Mapping[str, Secret], jaas: Mapping[str, Secret], *, mechanism: str, path: Path
) -> dict[str, object]:
    if jaas.get("tokenauth", "").lower() == "true":
        raise ParameterError(
            f"{path}: tokenauth (a delegation token) is not supported; use a user name and password"
        )
    found = {}
    for role in ("username", "password"):
        both = jaas.get(role), first(settings, f"sasl.{role}")
        if both[0] and both[1] and both[0] != both[1]:
            raise ParameterError(
                f"{path}: sasl.jaas.config and sasl.{role} give two different values; keep one of "
                "them"
            )
        value = both[0] or both[1]
        if not value:
            raise ParameterError(
                f"{path}: {mechanism} needs a user name and a password, and the {role} is missing "
                "or empty; give sasl.username and sasl.password, or username and password in "
                "sasl.jaas.config"
            )
        found[role] = value
    username = found["username"].reveal
    if mechanism.startswith("SCRAM"):
        username = username.replace("=", "=3D").replace(
            ",", "=2C"
        )  # RFC 5802; kafka-python leaves it to the caller
    return {"sasl_plain_username": username, "sasl_plain_password": found["password"]}


def _kerberos(settings: Mapping[str, Secret], jaas: Mapping[str, Secret]) -> dict[str, object]:
    _need("gssapi", mechanism="GSSAPI")
    if jaas.get("keyTab") or first(settings, "sasl.kerberos.keytab", "sasl.kerberos.principal"):
        warnings.warn(
            "the Kerberos key tab and principal of the file are not used: the ticket cache is. "
            "Run kinit first, or set the environment variable KRB5_CLIENT_KTNAME to the key tab",
            UserWarning,
            stacklevel=4,
        )
    service = first(settings, "sasl.kerberos.service.name") or jaas.get("serviceName")
    return {"sasl_kerberos_service_name": service.reveal if service else "kafka"}


def _check_msk(jaas: Mapping[str, Secret], *, protocol: str, path: Path) -> None:
    _need("botocore", mechanism="AWS_MSK_IAM")
    if protocol != "SASL_SSL":
        raise ParameterError(
            f"{path}: AWS_MSK_IAM needs security.protocol=SASL_SSL, not {protocol}"
        )
    if jaas:
        raise ParameterError(
            f"{path}: the options of IAMLoginModule ({', '.join(jaas)}) are not supported; set the "
            "environment variable AWS_PROFILE (and AWS_DEFAULT_REGION) instead, and take them out"
        )


def _need(package: str, *, mechanism: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise ParameterError(
            f"sasl.mechanism is {mechanism}, which needs the Python package {package}; install it"
        )
