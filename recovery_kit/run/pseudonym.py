"""Keys and ids replaced by tokens right after they are read, so that nothing later can tell whose
they are.

A token is an HMAC-SHA-256 under a key from the environment: the same key gives the same token in
every run, so that runs can be compared, and without the key nobody can try names until one fits.
"""

from __future__ import annotations

import dataclasses
import hmac
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from recovery_kit._keep import write_whole
from recovery_kit.errors import IdentityError, LogTooLarge, ParameterError, TableError, did_you_mean
from recovery_kit.kafka.client.secret import Secret
from recovery_kit.tables.arrow import to_pandas

if TYPE_CHECKING:
    import pandas as pd

    from recovery_kit.replay import Replay
    from recovery_kit.run.settings import Settings

VARIABLE = "RECOVERY_KIT_PSEUDONYM_KEY"
KINDS = ("key", "id")
_COLUMNS = {"key": "key", "id": "event_id"}
_SHORTEST = 16
_TELLING = 6
"""A key of so many characters inside an id is taken to be no accident."""


@dataclass(frozen=True)
class Pseudonyms:
    """What to replace, and under which key.

    Attributes
    ----------
    what : tuple of str
        "key", "id" or both.
    no_key : str
        The key of events that have none; it is nobody's, and stays.
    lookup : Path or None
        Where to write which token stands for what.
    """

    what: tuple[str, ...]
    no_key: str
    lookup: Path | None
    _secret: bytes = field(repr=False)

    @property
    def about(self) -> dict[str, str]:
        """What to replace, and a name for the key that does not tell it: runs under one key can be
        compared.
        """
        return {"what": ",".join(self.what), "key": self._hash(b"fingerprint")[:8]}

    def token(self, kind: str, data: bytes) -> str:
        """96 bits of HMAC-SHA-256, in hexadecimal, after a letter that says of what."""
        return f"{kind[0]}-{self._hash(kind.encode() + bytes(1) + data)[:24]}"

    def tokens(self, kind: str, column: pa.Array | pa.ChunkedArray) -> pa.Array:
        """A column of text with each value replaced, as large_string.

        Raises
        ------
        IdentityError
            Two values have one token.
        """
        encoded = pa.chunked_array([column]) if isinstance(column, pa.Array) else column
        encoded = encoded.cast(pa.large_string()).combine_chunks().dictionary_encode()
        texts = encoded.dictionary.to_pylist()
        stays = self.no_key if kind == "key" else None
        made = [text if text == stays else self.token(kind, text.encode()) for text in texts]
        if len(set(made)) != len(texts):
            raise IdentityError(
                f"two of {len(texts):,} values have one token; take another {VARIABLE}"
            )
        if self.lookup:
            _note(self.lookup, kind, dict(zip(made, texts, strict=True)))
        return pa.DictionaryArray.from_arrays(
            encoded.indices, pa.array(made, pa.large_string())
        ).cast(pa.large_string())

    def _hash(self, data: bytes) -> str:
        return hmac.digest(self._secret, data, "sha256").hex()


def pseudonyms(settings: Settings) -> Pseudonyms | None:
    """What settings ask to replace; None when that is nothing.

    Raises
    ------
    ParameterError
        Something else is named than keys and ids, the environment holds no key or a short one, or
        the lookup file would lie in the run directory.
    """
    what = tuple(word.strip() for word in settings.pseudonymize.split(",") if word.strip())
    if not what:
        if settings.pseudonym_lookup:
            raise ParameterError(
                "pseudonym_lookup names a file, but pseudonymize is empty; expected key, or key,id"
            )
        return None
    if settings.key_spelling and "key" in what:
        raise ParameterError(
            f"key_spelling is {settings.key_spelling!r}, but pseudonymize puts tokens in the place "
            "of keys, and a token does not tell how its key is spelled; expected one of the two"
        )
    for word in what:
        if word not in KINDS:
            near = did_you_mean(word, list(KINDS))
            raise ParameterError(
                f"pseudonymize is {settings.pseudonymize!r}; expected key, or key,id.{near}"
            )
    secret = Secret(os.environ.get(VARIABLE, "")).reveal.encode()
    if len(secret) < _SHORTEST:
        found = f"is {len(secret)} characters long" if secret else "is not set"
        raise ParameterError(
            f"pseudonymize needs a secret key, but {VARIABLE} {found} in the environment; expected "
            f"at least {_SHORTEST} characters. Make one with `openssl rand -hex 32`, and keep it: "
            "the same key gives the same tokens"
        )
    lookup = Path(settings.pseudonym_lookup) if settings.pseudonym_lookup else None
    if (
        lookup
        and settings.run_dir
        and lookup.resolve().is_relative_to(Path(settings.run_dir).resolve())
    ):
        raise ParameterError(
            "pseudonym_lookup lies in run_dir, which may be passed on; expected a path outside of "
            "it"
        )
    return Pseudonyms(tuple(k for k in KINDS if k in what), settings.schema.no_key, lookup, secret)


def without_names(replay: Replay, given: Pseudonyms) -> Replay:
    """A replay with keys (and ids) replaced; of rejects only place, time and reason are left.

    Raises
    ------
    ParameterError
        Keys are replaced and ids are not, and ids contain the keys.
    """
    events = pa.Table.from_pandas(replay.events, preserve_index=False)
    if "id" not in given.what:
        _refuse_telling_ids(events)
    return dataclasses.replace(
        replay,
        events=to_pandas(_replaced(events, given)),
        rejects=_emptied(replay.rejects, given),
        tombstones=_emptied(replay.tombstones, given),
    )


def table_without_names(read: Callable[[], pa.Table], what: str, given: Pseudonyms) -> pa.Table:
    """A table that users give, read and then replaced in.

    Raises
    ------
    TableError
        It cannot be read exactly. Says where, but not what stands there: an error is written into a
        notebook, too.
    """
    try:
        table = read()
    except Exception as error:
        told = str(error)
        if isinstance(error, ParameterError | LogTooLarge) or told.endswith(
            "there is no such file"
        ):
            raise
        where = re.search(r", ((?:line|row) [\d,]+)[,:]", told)
        raise TableError(
            f"{what}{', ' + where[1] if where else ''}: cannot be read exactly. What was found is "
            "withheld, for pseudonymize is set; to see it, read the file where nothing is kept, "
            "with recovery_kit.read_totals or read_processed"
        ) from None
    return _replaced(table, given)


def _replaced(table: pa.Table, given: Pseudonyms) -> pa.Table:
    for kind in given.what:
        name = _COLUMNS[kind]
        if name in table.column_names:
            at = table.column_names.index(name)
            table = table.set_column(at, name, given.tokens(kind, table[name]))
    return table


def _emptied(frame: pd.DataFrame, given: Pseudonyms) -> pd.DataFrame:
    """Rejects or tombstones without their bytes.

    A message key may be a key, and has the same token then.
    """
    table = pa.Table.from_pandas(frame, preserve_index=False)
    columns: dict[str, Any] = {name: table[name] for name in table.column_names}
    for name in ("value", "headers"):
        if name in columns:
            columns[name] = pa.nulls(len(table), columns[name].type)
    keys = [
        None if key is None else given.token("key", key).encode()
        for key in columns["key"].to_pylist()
    ]
    columns["key"] = pa.array(keys, pa.binary())
    if "reason" in columns:
        reasons = [
            re.sub(r"^type '.*' has", "the type has", reason)
            for reason in columns["reason"].to_pylist()
        ]
        columns["reason"] = pa.array(reasons, pa.string())
    return to_pandas(pa.table(columns))


def _refuse_telling_ids(events: pa.Table) -> None:
    import polars as pl

    frame = pl.DataFrame(events.select(["event_id", "key"]))
    long = frame.filter(pl.col("key").str.len_chars() >= _TELLING)
    if long.select(pl.col("event_id").str.contains(pl.col("key"), literal=True).any()).item():
        raise ParameterError(
            "pseudonymize is 'key', but event ids contain their keys; expected key,id"
        )


def _note(lookup: Path, kind: str, found: Mapping[str, str]) -> None:
    """Add to the lookup file, a JSON object a line, for its owner's eyes only."""
    lines = lookup.read_text(encoding="utf-8").splitlines() if lookup.exists() else []
    added = (
        json.dumps({"token": t, "kind": kind, "clear": c}, ensure_ascii=False)
        for t, c in found.items()
        if t != c
    )
    every = "\n".join(dict.fromkeys([*lines, *added])) + "\n"

    def write(aside: Path) -> None:
        aside.touch(mode=0o600)
        aside.write_text(every, encoding="utf-8")

    write_whole(lookup, write)
