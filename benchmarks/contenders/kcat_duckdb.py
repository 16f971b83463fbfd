"""kcat to a file, then DuckDB over the file."""

import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb
from answer import say

TOTALS = """
    SELECT account, CAST(sum(CASE type WHEN 'add' THEN value ELSE -value END) * 100 AS BIGINT), count(*)
    FROM (
        SELECT DISTINCT ON (id) id, type, CAST(value AS DECIMAL(18, 2)) AS value, account
        FROM read_json(
            ?, format = 'newline_delimited',
            columns = {id: 'VARCHAR', type: 'VARCHAR', value: 'VARCHAR', account: 'VARCHAR', ts: 'BIGINT'}))
    GROUP BY account
"""

servers, topic = sys.argv[1:]
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "events.jsonl")
    tuned = (
        "fetch.message.max.bytes=8388608",
        "queued.min.messages=1000000",
        "isolation.level=read_committed",
    )
    with path.open("wb") as file:
        command = ["kcat", "-C", "-b", servers, "-t", topic, "-o", "beginning", "-e", "-q"]
        subprocess.run([*command, *(f"-X{setting}" for setting in tuned)], stdout=file, check=True)
    totals = duckdb.execute(TOTALS, [str(path)]).fetchall()
say(totals)
