"""A user's table as it came, before its cells are cast, and what its errors call the place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from recovery_kit._show import shorten
from recovery_kit.errors import TableError
from recovery_kit.tables.written import Written


@dataclass(frozen=True)
class Source:
    """A table as it came.

    Attributes
    ----------
    table : pyarrow.Table
        The columns that were wanted and are there.
    names : list of str
        The names of all its columns.
    called : str
        What errors call it.
    where : callable
        Row number, from 0, to the words that say where it stands.
    written : Written
        How it is written, in the caller's words.
    typed : mapping of str to pyarrow.Array
        By column, which rows hold a number as such and no text: how text is written does not
        concern these. A column that is not there has none.
    footed : bool
        Whether it is of a kind that may have rows at its foot that are not rows of the table.
    foot : list of dict
        The cells of these rows by column, where ``written`` says that there are some.
    hint : str
        What would be found with another separator; a sentence, or empty.
    """

    table: pa.Table
    names: list[str]
    called: str
    where: Callable[[int], str] = lambda row: f"row {row + 1:,}"
    written: Written = field(default_factory=Written)
    typed: Mapping[str, pa.Array] = field(default_factory=dict)
    footed: bool = False
    foot: Sequence[Mapping[str, str | None]] = ()
    hint: str = ""

    def fault(self, row: int, column: str, found: str) -> TableError:
        """Say what is wrong with one cell."""
        return TableError(f"{self.called}, {self.where(row)}, column '{shorten(column)}': {found}")

    def misfit(self, column: str, found: str) -> TableError:
        """Say what is wrong with a whole column."""
        return TableError(f"{self.called}, column '{shorten(column)}' {found}")

    def foot_advice(self, row: int) -> str:
        """How to say that the last row is one of totals, where that may be; else nothing."""
        if not self.footed or self.written.footer is not None or row != len(self.table) - 1:
            return ""
        return f" If this row at the foot is no row of the table: {self.written.option(footer=1)}"
