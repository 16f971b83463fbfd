"""What every contender says at its end, so that their totals can be held against each other."""

import hashlib
import json
from collections.abc import Iterable


def say(totals: Iterable[tuple[str, int, int]]) -> None:
    """Print the unique events and a digest of the totals: of each key its total in cents, and its
    unique events.
    """
    rows = sorted((str(key), int(cents), int(events)) for key, cents, events in totals)
    text = "".join(f"{key}\t{cents}\t{events}\n" for key, cents, events in rows)
    digest = hashlib.sha256(text.encode()).hexdigest()
    print(json.dumps({"keys": len(rows), "unique": sum(row[2] for row in rows), "digest": digest}))
