"""The figure that every chart is: a matplotlib Figure that carries its alt text wherever it is
shown.

matplotlib is imported here, at the top; the rest of the package imports this module inside
functions.
"""

from __future__ import annotations

import base64
import html
import io
from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
import matplotlib.style
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure

DPI = 144
"""Pixels an inch of the PNG; a page shows it at 96, so that it stays sharp on a dense screen."""

_STYLE: dict[str, Any] = {
    "text.parse_math": False,  # a key named "$x$" is a name, not mathematics
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.xmargin": 0.01,
    "figure.titlesize": 12,
    "figure.titleweight": "bold",
    "grid.alpha": 0.4,
    "hatch.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "patch.linewidth": 0.6,
}


def style() -> AbstractContextManager[None]:
    """The look of a chart, whatever the user's own settings are; only the user's fonts are kept."""
    fonts = {
        name: mpl.rcParams[name]
        for name in ("font.family", "font.sans-serif", "font.serif", "font.monospace")
    }
    chosen: AbstractContextManager[None] = matplotlib.style.context(
        ["default", {**_STYLE, **fonts}], after_reset=True
    )
    return chosen


class Chart(Figure):
    """A matplotlib Figure with alt text.

    A notebook shows it as an HTML image, because that is where JupyterLab and nbconvert keep alt
    text: both drop the ``alt`` of a plain PNG output. The PNG is there too, for readers that take
    no HTML. As text it is its alt text, which is also what a notebook's test can compare.

    Attributes
    ----------
    alt : str
        What the picture shows, in words, with the numbers that matter.
    """

    alt: str = ""

    def __repr__(self) -> str:
        return self.alt

    def draw(self, renderer: RendererBase) -> None:
        """Draw in the chart's own style, since matplotlib makes some tick labels only now."""
        with style():
            super().draw(renderer)

    def png(self) -> bytes:
        """The picture as PNG, the same bytes each time.

        In 128 colours, for a third of the size in a notebook.
        """
        from PIL import Image

        full, small = io.BytesIO(), io.BytesIO()
        self.savefig(full, format="png", dpi=DPI)
        with Image.open(full) as image:
            image.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(
                small, "PNG", optimize=True
            )
        return small.getvalue()

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, Any], dict[str, Any]]:
        """Every form at once, with metadata; IPython itself takes out what was not asked for."""
        png = base64.b64encode(self.png()).decode()
        width = round(self.get_size_inches()[0] * 96)
        image = (
            f'<img alt="{html.escape(self.alt)}" width="{width}" src="data:image/png;base64,{png}">'
        )
        metadata = {"image/png": {"alt": self.alt, "width": width}}
        return {"text/plain": self.alt, "text/html": image, "image/png": png}, metadata
