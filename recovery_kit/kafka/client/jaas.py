"""The value of ``sasl.jaas.config``: one login module and its options, in the format of Java's JAAS
files.
"""

from __future__ import annotations

import re

from recovery_kit.errors import ParameterError
from recovery_kit.kafka.client.secret import Secret

MECHANISMS = {
    "PlainLoginModule": ("PLAIN",),
    "ScramLoginModule": ("SCRAM-SHA-256", "SCRAM-SHA-512"),
    "OAuthBearerLoginModule": ("OAUTHBEARER",),
    "Krb5LoginModule": ("GSSAPI",),
    "IAMLoginModule": ("AWS_MSK_IAM",),
}
"""Last part of a login module's class name: the mechanisms that it serves."""

_TOKEN = re.compile(
    r"""\s+ | //[^\n]* | /\*.*?\*/
    | "(?P<double>(?:\\.|[^"\\\n])*)" | '(?P<single>(?:\\.|[^'\\\n])*)'
    | (?P<word>[\w.$\-]+) | (?P<mark>[=;])""",
    re.DOTALL | re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(?:([0-3]?[0-7]{1,2})|(.))", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "b": "\b", "a": "\a", "v": "\v"}
_FLAGS = ("required", "requisite", "sufficient", "optional")


def parse_jaas(text: Secret) -> tuple[str, dict[str, Secret]]:
    r"""Take ``sasl.jaas.config`` apart.

    Parameters
    ----------
    text : Secret
        Such as ``org.apache.kafka.common.security.plain.PlainLoginModule required username="u"
        password="p";``. Quotes are double or single; inside them a backslash escapes as in Java
        (``\"``, ``\\``, ``\n``, octal).

    Returns
    -------
    tuple of str and dict of str to Secret
        The login module's name without its package, and its options.

    Raises
    ------
    ParameterError
        When it cannot be read. The message gives the place, never the text.
    """
    tokens, wrong_at = _tokens(text)
    if wrong_at is not None:
        raise ParameterError(
            f"sasl.jaas.config cannot be read at character {wrong_at + 1}; values need double "
            r"quotes, with \" for a quote and \\ for a backslash inside (and each backslash "
            "doubled again in a properties file)"
        )
    parsed = _entry(tokens)
    if isinstance(parsed, str):
        raise ParameterError(
            f"sasl.jaas.config {parsed}; expected one login module, such as "
            "org.apache.kafka.common.security.plain.PlainLoginModule "
            'required username="..." password="...";'
        )
    return parsed


def _tokens(text: Secret) -> tuple[list[tuple[str, Secret]], int | None]:
    # Returns the place of a mistake instead of raising there: this frame's variables hold pieces of
    # the password.
    tokens: list[tuple[str, Secret]] = []
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            return [], at
        if found.lastgroup in ("double", "single"):
            tokens.append(("value", Secret(_ESCAPE.sub(_escaped, found[found.lastgroup]))))
        elif found.lastgroup:
            tokens.append((found.lastgroup, Secret(found[0])))
        at = found.end()
    return tokens, None


def _escaped(found: re.Match[str]) -> str:
    return chr(int(found[1], 8)) if found[1] else _ESCAPES.get(found[2], found[2])


def _entry(tokens: list[tuple[str, Secret]]) -> tuple[str, dict[str, Secret]] | str:
    if tokens[-1:] == [("mark", ";")]:
        tokens = tokens[:-1]
    if ("mark", ";") in tokens:
        return "names more than one login module"
    if [kind for kind, _ in tokens[:2]] != ["word", "word"] or tokens[1][1].lower() not in _FLAGS:
        return "does not begin with a login module and the word 'required'"
    options: dict[str, Secret] = {}
    rest = tokens[2:]
    for name, equals, value in zip(rest[::3], rest[1::3], rest[2::3], strict=False):
        if name[0] == "mark" or equals[1] != "=" or value[0] == "mark":
            return 'holds an option that is not name="value"'
        options[name[1].reveal] = value[1]
    if len(rest) % 3:
        return "ends in the middle of an option"
    return tokens[0][1].reveal.rpartition(".")[2], options
