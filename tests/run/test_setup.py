"""The set-up is checked before a notebook begins."""

import pytest

from recovery_kit.errors import RunError
from recovery_kit.run import setup


def test_this_environment_has_what_the_kit_needs() -> None:
    setup.check_setup()


def test_a_missing_and_an_old_package_are_named_with_the_command_that_mends_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = ["no-such-package>=2,<3", "pandas>=99", "numpy>=1", "lz4>=99; extra == 'dev'"]
    monkeypatch.setattr(setup, "requires", lambda _: asked)
    with pytest.raises(
        RunError, match=r"no-such-package is missing .needed: <3,>=2.; pandas .* -m pip install"
    ) as caught:
        setup.check_setup()
    assert "numpy" not in str(caught.value)
    assert "lz4" not in str(caught.value)
