"""recovery-kit from the events table on: dedup, totals, reconcile."""

import sys

import pandas as pd
import pyarrow as pa
from answer import say

import recovery_kit as rk

events, expected = sys.argv[1:]
with pa.memory_map(events) as file:
    frame = pa.ipc.open_file(file).read_all().to_pandas(types_mapper=pd.ArrowDtype)
    d = rk.dedup(frame)
    r = rk.reconcile(rk.totals(d), expected)
    print(len(d.redelivered), len(d.conflicts), r.summary["statuses"])
    table = r.table
    say((key, total * 100, 0) for key, total in zip(table["key"], table["recovered"], strict=True))
