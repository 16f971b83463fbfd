import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from recovery_kit.errors import SandboxError
from recovery_kit.sandbox.jars import SUMS, VERSION, file_name, jars, sums

FIRST = next(iter(sums(VERSION)))


@pytest.fixture(scope="module")
def real():
    """Coordinates to the real jar, from this user's cache."""
    return dict(zip(sums(VERSION), jars(), strict=True))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "recovery-kit" / f"kafka-{VERSION}"


def _copier(real):
    return lambda coordinates, folder: Path(shutil.copy(real[coordinates], folder))


def _refuse(coordinates, _folder):
    raise AssertionError(f"{coordinates} was fetched")


@pytest.mark.parametrize("version", re.findall(r"# Apache Kafka (.+)", SUMS.read_text()))
def test_every_line_is_a_sum_and_a_jar_of_its_own(version):
    lines = sums(version)
    assert f"org.apache.kafka:kafka_2.13:{version}" in lines
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in lines.values())
    assert len({file_name(coordinates) for coordinates in lines}) == len(lines)


def test_a_second_call_fetches_nothing(real, cache):
    assert [path.parent for path in jars(fetch=_copier(real))] == [cache] * len(real)
    assert jars(fetch=_refuse) == [cache / path.name for path in real.values()]


def test_a_damaged_jar_is_fetched_again(real, cache, capsys):
    jars(fetch=_copier(real))
    victim = cache / file_name(FIRST)
    victim.write_bytes(victim.read_bytes()[:-1])
    fetched = []
    jars(
        fetch=lambda coordinates, folder: (
            fetched.append(coordinates) or _copier(real)(coordinates, folder)
        )
    )
    assert fetched == [FIRST]
    assert victim.read_bytes() == real[FIRST].read_bytes()
    assert f"all {len(real)} files are there and checked" in capsys.readouterr().err


def test_a_jar_with_another_sum_is_thrown_away(cache):
    def forged(coordinates, folder):
        path = folder / file_name(coordinates)
        path.write_bytes(b"not the jar you are looking for")
        return path

    with pytest.raises(
        SandboxError,
        match=rf"{re.escape(file_name(FIRST))} as fetched has the SHA-256 sum .*thrown away",
    ):
        jars(fetch=forged)
    assert [path.name for path in cache.iterdir()] == ["lock"]


def test_without_a_network_the_error_says_what_to_do(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(
        SandboxError, match=r"could not fetch .*ProxyError.*run again when connected.*copy .*cache"
    ):
        jars()
    assert not list(cache.glob("*.jar"))


def test_an_unknown_version_names_those_there_are():
    with pytest.raises(
        SandboxError,
        match=rf"no checksums for Apache Kafka 0\.8; known versions: {re.escape(VERSION)}",
    ):
        jars("0.8")


def test_two_processes_at_once_fill_one_cache(real, cache, tmp_path, monkeypatch):
    # jgo takes a jar from a local Maven repository where there is one, so this needs no network.
    for coordinates, jar in real.items():
        group, artifact, version = coordinates.split(":")
        folder = tmp_path / "m2" / group.replace(".", "/") / artifact / version
        folder.mkdir(parents=True)
        shutil.copy(jar, folder)
    monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))
    command = [sys.executable, "-m", "recovery_kit.sandbox.jars"]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert said[0][0] == said[1][0] == "".join(f"{cache / jar.name}\n" for jar in real.values())
    assert sum("are there and checked" in errors for _, errors in said) == 1
