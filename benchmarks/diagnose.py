"""How much of the money explain() puts to its true cause, over random incidents that nothing was
tuned on.

    make diagnose-bench                          200 incidents, seeds drawn anew and printed
    python benchmarks/diagnose.py --seeds 17,18  these again
    python benchmarks/diagnose.py --seeds 17 --show   what was found in one of them, and the keys
    where it is not the truth

Of every key and cause, the amount found and the true one are set side by side: what they share is
right, what was found beyond it is wrong, what is true beyond it is left to `ambiguous` or
`unexplained`. A correction made by hand has no trace in the log: it is right to leave it
unexplained, and wrong to find a cause for it. "Or not to be told" counts beside what is right what
was left of mistakes on single events that chance would explain as well, as
`incidents.not_to_be_told` argues.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import incidents

import recovery_kit as rk
from recovery_kit.explain import Diagnosis, explain

GUESSES = ("ambiguous", "unexplained")


def judge(case: incidents.Case, found: Diagnosis) -> Counter[str]:
    """Cents that were right, wrong, left, and by hand, in total and by true cause."""
    told: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    score: Counter[str] = Counter()
    for key, cause, amount, grade in found.causes[["key", "cause", "amount", "grade"]].itertuples(
        index=False
    ):
        if grade in GUESSES:
            score[grade] += abs(incidents.cents(amount))
        else:
            told[key][cause] += incidents.cents(amount)
    dark = incidents.not_to_be_told(case)
    truth: dict[str, dict[str, int]] = defaultdict(dict)
    for (key, cause), amount in case.truth.items():
        if amount:
            truth[key][cause] = amount
    for key in {*told, *truth}:
        ours, theirs = told[key], truth[key]
        before = score["true"] - score["right"]
        if "missing_key" in ours:  # what the expected totals lack altogether, the system has missed
            ours[next((c for c in ("missed", "lag") if c in theirs), "missing_key")] += ours.pop(
                "missing_key"
            )
        if set(theirs) == {"by hand"} and set(ours) == {"unknown_key"}:
            ours.clear()
        for name in ("by hand", "not_in_log"):
            if name in ours:
                ours["by hand"] += ours.pop(name) if name != "by hand" else 0
        for cause in {*ours, *theirs}:
            a, b = ours.get(cause, 0), theirs.get(cause, 0)
            shared = min(abs(a), abs(b)) if a * b > 0 else 0
            score["wrong"] += abs(a) - shared
            score[f"wrong as {cause}"] += abs(a) - shared
            if cause == "by hand":
                score["by hand"] += abs(b)
                continue
            score["right"] += shared
            score["true"] += abs(b)
            score[f"right {cause}"] += shared
            score[f"true {cause}"] += abs(b)
        score["dark"] += min(score["true"] - score["right"] - before, dark.get(key, 0))
    return score


def run(seed: int, *, verbose: bool) -> dict[str, Counter[str]]:
    """One incident: explained from totals alone, and with the processed list."""
    case = incidents.make(seed)
    d = rk.dedup(case.events)
    r = rk.reconcile(rk.totals(d), case.expected)
    off: dict[str, int] = defaultdict(int)
    for (key, _), amount in case.truth.items():
        off[key] += amount
    divergent = {k for k, a in off.items() if a}
    # A key that is missing altogether diverges, also where its total is zero.
    found = set(r.divergences.loc[r.divergences["difference"] != 0, "key"])
    begin = time.perf_counter()
    alone = judge(case, explain(r, d))
    middle = time.perf_counter()
    proven = judge(case, explain(r, d, processed=case.processed))
    ids = judge(case, explain(r, d, processed=case.processed.select(["event_id"])))
    keys: Counter[str] = Counter(
        divergent=len(divergent), found=len(divergent & found), false=len(found - divergent)
    )
    if verbose:
        said = " ".join(
            f"{s['right'] / max(s['true'], 1):.3f}/{s['wrong'] / max(s['true'], 1):.3f}"
            for s in (alone, proven, ids)
        )
        said += f" dark {alone['dark'] / max(alone['true'], 1):.3f}"
        print(
            f"{seed} {said} {alone['true'] / 100:,.0f} {middle - begin:.1f}s | {case.story}",
            flush=True,
        )
        wrong = {k: v / 100 for k, v in alone.items() if k.startswith("wrong as") and v}
        if wrong:
            print("    ", wrong, flush=True)
    windows = sum(kind in incidents.WINDOWS for kind in case.kinds)
    groups = (
        f"{min(windows, 3)}{'+' if windows > 2 else ''} "
        f"windows{', one hundredfold' * ('scaled' in case.kinds)}",
        next(
            f"up to {most:,} keys" for most in (50, 200, 1_000, 5_000) if len(case.expected) <= most
        ),
        next(
            f"up to {most:,} events"
            for most in (10_000, 50_000, 300_000)
            if len(case.events) <= most
        ),
        next(name for name in ("cents", "prices", "integers") if f", {name}," in case.story),
    )
    return {
        "keys": keys,
        "alone": alone,
        "proven": proven,
        "ids": ids,
        "groups": Counter(groups),
        "seed": Counter([seed]),
    }


def report(runs: list[dict[str, Counter[str]]]) -> None:
    """Print the shares, of all the money and as means over incidents."""
    keys = sum((r["keys"] for r in runs), Counter())
    print(f"\n{len(runs)} incidents, {keys['divergent']:,} divergent keys")
    print(f"divergent keys found    {keys['found'] / max(keys['divergent'], 1):.4f}")
    print(f"false divergences       {keys['false']}")
    print(
        f"{'':34}{'right':>8}{'wrong':>8}{'left':>8}   "
        f"{'mean right':>10}{'mean wrong':>12}{'median right':>14}{'or not to be told':>20}"
    )
    names = {
        "proven": "with processed (ids, effects, keys)",
        "ids": "with processed (ids only)",
        "alone": "from totals alone",
    }
    for kind, label in names.items():
        scores = [r[kind] for r in runs if r[kind]["true"]]
        whole = sum(scores, Counter())
        right, wrong = whole["right"] / whole["true"], whole["wrong"] / whole["true"]
        each = sorted(s["right"] / s["true"] for s in scores)
        bad = sum(s["wrong"] / s["true"] for s in scores) / len(scores)
        print(
            f"{label:36}{right:>6.4f}{wrong:>8.4f}{1 - right:>8.4f}   "
            f"{sum(each) / len(each):>10.4f}{bad:>12.4f}{each[len(each) // 2]:>14.4f}{sum((s['right'] + s['dark']) / s['true'] for s in scores) / len(scores):>20.4f}"
        )
    whole = sum((r["alone"] for r in runs), Counter())
    print("\nfrom totals alone, by true cause")
    for name in sorted(n[5:] for n in whole if n.startswith("true ")):
        print(
            f"  {name:16}{whole[f'true {name}'] / 100:>18,.2f}   right "
            f"{whole[f'right {name}'] / whole[f'true {name}']:.4f}   wrongly found "
            f"{whole[f'wrong as {name}'] / 100:>14,.2f}"
        )
    print(f"  {'by hand':16}{whole['by hand'] / 100:>18,.2f}   (not to be found)")
    _groups(runs)


def _groups(runs: list[dict[str, Counter[str]]]) -> None:
    """Where it is lost: by what is alike among incidents, and the worst of them."""
    print(
        "\nfrom totals alone, means of "
        f"incidents{'':22}{'':>6}{'right':>8}{'wrong':>8}{'or not to be told':>20}{'money':>18}"
    )
    scored = [r for r in runs if r["alone"]["true"]]
    for group in sorted({g for r in scored for g in r["groups"]}):
        s = [r["alone"] for r in scored if group in r["groups"]]
        right, wrong = (sum(x[name] / x["true"] for x in s) / len(s) for name in ("right", "wrong"))
        dark = sum((x["right"] + x["dark"]) / x["true"] for x in s) / len(s)
        money = sum(x["true"] for x in s) / 100
        print(f"  {group:57}{len(s):>6}{right:>8.4f}{wrong:>8.4f}{dark:>20.4f}{money:>18,.2f}")
    total = sum((r["alone"] for r in scored), Counter())
    print(
        f"  money: ambiguous {total['ambiguous'] / 100:,.2f}, unexplained "
        f"{total['unexplained'] / 100:,.2f}"
    )
    for title, worst in (
        (
            "most left, not counting what cannot be told",
            lambda x: (x["true"] - x["right"] - x["dark"]) / x["true"],
        ),
        ("most money left", lambda x: x["true"] - x["right"]),
        ("most wrong", lambda x: x["wrong"] / x["true"]),
    ):
        ranked = sorted(scored, key=lambda r: -worst(r["alone"]))[:8]
        print(f"  {title}: {', '.join(str(*r['seed']) for r in ranked if worst(r['alone']) > 0)}")


def show(seed: int) -> None:
    """One incident: what was done, what was found, and the keys where they are not the same."""
    case = incidents.make(seed)
    d = rk.dedup(case.events)
    found = explain(rk.reconcile(rk.totals(d.unique), case.expected), d)
    print(f"{seed} | {case.story}")
    for row in found.incidents[["cause", "keys", "evidence", "confidence"]].itertuples(index=False):
        print(f"  {row.cause}, {row.keys} keys: {row.evidence}; {row.confidence}")
    causes = found.causes[["key", "cause", "amount", "grade", "evidence"]]
    dark = incidents.not_to_be_told(case)
    for key in dict.fromkeys(causes["key"]):
        told = Counter()
        for row in causes[causes["key"] == key].itertuples(index=False):
            told[row.cause] += incidents.cents(row.amount)
        truth = Counter({c: a for (k, c), a in case.truth.items() if k == key and a})
        if told != truth:
            print(
                f"{key}{' (not to be told)' * (key in dark)}: true "
                f"{ {c: a / 100 for c, a in truth.items()} }"
            )
            for row in causes[causes["key"] == key].itertuples(index=False):
                print(f"    {row.cause} {row.amount} {row.grade}: {row.evidence}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=200, help="incidents")
    parser.add_argument("--seeds", default="", help="these seeds, joined by commas")
    parser.add_argument("--quiet", action="store_true", help="only the sums")
    parser.add_argument("--show", action="store_true", help="what was found in each of --seeds")
    chosen = parser.parse_args()
    first = secrets.randbits(32)
    seeds = (
        [int(s) for s in chosen.seeds.split(",")]
        if chosen.seeds
        else list(range(first, first + chosen.count))
    )
    if chosen.show:
        for seed in seeds:
            show(seed)
        return None
    print(
        f"seeds {seeds[0]} to {seeds[-1]}; each line: right/wrong from totals alone, with "
        "processed, with its ids only, and what is left from totals alone that cannot be told; "
        "Ctrl-C ends with the sums so far"
    )
    runs = []
    try:
        for seed in seeds:
            runs.append(run(seed, verbose=not chosen.quiet))
    except KeyboardInterrupt:
        print(f"interrupted after {len(runs)} of {len(seeds)}")
    return report(runs)


if __name__ == "__main__":
    main()
