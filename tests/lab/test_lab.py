"""Each notebook as an analyst meets it: opened in JupyterLab, Run All, looked at in the light theme
and the dark one.
"""

from __future__ import annotations

import json
import re
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

from recovery_kit.run.notebooks import notebooks_dir
from tests.lab.conftest import PICTURES

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.lab.conftest import Lab

NAMES = [path.name for path in sorted(notebooks_dir().glob("*.ipynb"))]

LOOK = """() => {
  const panel = document.querySelector('.jp-NotebookPanel:not(.lm-mod-hidden)');
  // The colours between 0 and 1 that a person sees, whatever is transparent laid over what is behind it.
  const rgba = text => {
    const n = text.match(/[\\d.]+/g).map(Number);
    const scale = text.startsWith('color(') ? 1 : 255;
    return [n[0] / scale, n[1] / scale, n[2] / scale, n.length > 3 ? n[3] : 1];
  };
  const over = (top, below) => top.slice(0, 3).map((c, i) => c * top[3] + below[i] * (1 - top[3]));
  const behind = at => {
    if (!at) return [1, 1, 1];
    const colour = rgba(getComputedStyle(at).backgroundColor);
    return colour[3] === 1 ? colour.slice(0, 3) : over(colour, behind(at.parentElement));
  };
  const light = c => {
    const [r, g, b] = c.map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = at => {
    const below = behind(at), text = over(rgba(getComputedStyle(at).color), below);
    const [a, b] = [light(text), light(below)].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  };
  const cells = [...panel.querySelectorAll('.jp-OutputArea-output :is(th, td, caption, h4, .n)')];
  return {
    images: [...panel.querySelectorAll('.jp-OutputArea-output img')].map(i => ({
      alt: i.alt, natural: i.naturalWidth, shown: i.getBoundingClientRect().width, height: i.getBoundingClientRect().height,
    })),
    tables: [...panel.querySelectorAll('.jp-OutputArea-output table')].map(t => t.getBoundingClientRect().height),
    hard: cells.filter(c => c.innerText.trim()).map(c => ({
      text: c.innerText, contrast: contrast(c), size: parseFloat(getComputedStyle(c).fontSize),
    })).filter(c => c.contrast < 4.5 || c.size < 11),
    errors: [...panel.querySelectorAll('[data-mime-type="application/vnd.jupyter.error"], .jp-mod-error')].map(e => e.innerText),
    stderr: [...panel.querySelectorAll('[data-mime-type="application/vnd.jupyter.stderr"]')].map(e => e.innerText),
    wide: [...panel.querySelectorAll('.jp-OutputArea-output')].filter(o => {
      const s = getComputedStyle(o); return o.scrollWidth > o.clientWidth + 1 && s.overflowX === 'hidden';
    }).map(o => o.innerText.slice(0, 80)),
  };
}"""

DONE = """code => {
  const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(p => p.innerText.trim());
  const failed = document.querySelector('[data-mime-type="application/vnd.jupyter.error"]');
  return failed !== null || (prompts.length === code && prompts.every(p => /^\\[\\d+\\]:$/.test(p)));
}"""


def menu(page: Page, *path: str) -> None:
    page.get_by_role("menubar").get_by_role("menuitem", name=path[0], exact=True).click()
    for name in path[1:]:
        page.locator(".lm-Menu-itemLabel", has_text=re.compile(rf"^{re.escape(name)}$")).click()


def ready(lab: Lab, name: str, *, seconds: float = 60) -> None:
    """Wait until the notebook's kernel is up and the page is connected to it.

    Until then JupyterLab asks for a kernel.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with urllib.request.urlopen(
            f"{lab.url}api/sessions?token={lab.token}", timeout=10
        ) as answer:
            kernels = [
                session["kernel"] for session in json.load(answer) if session["path"] == name
            ]
        if any(kernel["connections"] and kernel["execution_state"] == "idle" for kernel in kernels):
            return
        time.sleep(0.2)
    pytest.fail(f"no kernel came up for {name}", pytrace=False)


def themed(page: Page, name: str, theme: str) -> dict[str, Any]:
    """What is to be seen in a theme; keeps a picture of the whole notebook."""
    menu(page, "Settings", "Theme", f"JupyterLab {theme}")
    page.wait_for_function(
        "theme => document.body.dataset.jpThemeName === theme", arg=f"JupyterLab {theme}"
    )
    page.wait_for_timeout(500)
    height = page.evaluate(
        "() => document.querySelector('.jp-NotebookPanel .jp-WindowedPanel-outer').scrollHeight"
    )
    page.set_viewport_size({"width": 1400, "height": min(height + 200, 16_000)})
    page.evaluate(
        "() => document.querySelector('.jp-NotebookPanel .jp-WindowedPanel-outer').scrollTo(0, 0)"
    )
    page.wait_for_timeout(500)
    page.screenshot(path=PICTURES / f"{name.removesuffix('.ipynb')}-{theme.lower()}.png")
    seen: dict[str, Any] = page.evaluate(LOOK)
    page.set_viewport_size({"width": 1400, "height": 1000})
    return seen


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_and_can_be_read(lab: Lab, page: Page, name: str) -> None:
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{lab.url}lab/tree/{name}?token={lab.token}&reset")
    page.locator(".jp-NotebookPanel .jp-CodeCell").first.wait_for()
    ready(lab, name)
    menu(page, "Run", "Run All Cells")
    cells = [cell for cell in nbformat.read(lab.folder / name, 4).cells if cell.cell_type == "code"]
    page.wait_for_function(DONE, arg=len(cells), timeout=120_000)

    committed = nbformat.read(notebooks_dir() / name, 4).cells
    drawn = [
        output.get("data", {}).get("text/html", "")
        for cell in committed
        for output in cell.get("outputs", [])
    ]
    charts, tables = (sum(mark in html for html in drawn) for mark in ("<img ", "<table"))
    assert charts + tables
    for theme in ("Dark", "Light"):
        seen = themed(page, name, theme)
        assert seen["errors"] == []
        assert seen["stderr"] == []
        assert len(seen["images"]) == charts
        for image in seen["images"]:
            assert len(image["alt"]) > 20
            assert image["natural"] > 500
            assert image["shown"] > 500
            assert image["height"] > 50
        assert len(seen["tables"]) >= tables
        assert all(height > 10 for height in seen["tables"])
        assert seen["hard"] == [], f"hard to read in the {theme.lower()} theme"
        assert seen["wide"] == [], f"cut off on the right in the {theme.lower()} theme"
    assert complaints == []
