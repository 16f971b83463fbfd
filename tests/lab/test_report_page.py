"""The report in a real browser: it asks for nothing, obeys its own policy, and fits a phone, a desk
and paper.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from recovery_kit.report import write_report
from recovery_kit.run.notebooks import demo
from tests.lab.conftest import PICTURES

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outcome = demo(tmp_path_factory.mktemp("report") / "run")
    assert outcome.exit_code == 1, outcome.error
    return write_report(outcome.folder)


@pytest.mark.parametrize(("device", "width"), [("desk", 1280), ("phone", 390)])
def test_it_opens_offline_and_fits(report: Path, page: Page, device: str, width: int) -> None:
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.context.set_offline(True)
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(report.as_uri())
    page.screenshot(path=PICTURES / f"report-{device}.png", full_page=True)
    assert [url for url in asked if not url.startswith("data:")] == [report.as_uri()]
    assert said == []  # nothing that its Content-Security-Policy had to stop
    pictures = page.evaluate("() => [...document.images].map(i => i.naturalWidth)")
    assert len(pictures) >= 8
    assert min(pictures) > 500
    # The page itself never scrolls sideways; wide tables and charts do, inside.
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    assert page.evaluate("() => getComputedStyle(document.querySelector('h1')).fontWeight") == "700"


def test_it_prints(report: Path, page: Page) -> None:
    page.goto(report.as_uri())
    page.pdf(path=PICTURES / "report.pdf", format="A4", prefer_css_page_size=True)
    page.emulate_media(media="print")
    # What A4 holds within its margins, in CSS pixels; very wide tables are printed across.
    for width, where in ((703, ":not(.many) > table, img"), (1031, ".many > table")):
        page.set_viewport_size({"width": width, "height": 1000})
        cut = page.evaluate(
            "([where, width]) => [...document.querySelectorAll(where)].filter(e => "
            "e.getBoundingClientRect().right > width + 1).map(e => e.innerText || e.alt)",
            [where, width],
        )
        assert cut == []
