"""Files that are whole or not there: written under another name, then renamed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from recovery_kit.errors import RunError
from recovery_kit.schema import EventSchema
from recovery_kit.window import Window


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
    except ValueError as error:
        raise RunError(f"{path} is not JSON: {error}. Remove it and run again") from None
    if not isinstance(found, dict):
        raise RunError(f"{path} does not hold what a run writes there. Remove it and run again")
    return found


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame as Parquet."""
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path, compression="zstd")


def plain(value: object) -> object:
    """What JSON can hold of a value that it cannot hold."""
    if isinstance(value, EventSchema):
        return value.to_dict()
    if isinstance(value, Window):
        offsets = {
            n: [[t, p, o] for (t, p), o in getattr(value, n).items()]
            for n in ("since_offsets", "until_offsets")
        }
        return {"since_ms": value.since_ms, "until_ms": value.until_ms} | offsets
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    return str(value)
