"""The parameters of a run: one table that notebooks, `recovery-kit run` and the scheduler's file
all speak.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recovery_kit._show import brief, shorten
from recovery_kit.errors import ParameterError, did_you_mean
from recovery_kit.schema import EventSchema
from recovery_kit.tables.spelling import rules_of
from recovery_kit.tables.written import Written

if TYPE_CHECKING:
    from recovery_kit.sandbox import Demo


_SECRET = re.compile(
    r"passw|passphrase|secret|token|credential|api_?key|private_?key|access_?key|jaas|keystore|signature",
    re.IGNORECASE,
)
_LONGEST = 10**9
"""The largest number that a time-out may be: it is seconds."""
_LOGIN = re.compile(r"://[^/?#]*@")


def _is(default: Any, help_: str, *, path: bool = False) -> Any:
    return field(default_factory=lambda: copy.copy(default), metadata={"help": help_, "path": path})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One value for each parameter.

    Plain types only, with ``""`` for "not given": papermill's help drops others.

    The same name means the same thing in every notebook; each has the ones it needs. Their help
    stands here, and a test holds the notebooks to it.
    """

    bootstrap_servers: str = _is(
        "", "host:port of the Kafka cluster, several joined by commas; empty: the embedded demo"
    )
    topic: str = _is(
        "", "topic to replay, several joined by commas (a retry topic beside the main one)"
    )
    client_config: str = _is(
        "",
        "path of a client.properties file, for a cluster that asks for TLS or a login",
        path=True,
    )
    since: str = _is(
        "",
        'read from here: an ISO 8601 time with a zone, or offsets such as {"0": 1200}; empty: all',
    )
    until: str = _is(
        "", "read to before here, in the same forms; empty: to the end as it is at the start"
    )
    partitions: str = _is("", "read only these partitions, such as 0,3; empty: all")
    allow_incomplete: bool = _is(
        False, "go on where part of the log is missing; no key is then called matched"
    )
    timeout: float = _is(60.0, "seconds without progress after which the read gives up")
    max_decompressed_mib: int = _is(
        1024, "MiB that the record batches of one fetch may decompress to; more is an error"
    )
    id_field: str = _is(
        "id", "payload field that names an event; a dot reaches inside, as in meta.id"
    )
    type_field: str = _is("type", "payload field with the event's type")
    value_field: str = _is("value", "payload field with the amount")
    key_field: str = _is("", "payload field with the key whose total it is; empty: the message key")
    time_field: str = _is(
        "", "payload field with the event's own time; empty: the record's timestamp"
    )
    time_unit: str = _is("ms", "unit of times that are numbers: s, ms or us")
    utc_offset: str = _is(
        "", "offset such as +00:00 of times written without one; empty: those are rejects"
    )
    decimals: int = _is(2, "decimals of an amount; one with more is a reject, never rounded")
    effects: dict[str, Any] = _is(
        {"add": 1, "subtract": -1}, "what each type does to a total: its value times this"
    )
    on_conflict: str = _is(
        "first",
        "one id with two contents: count the first, the last, none (reject), or stop (raise)",
    )
    expected: str = _is(
        "",
        "totals that the system of record holds: a CSV, Excel, Parquet or JSON-lines file",
        path=True,
    )
    expected_key: str = _is("key", "its column with the key")
    expected_total: str = _is("total", "its column with the total")
    csv: dict[str, Any] = _is(
        {},
        "how CSV and Excel files are written, such as "
        '{"separator": ";", "decimal": ",", "thousands": "."}',
    )
    opening: str = _is(
        "",
        "totals as of since, where the log does not go back to zero: a file like expected",
        path=True,
    )
    tolerance: str = _is("0", "largest difference that still counts as a match")
    strict_keys: bool = _is(
        False, "a key that one side lacks differs also where the other side's total is zero"
    )
    key_spelling: str = _is(
        "",
        "join keys that differ only by: blanks, zeros, case, unicode, exponent; by commas; "
        "empty: never",
    )
    processed: str = _is(
        "", "what the system applied, if it kept a list: a file with event_id and effect", path=True
    )
    pseudonymize: str = _is(
        "",
        "replace by tokens in all that is kept: key, or key,id; see RECOVERY_KIT_PSEUDONYM_KEY",
    )
    pseudonym_lookup: str = _is(
        "",
        "file outside run_dir to write which token stands for what into; empty: nobody can tell",
        path=True,
    )
    key: str = _is("", "the key to look at in 05_one_key; empty: the one that differs most")
    run_dir: str = _is(
        "",
        "folder to keep this run's steps in, shared by the notebooks; empty: keep nothing",
        path=True,
    )

    @classmethod
    def of(cls, values: Mapping[str, object], *, strict: bool = False) -> Settings:
        """Pick the parameters out of ``values``, such as a notebook's ``globals()``.

        Parameters
        ----------
        values : mapping
            By name; what is absent has its default.
        strict : bool
            Refuse names that are no parameter, and make paths absolute.

        Raises
        ------
        ParameterError
            A value of another type, a URL that holds a login, or, when strict, an unknown name.
        """
        known = {f.name: f for f in dataclasses.fields(cls)}
        for name in values if strict else ():
            if name not in known:
                raise _unknown(name, list(known))
        given: dict[str, Any] = {
            n: _checked(n, v, _default(known[n])) for n, v in values.items() if n in known
        }
        for name in (n for n in given if known[n].metadata["path"] or n == "bootstrap_servers"):
            _refuse_login(name, str(given[name]))
        settings = cls(**given)
        Written.by_parameter(settings.csv, "expected", {})  # refused here, not after the replay
        rules_of(settings.key_spelling)
        return settings._absolute() if strict else settings

    @classmethod
    def parse(cls, name: str, text: str) -> object:
        """A value given as text on a command line: text stays text, so that ``0012`` is not 12."""
        for f in dataclasses.fields(cls):
            if f.name == name:
                default = _default(f)
                break
        else:
            raise _unknown(name, [f.name for f in dataclasses.fields(cls)])
        if isinstance(default, str):
            return text
        try:
            return (
                {"true": True, "false": False}[text.lower()]
                if isinstance(default, bool)
                else json.loads(text)
            )
        except (ValueError, KeyError, RecursionError):
            example = {"csv": '{"separator": ";"}'}.get(name, '{"add": 1}')
            shown = {bool: "true or false", dict: f"JSON such as {example}"}.get(
                type(default), "a number"
            )
            raise ParameterError(f"{name} is {shorten(text)!r}; expected {shown}") from None

    @property
    def schema(self) -> EventSchema:
        """How to read a message."""
        return EventSchema(
            id=self.id_field,
            type=self.type_field,
            value=self.value_field,
            key=self.key_field or None,
            time=self.time_field or None,
            time_unit=self.time_unit,
            utc_offset=self.utc_offset or None,
            decimals=self.decimals,
            effects=self.effects,
        )

    @property
    def comparison(self) -> dict[str, Any]:
        """The arguments of ``recovery_kit.reconcile`` that say what counts as the same."""
        names = ("tolerance", "strict_keys", "key_spelling")
        return {name: getattr(self, name) for name in names}

    @property
    def source(self) -> dict[str, Any]:
        """The arguments of ``recovery_kit.replay``."""
        topics = [t.strip() for t in self.topic.split(",") if t.strip()]
        if not topics:
            raise ParameterError("topic is empty; expected the name of the topic to replay")
        try:
            partitions = [int(p) for p in self.partitions.split(",") if p.strip()]
        except ValueError:
            raise ParameterError(
                f"partitions is {self.partitions!r}; expected numbers such as 0,3"
            ) from None
        return {
            "topic": topics,
            "bootstrap_servers": self.bootstrap_servers or None,
            "client_config": self.client_config or None,
            "schema": self.schema,
            "since": self.since or None,
            "until": self.until or None,
            "partitions": partitions or None,
            "allow_incomplete": self.allow_incomplete,
            "timeout": self.timeout,
            "max_decompressed_mib": self.max_decompressed_mib,
        }

    @property
    def wants_demo(self) -> bool:
        """Whether no cluster is named."""
        return not self.bootstrap_servers and not self.client_config

    def on_demo(self, demo: Demo) -> Settings:
        """These settings, pointed at the demo's topic, schema and files."""
        schema = demo.schema.to_dict()
        return dataclasses.replace(
            self,
            bootstrap_servers=demo.bootstrap_servers,
            topic=demo.topic,
            id_field=str(schema["id"]),
            type_field=str(schema["type"]),
            value_field=str(schema["value"]),
            key_field=str(schema["key"] or ""),
            time_field=str(schema["time"] or ""),
            decimals=demo.schema.decimals,
            effects=dict(demo.schema.effects),
            csv={},
            expected=str(demo.expected),
            processed=str(demo.processed),
        )

    def to_dict(self) -> dict[str, Any]:
        """Name to value, as JSON can hold them."""
        return dataclasses.asdict(self) | {"effects": self.schema.to_dict()["effects"]}

    def _absolute(self) -> Settings:
        """Paths made absolute, for a notebook may run in another folder."""
        paths: dict[str, Any] = {}
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if f.metadata["path"] and value and "://" not in value:
                try:
                    paths[f.name] = str(Path(value).expanduser().resolve())
                except (RuntimeError, ValueError) as error:  # ~nobody, a loop of links, a null byte
                    raise ParameterError(
                        f"{f.name} is {value!r}; expected a path: {error}"
                    ) from None
        return dataclasses.replace(self, **paths)


def _unknown(name: str, known: list[str]) -> ParameterError:
    if _SECRET.search(name):
        return ParameterError(
            f"{name!r} looks like a secret, and a parameter is written into every notebook of a "
            "run. Put it into a client.properties file that only you can read, and give that "
            "file's path as client_config"
        )
    return ParameterError(f"there is no parameter {name!r}.{did_you_mean(name, known)}")


def _refuse_login(name: str, value: str) -> None:
    """Without the value in the message: it is what must not be seen."""
    query = value.partition("?")[2] if "://" in value else ""
    if _LOGIN.search(value) or _SECRET.search(query):
        raise ParameterError(
            f"{name} is a URL that holds a login, and a parameter is written into every notebook "
            "of a run. Leave the login out of it: give it in the environment (for S3, "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)"
        )


def _default(f: dataclasses.Field[Any]) -> object:
    return f.default_factory() if callable(f.default_factory) else f.default


def _checked(name: str, value: object, default: object) -> object:
    wanted = type(default)
    if wanted is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not 0 <= value <= _LONGEST:  # nor is NaN
            found = max(
                min(value, 10**300), -(10**300)
            )  # an int of thousands of digits is no float
            raise ParameterError(f"{name} is {found:g}; expected a number from 0 to {_LONGEST:,}")
        return float(value)
    if wanted is dict and isinstance(value, Mapping):
        return dict(value)
    if type(value) is not wanted:
        hint = " in quotes" if wanted is str else ""
        raise ParameterError(
            f"{name} is {brief(value)}, {_named(type(value))}; expected {_named(wanted)}{hint}"
        )
    if isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value):
        raise ParameterError(f"{name} is {value!r}, which is not valid Unicode; expected text")
    return value


def _named(type_: type) -> str:
    names = {
        str: "text",
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        dict: "a mapping",
    }
    return names.get(type_, f"of type {type_.__name__}")
