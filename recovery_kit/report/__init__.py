"""report.html: one run as one file, for a person who was not there.

It opens offline, prints well, and runs nothing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from recovery_kit import _show, errors
from recovery_kit._keep import read_json, write_text
from recovery_kit.report import _grids
from recovery_kit.sources.coverage import MEANING

_ENDS = {
    errors.MATCHED: "nothing that the run was told to fail on",
    errors.DIVERGED: "totals differ",
    errors.ERROR: "the run failed",
    errors.INCOMPLETE: "the log could not be read whole",
    errors.INTERRUPTED: "the run was interrupted",
}
_SHOWN_BY_OTHERS = ("coverage", "error")


@dataclass(frozen=True)
class Picture:
    """A chart out of an executed notebook."""

    alt: str
    width: int
    png: str


def write_report(folder: Path, *, manifest: Mapping[str, Any] | None = None) -> Path:
    """Write ``report.html`` of one run, from what its run directory holds; whole, or not there.

    Parameters
    ----------
    folder : Path
        The run directory. Whatever of it is missing, because the run failed or is not over, is left
        out and told.
    manifest : mapping, optional
        What ``manifest.json`` will say, for a run that writes it last. Not given: read from the
        folder.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    RunError
        ``folder`` is not there, or a JSON file in it does not hold what a run writes there.
    """
    if not folder.is_dir():
        raise errors.RunError(f"{folder} is not a folder; expected a run directory")
    known = manifest if manifest is not None else _json(folder / "manifest.json")
    path = folder / "report.html"
    write_text(path, _page(folder, known or {}))
    return path


def _page(folder: Path, manifest: Mapping[str, Any]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("recovery_kit.report", package_path="")
    # Autoescape: whatever the template shows may have come out of a message.
    pages = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    css = loader.get_source(pages, "report.css")[0]
    summary = _json(folder / "summary.json") or {}
    tone, headline = _headline(manifest, summary)
    return pages.get_template("report.html.j2").render(
        css=css,
        css_digest=base64.b64encode(hashlib.sha256(css.encode()).digest()).decode(),
        tone=tone,
        headline=headline,
        lead=_lead(manifest, summary),
        subject=_show.shorten(summary.get("replay", {}).get("source", folder.name), 200),
        ended=_ended(manifest),
        facts=list(_facts(manifest, summary)),
        notes=[
            "\n".join(_show.shorten(line, 2000) for line in note.splitlines())
            for note in _notes(manifest, summary)
        ],
        incidents=_grids.incidents(folder),
        causes=_grids.causes(folder),
        pictures=_pictures(folder),
        tables=[grid for grid in _grids.tables(folder, manifest) if grid],
        provenance=list(_provenance(manifest)),
    )


def _headline(manifest: Mapping[str, Any], summary: Mapping[str, Any]) -> tuple[str, str]:
    """The answer in one line, and its tone: good, bad or unsure."""
    code = manifest.get("exit_code")
    if code is None:
        return "unsure", "This run is not over, or was killed: nothing here is final"
    if code == errors.INTERRUPTED:
        return "unsure", "The run was interrupted: nothing here is final"
    if code == errors.ERROR and _hollow(summary):
        return "bad", "Nothing was compared"
    if code not in _ENDS or code == errors.ERROR or not summary:
        told = code == errors.INCOMPLETE
        return (
            "bad",
            "The log could not be read whole, so nothing was compared"
            if told
            else "The run failed",
        )
    found = summary["reconciliation"]
    keys, divergent = found["keys"], found["divergent"]
    if summary["replay"]["verdict"] != "complete":
        return (
            "bad",
            f"The log could not be read whole: no key of {keys:,} can be called matched or "
            "diverged",
        )
    if found["statuses"].get("not compared"):
        return "unsure", f"{keys:,} totals recovered; there was nothing to compare them with"
    if divergent:
        return (
            "bad",
            f"{divergent:,} of {keys:,} keys {'differs' if divergent == 1 else 'differ'} from the "
            "log",
        )
    if _hollow(summary):
        return "unsure", "Nothing was compared"
    return "good", f"All {keys:,} keys match the log"


def _hollow(summary: Mapping[str, Any]) -> bool:
    """Whether a run came so far as to compare, and had nothing to; older ones tell only their
    keys.
    """
    found = summary.get("reconciliation", {})
    return bool(found.get("compared", found.get("keys")) == 0)


def _lead(manifest: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    """How much money, in one sentence; empty where that cannot be said."""
    found = summary.get("reconciliation", {})
    if manifest.get("exit_code") not in (errors.MATCHED, errors.DIVERGED) or not found.get(
        "divergent"
    ):
        return ""
    net, absolute = Decimal(found["net_difference"]), Decimal(found["absolute_difference"])
    side = "more" if net > 0 else "less"
    told = (
        f"Net, the system of record holds {abs(net):,f} {side} than the log gives"
        if net
        else "Net, the sums agree"
    )
    return f"{told}; key by key it is off by {absolute:,f}."


def _facts(manifest: Mapping[str, Any], summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What the reader wants to know next, label by label."""
    code = manifest.get("exit_code")
    yield (
        "exit code",
        "none yet" if code is None else f"{code}: {_ENDS.get(code, 'the run failed')}",
    )
    if not summary:
        return
    log, told, found = (summary[name] for name in ("replay", "dedup", "reconciliation"))
    yield "coverage of the log", f"{log['verdict']}: {MEANING.get(log['verdict'], '')}"
    yield "window", _show.shorten(log["window"], 200)
    yield (
        "keys",
        ", ".join(f"{n:,} {status}" for status, n in found["statuses"].items() if n) or "none",
    )
    for label, name in (
        ("expected, over all keys", "expected"),
        ("recovered, over all keys", "recovered"),
        ("net difference, expected − recovered", "net_difference"),
        ("absolute differences", "absolute_difference"),
        ("the system holds too much", "expected_above"),
        ("the system holds too little", "expected_below"),
        ("largest difference", "largest_difference"),
        ("tolerance", "tolerance"),
    ):
        if found.get(name) is not None:
            whose = (
                f", of {_show.quoted(found['largest_key'], 80)}"
                if name == "largest_difference"
                else ""
            )
            yield label, f"{Decimal(found[name]):,f}{whose}"
    yield (
        "messages",
        f"{log['delivered']:,}: "
        + ", ".join(f"{log[n]:,} {n}" for n in ("events", "outside", "rejects", "tombstones")),
    )
    yield "events", ", ".join(f"{told[n]:,} {n}" for n in ("unique", "redelivered", "conflicting"))


def _notes(manifest: Mapping[str, Any], summary: Mapping[str, Any]) -> Iterator[str]:
    if manifest.get("error"):
        yield manifest["error"]
    if summary and manifest.get("exit_code") not in (errors.MATCHED, errors.DIVERGED):
        yield "The numbers below are what the run had worked out by then, from what it had read."
    if summary:
        yield from summary["replay"]["notes"]
        yield from summary["reconciliation"].get("notes", ())
        yield from summary.get("doubts", ())
        if summary["dedup"]["conflicting"]:
            n = summary["dedup"]["conflicting"]
            yield (
                f"{n:,} copies were not counted, for another copy of the same id has another "
                "content. They are listed below."
            )


def _pictures(folder: Path) -> list[tuple[str, list[Picture]]]:
    """The charts of the executed notebooks under the notebooks' titles, those of the differences
    first.
    """
    found = []
    for path in sorted((folder / "notebooks").glob("*.ipynb")):
        notebook = _json(path) or {}
        outputs = [o for cell in notebook.get("cells", []) for o in cell.get("outputs", [])]
        drawn = [picture for o in outputs if (picture := _picture(o))]
        if drawn:
            found.append((path.stem, drawn))
    found.sort(key=lambda pair: (pair[0] < "03", pair[0]))
    return [(stem.partition("_")[2].replace("_", " ").capitalize(), drawn) for stem, drawn in found]


def _picture(output: Mapping[str, Any]) -> Picture | None:
    png = output.get("data", {}).get("image/png")
    if png is None:
        return None
    about = output.get("metadata", {}).get("image/png", {})
    packed = "".join("".join(png).split())
    base64.b64decode(packed, validate=True)
    alt = _show.clean(
        about.get("alt") or "A chart without a description; the notebook says what it shows"
    )
    return Picture(alt, int(about.get("width") or 922), packed)


def _provenance(
    manifest: Mapping[str, Any],
) -> Iterator[tuple[str, Sequence[tuple[str, str]], _grids.Grid | None]]:
    """The manifest: its plain entries first, then a heading for each nested one, with its pairs or
    its rows.
    """
    manifest = {name: value for name, value in manifest.items() if name not in _SHOWN_BY_OTHERS}
    tables = {
        n: v
        for n, v in manifest.items()
        if isinstance(v, list) and v and all(isinstance(r, Mapping) for r in v)
    }
    nested = {n: v for n, v in manifest.items() if isinstance(v, Mapping) and v}
    plain = {n: v for n, v in manifest.items() if n not in tables and n not in nested}
    for name, values in {"run": plain, **nested}.items():
        if values:
            yield _titled(name), [(_show.clean(n), _said(v)) for n, v in values.items()], None
    for name, listed in tables.items():
        heads = list(dict.fromkeys(head for row in listed for head in row))
        rows = [[_said(row.get(head, "")) for head in heads] for row in listed[: _grids.MOST_ROWS]]
        yield (
            _titled(name),
            [],
            _grids.Grid.of(
                f"about-{name}", f"{_titled(name)}, as the manifest has it", heads, rows
            ),
        )


def _titled(name: str) -> str:
    return _show.clean(name).replace("_", " ").capitalize()


def _said(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{_show.clean(n)}: {_said(v)}" for n, v in value.items())
    if isinstance(value, list):
        return ", ".join(map(_said, value))
    return "not given" if value in ("", None) else _show.shorten(value, 2000)


def _ended(manifest: Mapping[str, Any]) -> str:
    try:
        return f"{datetime.fromisoformat(manifest['ended']):%Y-%m-%d %H:%M UTC}"
    except (KeyError, ValueError):
        return ""


def _json(path: Path) -> dict[str, Any] | None:
    return read_json(path) if path.exists() else None
