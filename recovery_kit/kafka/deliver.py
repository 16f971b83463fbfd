"""What a fetch delivers: its batches sorted out into those that hold messages and the rest.

Every offset is accounted for.
"""

from __future__ import annotations

from dataclasses import dataclass

from recovery_kit.errors import CorruptLog
from recovery_kit.kafka import records
from recovery_kit.kafka.batches import Batch, Fetch
from recovery_kit.payload.messages import Messages
from recovery_kit.sources.span import Tally


@dataclass(frozen=True)
class Delivery:
    """What a fetch delivers, not decoded yet.

    Attributes
    ----------
    fetch : where the bytes are
    batches : those that hold messages to deliver
    start, end : the messages with offsets from ``start`` to before ``end`` are delivered
    offsets : how many offsets the tally has moved over for these batches
    """

    fetch: Fetch
    batches: list[Batch]
    start: int
    end: int
    offsets: int


def take(fetch: Fetch, tally: Tally, end: int, *, committed: bool = True) -> Delivery | None:
    """Sort out what a fetch brought between the tally's position and ``end``, and bring the tally
    forward over it.

    Parameters
    ----------
    fetch : Fetch
    tally : Tally
        Its position is where the fetch was asked to start; moved to behind the last batch, at most
        to ``end``.
    end : int
        The captured end; later records are left out exactly there.
    committed : bool
        Leave out the records of aborted transactions.

    Returns
    -------
    Delivery or None
        For `decode`; how many messages it holds is then to be booked. None when there is nothing to
        deliver.

    Raises
    ------
    CorruptLog
        The batches' offsets do not ascend, or one that holds nothing to deliver is damaged.
    """
    start = tally.position
    if fetch.batches and fetch.batches[0].magic < 2:
        wanted = [b for b in fetch.batches if b.last_offset >= start]
        tally.position = max(min(fetch.batches[-1].last_offset + 1, end), start)
        offsets = tally.position - start
    else:
        wanted = _sort_out(fetch, tally, end, committed=committed)
        offsets = sum(min(b.last_offset + 1, end) - max(b.base_offset, start) for b in wanted)
    return Delivery(fetch, wanted, start, end, offsets) if wanted else None


def decode(delivery: Delivery) -> Messages:
    """The messages of a delivery, in offset order; in any thread, for it changes nothing.

    Raises
    ------
    CorruptLog
        A CRC does not match, or a batch does not hold what its header says.
    """
    d = delivery
    if d.batches[0].magic < 2:
        from recovery_kit.kafka.legacy import read_legacy

        messages = read_legacy(d.fetch, d.batches)
    else:
        messages = records.decode(d.fetch, d.batches)
    return messages.cut(d.start, d.end)


def _sort_out(fetch: Fetch, tally: Tally, end: int, *, committed: bool) -> list[Batch]:
    """Bring the tally forward over the batches, and return those that hold messages to deliver, not
    yet counted.
    """
    wanted = []
    aborted = sorted(fetch.aborted, reverse=True)
    aborting: set[int] = set()
    reached = -1
    for batch in fetch.batches:
        if batch.base_offset >= end:
            tally.removed += end - tally.position
            tally.position = end
            break
        if not reached < batch.base_offset <= batch.last_offset:  # no CRC covers the base offset
            raise CorruptLog(
                f"{fetch}: a record batch says that it holds the offsets {batch.base_offset} to "
                f"{batch.last_offset}, and the one before it ends at {reached}; the log is damaged "
                "there"
            )
        reached = batch.last_offset
        if reached < tally.position:
            continue
        while aborted and aborted[-1][0] <= batch.last_offset:
            aborting.add(aborted.pop()[1])
        first, last = max(batch.base_offset, tally.position), min(batch.last_offset + 1, end)
        tally.removed += first - tally.position
        tally.position = last
        counted = 0
        if batch.control:
            aborts = _is_abort(fetch, batch)
            counted = batch.records
            tally.control += counted
            if aborts:
                aborting.discard(batch.producer_id)
        elif not batch.records:
            # The cleaner keeps an empty batch where it holds a producer's last sequence number.
            records.check_crc(fetch, batch)
        elif committed and batch.transactional and batch.producer_id in aborting:
            counted = len(records.decode(fetch, [batch]).cut(first, last))
            tally.aborted += counted
        else:
            wanted.append(batch)
            continue
        tally.removed += last - first - counted
    return wanted


def _is_abort(fetch: Fetch, batch: Batch) -> bool:
    if not batch.records:
        records.check_crc(fetch, batch)
        return False
    key = records.decode(fetch, [batch]).key(0)
    if key is None or len(key) < 4:
        raise CorruptLog(
            f"{fetch}: the control batch at offset {batch.base_offset} holds no marker"
        )
    return key[2:4] == b"\0\0"  # a version, then the type: 0 aborts, 1 commits
