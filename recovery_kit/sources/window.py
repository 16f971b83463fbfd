"""The window of a replay: two bounds, each a time, offsets, or nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from recovery_kit.errors import ParameterError

_ISO_DATE = re.compile(r"\d{4}-?\d\d-?\d\d", flags=re.ASCII)

Place = tuple[str, int]
Moment = str | datetime | Mapping[int, int] | Mapping[str, int] | Mapping[Place, int] | None


@dataclass(frozen=True)
class Window:
    """What ``since`` and ``until`` say: times in ms since the epoch, or offsets by (topic,
    partition).
    """

    since_ms: int | None = None
    until_ms: int | None = None
    since_offsets: Mapping[Place, int] = field(default_factory=dict)
    until_offsets: Mapping[Place, int] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = []
        for word, ms, offsets in (
            ("from", self.since_ms, self.since_offsets),
            ("to before", self.until_ms, self.until_offsets),
        ):
            if ms is not None:
                import pandas as pd

                time = pd.Timestamp(ms, unit="ms", tz="UTC").isoformat(timespec="milliseconds")
                parts.append(f"{word} {time.replace('+00:00', 'Z')} by the events' own time")
            elif offsets:
                parts.append(
                    f"{word} " + ", ".join(f"{t}-{p}@{o}" for (t, p), o in sorted(offsets.items()))
                )
        return " ".join(parts) or "the whole log"

    def to_dict(self) -> dict[str, Any]:
        """The bounds as JSON can hold them: offsets as lists of (topic, partition, offset)."""
        return {"since_ms": self.since_ms, "until_ms": self.until_ms} | {
            name: [[t, p, o] for (t, p), o in getattr(self, name).items()]
            for name in ("since_offsets", "until_offsets")
        }

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Window:
        """The way back from `to_dict`."""
        offsets = (
            {(t, p): o for t, p, o in facts[name]} for name in ("since_offsets", "until_offsets")
        )
        return cls(facts["since_ms"], facts["until_ms"], *offsets)


def window(since: Moment, until: Moment, topics: list[str]) -> Window:
    """Make a window of what a person gave.

    Parameters
    ----------
    since, until : str, datetime, mapping or None
        An ISO 8601 time or a Timestamp, with a zone; or a mapping of partition or (topic,
        partition) to an offset, also as JSON text (``{"0": 1200, "retries-0": 40}``), as a
        notebook's parameter gives it; or nothing.
    topics : list of str
        The topics that are read; a bare partition is one of the only topic.

    Raises
    ------
    ParameterError
        A time without a zone or that is none, an offset that is not a whole number, an unknown
        topic.
    """
    since_ms, since_offsets = _bound("since", since, topics)
    until_ms, until_offsets = _bound("until", until, topics)
    if since_ms is not None and until_ms is not None and since_ms >= until_ms:
        raise ParameterError(f"since ({since}) is not before until ({until})")
    return Window(since_ms, until_ms, since_offsets, until_offsets)


def to_ms(name: str, moment: str | datetime) -> int:
    """A time with a zone as ms since the epoch, cut to the millisecond; else ParameterError."""
    import pandas as pd

    try:
        if isinstance(moment, str) and moment.strip() and not _ISO_DATE.match(moment.strip()):
            raise ValueError  # pandas would take 2/3/2026 for one of two days, and "now" for a time
        time = pd.Timestamp(moment)
    except (ValueError, TypeError):
        raise ParameterError(
            f"{name} is {moment!r}; expected an ISO 8601 time such as 2026-03-02T08:00:00Z, or "
            "offsets by partition"
        ) from None
    if pd.isna(time):
        raise ParameterError(f"{name} is not a time; expected one such as 2026-03-02T08:00:00Z")
    if time.tz is None:
        raise ParameterError(
            f"{name} is {moment!r}, a time without a zone; add one, such as {time.isoformat()}Z "
            "for UTC"
        )
    return int(time.as_unit("ms").asm8.view("int64"))


def _bound(name: str, moment: Moment, topics: list[str]) -> tuple[int | None, dict[Place, int]]:
    if moment is None or moment == "":
        return None, {}
    if isinstance(moment, str) and moment.lstrip().startswith("{"):
        try:
            moment = json.loads(moment)
        except json.JSONDecodeError as error:
            raise ParameterError(
                f"{name} is {moment!r}, which starts like JSON but is not: {error}"
            ) from None
    if isinstance(moment, Mapping):
        return None, dict(_offset(name, place, offset, topics) for place, offset in moment.items())
    if not isinstance(moment, str | datetime):
        raise ParameterError(
            f"{name} is {moment!r}; expected a time, or a mapping of partition to offset"
        )
    return to_ms(name, moment), {}


def _offset(name: str, place: object, offset: object, topics: list[str]) -> tuple[Place, int]:
    if isinstance(place, str) and not place.isdecimal():
        topic, _, partition = place.rpartition("-")
        place = (topic, int(partition)) if partition.isdecimal() else place
    elif isinstance(place, str | int) and not isinstance(place, bool):
        if len(topics) > 1:
            raise ParameterError(
                f"{name} names partition {place} of {len(topics)} topics; give (topic, partition)"
            )
        place = (topics[0], int(place))
    if (
        not isinstance(place, tuple)
        or len(place) != 2
        or place[0] not in topics
        or not isinstance(place[1], int)
    ):
        raise ParameterError(
            f"{name} names {place!r}; expected a partition, or (topic, partition) of "
            f"{', '.join(topics)}"
        )
    if not isinstance(offset, int) or isinstance(offset, bool) or offset < 0:
        raise ParameterError(
            f"{name} gives {place[0]}-{place[1]} the offset {offset!r}; expected a whole number "
            "from 0"
        )
    return (str(place[0]), place[1]), offset
