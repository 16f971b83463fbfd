from __future__ import annotations

import copy
import os
import re
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recovery_kit.errors import ParameterError
from recovery_kit.kafka.client.properties import parse_properties, read_properties
from recovery_kit.kafka.client.secret import Secret

SECRET = "Tr0ub4dor-planted"


def parsed(text: str) -> dict[str, str]:
    return {key: value.reveal for _, key, value in parse_properties(text)}


@pytest.fixture
def write(tmp_path: Path):
    def make(text: str, name: str = "client.properties") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        return path

    return make


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "a=1\nb = 2\nc:3\nd : 4\ne 5\nf\t6\ng",
            {"a": "1", "b": "2", "c": "3", "d": "4", "e": "5", "f": "6", "g": ""},
        ),
        ("# c\n! c\n\n  \t\n   # c\na=#not a comment", {"a": "#not a comment"}),
        ("a=x\\\n    y\\\n\t z\nb=1", {"a": "xyz", "b": "1"}),
        ("a=x\\\n# goes on", {"a": "x# goes on"}),
        ("# a comment does not go on \\\na=1", {"a": "1"}),
        ("a=x\\\\\nb=1", {"a": "x\\", "b": "1"}),
        ("a=x\\\\\\\n  y", {"a": "x\\y"}),
        (r"a\=b\:c\ d=v", {"a=b:c d": "v"}),
        (r"a=.\t.\n.\u00e9.\q.\\.\ud83d\ude00.", {"a": ".\t.\n.é.q.\\.😀."}),
        ("a==b", {"a": "=b"}),
        ("a=b=c:d e", {"a": "b=c:d e"}),
        ("  a=1\r\nb=2\rc=3", {"a": "1", "b": "2", "c": "3"}),
        ("a=1\na=2", {"a": "2"}),
        ("a=  x y  ", {"a": "x y"}),
        ("a=x\\", {"a": "x"}),
        ("", {}),
    ],
)
def test_format_is_that_of_java(text: str, expected: dict[str, str]) -> None:
    assert parsed(text) == expected


def stored(text: str, *, key: bool) -> str:
    """As java.util.Properties.store writes it."""
    special = {
        "\t": "\\t",
        "\n": "\\n",
        "\r": "\\r",
        "\f": "\\f",
        "\\": "\\\\",
        "=": "\\=",
        ":": "\\:",
    }
    special |= {"#": "\\#", "!": "\\!"} | ({" ": "\\ "} if key else {})
    units = text.encode("utf-16-be", "surrogatepass")
    chars = [chr(int.from_bytes(units[i : i + 2], "big")) for i in range(0, len(units), 2)]
    return "".join(special.get(c) or (c if " " <= c <= "~" else f"\\u{ord(c):04X}") for c in chars)


def java_trim(text: str) -> str:
    return re.sub(r"^[\x00-\x20]+|[\x00-\x20]+\Z", "", text)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(st.dictionaries(TEXT.filter(bool), TEXT, max_size=5))
def test_what_java_stores_is_read_back(settings: dict[str, str]) -> None:
    text = "#date\n" + "".join(
        f"{stored(k, key=True)}={stored(v, key=False)}\n" for k, v in settings.items()
    )
    assert parsed(text) == {k: java_trim(v) for k, v in settings.items()}


@given(TEXT)
def test_any_text_can_be_parsed_and_lines_are_numbered(text: str) -> None:
    numbers = [number for number, _, _ in parse_properties(text)]
    assert numbers == sorted(set(numbers))


def test_values_are_not_shown(write) -> None:
    settings = read_properties(write(f"sasl.password={SECRET}"))
    value = settings["sasl.password"]
    assert value == SECRET
    assert value.reveal == SECRET
    assert type(value.reveal) is str
    percent = "%s %r" % (value, settings)  # noqa: UP031
    shown = f"{settings} {value} {value!r} {value!s:>5}" + percent + str([value])
    assert SECRET not in shown
    assert repr(copy.deepcopy(value)) == repr(copy.copy(value)) == "'***'"


def test_utf8_with_byte_order_mark_and_latin1(tmp_path: Path) -> None:
    path = tmp_path / "c"
    for raw in (
        "\ufeffclient.id=é".encode(),
        "client.id=é".encode("latin-1"),
        "client.id=é".encode(),
    ):
        path.write_bytes(raw)
        assert read_properties(path)["client.id"] == "é"


def test_references(write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RK_TEST_NAME", "from-env")
    write("a.b = from key\n", "more.properties")
    write("from file\n", "whole")
    path = write(
        "client.id=${RK_TEST_NAME}\n"
        "group.id=x-${env:RK_TEST_NAME}-${ENV:RK_TEST_NAME}\n"
        f"sasl.username=${{file:{tmp_path}/more.properties:a.b}}\n"
        f"sasl.password=${{file:{tmp_path}/whole}}\n"
        f"ssl.key.password=${{directory:{tmp_path}:whole}}\n"
        "ssl.keystore.password=${file:more.properties:a.b}\n"
        "ssl.truststore.password=a$${b}c$d{e}${\n"
    )
    assert {k: v.reveal for k, v in read_properties(path).items()} == {
        "client.id": "from-env",
        "group.id": "x-from-env-from-env",
        "sasl.username": "from key",
        "sasl.password": "from file",
        "ssl.key.password": "from file",
        "ssl.keystore.password": "from key",
        "ssl.truststore.password": "a${b}c$d{e}${",
    }


@pytest.mark.parametrize(
    ("reference", "named"),
    [
        ("${RK_TEST_MISSING}", "environment variable RK_TEST_MISSING"),
        ("${env:RK_TEST_MISSING}", "environment variable RK_TEST_MISSING"),
        ("${file:/nowhere/at/all:key}", "/nowhere/at/all"),
        ("${file:client.properties:no.such}", "'no.such'"),
        ("${directory:/nowhere:name}", "/nowhere/name"),
        ("${vault:a:b}", "config provider"),
        ("${not a name}", "no reference"),
    ],
)
def test_reference_that_leads_nowhere_names_it_and_shows_no_value(
    write, reference: str, named: str
) -> None:
    path = write(f"client.id={SECRET}\nsasl.password={SECRET}{reference}{SECRET}")
    with pytest.raises(ParameterError) as caught:
        read_properties(path)
    assert named in str(caught.value)
    assert "sasl.password" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_file_without_an_end_is_not_read_to_it(write) -> None:
    with pytest.raises(
        ParameterError, match=r"^/dev/zero: cannot be read: it is larger than 16 MiB"
    ):
        read_properties(Path("/dev/zero"))
    with pytest.raises(ParameterError, match="refers to /dev/zero: cannot be read: it is larger"):
        read_properties(write("bootstrap.servers=${file:/dev/zero}"))


def test_lines_that_go_on_a_million_times_are_one_setting() -> None:
    """Each piece was copied for each that followed: half an hour of it."""
    (only,) = parse_properties("key=" + "0123456789\\\n" * 1_000_000)
    assert only == (1, "key", "0123456789" * 1_000_000)


def test_unreadable_file_says_why(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"missing\.properties: cannot be read: No such file"):
        read_properties(tmp_path / "missing.properties")
    with pytest.raises(ParameterError, match="Is a directory"):
        read_properties(tmp_path)


def test_unknown_key_warns_with_the_nearest_known_one(write) -> None:
    path = write("# c\nsasl.pasword=" + SECRET)
    with pytest.warns(
        UserWarning, match=r"line 2: .*'sasl.pasword'.*Did you mean 'sasl.password'"
    ) as caught:
        assert read_properties(path) == {}
    assert SECRET not in str(caught[0].message)


@pytest.mark.parametrize(
    "stray", [f'"{SECRET}";', SECRET, f"{SECRET}==", f"{SECRET}/x=y", "a.secret.piece"]
)
def test_a_line_that_is_no_setting_is_not_shown(write, stray: str) -> None:
    with pytest.warns(UserWarning, match="line 1: not a setting") as caught:
        read_properties(write(stray))
    assert SECRET not in str(caught[0].message)


def test_settings_that_do_not_matter_are_left_aside_in_silence(write) -> None:
    path = write(
        "group.id=g\nacks=all\nschema.registry.url=u\nconfig.providers.file.class=c\nenable.auto.commit=true\n"
    )
    assert set(read_properties(path)) >= {"group.id", "acks"}


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_a_secret_that_everybody_may_read_warns(write) -> None:
    path = write(f"sasl.password={SECRET}")
    path.chmod(0o604)
    with pytest.warns(UserWarning, match="chmod 600") as caught:
        read_properties(path)
    assert SECRET not in str(caught[0].message)
    path.chmod(0o640)
    read_properties(path)


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_a_file_without_a_secret_may_be_read_by_everybody(
    write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RK_TEST_NAME", SECRET)
    path = write("security.protocol=SSL\nsasl.password=${RK_TEST_NAME}\nsasl.username=x\n")
    path.chmod(0o644)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_properties(path)["sasl.password"] == Secret(SECRET)
