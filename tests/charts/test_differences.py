"""Charts of a reconciliation show exactly its differences."""

from decimal import Decimal
from itertools import pairwise

import pandas as pd
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery_kit import charts
from recovery_kit.dedup import dedup
from recovery_kit.reconcile import Reconciliation, reconcile
from recovery_kit.tables.arrow import to_pandas
from recovery_kit.totals import totals
from tests.charts.found import found
from tests.events import events


def differences(amounts: list[Decimal], *, status: str = "diverged") -> Reconciliation:
    """A reconciliation of keys k0, k1, ... with these differences."""
    keys = [f"k{at}" for at in range(len(amounts))]
    table = pa.table(
        {
            "key": pa.array(keys, pa.large_string()),
            "expected": pa.array(amounts, pa.decimal128(38, 2)),
            "recovered": pa.array([Decimal(0)] * len(amounts), pa.decimal128(38, 2)),
            "difference": pa.array(amounts, pa.decimal128(38, 2)),
            "status": pa.array([status if a else "matched" for a in amounts], pa.string()),
        }
    )
    return Reconciliation(to_pandas(table), {}, Decimal(0), None)


def test_every_status_has_its_bar_and_its_count() -> None:
    expected = pd.DataFrame({"key": ["a", "b", "z"], "total": ["1.00", "2.00", "3.00"]})
    log = [
        ("1", "add", "1.00", "a", 0, "t", 0, 0),
        ("2", "add", "1.00", "b", 0, "t", 0, 1),
        ("3", "add", "1", "c", 0, "t", 0, 2),
    ]
    chart = charts.statuses(reconcile(totals(to_pandas(events(log))), expected))
    ax = chart.axes[0]
    bars = dict(
        zip(
            [t.get_text() for t in ax.get_yticklabels()],
            [b.get_width() for b in ax.patches],
            strict=True,
        )
    )
    assert bars == {
        "matched": 1,
        "diverged": 1,
        "missing from expected": 1,
        "unknown to the log": 1,
        "indeterminate": 0,
    }
    assert [t.get_text() for t in ax.texts] == ["1 (25.0 %)"] * 4 + ["0 (0.0 %)"]
    assert chart.get_suptitle() == "3 of 4 keys not matched"


def test_keys_of_which_none_is_on_both_sides_are_not_called_matched() -> None:
    """Each total is zero, so each matches; but nothing was compared."""
    log = [("1", "add", "0", "a", 0, "t", 0, 0)]
    recovered = totals(to_pandas(events(log)))
    one = pd.DataFrame({"key": ["A"], "total": ["0.00"]})
    title = charts.statuses(reconcile(recovered, one)).get_suptitle()
    assert title == "Nothing compared: every total is zero, and no key is on both sides"
    both = pd.DataFrame({"key": ["A", "a"], "total": ["0.00", "0.00"]})
    assert charts.statuses(reconcile(recovered, both)).get_suptitle() == "All 2 keys match"


def test_what_cannot_be_settled_is_not_called_matched() -> None:
    title = charts.statuses(found(verdict="raced").r).get_suptitle()
    assert title == "4 of 4 keys cannot be settled; the replay is not complete, but raced"


@given(
    st.lists(st.decimals("-1e24", "1e24", places=2).filter(bool), min_size=1, max_size=30),
    st.integers(1, 30),
)
@settings(max_examples=15, deadline=None)
def test_bars_are_the_largest_differences_in_order(amounts: list[Decimal], most: int) -> None:
    ax = charts.largest(differences(amounts), most=most).axes[0]
    wanted = sorted(amounts, key=abs, reverse=True)[:most]
    widths = {round(bar.get_y() + bar.get_height() / 2): bar.get_width() for bar in ax.patches}
    assert [abs(widths[row]) for row in range(len(wanted))] == [float(abs(a)) for a in wanted]
    told = [Decimal(t.get_text().replace(",", "")) for t in ax.texts]
    assert list(map(abs, told)) == list(map(abs, wanted))
    assert [float(t) for t in told] == [widths[row] for row in range(len(told))]


def test_bars_of_each_status_have_a_hatch_of_their_own() -> None:
    expected = pd.DataFrame({"key": ["a", "z"], "total": ["9.00", "3.00"]})
    log = [("1", "add", "1.00", "a", 0, "t", 0, 0), ("2", "add", "5.00", "b", 0, "t", 0, 1)]
    chart = charts.largest(reconcile(totals(to_pandas(events(log))), expected))
    bars = {
        t.get_text(): b
        for t, b in zip(chart.axes[0].get_yticklabels(), chart.axes[0].patches, strict=True)
    }
    assert {name: bar.get_width() for name, bar in bars.items()} == {"a": 8.0, "b": -5.0, "z": 3.0}
    assert len({bar.get_hatch() for bar in bars.values()}) == 3
    assert [t.get_text() for t in chart.legends[0].get_texts()] == [
        "diverged",
        "missing from expected",
        "unknown to the log",
    ]


def test_names_cut_short_keep_both_their_ends() -> None:
    expected = pd.DataFrame(
        {"key": ["tenant-" + "0" * 50 + end for end in ("1", "2")], "total": ["1", "2"]}
    )
    chart = charts.largest(reconcile(totals(to_pandas(events([]))), expected))
    names = [t.get_text() for t in chart.axes[0].get_yticklabels()]
    assert names == ["tenant-0000000…0000000000002", "tenant-0000000…0000000000001"]


@given(st.lists(st.decimals("-1e15", "1e15", places=2).filter(bool), min_size=1, max_size=60))
@settings(max_examples=25, deadline=None)
def test_the_distribution_counts_every_difference_between_its_edges(amounts: list[Decimal]) -> None:
    chart = charts.distribution(differences(amounts))
    ax = chart.axes[0]
    counted = {bars.get_label(): [int(bar.get_height()) for bar in bars] for bars in ax.containers}
    edges = edges_of(amounts)
    for name, sign in (("less", -1), ("more", 1)):
        sizes = [sign * a for a in amounts if sign * a > 0]
        assert counted[name] == [
            sum(low <= s < high for s in sizes) for low, high in pairwise(edges)
        ]
    labels = [t.get_text() for t in ax.texts]
    assert sorted(labels) == sorted(f"{n}" if n else "" for n in counted["less"] + counted["more"])


def edges_of(amounts: list[Decimal]) -> list[Decimal]:
    """Edges by the definition: 1, 2 and 5 of each decade, or 1 alone when sizes span more than four
    decades.
    """
    least, largest = min(map(abs, amounts)), max(map(abs, amounts))
    steps = (1, 2, 5) if largest.adjusted() - least.adjusted() < 4 else (1,)
    made = [Decimal(step).scaleb(decade) for decade in range(-3, 18) for step in steps]
    return [
        e for e, after in pairwise(made) if after > least and made[made.index(e) - 1] <= largest
    ]


def test_keys_that_diverge_in_their_counts_alone_are_said() -> None:
    expected = pd.DataFrame({"key": ["a"], "total": ["1.00"], "events": [3]})
    log = [("1", "add", "1.00", "a", 0, "t", 0, 0)]
    chart = charts.largest(reconcile(totals(to_pandas(events(log))), expected))
    assert "1 more diverge though their totals are equal" in chart.alt


def test_without_expected_totals_no_chart_says_that_keys_agree() -> None:
    unique = events([("1", "add", "1.00", "a", 0, "t", 0, 0)])
    r = reconcile(totals(unique), None)
    assert charts.statuses(r).alt.startswith("1 key recovered, and nothing to compare with")
    for fig in (
        charts.largest(r),
        charts.distribution(r),
        charts.running(r, dedup(unique)),
        charts.where_in_log(r, dedup(unique)),
    ):
        assert "No expected totals were given" in fig.alt
