"""A client.properties file, as Java's and librdkafka's clients write it, read into settings that do
not show themselves.

Every value is a `Secret`, revealed only on purpose.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

from recovery_kit._keep import read_at_most
from recovery_kit.errors import ParameterError, did_you_mean
from recovery_kit.kafka.client.keys import ASIDE, ASIDE_PREFIXES, USED
from recovery_kit.kafka.client.secret import Secret

_BLANK = " \t\f"
_TRIMMED = "".join(map(chr, range(33)))  # what Java's String.trim takes off
_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))", re.DOTALL)
_KEY = re.compile(r"((?:\\.|[^\\=: \t\f])*)[ \t\f]*[=:]?[ \t\f]*(.*)", re.DOTALL)
_REFERENCE = re.compile(r"\$?\$\{([^${}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LOOKS_LIKE_A_KEY = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)+")
_HOLDS_A_SECRET = re.compile(r"password|passphrase|secret|jaas|user\.info|\.key$|\.key\.pem$")


def read_properties(path: Path) -> dict[str, Secret]:
    """Read a client.properties file and resolve its references.

    The format is that of ``java.util.Properties``: comments with ``#`` or ``!``, continuation
    lines, escapes, and ``=``, ``:`` or a blank between key and value. Text is UTF-8, or else
    Latin-1. References are ``${NAME}`` and ``${env:NAME}`` (environment), ``${file:path:key}`` (a
    key of another properties file), ``${file:path}`` and ``${directory:path:name}`` (a whole file,
    such as a mounted secret); ``$${`` stands for ``${`` itself. Relative paths are looked for
    beside the file that names them, then in the working folder.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    dict of str to Secret
        Key to value, without blanks at either end. Where a key stands twice the last one counts, as
        in Java.

    Raises
    ------
    ParameterError
        When a file cannot be read, or a reference leads nowhere. The message names the variable,
        file or key.

    Warns
    -----
    UserWarning
        For a key that no Kafka client knows, and for a file that holds a secret and that everybody
        may read.
    """
    settings: dict[str, Secret] = {}
    exposed = False
    for line, key, value in parse_properties(_read(path)):
        if key not in USED and key not in ASIDE and not key.startswith(ASIDE_PREFIXES):
            warnings.warn(f"{path}, line {line}: {_unknown(key, value)}", UserWarning, stacklevel=3)
            continue
        settings[key] = _resolve(value, key=key, path=path)
        literal = settings[key] == value
        exposed |= literal and bool(value) and bool(_HOLDS_A_SECRET.search(key))
    if exposed:
        warn_if_exposed(path)
    return settings


def parse_properties(text: str) -> list[tuple[int, str, Secret]]:
    """Take a properties file apart: (number of the first line, key, value) for each setting, in
    order.
    """
    settings = []
    for number, line in _logical_lines(text):
        found = _KEY.fullmatch(line)
        if found:
            settings.append(
                (number, _unescape(found[1]), Secret(_unescape(found[2]).strip(_TRIMMED)))
            )
    return settings


def first(settings: Mapping[str, Secret], *keys: str) -> Secret | None:
    """The value of the first of several spellings that is there and not empty."""
    return next((settings[key] for key in keys if settings.get(key)), None)


def find_file(named: str, *, beside: Path) -> Path:
    """The file that a setting names: beside the file that names it, or else in the working
    folder.
    """
    path = Path(named).expanduser()
    return next((p for p in (beside.parent / path, path) if p.exists()), path)


def warn_if_exposed(path: Path) -> None:
    """Warn when a file that holds a secret may be read by everybody on this machine."""
    if os.name == "posix" and path.stat().st_mode & 0o004:
        message = (
            f"{path} holds a secret and everybody on this machine may read it; run: chmod 600 "
            f"{path}"
        )
        warnings.warn(message, UserWarning, stacklevel=4)


def _logical_lines(text: str) -> list[tuple[int, str]]:
    lines: list[tuple[int, list[str]]] = []
    open_line = False
    for number, natural in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        natural = natural.lstrip(_BLANK)
        if not open_line and (not natural or natural[0] in "#!"):
            continue
        goes_on = (len(natural) - len(natural.rstrip("\\"))) % 2 == 1
        piece = natural[:-1] if goes_on else natural
        if open_line:
            lines[-1][1].append(piece)
        else:
            lines.append((number, [piece]))
        open_line = goes_on
    return [(number, "".join(pieces)) for number, pieces in lines]


def _unescape(text: str) -> str:
    plain = _ESCAPE.sub(lambda m: chr(int(m[1], 16)) if m[1] else _ESCAPES.get(m[2], m[2]), text)
    return plain.encode("utf-16", "surrogatepass").decode(
        "utf-16", "replace"
    )  # two \\u escapes may be one character


def _unknown(key: str, value: str) -> str:
    # A line that is no setting may be a piece of a password or of a key that lost its continuation
    # backslash.
    if not value or not _LOOKS_LIKE_A_KEY.fullmatch(key):
        return (
            "not a setting (not shown: it may belong to a secret). Does the line before lack a "
            "backslash at its end?"
        )
    return (
        f"no Kafka client knows the setting {key!r}; it is not "
        f"used.{did_you_mean(key, sorted(USED))}"
    )


def _resolve(value: Secret, *, key: str, path: Path) -> Secret:
    def replace(found: re.Match[str]) -> str:
        if found[0].startswith("$$"):
            return found[0][1:]
        provider, colon, rest = found[1].partition(":")
        if not colon or provider.lower() == "env":
            return _from_environment(rest if colon else provider, key=key, path=path)
        if provider.lower() in ("file", "directory"):
            return _from_file(rest, key=key, path=path, named=provider.lower() == "directory")
        raise ParameterError(
            f"{path}: {key} refers to a config provider that is not known here; expected "
            "${env:NAME}, ${file:path:key}, ${file:path} or ${directory:path:name}. Write "
            "$${ for a plain ${"
        )

    return Secret(_REFERENCE.sub(replace, value).strip(_TRIMMED))


def _from_environment(name: str, *, key: str, path: Path) -> str:
    if not _NAME.fullmatch(name):
        raise ParameterError(
            f"{path}: {key} holds ${{...}} that is no reference; write $${{ for a plain ${{"
        )
    if name not in os.environ:
        raise ParameterError(
            f"{path}: {key} refers to the environment variable {name}, which is not set"
        )
    return os.environ[name]


def _from_file(rest: str, *, key: str, path: Path, named: bool) -> str:
    whole = find_file(rest, beside=path)
    folder, colon, name = rest.rpartition(":")
    if not colon or whole.is_file():
        return _held(whole, f"{path}: {key} refers to {whole}")
    target = find_file(folder, beside=path)
    if named:
        return _held(target / name, f"{path}: {key} refers to {target / name}")
    entries = {
        k: v for _, k, v in parse_properties(_held(target, f"{path}: {key} refers to {target}"))
    }
    if name not in entries:
        raise ParameterError(
            f"{path}: {key} refers to the key {name!r} of {target}, which is not there"
        )
    return entries[name]


def _held(path: Path, what: str) -> Secret:
    content = _read(path, what)
    warn_if_exposed(path)
    return Secret(content.rstrip("\r\n"))


def _read(path: Path, what: str = "") -> Secret:
    problem = None
    try:
        raw = read_at_most(path)
    except OSError as error:
        problem = error.strerror or type(error).__name__
    if problem:
        raise ParameterError(f"{what or path}: cannot be read: {problem}")
    try:
        return Secret(raw.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return Secret(raw.decode("latin-1"))
