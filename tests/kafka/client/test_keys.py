from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from recovery_kit.kafka import client
from recovery_kit.kafka.client.keys import ASIDE, ASIDE_PREFIXES, USED
from recovery_kit.sandbox.jars import jars
from recovery_kit.sandbox.java import find_java

FOLDER = Path(client.__file__).parent
FAMILIES = "ssl|sasl|https|security|bootstrap|metadata|client|request|isolation|enable"


def test_no_setting_is_in_both_lists() -> None:
    assert not USED & ASIDE
    assert not [key for key in USED if key.startswith(ASIDE_PREFIXES) and "assertion" not in key]


@pytest.mark.parametrize("module", ["connection", "sasl", "tls", "oauth"])
def test_every_setting_that_the_code_reads_is_a_known_one(module: str) -> None:
    read = set(
        re.findall(rf'"((?:{FAMILIES})(?:\.[a-z]+)+)"', (FOLDER / f"{module}.py").read_text())
    )
    assert read
    assert read <= USED


@pytest.mark.parametrize(
    "kind", ["consumer.ConsumerConfig", "producer.ProducerConfig", "admin.AdminClientConfig"]
)
def test_every_setting_of_kafkas_own_client_is_known(kind: str) -> None:
    classpath = ":".join(map(str, jars(progress=False)))
    documented = subprocess.run(
        [find_java(), "-cp", classpath, f"org.apache.kafka.clients.{kind}"],
        check=True, capture_output=True, text=True, timeout=60,
    ).stdout  # fmt: skip
    keys = set(re.findall(r'<h4><a id="(?:\w+_)?([\w.]+)"', documented))
    assert len(keys) > 50
    assert [key for key in keys - USED - ASIDE if not key.startswith(ASIDE_PREFIXES)] == []
