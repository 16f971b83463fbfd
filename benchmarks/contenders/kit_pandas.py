"""recovery-kit, as a user writes it who wants pandas frames."""

import sys

from answer import say

import recovery_kit as rk

servers, topic = sys.argv[1:]
schema = rk.EventSchema(id="id", type="type", value="value", key="account", time="ts")
replay = rk.replay(topic, bootstrap_servers=servers, schema=schema)
totals = rk.totals(rk.dedup(replay.events)).table
say(
    zip(
        totals["key"].tolist(),
        (total * 100 for total in totals["total"]),
        totals["events"].tolist(),
        strict=True,
    )
)
