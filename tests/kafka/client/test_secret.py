from __future__ import annotations

import logging

import pytest
from kafka.protocol.metadata import MetadataRequest
from kafka.protocol.parser import KafkaProtocol
from kafka.protocol.sasl import SaslAuthenticateRequest

from recovery_kit.kafka.client.secret import Secret, hide_secrets, keep_secrets_out_of_logs

SECRET = "Tr0ub4dor-planted"


def test_it_prints_as_stars_and_works_as_text() -> None:
    secret = Secret(SECRET)
    for shown in (
        str(secret),
        repr(secret),
        f"{secret}",
        f"{secret:>5}",
        f"{[secret]}",
        "%s" % secret,  # noqa: UP031
    ):
        assert SECRET not in shown
        assert "***" in shown
    assert secret == SECRET
    assert "\0".join([secret, secret]) == f"{SECRET}\0{SECRET}"
    assert secret.encode() == SECRET.encode()
    assert type(secret.reveal) is str


def test_hide_secrets() -> None:
    options = {
        "client_id": "Tr0",
        "sasl_plain_password": Secret(SECRET),
        "ssl_context": None,
        "empty": Secret(),
    }
    assert hide_secrets(f"a {SECRET} b{SECRET}", options) == "a *** b***"


def test_what_kafka_python_sends_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(
        logging.DEBUG, logger="kafka.protocol"
    )  # which a test of log_to_stderr may have quietened
    keep_secrets_out_of_logs()
    keep_secrets_out_of_logs()
    parser = KafkaProtocol(client_id="me")
    parser.send_request(MetadataRequest(version=5, topics=[], allow_auto_topic_creation=False))
    parser.send_request(SaslAuthenticateRequest(version=0, auth_bytes=f"\0me\0{SECRET}".encode()))
    assert SECRET.encode() in parser.send_bytes()
    assert SECRET not in caplog.text
    assert "MetadataRequest(version=5" in caplog.text
    assert "<SaslAuthenticateRequest>" in caplog.text
    assert " bytes>" in caplog.text
    assert len(logging.getLogger("kafka.protocol.parser").filters) == 1
