"""explain(): causes add up to every difference, what is proven is right, and chance is not called a
cause.
"""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from decimal import Decimal
from functools import partial
from types import SimpleNamespace
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery_kit._progress import Progress
from recovery_kit.dedup import Dedup, dedup
from recovery_kit.errors import ParameterError, TableError
from recovery_kit.explain import GRADES, Diagnosis, diagnose, explain
from recovery_kit.reconcile import Reconciliation, reconcile
from recovery_kit.sandbox.incident import simulate
from recovery_kit.schema import EventSchema
from recovery_kit.totals import totals
from tests.events import FORMS, NOON, Event, column, events, rows

Applied = tuple[str, str, int]
"""What the system applied: id, key, effect in cents."""


def cents(amount: Decimal) -> int:
    return int(amount * 100)


def money(amount: int) -> str:
    return f"{amount / 100:.2f}"


def make_log(seed: int, *, count: int = 4_000, keys: int = 80, partitions: int = 2) -> list[Event]:
    """A log of random cents, by key over partitions, in order; no event stands twice."""
    rng = random.Random(seed)
    offsets = [0] * partitions
    made: list[Event] = []
    for number in range(count):
        key = rng.randrange(keys)
        partition = key % partitions
        kind = rng.choice(["add", "add", "subtract"])
        made.append(
            (
                f"e{number}",
                kind,
                money(rng.randint(100, 99_999)),
                f"k{key:03d}",
                number * 1_000,
                "log",
                partition,
                offsets[partition],
            )
        )
        offsets[partition] += 1
    return sorted(made, key=lambda e: (e[6], e[7]))


def effect(event: Event) -> int:
    return cents(Decimal(event[2])) * EFFECTS[event[1]]


EFFECTS = {"add": 1, "subtract": -1}


def apply(log: list[Event]) -> list[Applied]:
    return [(e[0], e[3], effect(e)) for e in log]


def reconciled(
    log: list[Event], applied: list[Applied], form: str = "pyarrow", **how: Any
) -> tuple[Reconciliation, Dedup]:
    """What the system holds after applying that, against the log."""
    held: dict[str, int] = defaultdict(int)
    for _, key, amount in applied:
        held[key] += amount
    expected = pa.table({"key": list(held), "total": [money(total) for total in held.values()]})
    d = dedup(FORMS[form](events(log)))
    return reconcile(totals(d.unique), expected, **how), d


def listed(applied: list[Applied], *names: str) -> pa.Table:
    columns = {
        "event_id": pa.array([a[0] for a in applied], pa.string()),
        "key": pa.array([a[1] for a in applied], pa.string()),
        "effect": pa.array([money(a[2]) for a in applied], pa.string()),
    }
    return pa.table({name: columns[name] for name in ("event_id", *names)})


def told(found: Diagnosis) -> dict[tuple[str, str], int]:
    """Cents by key and cause, of what is called a cause."""
    made: dict[tuple[str, str], int] = defaultdict(int)
    for row in rows(found.causes):
        if row["grade"] in ("proven", "consistent"):
            made[row["key"], row["cause"]] += cents(row["amount"])
    return dict(made)


def off_by(changed: list[tuple[str, int, str]]) -> dict[tuple[str, str], int]:
    made: dict[tuple[str, str], int] = defaultdict(int)
    for key, amount, cause in changed:
        made[key, cause] += amount
    return dict(made)


def adds_up(found: Diagnosis, r: Reconciliation) -> bool:
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows(found.causes):
        sums[row["key"]] += row["amount"]
    differences = {row["key"]: row["difference"] for row in rows(r.table)}
    return all(sums[key] == gap for key, gap in differences.items() if gap or key in sums)


LOG = make_log(1)


def missed_window() -> tuple[list[Applied], dict[tuple[str, str], int]]:
    lost = [e for e in LOG if e[6] == 1 and 700 <= e[7] < 1_000]
    ids = {e[0] for e in lost}
    return [a for a in apply(LOG) if a[0] not in ids], off_by(
        [(e[3], -effect(e), "missed") for e in lost]
    )


@pytest.mark.parametrize("form", FORMS)
def test_a_missed_window_is_found_from_totals_alone_and_said_once(form: str) -> None:
    applied, truth = missed_window()
    r, d = reconciled(LOG, applied, form)
    found = explain(r, d)
    assert told(found) == truth
    assert type(found.causes) is type(r.table) is type(found.incidents)
    (incident,) = rows(found.incidents)
    assert (
        incident["cause"],
        incident["partition"],
        incident["first_offset"],
        incident["last_offset"],
    ) == (
        "missed",
        1,
        700,
        999,
    )
    assert incident["keys"] == len(truth)
    assert incident["events"] == 300
    assert cents(incident["amount"]) == sum(truth.values())
    assert set(column(found.causes, "grade")) == {"consistent"}
    assert all(
        row["incident"] == incident["incident"] and row["evidence"] for row in rows(found.causes)
    )
    assert (
        found.summary["explained"]
        == found.summary["money"]
        == sum(abs(a) for a in truth.values()) / Decimal(100)
    )


def test_texts_may_be_categories() -> None:
    applied, truth = missed_window()
    table = pl.DataFrame(events(LOG))
    named = ("event_id", "type", "key", "topic")
    d = dedup(table.with_columns(pl.col(named).cast(pl.Categorical)))
    r, _ = reconciled(LOG, applied, "polars")
    assert told(explain(r, d)) == truth
    assert told(explain(r, d, processed=listed(applied, "effect"))) == truth


def test_a_partition_that_is_behind_is_lag() -> None:
    late = [e for e in LOG if e[6] == 0 and e[7] >= 1_900]
    applied = [a for a in apply(LOG) if a[0] not in {e[0] for e in late}]
    truth = off_by([(e[3], -effect(e), "lag") for e in late])
    r, d = reconciled(LOG, applied)
    assert told(explain(r, d)) == truth
    assert told(explain(r, d, processed=listed(applied, "effect"))) == truth


def test_a_type_with_the_wrong_sign_for_a_while_is_one_incident_of_all_partitions() -> None:
    wrong = {e[0]: e for e in LOG if e[1] == "subtract" and 1_000_000 <= e[4] < 1_500_000}
    applied = [(i, k, -a if i in wrong else a) for i, k, a in apply(LOG)]
    r, d = reconciled(LOG, applied)
    found = explain(r, d)
    assert told(found) == off_by([(e[3], -2 * effect(e), "wrong_sign") for e in wrong.values()])
    (incident,) = rows(found.incidents)
    assert (incident["type"], incident["partition"], incident["partitions"]) == (
        "subtract",
        None,
        2,
    )
    assert (incident["first"], incident["last"]) == tuple(
        pd.Timestamp(NOON + bound(e[4] for e in wrong.values()), unit="ms", tz="UTC")
        for bound in (min, max)
    )


def test_windows_that_overlap_on_every_key_are_found_together() -> None:
    log = make_log(5, count=12_000, keys=40, partitions=1)
    lost = {e[0] for e in log if 2_000 <= e[7] < 4_500}
    wrong = {e[0] for e in log if e[1] == "add" and 7_000 <= e[7] < 8_500}
    applied = [(i, k, -a if i in wrong else a) for i, k, a in apply(log) if i not in lost]
    truth = [(e[3], -effect(e), "missed") for e in log if e[0] in lost]
    truth += [(e[3], -2 * effect(e), "wrong_sign") for e in log if e[0] in wrong]
    hit = [{e[3] for e in log if e[0] in ids} for ids in (lost, wrong)]
    assert hit[0] == hit[1]  # so that no key is off by one of them alone
    r, d = reconciled(log, applied)
    assert told(explain(r, d)) == off_by(truth)


def test_single_events_are_found_where_chance_is_not() -> None:
    applied = apply(LOG)
    a, b, c = applied[10], applied[1_500], applied[3_000]
    assert len({a[1], b[1], c[1]}) == 3
    changed = {a[0]: [], b[0]: [b, b], c[0]: [(c[0], c[1], 100 * c[2])]}
    after = [line for one in applied for line in changed.get(one[0], [one])]
    r, d = reconciled(LOG, after)
    found = explain(r, d)
    causes = {row["key"]: row for row in rows(found.causes)}
    for key, cause, amount, event in (
        (a[1], "missed", -a[2], a[0]),
        (b[1], "applied_twice", b[2], b[0]),
        (c[1], "wrong_factor", 99 * c[2], c[0]),
    ):
        row = causes[key]
        assert cents(row["amount"]) == amount
        assert (row["cause"], row["event_ids"]) == (cause, [event])
        assert row["grade"] == "consistent"
    assert not len(found.incidents)


def test_an_amount_that_many_events_have_is_ambiguous() -> None:
    log = [(e[0], e[1], money(500 + 500 * (n % 4)), *e[3:]) for n, e in enumerate(LOG)]
    gone = log[20]
    r, d = reconciled(log, [a for a in apply(log) if a[0] != gone[0]])
    (row,) = rows(explain(r, d).causes)
    assert (row["key"], row["grade"]) == (gone[3], "ambiguous")
    assert cents(row["amount"]) == -effect(gone)


def test_a_correction_by_hand_stays_unexplained() -> None:
    applied = [*apply(LOG), ("manual-1", "k003", 123_456)]
    r, d = reconciled(LOG, applied)
    (row,) = rows(explain(r, d).causes)
    assert (row["cause"], row["grade"], cents(row["amount"])) == (
        "unexplained",
        "unexplained",
        123_456,
    )
    (row,) = rows(explain(r, d, processed=listed(applied, "effect", "key")).causes)
    assert (row["cause"], row["grade"], row["event_ids"]) == ("not_in_log", "proven", ["manual-1"])
    (row,) = rows(explain(r, d, processed=listed(applied, "effect")).causes)
    assert (row["cause"], row["grade"], row["event_ids"]) == (
        "not_in_log",
        "consistent",
        ["manual-1"],
    )


def test_keys_of_one_side_only() -> None:
    applied = [a for a in apply(LOG) if a[1] != "k004"] + [("x", "k999", 700)]
    r, d = reconciled(LOG, applied)
    found = {row["key"]: (row["cause"], row["grade"]) for row in rows(explain(r, d).causes)}
    assert found == {"k004": ("missing_key", "consistent"), "k999": ("unknown_key", "consistent")}


def with_copies() -> list[Event]:
    """The log with a harmless redelivery of one event and a conflicting version of another at its
    end.
    """
    again, other = LOG[30], LOG[40]
    end = max(e[7] for e in LOG if e[6] == 0) + 1
    return [
        *LOG,
        (*again[:4], again[4], "log", 0, end),
        (other[0], other[1], "777.77", other[3], other[4] + 1, "log", 0, end + 1),
    ]


def test_known_copies_and_versions_come_first() -> None:
    log = with_copies()
    again, other = LOG[30], LOG[40]
    new = 77_777 * EFFECTS[other[1]]
    applied = [(i, k, new if i == other[0] else a) for i, k, a in apply(LOG)] + [
        (again[0], again[3], effect(again))
    ]
    r, d = reconciled(log, applied)
    truth = off_by(
        [(again[3], effect(again), "applied_twice"), (other[3], new - effect(other), "conflict")]
    )
    for found in (explain(r, d), explain(r, d, processed=listed(applied, "effect", "key"))):
        assert told(found) == truth
        assert adds_up(found, r)


MISTAKES = (
    "missed",
    "applied_twice",
    "wrong_sign",
    "wrong_factor",
    "wrong_amount",
    "wrong_key",
    "not_in_log",
)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32),
    st.lists(st.tuples(st.integers(0, 399), st.sampled_from(MISTAKES)), max_size=60),
    st.booleans(),
)
def test_with_a_list_every_cause_is_proven_and_right(
    seed: int, mistakes: list[tuple[int, str]], keyed: bool
) -> None:
    log = make_log(seed, count=400, keys=20)
    first = dict(reversed(mistakes))
    applied, truth = [], []
    for number, (event_id, key, amount) in enumerate(apply(log)):
        cause = first.get(number, "")
        if cause == "wrong_key" and not keyed:
            cause = ""
        lines, change = {
            "missed": ([], [(key, -amount)]),
            "applied_twice": ([(event_id, key, amount)] * 2, [(key, amount)]),
            "wrong_sign": ([(event_id, key, -amount)], [(key, -2 * amount)]),
            "wrong_factor": ([(event_id, key, 10 * amount)], [(key, 9 * amount)]),
            "wrong_amount": ([(event_id, key, amount + 1)], [(key, 1)]),
            "wrong_key": (
                [(event_id, "elsewhere", amount)],
                [(key, -amount), ("elsewhere", amount)],
            ),
            "not_in_log": (
                [(event_id, key, amount), (f"x{number}", key, 5)],
                [(key, 5)] if keyed else [],
            ),
        }.get(cause, ([(event_id, key, amount)], []))
        applied += lines
        truth += [(k, a, cause) for k, a in change]
    r, d = reconciled(log, applied)
    found = explain(r, d, processed=listed(applied, "effect", *(["key"] if keyed else [])))
    assert adds_up(found, r)
    proven: dict[tuple[str, str], int] = defaultdict(int)
    for row in rows(found.causes):
        if row["grade"] == "proven":
            proven[row["key"], {"lag": "missed"}.get(row["cause"], row["cause"])] += cents(
                row["amount"]
            )
    want = {at: amount for at, amount in off_by(truth).items() if amount}
    assert dict(proven) == want


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32),
    st.lists(
        st.tuples(st.integers(0, 299), st.sampled_from(["missed", "twice", "sign", "hand"])),
        max_size=40,
    ),
)
def test_from_totals_alone_the_amounts_add_up_whatever_happened(
    seed: int, mistakes: list[tuple[int, str]]
) -> None:
    log = make_log(seed, count=300, keys=12)
    applied = []
    first = dict(mistakes)
    for number, (event_id, key, amount) in enumerate(apply(log)):
        times = {"missed": 0, "twice": 2}.get(first.get(number, ""), 1)
        signed = (
            -amount if first.get(number) == "sign" else amount + 13 * (first.get(number) == "hand")
        )
        applied += [(event_id, key, signed)] * times
    r, d = reconciled(log, applied)
    found = explain(r, d)
    assert adds_up(found, r)
    assert set(column(found.causes, "grade")) <= set(GRADES)
    assert found.summary["difference"] == r.summary["net_difference"]


def test_ids_alone_prove_what_was_missed_and_leave_signs_to_the_search() -> None:
    lost = {e[0] for e in LOG if e[6] == 1 and 700 <= e[7] < 1_000}
    wrong = {e[0] for e in LOG if e[1] == "subtract" and 1_000_000 <= e[4] < 1_500_000}
    applied = [(i, k, -a if i in wrong else a) for i, k, a in apply(LOG) if i not in lost]
    truth = [(e[3], -effect(e), "missed") for e in LOG if e[0] in lost]
    truth += [(e[3], -2 * effect(e), "wrong_sign") for e in LOG if e[0] in wrong - lost]
    r, d = reconciled(LOG, applied)
    found = explain(r, d, processed=listed(applied))
    assert told(found) == off_by(truth)
    grades = {row["cause"]: row["grade"] for row in rows(found.causes)}
    assert grades == {"missed": "proven", "wrong_sign": "consistent"}


def test_a_proven_window_is_an_incident_too() -> None:
    applied, truth = missed_window()
    r, d = reconciled(LOG, applied)
    found = explain(r, d, processed=listed(applied, "effect"))
    assert told(found) == truth
    (incident,) = rows(found.incidents)
    assert (incident["grade"], incident["first_offset"], incident["last_offset"]) == (
        "proven",
        700,
        999,
    )


def test_an_unreadable_message_that_names_key_and_amount_is_the_suspect() -> None:
    applied = [*apply(LOG), ("odd", "k005", 43_210)]
    r, d = reconciled(LOG, applied)
    kinds = [
        ("topic", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("reason", pa.string()),
        ("key", pa.binary()),
        ("value", pa.binary()),
    ]
    value = b'{"id":"odd","kind":"add","value":432.10'
    made = pa.Table.from_pylist(
        [dict(zip((n for n, _ in kinds), ("log", 0, 7, "not JSON", b"k005", value), strict=True))],
        pa.schema(kinds),
    )
    (row,) = rows(explain(r, d, replay=SimpleNamespace(rejects=made)).causes)
    assert (row["cause"], row["grade"]) == ("reject", "consistent")
    assert "offset 7" in row["evidence"]


def test_what_lies_within_the_tolerance_is_no_divergence() -> None:
    applied, truth = missed_window()
    applied += [("r", "k000", 3), ("s", "k001", -2)]
    r, d = reconciled(LOG, applied, tolerance="0.05")
    found = explain(r, d)
    assert told(found) == truth
    assert "k000" not in column(found.causes, "key")
    (rest,) = [row for row in rows(found.causes) if row["grade"] == "unexplained"]
    assert (rest["key"], cents(rest["amount"]), rest["evidence"]) == (
        "k001",
        -2,
        "within the tolerance",
    )


def test_amounts_of_many_decimals_are_compared_exactly() -> None:
    schema = EventSchema(decimals=18)
    rng = random.Random(9)
    log = [
        (
            f"e{n}",
            "add",
            f"{rng.randint(1, 10**6)}.{rng.randint(0, 10**18 - 1):018d}",
            f"k{n % 9}",
            n,
            "t",
            0,
            n,
        )
        for n in range(900)
    ]
    d = dedup(events(log, schema))
    gone = [e for e in log if 300 <= e[7] < 420]
    held: dict[str, Decimal] = defaultdict(Decimal)
    for e in log:
        if e not in gone:
            held[e[3]] += Decimal(e[2])
    r = reconcile(
        totals(d.unique), pa.table({"key": list(held), "total": [f"{t:f}" for t in held.values()]})
    )
    found = explain(r, d)
    lost: dict[str, Decimal] = defaultdict(Decimal)
    for e in gone:
        lost[e[3]] -= Decimal(e[2])
    assert {row["key"]: row["amount"] for row in rows(found.causes)} == lost
    assert set(column(found.causes, "cause")) == {"missed"}


def test_without_expected_totals_there_is_nothing_to_explain() -> None:
    d = dedup(events(make_log(1, count=50)))
    found = explain(reconcile(totals(d.unique), None), d)
    assert len(found.causes) == 0
    assert found.summary["difference"] == 0


def test_nothing_wrong_needs_no_cause() -> None:
    r, d = reconciled(LOG, apply(LOG))
    for processed in (None, listed(apply(LOG), "effect")):
        found = explain(r, d, processed=processed)
        assert (len(found.causes), len(found.incidents), found.summary["money"]) == (0, 0, 0)
        assert "0 keys" in repr(found)


@pytest.mark.parametrize(
    ("processed", "says"),
    [
        (pa.table({"id": ["e1"]}), "no column 'event_id'"),
        (pa.table({"event_id": ["e1"], "effect": ["five"]}), "'five' is not a plain number"),
        (pa.table({"event_id": ["e1"], "effect": [1.5]}), "float"),
        (
            pa.table({"event_id": ["e1", "e2"], "key": ["k", None]}),
            "for key in every row, or no such column",
        ),
        ("/nowhere/processed.csv", "no such file"),
    ],
)
def test_a_bad_list_is_refused_with_its_place(processed: Any, says: str) -> None:
    r, d = reconciled(LOG, apply(LOG))
    with pytest.raises(TableError, match=says):
        explain(r, d, processed=processed)


def test_results_of_other_steps_are_refused() -> None:
    r, d = reconciled(LOG, apply(LOG))
    with pytest.raises(
        ParameterError, match=r"reconciliation is a Dedup; expected what reconcile\(\) gives"
    ):
        explain(d, d)  # type: ignore[arg-type]
    stranger = dedup(events([("z", "add", "1.00", "stranger", 0, "t", 0, 0)]))
    with pytest.raises(TableError, match="has the key 'stranger'"):
        explain(r, stranger)


def test_what_came_out_of_messages_is_shown_escaped() -> None:
    log = [(e[0], e[1], e[2], f"<script>{e[3]}\x1b[31m", *e[4:]) for e in LOG]
    r, d = reconciled(log, apply(log)[50:])
    found = explain(r, d)
    assert "<script>" not in found._repr_html_()
    assert "\x1b" not in repr(found)
    assert "\x1b" not in "".join(column(found.causes, "evidence"))


def read_plainly(records: Any) -> list[Event]:
    """The messages of the sandbox's incident that can be read, the plainest way."""
    offsets: dict[int, int] = defaultdict(int)
    made: list[Event] = []
    for record in records:
        offset = offsets[record.partition]
        offsets[record.partition] += 1
        try:
            m = json.loads(record.value or b"", parse_float=str, parse_int=str)
            if (
                m["id"]
                and m["type"] in KINDS
                and Decimal(m["value"]) == round(Decimal(m["value"]), 2)
            ):
                time = pd.Timestamp(m["ts"]).value // 10**6 - NOON
                made.append(
                    (
                        m["id"],
                        m["type"],
                        m["value"],
                        m["account"],
                        time,
                        "t",
                        record.partition,
                        offset,
                    )
                )
        except (ValueError, KeyError, TypeError, ArithmeticError):
            continue
    return made


def test_the_sandbox_incident_is_explained() -> None:
    incident = simulate(7)
    d = dedup(events(read_plainly(incident.records), EventSchema(effects=KINDS)))
    r = reconcile(totals(d.unique), incident.expected)
    truth = off_by(
        [
            (c.key, cents(c.amount), NAMES[c.cause])
            for c in incident.causes.itertuples()
            if c.cause in NAMES
        ]
    )
    for processed, right, wrong in ((None, 0.97, 0.01), (incident.processed, 1, 0)):
        found = explain(r, d, processed=processed)
        assert adds_up(found, r)
        causes = {
            at: a for at, a in told(found).items() if at[1] not in ("not_in_log", "unknown_key")
        }
        agree = sum(
            min(abs(a), abs(truth.get(at, 0)))
            for at, a in causes.items()
            if a * truth.get(at, 0) > 0
        )
        whole = sum(map(abs, truth.values()))
        assert agree >= right * whole
        assert sum(map(abs, causes.values())) - agree <= wrong * whole


KINDS = {"add": 1, "subtract": -1, "refund": 1, "fee": -1}
NAMES = {
    "lost window": "missed",
    "applied twice": "applied_twice",
    "wrong sign": "wrong_sign",
    "hundredfold": "wrong_factor",
    "lag": "lag",
    "kept the later": "conflict",
}


@pytest.mark.parametrize("given", ["totals alone", "ids alone"])
def test_a_long_search_tells_how_far_it_has_come(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    log = make_log(5)
    applied = [a for a in apply(log) if not 1_000 <= int(a[0][1:]) < 1_400]
    applied = [(e, k, 3 * v if k < "k009" and e.endswith("7") else v) for e, k, v in applied]
    reconciliation, d = reconciled(log, applied)
    processed = None if given == "totals alone" else listed(applied, "event_id")
    quiet = explain(reconciliation, d, processed=processed)
    assert capsys.readouterr().err == ""  # it is over in less than five seconds
    monkeypatch.setattr(diagnose, "Progress", partial(Progress, after=0))
    told = explain(reconciliation, d, processed=processed)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("explain: incidents so far: 0, after 00:0")
    assert any(re.fullmatch(r"explain: [1-9] of 9 keys \(\d+%\), .* left", ln) for ln in lines)
    assert "explain: incidents so far: 1" in "".join(lines) or processed is not None
    assert told.causes.equals(quiet.causes)
    explain(reconciliation, d, processed=processed, progress=False)
    assert capsys.readouterr().err == ""
