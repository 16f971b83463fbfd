"""An .xlsx file as Excel would write it, with each cell's XML in the test's hand."""

from __future__ import annotations

import io
import zipfile
from xml.sax.saxutils import escape

_SPACE = "http://schemas.openxmlformats.org/"
_MAIN, _DOC = _SPACE + "spreadsheetml/2006/main", _SPACE + "officeDocument/2006/relationships"
_PACKAGE = _SPACE + "package/2006/"
_KIND = "application/vnd.openxmlformats-officedocument.spreadsheetml."
DATE = 1
"""The style of a cell that shows a date."""


def number(literal: str, style: int = 0) -> str:
    return f'<c r="@" s="{style}"><v>{literal}</v></c>'


def formula(value: str) -> str:
    return f'<c r="@"><f>A1*2</f>{value}</c>'


def fault(name: str) -> str:
    return f'<c r="@" t="e"><v>{name}</v></c>'


def flag(value: int) -> str:
    return f'<c r="@" t="b"><v>{value}</v></c>'


def _cell(cell: str | None, at: str) -> str:
    if cell is None:
        return ""
    if not cell.startswith("<c "):
        cell = f'<c r="@" t="inlineStr"><is><t xml:space="preserve">{escape(cell)}</t></is></c>'
    return cell.replace("@", at)


def book(**sheets: list[list[str | None]]) -> bytes:
    """Sheets by name; a row is a list of cells, one that is plain text is a cell of text."""
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{_KIND}sheet.main+xml"/>'
        f'<Override PartName="/xl/styles.xml" ContentType="{_KIND}styles+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}relationships"><Relationship Id="r1" '
        f'Type="{_DOC}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/styles.xml": f'<styleSheet xmlns="{_MAIN}"><cellXfs count="2"><xf numFmtId="0"/>'
        '<xf numFmtId="14"/></cellXfs></styleSheet>',
    }
    listed, related = "", f'<Relationship Id="s" Type="{_DOC}/styles" Target="styles.xml"/>'
    for n, (name, rows) in enumerate(sheets.items(), 1):
        listed += f'<sheet name="{escape(name)}" sheetId="{n}" r:id="rId{n}"/>'
        related += (
            f'<Relationship Id="rId{n}" Type="{_DOC}/worksheet" Target="worksheets/sheet{n}.xml"/>'
        )
        data = "".join(
            f'<row r="{r}">'
            + "".join(_cell(c, f"{chr(65 + i)}{r}") for i, c in enumerate(row))
            + "</row>"
            for r, row in enumerate(rows, 1)
        )
        parts[f"xl/worksheets/sheet{n}.xml"] = (
            f'<worksheet xmlns="{_MAIN}"><sheetData>{data}</sheetData></worksheet>'
        )
    parts["xl/workbook.xml"] = (
        f'<workbook xmlns="{_MAIN}" xmlns:r="{_DOC}"><sheets>{listed}</sheets></workbook>'
    )
    parts["xl/_rels/workbook.xml.rels"] = (
        f'<Relationships xmlns="{_PACKAGE}relationships">{related}</Relationships>'
    )
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, xml in parts.items():
            archive.writestr(name, '<?xml version="1.0" encoding="UTF-8"?>' + xml)
    return out.getvalue()
