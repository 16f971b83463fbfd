"""history(): runs side by side.

What is new, resolved, persisting; how divergences and coverage go over time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recovery_kit import _show, errors
from recovery_kit._keep import read_json
from recovery_kit.errors import ParameterError, RunError
from recovery_kit.run import manifest
from recovery_kit.run.purge import is_run
from recovery_kit.tables import decimals, frames
from recovery_kit.tables.arrow import to_pandas

if TYPE_CHECKING:
    import polars as pl

PARAMETERS = {
    "runs": "folder of run directories, as recovery-kit run leaves them; empty: an example"
}
"""The parameters of the notebook 06_history: name to help."""

COMPARED = "compared"
CHANGES = ("new", "persisting", "resolved")

_STATES = {
    errors.ERROR: "error",
    errors.INTERRUPTED: "interrupted",
    errors.INCOMPLETE: "replay not complete",
}
_COVERAGE = pa.schema(
    {
        **{
            "run": pa.string(),
            "topic": pa.string(),
            "partition": pa.int64(),
            "verdict": pa.string(),
        },
        **{
            n: pa.int64()
            for n in ("log_start", "start", "end", "delivered", "removed", "lost", "unread")
        },
    }
)
_AMOUNTS = ("net_difference", "absolute_difference", *(f"{name}_amount" for name in CHANGES))
_SAME = ("topic", "key_field", "partitions")
"""Parameters that say which log, by which key: runs that differ in one are not set side by side."""

_TOLD = (
    "tolerance",
    "strict_keys",  # older runs have none, and were strict
    "on_conflict",
    "id_field",
    "type_field",
    "value_field",
    "time_field",
    "effects",
)
"""Parameters that may move a total: where two runs differ in one, a note says so."""


@dataclass(frozen=True, repr=False, eq=False)
class History:
    """Runs over one log, oldest first.

    Attributes
    ----------
    runs : pandas.DataFrame
        A row a run directory: run (its name), started, seconds, exit_code, state ("compared", or
        why it is not), verdict (of its replay), delivered (messages), keys, divergent (keys to look
        at), net_difference, absolute_difference, and against the compared run before it the number
        of keys that are new, persisting and resolved, with their amounts: the absolute differences
        now, or, of the resolved ones, before. Null where there is none. Runs that are not whole
        come last.
    changes : pandas.DataFrame
        The last compared run against the one before it, a row a key that diverges in either: key,
        change ("new", "persisting", "resolved"), before, now (expected - recovered; null where the
        key did not diverge), moved (now - before); new ones first, then by size.
    coverage : pandas.DataFrame
        What each whole run read, a row a partition: run, topic, partition, verdict, log_start,
        start, end, delivered, removed, lost, unread.
    source : str
        The topic.
    notes : tuple of str
        What a reader must know besides.
    """

    runs: pd.DataFrame
    changes: pd.DataFrame
    coverage: pd.DataFrame
    source: str
    notes: tuple[str, ...] = ()

    @property
    def compared(self) -> pd.DataFrame:
        """The runs that are set side by side."""
        return self.runs[self.runs["state"] == COMPARED].reset_index(drop=True)

    def __repr__(self) -> str:
        rows = [_show.text_card(self._title(), self._facts(), self.notes), ""]
        for run in self.runs.tail(20).to_dict("records"):
            code = "–" if pd.isna(run["exit_code"]) else run["exit_code"]
            size = (
                f"{_show.number(run['divergent']):>7} divergent  "
                f"{_money(run['absolute_difference']):>18}"
            )
            rows.append(
                f"  {_show.shorten(run['run'], 24):<24}  exit {code:>3}  {size}  {run['state']}"
            )
        return "\n".join(rows)

    def _repr_html_(self) -> str:
        told = (
            "run",
            "exit_code",
            "state",
            "verdict",
            "divergent",
            *CHANGES,
            "absolute_difference",
            "net_difference",
        )
        runs = self.runs[list(told)].tail(20)
        tables = [("Runs, oldest first", runs)] if len(runs) else []
        return _show.html_card(self._title(), self._facts(), tables, self.notes)

    def _title(self) -> str:
        return (
            f"History of {self.source}: {len(self.runs):,} runs, {len(self.compared):,} of them "
            "compared"
        )

    def _facts(self) -> _show.Facts:
        compared = self.compared
        if compared.empty:
            return [("last run", None)]
        last = compared.iloc[-1]
        facts: list[tuple[str, object]] = [
            ("last compared run", f"{last['run']}, exit code {last['exit_code']}"),
            (
                "divergent keys",
                f"{last['divergent']:,}, {_money(last['absolute_difference'])} in absolute "
                "differences",
            ),
        ]
        if len(compared) > 1:
            facts += [("against", str(compared.iloc[-2]["run"]))]
            facts += [
                (name, f"{last[name]:,} keys, {_money(last[f'{name}_amount'])}") for name in CHANGES
            ]
        return facts


def history(folder: str | Path = "", *, topic: str = "") -> History:
    """Set the runs in a folder side by side.

    Parameters
    ----------
    folder : path
        Its folders are run directories, as ``recovery-kit run`` leaves them. Empty: an example, in
        which the demo's simulated incident is looked at every hour.
    topic : str
        Look at the runs over this topic. Not given: that of the newest whole run.

    Returns
    -------
    History
        Runs that are not whole, failed, or are of another log are listed with the reason, and
        compared with nothing.

    Raises
    ------
    ParameterError
        There is no such folder, or no run in it.
    """
    if not str(folder):
        from recovery_kit.run import example

        with TemporaryDirectory() as scratch:
            return history(example.write(Path(scratch)), topic=topic)
    place = Path(folder)
    if not place.is_dir():
        raise ParameterError(f"{place} is no folder; expected one that holds run directories")
    found = [_look(path) for path in sorted(place.iterdir()) if path.is_dir() and _begun(path)]
    if not found:
        raise ParameterError(
            f"{place} holds no run directory; expected folders that `recovery-kit run` made"
        )
    whole = sorted(
        (run for run in found if run["manifest"]), key=lambda run: str(run["manifest"]["started"])
    )
    if topic:
        whole = [run for run in whole if run["manifest"]["parameters"]["topic"] == topic]
    wanted = _identity(whole[-1]["manifest"]) if whole else None
    for run in whole:
        if run["state"] == COMPARED and _identity(run["manifest"]) != wanted:
            run["state"] = "another log, key or pseudonym key"
    changes = _compare([run for run in whole if run["state"] == COMPARED])
    rows = [*whole, *(run for run in found if not run["manifest"])]
    coverage = [
        {n: row.get(n) for n in _COVERAGE.names} | {"run": run["run"]}
        for run in whole
        for row in run["manifest"].get("coverage", [])
    ]
    return History(
        runs=to_pandas(_runs(rows)),
        changes=to_pandas(changes),
        coverage=to_pandas(pa.Table.from_pylist(coverage, _COVERAGE)),
        source=topic or (str(whole[-1]["manifest"]["parameters"]["topic"]) if whole else "unknown"),
        notes=tuple(_notes(whole, found)),
    )


def _begun(path: Path) -> bool:
    return is_run(path) or (path / manifest.NAME).is_file()


def _look(path: Path) -> dict[str, Any]:
    """One run directory: its manifest, None where it is not whole, and its row."""
    run = _show.clean(path.name)
    try:
        return {"run": run} | _whole(path)
    except RunError as error:
        why = "no manifest.json" if not (path / manifest.NAME).exists() else _show.told(error)
    except OSError as error:
        why = f"it cannot be read: {error.strerror}"
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        why = f"its files are not what a run writes: {type(error).__name__}"
    return {"run": run, "manifest": None, "state": f"not whole: {why}"}


def _whole(path: Path) -> dict[str, Any]:
    told = manifest.read(path)
    summary = read_json(path / "summary.json") if (path / "summary.json").exists() else {}
    found = summary.get("reconciliation", {})
    names = ("net_difference", "absolute_difference")
    return {
        "path": path,
        "manifest": told,
        "started": pd.Timestamp(told["started"]),
        "seconds": told.get("seconds"),
        "exit_code": told["exit_code"],
        "state": _state(path, told, summary),
        "verdict": told.get("replay", {}).get("verdict"),
        "delivered": summary.get("replay", {}).get("delivered"),
        **{name: found.get(name) for name in ("keys", "divergent")},
        **{name: None if found.get(name) is None else Decimal(found[name]) for name in names},
    }


def _state(path: Path, told: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    if told["exit_code"] == errors.ERROR and _hollow(summary):
        return "nothing compared"
    if told["exit_code"] not in (errors.MATCHED, errors.DIVERGED):
        return _STATES.get(told["exit_code"], "error")
    if not summary:
        return "error"
    if summary["replay"]["verdict"] != "complete":
        return "replay not complete"
    if changed := manifest.altered(path, told, "summary.json", "divergences.parquet"):
        return f"altered since: {', '.join(changed)}"
    return "nothing expected" if summary["reconciliation"]["statuses"]["not compared"] else COMPARED


def _hollow(summary: Mapping[str, Any]) -> bool:
    """Whether a run compared nothing; older ones do not tell."""
    compared: int | None = summary.get("reconciliation", {}).get("compared")
    return compared == 0


def _identity(told: Mapping[str, Any]) -> tuple[object, ...]:
    parameters = told["parameters"]
    return *(parameters.get(name) for name in _SAME), str(told.get("pseudonyms") or "")


def _compare(runs: list[dict[str, Any]]) -> pa.Table:
    """Fill in what changed from each run to the next.

    The last step's changes, key by key, come back.
    """
    tables = [_divergences(run["path"]) for run in runs]
    kind = _money_type(table["difference"].type.scale for table in tables)
    changes = None
    for (before, now), run in zip(pairwise(tables), runs[1:], strict=True):
        changes = _changes(before, now, kind)
        for name in CHANGES:
            part = changes.filter(pc.equal(changes["change"], name))
            size = pc.sum(pc.abs(part["before" if name == "resolved" else "now"])).as_py()
            run |= {name: len(part), f"{name}_amount": size or Decimal(0)}
    if changes is None:
        text = pa.large_string()
        return pa.schema(
            {"key": text, "change": text, "before": kind, "now": kind, "moved": kind}
        ).empty_table()
    return changes


def _divergences(path: Path) -> pa.Table:
    return pq.read_table(path / "divergences.parquet", columns=["key", "difference"])


def _changes(before: pa.Table, now: pa.Table, kind: pa.DataType) -> pa.Table:
    import polars as pl

    def side(table: pa.Table, name: str) -> pl.DataFrame:
        return pl.DataFrame(
            pa.table(
                {"key": table["key"].cast(pa.large_string()), name: table["difference"].cast(kind)}
            )
        )

    both = side(now, "now").join(side(before, "before"), on="key", how="full", coalesce=True)
    was, is_, zero = pl.col("before"), pl.col("now"), pl.lit(Decimal(0), pl.Decimal(38, kind.scale))
    change = pl.when(was.is_null()).then(pl.lit("new")).when(is_.is_null()).then(pl.lit("resolved"))
    placed = both.with_columns(
        change=change.otherwise(pl.lit("persisting")),
        moved=is_.fill_null(zero) - was.fill_null(zero),
        size=pl.coalesce(is_, was).abs(),
    )
    place = pl.col("change").replace_strict({name: at for at, name in enumerate(CHANGES)})
    ordered = placed.sort(place, "size", "key", descending=[False, True, False])
    return frames.plain(ordered.select("key", "change", "before", "now", "moved").to_arrow())


def _runs(rows: list[dict[str, Any]]) -> pa.Table:
    said = [row[name] for row in rows for name in _AMOUNTS if row.get(name) is not None]
    money = _money_type(-int(amount.as_tuple().exponent) for amount in said)
    text, whole = pa.string(), pa.int64()
    kinds = {
        **{
            "run": text,
            "started": pa.timestamp("ms", "UTC"),
            "seconds": pa.float64(),
            "exit_code": whole,
        },
        **{"state": text, "verdict": text, "delivered": whole},
        **dict.fromkeys(("keys", "divergent", *CHANGES), whole),
        **dict.fromkeys(_AMOUNTS, money),
    }
    return pa.Table.from_pylist(
        [{name: row.get(name) for name in kinds} for row in rows], pa.schema(kinds)
    )


def _money_type(scales: Iterable[int]) -> pa.DataType:
    return pa.decimal128(decimals.DIGITS, max(scales, default=2))


def _notes(whole: list[dict[str, Any]], found: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    compared = [run for run in whole if run["state"] == COMPARED]
    broken = [run["run"] for run in found if not run["manifest"]]
    if broken:
        yield f"{len(broken)} not whole, killed or still under way: {', '.join(broken[:5])}"
    if whole and compared and whole[-1] is not compared[-1]:
        yield f"the last run, {whole[-1]['run']}, is not compared: {whole[-1]['state']}"
    if len(compared) > 1:
        one, other = (run["manifest"]["parameters"] for run in compared[-2:])
        if moved := [name for name in _TOLD if one.get(name) != other.get(name)]:
            yield (
                f"the last two compared runs differ in {', '.join(moved)}, which may itself make "
                "differences"
            )


def _money(amount: Any) -> str:
    return "–" if pd.isna(amount) else _show.number(amount)
