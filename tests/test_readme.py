"""The README is true: what it names exists, and its Python runs."""

import dataclasses
import re
from pathlib import Path

import pytest
import yaml

import recovery_kit as rk
from recovery_kit import cli
from recovery_kit.kafka.client.connection import client_options
from recovery_kit.run.settings import Settings
from tests.kafka.client.pki import authority, issued
from tests.kafka.helpers import kept

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
GUIDE = (ROOT / "CONTRIBUTING.md").read_text()


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", README, flags=re.DOTALL)


def test_every_make_target_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+)", README.replace("made for", "") + GUIDE)) - {"and"}
    assert {"demo", "test", "help", "lab"} <= named
    assert named <= targets


def test_every_command_named_exists(capsys: pytest.CaptureFixture[str]) -> None:
    named = set(re.findall(r"recovery-kit ([a-z]+)\b", README)) - {"replays"}
    assert {"check", "run", "sandbox"} <= named
    for command in named:
        with pytest.raises(SystemExit) as ended:
            cli.main([command, "--help"])
        assert ended.value.code == 0, command
        capsys.readouterr()


def test_every_file_named_exists() -> None:
    for text in (README, GUIDE):
        for path in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (ROOT / path).exists(), path
    for name in re.findall(r"^\| `(\d\d_\w+)` \|", README, flags=re.MULTILINE):
        assert (ROOT / "notebooks" / f"{name}.ipynb").exists(), name
    # The map's own names are held by test_house.
    guide = GUIDE[: GUIDE.index("| room |")] + GUIDE[GUIDE.index("### A new source") :]
    for name in re.findall(r"`((?:\w+/)*\w+\.(?:py|tsv))`", guide):
        places = (ROOT / "recovery_kit", ROOT, ROOT / "tests" / "integration")
        assert any((place / name).exists() for place in places), name


def test_parameters_in_the_example_are_parameters() -> None:
    (example,) = blocks("yaml")
    settings = Settings.of(yaml.safe_load(example), strict=True)
    assert settings.schema.key == "data.account"
    for name in re.findall(r"-p (\w+)", README):
        assert name in {f.name for f in dataclasses.fields(Settings)}


def test_the_connections_in_the_examples_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = authority()
    (tmp_path / "recovery.p12").write_bytes(issued(ca, "recovery").pkcs12("planted"))
    kept(tmp_path, ca.cert_pem, name="ca.pem")
    kept(tmp_path, "planted", name="password")
    monkeypatch.setenv("KEYSTORE_PASSWORD", "planted")
    examples = blocks("properties")
    assert len(examples) == 2
    for example in examples:
        path = kept(tmp_path, example.replace("/etc/recovery", str(tmp_path)))
        options = client_options("" if "bootstrap" in example else "localhost:9093", path)
        assert options.get("sasl_plain_password", "planted") == "planted"
        assert options["ssl_context"]


def test_names_in_the_python_example_are_public_and_take_these_arguments() -> None:
    (example,) = blocks("python")
    compile(example, "README.md", "exec")
    for name in re.findall(r"rk\.(\w+)", example):
        assert name in rk.__all__, name
    schema = eval(re.search(r"schema = (.*)", example)[1], {"rk": rk})  # type: ignore[index]  # our own text
    assert schema.key == "account"


def test_the_exit_codes_are_those_of_the_code() -> None:
    from recovery_kit import errors

    told = {int(code) for code in re.findall(r"^\| (\d+) \|", README, flags=re.MULTILINE)}
    assert told == {
        errors.MATCHED,
        errors.DIVERGED,
        errors.ERROR,
        errors.INCOMPLETE,
        errors.INTERRUPTED,
    }


def test_every_runtime_library_is_explained() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in project["dependencies"] + project["optional-dependencies"]["dev"]:
        name = re.split(r"[<>=]", requirement)[0]
        if not re.match(r"types-|.*-stubs", name):
            assert name in GUIDE, f"CONTRIBUTING.md does not say why {name} was chosen"
