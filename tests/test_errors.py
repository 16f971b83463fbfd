"""The tree of errors: as its module draws it, each with the exit code that it says."""

from __future__ import annotations

import inspect
import pickle
import re

import pandas as pd
import pytest

from recovery_kit import errors
from recovery_kit.errors import IncompleteReplay, RecoveryKitError, did_you_mean

CLASSES = [
    c for _, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == errors.__name__
]


def test_the_drawn_tree_is_the_real_one() -> None:
    drawn = dict(
        re.findall(r"^    (?:[├└]── )?(\w+) +(\d+)  \w", errors.__doc__ or "", flags=re.MULTILINE)
    )
    assert drawn == {c.__name__: str(c.exit_code) for c in CLASSES}
    assert all(issubclass(c, RecoveryKitError) for c in CLASSES)


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_says_what_it_is_for(kind: type[Exception]) -> None:
    assert kind.__doc__
    assert kind.__doc__.splitlines()[0].endswith((".", "please report it.", "do."))


def test_exit_codes_tell_apart_what_a_scheduler_must_tell_apart() -> None:
    codes = (errors.MATCHED, errors.DIVERGED, errors.ERROR, errors.INCOMPLETE, errors.INTERRUPTED)
    assert codes == (0, 1, 2, 3, 130)
    assert {c.exit_code for c in CLASSES} == {errors.ERROR, errors.INCOMPLETE}


def test_an_incomplete_replay_carries_its_coverage() -> None:
    coverage = pd.DataFrame({"topic": ["t"], "lost": [3]})
    error = IncompleteReplay("truncated: ...", verdict="truncated", coverage=coverage)
    assert (str(error), error.verdict, error.exit_code) == (
        "truncated: ...",
        "truncated",
        errors.INCOMPLETE,
    )
    assert error.coverage is coverage


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.SchemaError, ValueError),
        (errors.ParameterError, ValueError),
        (errors.TableError, ValueError),
        (errors.AmountError, ArithmeticError),
        (errors.IdentityError, AssertionError),
    ],
)
def test_errors_are_also_the_builtin_that_callers_expect(
    kind: type[Exception], builtin: type[Exception]
) -> None:
    with pytest.raises(builtin, match="said"):
        raise kind("said")


@pytest.mark.parametrize("kind", [c for c in CLASSES if c is not IncompleteReplay])
def test_errors_go_through_pickle(kind: type[Exception]) -> None:
    """A pool of processes sends them home that way."""
    assert str(pickle.loads(pickle.dumps(kind("said")))) == "said"


def test_the_nearest_name_is_suggested() -> None:
    assert did_you_mean("decimal", ["id", "decimals"]) == " Did you mean 'decimals'?"
    assert did_you_mean("zzz", ["id", "decimals"]) == ""
