"""confluent-kafka in large steps, orjson, and pandas for the rest."""

import sys

import orjson
import pandas as pd
from answer import say
from confluent import messages

servers, topic = sys.argv[1:]
columns = {name: [] for name in ("id", "type", "value", "account", "ts")}
for found in messages(servers, topic, 50_000):
    events = [orjson.loads(message.value()) for message in found]
    for name, column in columns.items():
        column += [event[name] for event in events]

events = pd.DataFrame(columns)
del columns
unique = events.drop_duplicates("id")
# A float of less than 2**53 cents comes back to the very cents it was written from.
cents = (unique["value"] * 100).round().astype("int64")
effect = cents.where(unique["type"] == "add", -cents)
totals = effect.groupby(unique["account"]).agg(["sum", "count"])
say(zip(totals.index, totals["sum"], totals["count"], strict=True))
