"""Fault 40: a planted password and a planted account number, searched for in every byte that runs
leave.
"""

import base64
import csv
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from kafka import KafkaProducer

from recovery_kit import errors
from recovery_kit.run.pseudonym import VARIABLE, Pseudonyms
from recovery_kit.sandbox import Kafka

PASSWORD = "pl4nted-Passw0rd"
ACCOUNT = "DE02PLANTED500105175407324931"
ABSENT = "DE99PLANTED000000000000000000"
SECRET = "0123456789abcdef0123456789abcdef"
PLANTED = (PASSWORD, ACCOUNT, ABSENT, SECRET)
NAMES = Pseudonyms(("key", "id"), "(all)", None, SECRET.encode())

MESSAGES = [
    (b"%b" % ACCOUNT.encode(), b'{"id": "%b-1", "type": "add", "value": 10.10}' % ACCOUNT.encode()),
    (
        b"%b" % ACCOUNT.encode(),
        b'{"id": "%b-1", "type": "add", "value": 10.10}' % ACCOUNT.encode(),
    ),  # redelivered
    (
        b"%b" % ACCOUNT.encode(),
        b'{"id": "%b-1", "type": "add", "value": 99.00}' % ACCOUNT.encode(),
    ),  # in conflict
    (b"other", b'{"id": "e2", "type": "add", "value": 1}'),
    (b"%b" % ACCOUNT.encode(), b"not JSON: %b" % ACCOUNT.encode()),
    (b"other", b'{"id": "e3", "type": "%b", "value": 1}' % ACCOUNT.encode()),
    (b"%b\xff" % ACCOUNT.encode(), b'{"id": "e4", "type": "add", "value": 1}'),
    (b"%b" % ACCOUNT.encode(), None),
]


@pytest.fixture(scope="module")
def secured() -> Iterator[Kafka]:
    module = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    config: dict[str, object] = {
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": f'{module} user_alice="{PASSWORD}";',
    }
    with Kafka(config, listeners=("SASL_PLAINTEXT",)) as running:
        running.create_topic("planted", partitions=1)
        with KafkaProducer(bootstrap_servers=running.bootstrap_servers) as producer:
            for key, value in MESSAGES:
                producer.send("planted", value, key=key, headers=[(ACCOUNT, ACCOUNT.encode())])
            producer.flush()
        yield running


def run(
    broker: Kafka, folder: Path, *arguments: str, password: str = PASSWORD
) -> subprocess.CompletedProcess[str]:
    config = folder / "client.properties"
    login = f"sasl.mechanism=PLAIN\nsasl.username=alice\nsasl.password={password}\n"
    servers = broker.bootstrap("SASL_PLAINTEXT")
    config.write_text(f"bootstrap.servers={servers}\nsecurity.protocol=SASL_PLAINTEXT\n{login}")
    named = {
        "topic": "planted",
        "client_config": str(config),
        "run_dir": str(folder / "run"),
        "pseudonymize": "key,id",
    }
    words = [word for name, value in named.items() for word in ("-p", name, value)]
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "recovery_kit.cli",
            "run",
            "--json",
            "--log-level",
            "debug",
            *words,
            *arguments,
        ],
        capture_output=True,
        text=True,
        env=os.environ | {VARIABLE: SECRET},
        timeout=300,
        check=False,
    )


def totals(folder: Path, *rows: tuple[str, str]) -> str:
    path = folder / "expected.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("key", "total"), *rows])
    return str(path)


def forms(text: str) -> list[bytes]:
    """How a text may stand in bytes: as it is, in UTF-16, in hexadecimal, and in base64 at each of
    three places.
    """
    data = text.encode()
    shifted = [base64.b64encode(b"\0" * shift + data)[4 if shift else 0 : -4] for shift in range(3)]
    return [data, data.lower(), text.encode("utf-16-le"), data.hex().encode(), *shifted]


def readable(path: Path) -> Iterator[bytes]:
    """A file's bytes, and what lies inside them: Parquet's columns and metadata, whatever is in
    base64.
    """
    raw = path.read_bytes()
    yield raw
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        yield repr(table.to_pylist()).encode()
        yield repr(table.schema.metadata).encode()
    for text in re.findall(rb"[A-Za-z0-9+/]{24,}", raw):
        for shift in range(4):  # what stands before it may look like base64, too
            yield base64.b64decode(text[shift : shift + (len(text) - shift) // 4 * 4])


def leaks(folder: Path) -> set[tuple[str, str]]:
    """Every file under a folder with the planted text in it."""
    found = set()
    for path in (p for p in folder.rglob("*") if p.is_file()):
        for data in readable(path):
            found |= {(path.name, text) for text in PLANTED for form in forms(text) if form in data}
        found |= {(path.name, text) for text in PLANTED if text.lower() in str(path).lower()}
    return found


def test_the_search_finds_what_is_planted(tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").write_bytes(
        b'{"png": "' + base64.b64encode(b"12" + ACCOUNT.encode() + b"1") + b'"}'
    )
    (tmp_path / "b.json").write_bytes(b'"\\u0041' + PASSWORD.encode().hex().encode())
    pd.DataFrame({"key": [ACCOUNT.encode()] * 1000}).to_parquet(
        tmp_path / "c.parquet", compression="zstd"
    )
    assert leaks(tmp_path) == {("a.ipynb", ACCOUNT), ("b.json", PASSWORD), ("c.parquet", ACCOUNT)}


def test_a_run_leaks_nothing(secured: Kafka, tmp_path: Path) -> None:
    journal = tmp_path / "processed.csv"
    journal.write_text(f"event_id,effect\n{ACCOUNT}-1,10.10\n{ABSENT}-7,5.00\n")
    expected = totals(tmp_path, (ACCOUNT, "15.10"), (ABSENT, "5.00"), ("other", "1.00"))
    lookup = tmp_path / "lookup.jsonl"
    more = {"expected": expected, "processed": str(journal), "pseudonym_lookup": str(lookup)}
    words = [word for name, value in more.items() for word in ("-p", name, value)]
    done = run(secured, tmp_path, *words, "--fail-on", "rejects=100%")
    assert done.returncode == errors.DIVERGED, done.stdout + done.stderr
    assert leaks(tmp_path / "run") == set()
    assert not [text for text in PLANTED if text in done.stdout + done.stderr]
    assert done.stdout.count("\n") == 1
    # The same token for the same key, on both sides and in the next run.
    with (tmp_path / "run" / "divergences.csv").open(newline="") as file:
        found = {
            row["key"]: (Decimal(row["difference"]), row["status"]) for row in csv.DictReader(file)
        }
    assert found == {
        NAMES.token("key", ACCOUNT.encode()): (Decimal("5.00"), "diverged"),
        NAMES.token("key", ABSENT.encode()): (Decimal("5.00"), "unknown to the log"),
    }
    rejects = pq.read_table(tmp_path / "run" / "steps" / "replay" / "rejects.parquet").to_pylist()
    assert [row["reason"] for row in rejects] == [
        "the message is not JSON",
        "the type has no effect in the schema",
        "the message key is not UTF-8",
    ]
    assert {row["value"] for row in rejects} == {None}
    assert ACCOUNT in lookup.read_text()


def test_errors_leak_nothing(secured: Kafka, tmp_path: Path) -> None:
    twice = totals(tmp_path, (ACCOUNT, "15.10"), (ACCOUNT, "5.00"))
    done = run(secured, tmp_path, "-p", "expected", twice)
    assert done.returncode == errors.ERROR
    assert "expected, line 2: cannot be read exactly" in done.stdout
    assert leaks(tmp_path / "run") == set()
    assert not [text for text in PLANTED if text in done.stdout + done.stderr]


def test_a_wrong_password_is_not_told(secured: Kafka, tmp_path: Path) -> None:
    done = run(secured, tmp_path, password=ABSENT)
    assert done.returncode == errors.ERROR
    assert "SASL" in done.stdout
    assert leaks(tmp_path / "run") == set()
    assert not [text for text in PLANTED if text in done.stdout + done.stderr]
