"""What a run ends with, and the thresholds it is judged by."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recovery_kit import errors
from recovery_kit.errors import ParameterError
from recovery_kit.run.judge import FailOn, fail_on, judge


def summary(
    divergent: int = 0,
    amount: str | None = "0",
    verdict: str = "complete",
    *,
    log: dict[str, int] | None = None,
    **found: Any,
) -> dict[str, Any]:
    """What a run over ten keys that both sides have leaves, with what is said of it."""
    compared = 10 if verdict == "complete" else 0
    counts = {"delivered": 1000, "events": 1000, "rejects": 0, "tombstones": 0, "outside": 0}
    keys = {"keys": 10, "recovered_keys": 10, "expected_keys": 10, "compared": compared}
    sums = {"divergent": divergent, "absolute_difference": amount}
    return {
        "replay": {"verdict": verdict} | counts | (log or {}),
        "reconciliation": keys | sums | found,
    }


def code(told: dict[str, Any], by: FailOn) -> int:
    return judge(told, by)[0]


def test_by_default_any_divergence_and_any_missing_part_fails() -> None:
    assert fail_on([]) == FailOn()
    assert judge(summary(), FailOn()) == (errors.MATCHED, "")
    assert judge(summary(1, "0.01"), FailOn()) == (errors.DIVERGED, "")
    assert judge(summary(1, "0.01", "truncated"), FailOn()) == (errors.INCOMPLETE, "")
    recovered_only = summary(0, None, compared=0, expected_keys=None)
    assert judge(recovered_only, FailOn()) == (errors.MATCHED, "")


def test_only_what_is_named_fails_a_run() -> None:
    by = fail_on(["keys=10", "amount=1000.00"])
    assert (by.keys, by.amount, by.incomplete) == (10, Decimal("1000.00"), False)
    assert str(by) == "keys=10, amount=1000.00, rejects=1%"
    assert code(summary(9, "999.99"), by) == errors.MATCHED
    assert code(summary(10, "1"), by) == errors.DIVERGED
    assert code(summary(1, "1000.00"), by) == errors.DIVERGED
    assert code(summary(1, None), by) == errors.MATCHED
    assert code(summary(10, "1", "raced"), by) == errors.DIVERGED
    only = fail_on(["incomplete"])
    assert code(summary(500, "5e9"), only) == errors.MATCHED
    assert code(summary(0, "0", "compacted"), only) == errors.INCOMPLETE
    assert fail_on(["rejects=5"]) == FailOn(rejects="5")  # what differs fails as by default


@pytest.mark.parametrize(
    ("told", "ends", "says"),
    [
        (
            summary(recovered_keys=0, compared=0, log={"events": 0, "rejects": 1000}),
            errors.ERROR,
            "the log gave no total, of 1,000 messages (0 events, 1,000 rejects, 0 tombstones, 0 "
            "outside the window). report.html lists the reasons; set id_field, ",
        ),
        (
            summary(recovered_keys=0, compared=0, log={"events": 0, "outside": 1000}),
            errors.ERROR,
            "1,000 outside the window). Set topic, partitions, since and until so that they hold",
        ),
        (
            summary(recovered_keys=0, compared=0, log={"events": 0, "delivered": 0}),
            errors.ERROR,
            "of 0 messages",
        ),
        (
            summary(recovered_keys=0, compared=0, expected_keys=None, log={"events": 0}),
            errors.ERROR,
            "the log gave no total",
        ),
        (
            summary(recovered_keys=0, compared=0, log={"events": 4}),
            errors.ERROR,
            "on_conflict is reject: set it to first or last",
        ),
        (
            summary(20, "7", compared=0),
            errors.ERROR,
            "the log gives 10 keys, expected holds 10, and none is on both sides. Set key_field",
        ),
        (summary(10, expected_keys=0, compared=0), errors.ERROR, "expected holds 0"),
        (
            summary(0, "0", "raced"),
            errors.INCOMPLETE,
            "the replay is raced, so none of 10 keys can be called matched or diverged",
        ),
    ],
)
def test_a_run_that_compared_nothing_fails_whatever_it_is_told_to_fail_on(
    told: dict[str, Any], ends: int, says: str
) -> None:
    for by in (FailOn(), fail_on(["keys=1000", "rejects=100%"])):
        found, why = judge(told, by)
        assert found == ends
        assert says in why or (found == errors.INCOMPLETE and by.incomplete)
    assert why.startswith("nothing was compared: ")


def test_opening_totals_are_compared_without_an_event() -> None:
    """A quiet night: the totals of the night before are still to be held against the system's."""
    assert judge(summary(log={"events": 0, "delivered": 0}), FailOn()) == (errors.MATCHED, "")


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 100))
def test_rejects_fail_a_run_from_their_share_on(rejects: int, events: int, limit: int) -> None:
    told = summary(log={"events": events, "rejects": rejects})
    by = fail_on([f"rejects={limit}%"])
    many = rejects > 0 and rejects * 100 >= limit * (rejects + events)
    assert code(told, by) == (errors.ERROR if many else errors.MATCHED)
    assert (
        f"{rejects:,} messages are rejects, beside {events:,} events" in judge(told, by)[1]
    ) == (many)
    assert code(told, fail_on([f"rejects={limit}"])) == (
        errors.ERROR if rejects >= limit else errors.MATCHED
    )


def test_one_reject_in_a_hundred_fails_a_run_that_names_no_other_share() -> None:
    for by in (fail_on([]), fail_on(["keys=10"])):
        assert code(summary(log={"events": 9901, "rejects": 99}), by) == errors.MATCHED
        found, why = judge(summary(1, "5", log={"events": 99, "rejects": 1}), by)
        assert found == errors.ERROR
        assert "1% fails a run (--fail-on rejects=1%)" in why
    assert code(summary(0, "0", "raced", log={"rejects": 900}), FailOn()) == errors.INCOMPLETE


@given(st.decimals("0.01", "1e26", places=2), st.decimals("0.01", "1e26", places=2))
def test_amounts_are_compared_exactly(amount: Decimal, limit: Decimal) -> None:
    """9007199254740993.01 and ...992.99 are one float, and two amounts."""
    assert (code(summary(1, f"{amount:f}"), fail_on([f"amount={limit:f}"])) == errors.DIVERGED) == (
        amount >= limit
    )


@pytest.mark.parametrize(
    ("thresholds", "message"),
    [
        (
            ["keys"],
            "--fail-on is 'keys'; expected keys=10, amount=1000.00, incomplete, "
            "rejects=10 or rejects=5%",
        ),
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
        (["rejects"], "--fail-on is 'rejects'"),
        (["rejects=0"], "with a number above 0"),
        (["rejects=0%"], "rejects=0%"),
        (["rejects=101%"], "rejects=101%"),
        (["rejects=1.5"], "rejects=1.5"),
        (["rejects=NaN%"], "rejects=NaN%"),
        (["rejects=1%", "rejects=2"], "names rejects twice"),
        (["reject=1%"], "Did you mean 'rejects'?"),
    ],
)
def test_thresholds_of_another_form_are_refused(thresholds: list[str], message: str) -> None:
    with pytest.raises(ParameterError) as told:
        fail_on(thresholds)
    assert message in str(told.value)


def test_a_share_of_another_form_is_refused_before_the_run() -> None:
    with pytest.raises(ParameterError, match=r"--fail-on is 'rejects=some'; expected"):
        FailOn(rejects="some")
