"""Files that are whole or not there: written under another name, then renamed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recovery_kit._show import clean
from recovery_kit.errors import RunError

if TYPE_CHECKING:
    import pandas as pd


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file or folder under another name beside ``path``, then rename it: whole, or not
    there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        write(aside)
        if path.is_dir():
            shutil.rmtree(path)
        aside.replace(path)
    finally:
        shutil.rmtree(aside, ignore_errors=True) if aside.is_dir() else aside.unlink(
            missing_ok=True
        )


def left_aside(folder: Path) -> list[Path]:
    """What `write_whole` was writing in a folder when its process was killed."""
    return [path for path in folder.glob(".*.*") if path.suffix[1:].isdigit()]


def write_text(path: Path, text: str) -> None:
    """Write text, whole or not at all, and on the disk when this returns."""

    def write(aside: Path) -> None:
        with aside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())

    write_whole(path, write)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write JSON that people read too.

    Decimals as text, for JSON's numbers are floats to most readers.
    """
    write_text(path, json.dumps(values, indent=1, default=plain, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read what `write_json` wrote; a file that holds something else is a RunError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} is not JSON: {error}. Remove it and run again") from None
    if not isinstance(found, dict):
        raise RunError(f"{path} does not hold what a run writes there. Remove it and run again")
    return found


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame as Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path, compression="zstd")


def plain(value: object) -> object:
    """What JSON can hold of a value that it cannot hold."""
    if (to_dict := getattr(value, "to_dict", None)) is not None:
        return to_dict()
    return value.isoformat() if isinstance(value, datetime) else str(value)


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a CSV that a spreadsheet opens as text: a cell that would be a formula gets a leading
    apostrophe.

    Only text columns are touched; numbers, also negative ones, stay numbers.
    """
    import pandas as pd

    safe = table.copy(deep=False)
    for name, dtype in table.dtypes.items():
        if not (
            pd.api.types.is_numeric_dtype(dtype)
            or "decimal" in str(dtype)
            or "timestamp" in str(dtype)
        ):
            safe[name] = table[name].map(_defuse, na_action="ignore")
    safe.to_csv(path, index=False, lineterminator="\n")


def _defuse(cell: object) -> str:
    text = clean(cell)
    return "'" + text if text.startswith(("=", "+", "-", "@")) else text
