"""Excel files: text stays text; a number is what its cell holds, if 15 digits can say it.

Excel keeps numbers as doubles and shows up to 15 digits. A double that 15 digits do not name is the
outcome of a formula, or more than Excel can keep: refused. How a cell is formatted is not looked
at: a number that shows as 0012 is 12.
"""

from __future__ import annotations

import io
import re
import zipfile
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pyarrow as pa

from recovery_kit._show import shorten
from recovery_kit.errors import TableError
from recovery_kit.tables.raw import Source
from recovery_kit.tables.written import Written

_UNCALCULATED = re.compile(
    rb"<(?:\w+:)?c\b(?![^>]*\bt=\"str\")[^>]*>\s*<(?:\w+:)?f\b[^>]*?(?:/>|>[^<]*</(?:\w+:)?f>)\s*"
    rb"(?:<(?:\w+:)?v\s*/>|<(?:\w+:)?v\s*>\s*</(?:\w+:)?v>)?\s*</(?:\w+:)?c>"
)
"""A formula without a value: the reader takes it for an empty cell."""


def read(raw: bytes, wanted: set[str], called: str, written: Written) -> Source:
    """Read the wanted columns of a sheet.

    Raises
    ------
    TableError
        The file is none of Excel's or has a password, does not say which sheet, holds a formula
        that was never calculated, an empty row, or a number of more than 15 digits.
    """
    rows, sheet = _rows(raw, called, written)
    called = f"{called}, sheet '{shorten(sheet)}'"
    start = next((at for at, row in enumerate(rows) if any(cell != "" for cell in row)), None)
    if start is None:
        raise TableError(f"{called} is empty; expected a header row and rows below it")
    names = [str(cell) for cell in rows[start]]
    if twice := [name for name in wanted if names.count(name) > 1]:
        raise TableError(f"{called}: column '{shorten(twice[0])}' stands twice in the header")
    body = rows[start + 1 :]
    footer = written.footer or 0
    if footer and len(body) <= footer:
        raise TableError(
            f"{called} holds {len(body):,} rows, and its footer is said to be {footer:,}; expected "
            "rows above it"
        )
    body, foot = body[: len(body) - footer], body[len(body) - footer :]
    source = Source(
        pa.table({}),
        names,
        called,
        lambda row: f"row {row + start + 2:,}",
        written,
        footed=True,
        foot=[{n: _shown(c) for n, c in zip(names, row, strict=True)} for row in foot],
    )
    _refuse_gaps(body, source)
    columns, typed = {}, {}
    for name in (name for name in names if name in wanted):
        cells = [row[names.index(name)] for row in body]
        columns[name] = pa.array(
            [_cell(cell, at, name, source) for at, cell in enumerate(cells)], pa.large_string()
        )
        typed[name] = pa.array([isinstance(cell, int | float) for cell in cells], pa.bool_())
    return replace(source, table=pa.table(columns), typed=typed)


def _rows(raw: bytes, called: str, written: Written) -> tuple[list[list[Any]], str]:
    import python_calamine as calamine

    faults = (
        calamine.CalamineError,
        calamine.PasswordError,
        calamine.XmlError,
        calamine.ZipError,
        zipfile.BadZipFile,
    )
    try:
        book = calamine.CalamineWorkbook.from_filelike(io.BytesIO(raw))
        names = [
            sheet.name
            for sheet in book.sheets_metadata
            if sheet.typ == calamine.SheetTypeEnum.WorkSheet
        ]
        name = _chosen(names, called, written)
        _refuse_uncalculated(raw, called)
        return book.get_sheet_by_name(name).to_python(skip_empty_area=False), name
    except faults as error:
        raise TableError(
            f"{called} cannot be read as Excel's .xlsx: {shorten(error, 200)}; save it again, as "
            ".xlsx and without a password"
        ) from None


def _chosen(names: list[str], called: str, written: Written) -> str:
    if written.sheet in names:
        return written.sheet
    if len(names) == 1 and not written.sheet:
        return names[0]
    found = f"no sheet '{shorten(written.sheet)}'" if written.sheet else f"{len(names)} sheets"
    has = ", ".join(f"'{shorten(name)}'" for name in names) or "none"
    say = f". Say which one: {written.option(sheet=names[0])}" if names else ""
    raise TableError(f"{called} has {found}; its sheets: {has}{say}")


def _refuse_uncalculated(raw: bytes, called: str) -> None:
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        for part in archive.namelist():
            if part.startswith("xl/worksheets/") and _UNCALCULATED.search(archive.read(part)):
                raise TableError(
                    f"{called} holds a formula that was never calculated, which looks like an "
                    "empty cell; open the file in Excel or LibreOffice and save it there"
                )


def _refuse_gaps(body: list[list[Any]], source: Source) -> None:
    for at, row in enumerate(body):
        if all(cell == "" for cell in row):
            footer = len(body) - at + (source.written.footer or 0)
            raise TableError(
                f"{source.called}, {source.where(at)}: nothing in it; expected the rows of the "
                "table without a gap (an error of Excel's, such as #N/A, is nothing too). Delete "
                "the row, or, if it and what follows are no rows of the table: "
                f"{source.written.option(footer=footer)}"
            )


def _cell(cell: Any, row: int, name: str, source: Source) -> str | None:
    if cell == "":
        return None
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        raise source.fault(
            row, name, f"holds {shorten(cell)}, a {type(cell).__name__}; expected text or a number"
        )
    said = f"{cell:.15g}"
    if float(said) != cell or abs(cell) >= 10**15:
        raise source.fault(
            row,
            name,
            f"holds the number {cell!r}, which takes more than the 15 digits that Excel keeps "
            "exactly. Round it there, with =ROUND(...), or give the column as text",
        )
    return f"{Decimal(said):f}"


def _shown(cell: Any) -> str | None:
    """A cell at the foot, for what it adds up to."""
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        return f"{Decimal(f'{cell:.15g}'):f}"
    return str(cell) if cell != "" else None
