"""What notebooks share: a run's steps, kept in a folder as Parquet, each whole or not there at
all.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from recovery_kit._keep import plain, write_csv, write_frame
from recovery_kit._keep import read_json as read_json
from recovery_kit._keep import write_json as write_json
from recovery_kit._keep import write_whole as write_whole
from recovery_kit.dedup import Dedup, dedup
from recovery_kit.errors import IncompleteReplay, RunError
from recovery_kit.replay import Replay, replay
from recovery_kit.run import why
from recovery_kit.run.pseudonym import pseudonyms, table_without_names, without_names
from recovery_kit.run.settings import Settings
from recovery_kit.run.setup import check_setup
from recovery_kit.schema import EventSchema
from recovery_kit.sources.span import COUNTS
from recovery_kit.sources.window import Window
from recovery_kit.tables.arrow import to_pandas
from recovery_kit.tables.columns import Kept
from recovery_kit.tables.given import read_processed, read_totals
from recovery_kit.tables.written import Written

if TYPE_CHECKING:
    from recovery_kit.explain import Diagnosis
    from recovery_kit.reconcile import Reconciliation
    from recovery_kit.totals import Totals


class Run:
    """One run's settings, and its steps where a run directory is named.

    Attributes
    ----------
    settings : Settings
        With the demo's values filled in when no cluster is named.
    folder : Path or None
        The run directory.
    """

    def __init__(self, settings: Settings) -> None:
        self._demo = settings.wants_demo
        if self._demo:
            from recovery_kit.sandbox import demo

            settings = settings.on_demo(demo())
        self.settings = settings
        self.folder = Path(settings.run_dir) if settings.run_dir else None
        self._pseudonyms = pseudonyms(settings)
        self._replay: Replay | None = None
        self._dedup: Dedup | None = None

    def replay(self, *, fresh: bool = False) -> Replay:
        """The replay that the run directory holds, or a new one, which is then kept.

        Parameters
        ----------
        fresh : bool
            Read the log anew whatever is stored.

        Raises
        ------
        RunError
            The stored replay is of another log, window or schema than these settings name.
        """
        if self._replay is None or fresh:
            self._replay = self._replayed(fresh=fresh)
        return self._replay

    def dedup(self, *, fresh: bool = False) -> Dedup:
        """The dedup that the run directory holds, or a new one of `replay`, which is then kept."""
        if self._dedup is None or fresh:
            self._dedup = self._deduped(fresh=fresh)
        return self._dedup

    def _replayed(self, *, fresh: bool) -> Replay:
        source = self.settings.source
        names = ("topic", "bootstrap_servers", "since", "until", "partitions")
        about = {n: source[n] for n in names} | {"schema": source["schema"].to_dict()}
        if self._demo:
            about["bootstrap_servers"] = "demo"  # another port each time
        about["pseudonymize"] = self._pseudonyms.about if self._pseudonyms else None
        stored = None if fresh else self._load("replay", about, must_match=True)
        if stored is None:
            found = self._read(source)
            self._keep("replay", found, about)
            return found
        return Replay(
            **stored.frames,
            verdict=stored.facts["verdict"],
            schema=EventSchema(**stored.facts["schema"]),
            source=stored.facts["source"],
            window=Window.from_dict(stored.facts["window"]),
            notes=tuple(stored.facts["notes"]),
        )

    def _read(self, source: Mapping[str, Any]) -> Replay:
        try:
            found = replay(**source)
        except IncompleteReplay as error:
            if self.folder is not None:  # what was and was not read, for the run's manifest
                rows = error.coverage.to_dict("records")
                write_json(
                    self.folder / "incomplete.json", {"verdict": error.verdict, "coverage": rows}
                )
            raise
        # Here, so that nothing that is shown or kept ever held a clear name.
        return without_names(found, self._pseudonyms) if self._pseudonyms else found

    def _deduped(self, *, fresh: bool) -> Dedup:
        about = {"on_conflict": self.settings.on_conflict, "of": self._token("replay")}
        stored = None if fresh else self._load("dedup", about, must_match=False)
        if stored is None:
            found = dedup(self.replay().events, on_conflict=self.settings.on_conflict)
            self._keep("dedup", found, about | {"of": self._token("replay")})
            return found
        kept = Kept.whole(stored.frames.pop("unique"), what="unique")
        return Dedup(
            kept,
            **stored.frames,
            on_conflict=stored.facts["on_conflict"],
            counts=stored.facts["counts"],
            doubts=tuple(stored.facts.get("doubts", ())),
        )

    def keep(self, totals: Totals, reconciliation: Reconciliation) -> None:
        """Write the totals and the divergences where people and other tools find them.

        Nothing without a run directory.

        Leaves ``totals.parquet``, ``reconciliation.parquet``, ``divergences.parquet`` and
        ``divergences.csv``, and ``summary.json``, each written under another name and then renamed.
        """
        if self.folder is None:
            return
        keep_results(self.folder, self.replay(), self.dedup(), totals, reconciliation)

    def keep_causes(self, diagnosis: Diagnosis) -> None:
        """Write ``causes.parquet`` and ``incidents.parquet``, which the report shows, and what they
        come to into the ``summary.json`` that `keep` left.

        Nothing without a run directory.
        """
        if self.folder is None:
            return
        for name in ("causes", "incidents"):
            write_whole(
                self.folder / f"{name}.parquet", partial(write_frame, getattr(diagnosis, name))
            )
        if (path := self.folder / "summary.json").exists():
            write_json(path, read_json(path) | {"why": why.told(diagnosis)})

    @property
    def expected(self) -> pa.Table | None:
        """The totals that the system of record holds; None when none are named."""
        s = self.settings
        columns = {"key": s.expected_key, "total": s.expected_total}
        named = {"key": "expected_key", "total": "expected_total"}
        csv = Written.by_parameter(s.csv, "expected", named)
        return (
            self._given("expected", partial(read_totals, s.expected, columns=columns, csv=csv))
            if s.expected
            else None
        )

    @property
    def opening(self) -> pa.Table | None:
        """Totals as of ``since``; None when none are named."""
        at = self.settings.opening
        csv = Written.by_parameter(self.settings.csv, "opening", {})
        read = partial(read_totals, at, csv=csv, what="opening")
        return self._given("opening", read) if at else None

    @cached_property
    def processed(self) -> pa.Table | None:
        """The list of what the system applied, read once; None when none is named."""
        at = self.settings.processed
        csv = Written.by_parameter(self.settings.csv, "processed", {})
        return self._given("processed", partial(read_processed, at, csv=csv)) if at else None

    def _given(self, what: str, read: Callable[[], pa.Table]) -> pa.Table:
        return table_without_names(read, what, self._pseudonyms) if self._pseudonyms else read()

    def _keep(self, step: str, result: Any, about: Mapping[str, Any]) -> None:
        if self.folder is None:
            return
        facts: dict[str, Any] = {}
        frames: dict[str, pd.DataFrame] = {}
        for f in dataclasses.fields(result):
            value = getattr(result, f.name)
            if isinstance(value, Kept):
                frames["unique"] = result.unique
                continue
            (frames if isinstance(value, pd.DataFrame) else facts)[f.name] = value
        facts = json.loads(json.dumps(facts, default=plain))

        def write(folder: Path) -> None:
            folder.mkdir(parents=True)
            for name, frame in frames.items():
                write_frame(frame, folder / f"{name}.parquet")
            write_json(
                folder / "step.json", {"about": dict(about), "facts": facts, "frames": list(frames)}
            )

        write_whole(self.folder / "steps" / step, write)

    def _load(self, step: str, about: Mapping[str, Any], *, must_match: bool) -> _Stored | None:
        if self.folder is None or not (path := self.folder / "steps" / step / "step.json").exists():
            return None
        told = read_json(path)
        asked = json.loads(json.dumps(about, default=plain))
        if told["about"] != asked:
            differ = [n for n in asked if told["about"].get(n) != asked[n]]
            if must_match:
                raise RunError(
                    f"{self.folder} holds a {step} with another {', '.join(differ)} than this one "
                    "names. Use the same parameters, or another run_dir, or run 01_replay first, "
                    "which reads the log anew"
                )
            return None
        frames = {
            name: to_pandas(pq.read_table(path.parent / f"{name}.parquet"))
            for name in told["frames"]
        }
        return _Stored(frames, told["facts"])

    def _token(self, step: str) -> str:
        """What tells one stored step from the next; empty when there is none."""
        path = self.folder / "steps" / step / "step.json" if self.folder else None
        if path is None or not path.exists():
            return ""
        return hashlib.sha256(path.read_bytes() + str(path.stat().st_mtime_ns).encode()).hexdigest()


@dataclasses.dataclass(frozen=True)
class _Stored:
    frames: dict[str, pd.DataFrame]
    facts: dict[str, Any]


def open_run(namespace: Mapping[str, object]) -> Run:
    """Begin a notebook's work: check its parameters, find or start the demo when no cluster is
    named.

    Parameters
    ----------
    namespace : mapping
        The notebook's ``globals()``; the parameters are picked out of it by name (`Settings`).

    Raises
    ------
    ParameterError
        A parameter of the wrong type.
    SandboxError
        The demo's Kafka cannot start.
    """
    check_setup()
    return Run(Settings.of(namespace))


def keep_results(
    folder: Path, replay: Replay, told: Dedup, totals: Totals, reconciliation: Reconciliation
) -> None:
    """Write a run's results as `Run.keep` describes."""
    worst = reconciliation.divergences
    frames = {"totals": totals.table, "reconciliation": reconciliation.table, "divergences": worst}
    for name, frame in frames.items():
        write_whole(folder / f"{name}.parquet", partial(write_frame, frame))
    write_whole(folder / "divergences.csv", partial(write_csv, worst))
    notes = list(reconciliation.summary["notes"])
    if len(totals.table) and not replay.coverage["events"].sum():
        notes.append("No event was read: the recovered totals are the opening ones")
    largest = worst.head(5)[["key", "expected", "recovered", "difference", "status"]]
    summary = {
        "replay": {"source": replay.source, "verdict": replay.verdict, "window": str(replay.window)}
        | {"partitions": len(replay.coverage), "notes": list(replay.notes)}
        | {name: int(replay.coverage[name].sum()) for name in COUNTS},
        "dedup": told.counts,
        "doubts": list(told.doubts),
        "reconciliation": reconciliation.summary | {"notes": notes},
        "largest": [
            {n: None if pd.isna(v) else v for n, v in row.items()}
            for row in largest.to_dict("records")
        ],
    }
    write_json(folder / "summary.json", summary)
