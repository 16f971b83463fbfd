"""Settings: the one table of parameters."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recovery_kit.errors import ParameterError, SchemaError
from recovery_kit.run.settings import Settings
from recovery_kit.schema import EventSchema


def test_values_are_picked_out_of_a_namespace() -> None:
    settings = Settings.of({"topic": "t", "decimals": 3, "timeout": 5, "np": object(), "_": None})
    assert (settings.topic, settings.decimals, settings.timeout, settings.key_field) == (
        "t",
        3,
        5.0,
        "",
    )


def test_an_unknown_name_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(
        ParameterError,
        match=r"there is no parameter 'bootstrap_server'. Did you mean 'bootstrap_servers'\?",
    ):
        Settings.of({"bootstrap_server": "x"}, strict=True)
    with pytest.raises(ParameterError, match=r"no parameter 'tpoic'. Did you mean 'topic'\?"):
        Settings.parse("tpoic", "x")


@pytest.mark.parametrize(
    "name", ["sasl_password", "api_key", "SECRET", "oauth_token", "sasl.jaas.config", "credentials"]
)
def test_fault_40_a_secret_is_no_parameter(name: str) -> None:
    for refused in (
        lambda: Settings.of({name: "x1y2"}, strict=True),
        lambda: Settings.parse(name, "x1y2"),
    ):
        with pytest.raises(
            ParameterError, match=r"looks like a secret.*client.properties.*as client_config"
        ) as told:
            refused()
        assert "x1y2" not in str(told.value)


@pytest.mark.parametrize(
    "values",
    [
        {"expected": "s3://AKIA:x1y2@bucket/e.csv"},
        {"processed": "s3://bucket/p.csv?secret_key=x1y2"},
        {"opening": "https://host/o.csv?X-Amz-Signature=x1y2"},
        {"bootstrap_servers": "sasl://me:x1y2@kafka:9092"},
    ],
)
def test_fault_40_a_url_with_a_login_is_refused(values: dict[str, object]) -> None:
    for strict in (True, False):
        with pytest.raises(ParameterError, match="is a URL that holds a login") as told:
            Settings.of(values, strict=strict)
        assert "x1y2" not in str(told.value)
    assert Settings.of({"expected": "s3://bucket/a@b.csv?region=eu"}, strict=True)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"topic": 12}, "topic is 12, a whole number; expected text in quotes"),
        ({"decimals": "2"}, "decimals is '2', text; expected a whole number"),
        ({"decimals": True}, "decimals is True, true or false; expected a whole number"),
        ({"allow_incomplete": 1}, "allow_incomplete is 1, a whole number; expected true or false"),
        ({"effects": [1]}, "effects is .1., of type list; expected a mapping"),
    ],
)
def test_a_value_of_another_type_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        Settings.of(values)


def test_text_of_a_command_line_stays_text() -> None:
    assert Settings.parse("topic", "0012") == "0012"
    assert Settings.parse("decimals", "3") == 3
    assert Settings.parse("allow_incomplete", "True") is True
    assert Settings.parse("effects", '{"credit": 1}') == {"credit": 1}
    for name, text in (("allow_incomplete", "1"), ("decimals", "two"), ("effects", "credit")):
        with pytest.raises(ParameterError, match=name):
            Settings.parse(name, text)


@given(st.text())
def test_any_text_of_a_command_line_survives(text: str) -> None:
    assert Settings.of({"since": Settings.parse("since", text)}).since == text


def test_paths_become_absolute_and_urls_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings.of(
        {"expected": "e.csv", "opening": "s3://b/o.parquet", "run_dir": ""}, strict=True
    )
    assert settings.expected == str(tmp_path / "e.csv")
    assert settings.opening == "s3://b/o.parquet"
    assert settings.run_dir == ""


def test_the_arguments_of_a_replay() -> None:
    source = Settings(
        topic="a, b", partitions="0,3", key_field="k", effects={"credit": 1}, decimals=4
    ).source
    assert (source["topic"], source["partitions"], source["since"]) == (["a", "b"], [0, 3], None)
    assert (source["schema"].key, source["schema"].decimals, dict(source["schema"].effects)) == (
        "k",
        4,
        {"credit": 1},
    )
    with pytest.raises(ParameterError, match="topic is empty"):
        Settings().source  # noqa: B018
    with pytest.raises(ParameterError, match="partitions is 'x'"):
        Settings(topic="t", partitions="x").source  # noqa: B018
    with pytest.raises(SchemaError, match=r"the effect of .add. is 0\.5"):
        Settings(topic="t", effects={"add": 0.5}).source  # noqa: B018


def test_values_come_back_from_their_dictionary() -> None:
    settings = Settings(topic="t", effects={"fee": "-0.5", "add": 1})
    assert Settings.of(settings.to_dict(), strict=True) == settings


def test_what_is_set_wrongly_is_told_before_the_log_is_read() -> None:
    with pytest.raises(ParameterError, match=r"key_spelling is 'blank'.*Did you mean 'blanks'"):
        Settings.of({"key_spelling": "blank"})
    with pytest.raises(ParameterError, match="csv has decimal ';'"):
        Settings.of({"csv": {"decimal": ";"}})
    settings = Settings.of({"csv": {"separator": ";", "opening": {"sheet": "Jan"}}})
    assert Settings.of(settings.to_dict(), strict=True) == settings


LAUGHS = """
import resource, sys
import yaml
from recovery_kit.errors import RecoveryKitError
from recovery_kit.run.settings import Settings

resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
lists = "&a0 [x, x, x, x, x, x, x, x, x, x]"
for i in range(1, 10):
    lists += f", &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]"
for given in ("topic: *a9", "effects: *a9", "effects: {add: *a9}"):
    values = yaml.safe_load(f"rest: [{lists}]\\n{given}")
    del values["rest"]
    try:
        Settings.of(values, strict=True).schema
    except RecoveryKitError as error:
        print(len(str(error)) < 2000, str(error)[:30])
"""


def test_a_value_that_holds_itself_a_billion_times_is_told_shortly() -> None:
    """As YAML's aliases make one of a few hundred bytes; written out it took hours and all memory."""
    done = subprocess.run(
        [sys.executable, "-c", LAUGHS], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines() == [
        "True topic is [[[[...], [...], [...",
        "True effects is [[[[...], [...], [.",
        "True the effect of 'add' is [[[[...",
    ]


def test_how_a_users_files_are_written_does_not_concern_the_demo() -> None:
    demo: Any = SimpleNamespace(
        bootstrap_servers="here:1", topic="t", schema=EventSchema(), expected="e", processed="p"
    )
    assert Settings(csv={"separator": ";"}).on_demo(demo).csv == {}
