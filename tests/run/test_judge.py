"""What a run ends with, and the thresholds it is judged by."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recovery_kit import errors
from recovery_kit.errors import ParameterError
from recovery_kit.run.judge import FailOn, fail_on, judge


def summary(
    divergent: int = 0, amount: str | None = "0", verdict: str = "complete"
) -> dict[str, object]:
    return {
        "replay": {"verdict": verdict},
        "reconciliation": {"divergent": divergent, "absolute_difference": amount},
    }


def test_by_default_any_divergence_and_any_missing_part_fails() -> None:
    assert fail_on([]) == FailOn()
    assert judge(summary(), FailOn()) == errors.MATCHED
    assert judge(summary(1, "0.01"), FailOn()) == errors.DIVERGED
    assert judge(summary(1, "0.01", "truncated"), FailOn()) == errors.INCOMPLETE
    assert judge(summary(0, None), FailOn()) == errors.MATCHED


def test_only_what_is_named_fails_a_run() -> None:
    by = fail_on(["keys=10", "amount=1000.00"])
    assert (by.keys, by.amount, by.incomplete) == (10, Decimal("1000.00"), False)
    assert str(by) == "keys=10, amount=1000.00"
    assert judge(summary(9, "999.99", "truncated"), by) == errors.MATCHED
    assert judge(summary(10, "1"), by) == errors.DIVERGED
    assert judge(summary(1, "1000.00"), by) == errors.DIVERGED
    assert judge(summary(1, None), by) == errors.MATCHED
    only = fail_on(["incomplete"])
    assert judge(summary(500, "5e9"), only) == errors.MATCHED
    assert judge(summary(0, "0", "compacted"), only) == errors.INCOMPLETE


@given(st.decimals("0.01", "1e26", places=2), st.decimals("0.01", "1e26", places=2))
def test_amounts_are_compared_exactly(amount: Decimal, limit: Decimal) -> None:
    """9007199254740993.01 and ...992.99 are one float, and two amounts."""
    assert (
        judge(summary(1, f"{amount:f}"), fail_on([f"amount={limit:f}"])) == errors.DIVERGED
    ) == (amount >= limit)


@pytest.mark.parametrize(
    ("thresholds", "message"),
    [
        (["keys"], "--fail-on is 'keys'; expected keys=10, amount=1000.00 or incomplete"),
        (["keys=0"], "with a number above 0"),
        (["keys=-1"], "keys=-1"),
        (["keys=1.5"], "keys=1.5"),
        (["keys=²"], "keys=²"),
        (["amount=1,000"], "amount=1,000"),
        (["amount=NaN"], "amount=NaN"),
        (["amount=0"], "with a number above 0"),
        (["amount=Infinity"], "amount=Infinity"),
        (["incomplete=1"], "incomplete=1"),
        (["kays=3"], "Did you mean 'keys'?"),
        (["keys=1", "keys=2"], "names keys twice"),
    ],
)
def test_thresholds_of_another_form_are_refused(thresholds: list[str], message: str) -> None:
    with pytest.raises(ParameterError) as told:
        fail_on(thresholds)
    assert message in str(told.value)
