"""Whether a log is still the one that was read: the same topic, as long as it was, on a leader that
has what was read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kafka import KafkaConsumer
from kafka.errors import LogTruncationError

from recovery_kit.errors import KafkaError
from recovery_kit.kafka import wire
from recovery_kit.kafka.waiting import OnWait, unheard

if TYPE_CHECKING:
    from recovery_kit.sources.span import Span


def same_topics(
    consumer: KafkaConsumer,
    found: Mapping[str, wire.Topic],
    timeout: float,
    *,
    patient: bool = False,
) -> dict[str, wire.Topic]:
    """The topics as they are now.

    A KafkaError where one is gone (unless ``patient``) or is another one by now.
    """
    topics = {}
    for name, before in found.items():
        now = wire.describe(consumer, name, timeout)
        if (now is None and not patient) or (now is not None and now.id != before.id):
            raise KafkaError(
                f"topic {name!r} was deleted or made anew while it was read; what was read is of "
                "no use"
            )
        if now is not None:
            topics[name] = now
    return topics


def new_partitions(
    consumer: KafkaConsumer, found: Mapping[str, wire.Topic], timeout: float
) -> list[str]:
    """Notes on partitions that came while the topics were read; an error as in `same_topics`."""
    notes = []
    for name, now in same_topics(consumer, found, timeout).items():
        if added := sorted(now.partitions - found[name].partitions):
            notes.append(
                f"topic {name!r} got {len(added)} new partition(s) during the read "
                f"({', '.join(map(str, added))}); they are outside what was captured: run again to "
                "read them"
            )
    return notes


def look_back(
    consumer: KafkaConsumer, spans: list[Span], timeout: float, on_wait: OnWait = unheard
) -> dict[str, int]:
    """Where each log starts after the read, by ``str(span)``.

    A KafkaError where it is not the log that was read.
    """
    places = [wire.where(span) for span in spans]
    starts = wire.log_starts(consumer, places, timeout=timeout, on_wait=on_wait)
    ends = wire.end_offsets(consumer, places, committed=False, timeout=timeout, on_wait=on_wait)
    for s, place in zip(spans, places, strict=True):
        if starts[place] < s.log_start or ends[place] < s.end:
            raise KafkaError(
                f"{s}: the log held the offsets {s.log_start} to {s.high_watermark} before it was "
                f"read, and {starts[place]} to {ends[place]} afterwards; it was cut shorter or "
                "made anew, and what was read is of no use"
            )
    require_the_same(consumer, timeout)
    return {str(s): starts[place] for s, place in zip(spans, places, strict=True)}


def require_the_same(consumer: KafkaConsumer, timeout: float) -> None:
    """Raise a KafkaError where a log was cut shorter than what was read of it, even if it has grown
    again since.
    """
    try:
        wire.validate(consumer, timeout)
    except LogTruncationError as error:
        raise cut_shorter(error) from None


def cut_shorter(error: LogTruncationError) -> KafkaError:
    """The error for what kafka-python found when it held positions against the leaders' epochs."""
    places = (
        f"{tp.topic}-{tp.partition}" + (f" from offset {to.offset} on" if to else "")
        for tp, to in error.divergent_offsets.items()
    )
    return KafkaError(
        "the log was cut shorter while it was read, and records that were read are not in it any "
        f"more: {', '.join(places)}; an unclean leader election does that. What was read is of no "
        "use: run again"
    )
