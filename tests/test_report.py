"""The report of a real run whose log is hostile: what it says, and that nothing in it lives or
leaves the page.
"""

import base64
import csv
import hashlib
import json
import re
import shutil
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kafka import KafkaProducer

from recovery_kit.errors import RunError
from recovery_kit.report import write_report
from recovery_kit.report._grids import MOST_ROWS
from recovery_kit.run.judge import FailOn
from recovery_kit.run.notebooks import run
from recovery_kit.run.settings import Settings
from recovery_kit.sandbox import Kafka

HOSTILE = {
    "<script>alert(1)</script>": "<script>alert(1)</script>",
    '"><img src=https://evil.example/x '
    "onerror=alert(1)>": '"><img src=https://evil.example/x onerror=alert(1)>',
    "</style></table></body>": "</style></table></body>",
    "{{ 7 * 7 }}": "{{ 7 * 7 }}",
    "\u202egnp.exe": r"\u202egnp.exe",
    "red\x1b[31m": r"red\x1b[31m",
    "שלום": "שלום",
    "long" * 1000: "long" * 74 + "lon…",
}
"""A key in the log, and what a reader sees of it."""

LIVE = {
    "script",
    "iframe",
    "object",
    "embed",
    "link",
    "base",
    "form",
    "svg",
    "audio",
    "video",
    "source",
    "frame",
}


class Page(HTMLParser):
    """What a browser would see: every tag with its attributes, facts by label, tables by caption,
    and the text.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.facts: dict[str, str] = {}
        self._label = self._caption = ""
        self._open: str = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("dt", "dd", "caption", "th", "td"):
            self._open = tag
            self.texts.append("")
        if tag == "tr":
            self.tables[self._caption].append([])

    def handle_data(self, data: str) -> None:
        self.texts.append(self.texts.pop() + data if self.texts else data)

    def handle_endtag(self, tag: str) -> None:
        if tag != self._open:
            return
        text = self.texts[-1]
        if tag == "dt":
            self._label = text
        elif tag == "dd":
            self.facts.setdefault(self._label, text)
        elif tag == "caption":
            self._caption = text
            self.tables[text] = []
        else:
            self.tables[self._caption][-1].append(text)
        self._open = ""
        self.texts.append("")

    def table(self, beginning: str) -> list[list[str]]:
        return next(rows for caption, rows in self.tables.items() if caption.startswith(beginning))


@pytest.fixture(scope="module")
def finished(broker: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a real run: hostile keys, types and ids, more divergences than a report
    prints.
    """
    folder = tmp_path_factory.mktemp("report")
    broker.create_topic("test-report", partitions=2)
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap_servers)
    keys = [*HOSTILE, *(f"plain-{i}" for i in range(MOST_ROWS))]
    for i, key in enumerate(keys):
        event = {"id": f"<b>{i}</b>", "type": "add", "value": f"{1000 - i}.10"}
        for amount in (event["value"], "1.00") if i < 3 else (event["value"],):  # three conflicts
            producer.send(
                "test-report",
                json.dumps(event | {"value": amount}).encode(),
                key=key.encode(),
                partition=0,
            )
        if i < 100:  # rejects, each for a reason of its own
            producer.send(
                "test-report",
                json.dumps({"id": f"r{i}", "type": key, "value": 1}).encode(),
                partition=1,
            )
    producer.flush()
    producer.close()
    with (folder / "expected.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("key", "total"), *((key, "0.05") for key in keys)])
    values = {
        "bootstrap_servers": broker.bootstrap_servers,
        "topic": "test-report",
        "run_dir": str(folder / "run"),
    }
    settings = Settings.of(values | {"expected": str(folder / "expected.csv")}, strict=True)
    outcome = run(settings, fail_on=FailOn(rejects="100%"))
    assert outcome.exit_code == 1, outcome.error
    return folder / "run"


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of it to change."""
    return shutil.copytree(finished, tmp_path / "run")


def page_of(folder: Path, **kwargs: Any) -> Page:
    return Page(write_report(folder, **kwargs).read_text(encoding="utf-8"))


def change(path: Path, **values: Any) -> dict[str, Any]:
    changed: dict[str, Any] = json.loads(path.read_text()) | values
    path.write_text(json.dumps(changed))
    return changed


def test_nothing_in_it_lives_or_is_loaded(folder: Path) -> None:
    """Fault 39, and that the file opens offline."""
    path = write_report(folder)
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    assert not LIVE & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        assert not [
            name
            for name in attributes
            if name.startswith("on") or name in ("style", "srcset", "href")
        ], tag
        assert re.match(
            r"data:image/png;base64,[A-Za-z0-9+/]+=*$",
            attributes.get("src") or "data:image/png;base64,A",
        )
    assert "url(" not in html
    assert "@import" not in html
    styles = re.findall("<style>(.*?)</style>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(styles[0].encode()).digest()).decode()
    policy = next(
        a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.split("; ")[:3] == [
        "default-src 'none'",
        "img-src data:",
        f"style-src 'sha256-{digest}'",
    ]


def test_hostile_contents_are_shown_as_text(folder: Path) -> None:
    page = page_of(folder)
    keys = [row[0] for row in page.table("Divergences")]
    assert [key for key in HOSTILE.values() if not {key, f"'{key}'"} & set(keys)] == []
    reasons = " ".join(row[0] for row in page.table("Rejects"))
    assert "<script>alert(1)</script>" in reasons
    assert "\x1b" not in reasons


def test_its_numbers_are_those_of_the_summary(folder: Path) -> None:
    page, told = page_of(folder), json.loads((folder / "summary.json").read_text())
    found = told["reconciliation"]
    labels = {
        "expected, over all keys": "expected",
        "recovered, over all keys": "recovered",
        "net difference, expected − recovered": "net_difference",
        "absolute differences": "absolute_difference",
        "the system holds too much": "expected_above",
        "the system holds too little": "expected_below",
        "tolerance": "tolerance",
    }
    shown = {label: text for label, text in page.facts.items() if label in labels}
    assert shown == {
        label: f"{Decimal(found[name]):,f}"
        for label, name in labels.items()
        if found[name] is not None
    }
    assert len(shown) >= 6
    assert page.facts["keys"] == f"{found['divergent']:,} diverged"
    assert page.facts["messages"].startswith(f"{told['replay']['delivered']:,}: ")
    assert (
        page.facts["events"] == f"{told['dedup']['unique']:,} unique, 0 redelivered, 3 conflicting"
    )
    assert page.facts["exit code"].startswith("1: ")
    counts = [int(row[1].replace(",", "")) for row in page.table("Rejects")[1:]]
    assert sum(counts) == told["replay"]["rejects"]


def test_a_long_table_is_cut_and_says_where_the_rest_is(folder: Path) -> None:
    page = page_of(folder)
    n = MOST_ROWS + len(HOSTILE)
    caption = next(caption for caption in page.tables if caption.startswith("Divergences"))
    assert (
        caption
        == f"Divergences, largest first (first {MOST_ROWS} of {n}; divergences.csv has all of them)"
    )
    assert len(page.tables[caption]) == MOST_ROWS + 1
    assert len(page.table("Conflicts")) == 1 + 6


def test_it_is_accessible(folder: Path) -> None:
    page = page_of(folder)
    tags = [tag for tag, _ in page.tags]
    assert ("html", {"lang": "en"}) in page.tags
    assert tags.count("h1") == 1
    assert tags.count("table") == tags.count("caption") == tags.count("thead")
    assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")
    alts = [attributes.get("alt") or "" for tag, attributes in page.tags if tag == "img"]
    assert len(alts) >= 8
    assert all(len(alt) > 20 for alt in alts)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = {
        attributes["aria-labelledby"]
        for _, attributes in page.tags
        if "aria-labelledby" in attributes
    }
    assert named <= set(ids)


def test_provenance_is_there(folder: Path) -> None:
    manifest = change(
        folder / "manifest.json", digests=[{"file": "totals.parquet", "sha256": "ab" * 32}]
    )
    page = page_of(folder)
    assert page.facts["by"] == manifest["by"]
    assert page.facts["topic"] == "test-report"
    assert page.facts["pyarrow"] == manifest["versions"]["pyarrow"]
    assert page.table("Digests")[1] == ["totals.parquet", "ab" * 32]


@pytest.mark.parametrize(
    ("code", "headline"),
    [
        (2, "The run failed"),
        (3, "The log could not be read whole, so nothing was compared"),
        (130, "The run was interrupted: nothing here is final"),
    ],
)
def test_a_run_that_ended_early_says_so_first(folder: Path, code: int, headline: str) -> None:
    change(
        folder / "manifest.json",
        exit_code=code,
        error="01_replay: KafkaError: <b>no</b> broker\nLook at the port",
    )
    for path in (folder / "summary.json", folder / "divergences.parquet"):
        path.unlink()
    shutil.rmtree(folder / "steps")
    html = write_report(folder).read_text()
    assert html.index(f"<h1>{headline}</h1>") < html.index(
        "&lt;b&gt;no&lt;/b&gt; broker\nLook at the port"
    )
    page = Page(html)
    assert page.facts["exit code"].startswith(f"{code}: ")
    assert [row[1] for row in page.table("Coverage")] == [
        "partition",
        "0",
        "1",
    ]  # out of the manifest


def test_a_run_without_a_manifest_is_not_over(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    assert "This run is not over, or was killed" in write_report(folder).read_text()


def test_a_manifest_that_is_yet_to_be_written_can_be_given(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").unlink()
    assert page_of(folder, manifest=manifest).facts["exit code"].startswith("1: ")


def test_an_incomplete_replay_never_reads_like_an_answer(folder: Path) -> None:
    change(folder / "manifest.json", exit_code=3)
    summary = json.loads((folder / "summary.json").read_text())
    change(folder / "summary.json", replay=summary["replay"] | {"verdict": "raced"})
    html = write_report(folder).read_text()
    assert (
        "<h1>The log could not be read whole: no key of 208 can be called matched or diverged</h1>"
        in html
    )
    assert 'class="lead"' not in html
    assert Page(html).facts["coverage of the log"].startswith("raced: ")


@pytest.mark.parametrize(
    ("statuses", "divergent", "headline"),
    [
        ({"matched": 208}, 0, "All 208 keys match the log"),
        ({"not compared": 208}, 0, "208 totals recovered; there was nothing to compare them with"),
        (
            {"matched": 207, "diverged": 1},
            1,
            "1 of 208 keys differs from the log",
        ),  # exit code 0 by --fail-on
    ],
)
def test_the_headline(
    folder: Path, statuses: dict[str, int], divergent: int, headline: str
) -> None:
    change(folder / "manifest.json", exit_code=0)
    found = json.loads((folder / "summary.json").read_text())["reconciliation"]
    compared = 0 if "not compared" in statuses else 208
    change(
        folder / "summary.json",
        reconciliation=found | {"statuses": statuses, "divergent": divergent, "compared": compared},
    )
    assert f"<h1>{headline}</h1>" in write_report(folder).read_text()


def test_nothing_compared_never_reads_like_an_answer(folder: Path) -> None:
    found = json.loads((folder / "summary.json").read_text())["reconciliation"]
    change(folder / "summary.json", reconciliation=found | {"compared": 0, "divergent": 0})
    for code in (0, 2):
        change(folder / "manifest.json", exit_code=code)
        assert "<h1>Nothing was compared</h1>" in write_report(folder).read_text()


def test_a_run_of_before_is_still_drawn(folder: Path) -> None:
    """Its summary tells neither what it rests on nor why."""
    told = json.loads((folder / "summary.json").read_text())
    del told["why"]
    for name in ("compared", "recovered_keys", "expected_keys", "absent_zeros", "notes"):
        del told["reconciliation"][name]
    (folder / "summary.json").write_text(json.dumps(told))
    assert "<h1>208 of 208 keys differ from the log</h1>" in write_report(folder).read_text()
    change(folder / "manifest.json", exit_code=0)
    change(folder / "summary.json", reconciliation=told["reconciliation"] | {"divergent": 0})
    assert "<h1>All 208 keys match the log</h1>" in write_report(folder).read_text()


def test_causes_and_incidents_come_with_the_answer(folder: Path) -> None:
    """Where a run keeps them."""
    cents = pa.decimal128(38, 2)
    amounts = pa.array([Decimal("-5.10"), Decimal("2.10"), Decimal("-1.00")], cents)
    causes = {
        "key": ["a", "b", "a"],
        "cause": ["missed"] * 3,
        "amount": amounts,
        "grade": ["proven"] * 3,
    }
    pq.write_table(pa.table(causes), folder / "causes.parquet")
    incidents = {
        "incident": [1],
        "cause": ["missed"],
        "topic": ["t"],
        "keys": [2],
        "evidence": ["<i>2 keys</i> fit"],
    }
    pq.write_table(pa.table(incidents), folder / "incidents.parquet")
    html = write_report(folder).read_text()
    page = Page(html)
    assert page.table("Causes") == [
        ["cause", "grade", "keys", "amount, net", "amount, absolute"],
        ["missed", "proven", "2", "-4.00", "8.20"],
    ]
    assert page.table("Incidents")[1:] == [["1", "missed", "2", "<i>2 keys</i> fit"]]
    assert html.index("Incidents") < html.index("Charts")


def test_the_same_run_gives_the_same_report(folder: Path) -> None:
    first = write_report(folder).read_bytes()
    assert write_report(folder).read_bytes() == first
    assert not [path for path in folder.iterdir() if path.name.startswith(".report")]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a folder; expected a run directory"):
        write_report(tmp_path / "nowhere")


def test_a_damaged_summary_is_told(folder: Path) -> None:
    (folder / "summary.json").write_text("{")
    with pytest.raises(RunError, match="is not JSON"):
        write_report(folder)
