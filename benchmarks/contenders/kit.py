"""recovery-kit, as a user writes it who wants Arrow's columns."""

import sys

from answer import say

import recovery_kit as rk

servers, topic = sys.argv[1:]
schema = rk.EventSchema(id="id", type="type", value="value", key="account", time="ts")
replay = rk.replay(topic, bootstrap_servers=servers, schema=schema)
totals = rk.totals(rk.dedup(replay.arrow)).table.select(["key", "total", "events"])
say((row["key"], row["total"] * 100, row["events"]) for row in totals.to_pylist())
