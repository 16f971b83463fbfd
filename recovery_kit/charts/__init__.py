"""Charts of what each step found: every function takes a result object and returns a matplotlib
Figure. Those of runs set side by side are in ``history``.

Each figure says its finding in its title, reads without colour, and carries alt text (`Chart.alt`),
which a notebook shows to those who cannot see the picture. matplotlib is imported at the first
chart, not before.
"""

from recovery_kit.charts import history
from recovery_kit.charts.causes import incidents, one_key, waterfall
from recovery_kit.charts.differences import distribution, largest, statuses
from recovery_kit.charts.log import conflicts, coverage, events_over_time, redeliveries
from recovery_kit.charts.moments import divergence_over_time, where_in_log
from recovery_kit.charts.running import running

__all__ = [
    "conflicts",
    "coverage",
    "distribution",
    "divergence_over_time",
    "events_over_time",
    "history",
    "incidents",
    "largest",
    "one_key",
    "redeliveries",
    "running",
    "statuses",
    "waterfall",
    "where_in_log",
]
