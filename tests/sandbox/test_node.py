import random
import re
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recovery_kit.errors import SandboxError
from recovery_kit.sandbox import node
from recovery_kit.sandbox.node import HOST, Node, PortTaken, choose_ports, failure, properties


def _java_reads(text: str) -> dict[str, str]:
    """Name to value as java.util.Properties reads them, for what the sandbox writes."""
    codes = {"n": "\n", "r": "\r", "\\": "\\"}

    def unescape(match: re.Match[str]) -> str:
        return chr(int(match[2], 16)) if match[2] else codes[match[1]]

    pairs = (line.split("=", 1) for line in text.rstrip("\n").split("\n"))
    read = {name: re.sub(r"\\(u([0-9a-f]{4})|.)", unescape, value) for name, value in pairs}
    return {
        name: value.encode("utf-16", "surrogatepass").decode("utf-16")
        for name, value in read.items()
    }


@given(value=st.text().filter(lambda value: value == value.lstrip()))
def test_any_setting_comes_through_a_properties_file(value):
    one = Node(1, {"PLAINTEXT": 1, "CONTROLLER": 2})
    text = properties(one, [one], Path("data"), {"sasl.jaas.config": value})
    assert text.isascii()
    assert _java_reads(text)["sasl.jaas.config"] == value


def test_config_goes_over_the_sandboxs_own_settings(tmp_path):
    one = Node(1, {"PLAINTEXT": 1, "CONTROLLER": 2})
    assert "auto.create.topics.enable=false\n" in properties(one, [one], tmp_path, {})
    changed = properties(
        one, [one], tmp_path, {"auto.create.topics.enable": True, "log.retention.ms": 5}
    )
    assert "auto.create.topics.enable=true\n" in changed
    assert changed.count("log.retention.ms") == 1


def test_every_listener_of_every_node_gets_a_port_of_its_own_that_is_free(monkeypatch):
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        offers = iter(
            [taken.getsockname()[1], *random.Random(1).sample(range(20_000, 32_000), 400)]
        )
        monkeypatch.setattr(node.random.SystemRandom, "randrange", lambda *_: next(offers))
        nodes = choose_ports(3, ("PLAINTEXT", "SSL", "CONTROLLER"))
        ports = [port for one in nodes for port in one.ports.values()]
        assert len(set(ports)) == 9
        assert taken.getsockname()[1] not in ports
    assert [one.number for one in nodes] == [1, 2, 3]


@pytest.mark.parametrize(
    ("code", "log", "said"),
    [
        (
            1,
            "Error: Could not reserve enough space for object heap",
            "too little memory.*give another heap_mb",
        ),
        (-9, "", "it was killed, as the system does when memory runs out.*\\(nothing\\)"),
        (1, "java.io.IOException: No space left on device", "the disk is full.*TMPDIR"),
        (
            1,
            "org.apache.kafka.common.config.ConfigException: Invalid value x",
            "config is not accepted.*Invalid value x",
        ),
        (3, "[main] INFO all is well", "exit code 3.*last lines.*all is well"),
        (None, "[main] ERROR oops\n[main] INFO bye", "raise timeout.*lines with errors:\n.*oops$"),
    ],
)
def test_a_failure_says_why_and_what_to_do(code, log, said):
    with pytest.raises(SandboxError, match=rf"(?s)The broker ended: .*{said}"):
        raise failure("The broker ended", code, log)


def test_a_taken_port_can_be_told_from_the_rest():
    assert isinstance(failure("x", 1, "java.net.BindException: Address already in use"), PortTaken)
