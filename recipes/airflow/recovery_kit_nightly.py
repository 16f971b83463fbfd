"""Every night: the notebooks, each by a PapermillOperator, then a task that fails where totals
differ.

The kit stays in its own environment: Airflow only needs `apache-airflow-providers-papermill` and a
kernel named `recovery-kit` (see recipes/README.md). Secrets stay in the client.properties file
whose path params.yaml names.
"""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta
from pathlib import Path

import yaml
from airflow.providers.papermill.operators.papermill import PapermillOperator
from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowFailException

BASE = Path(os.environ.get("RECOVERY_DIR", "/srv/recovery"))
NOTEBOOKS = Path(os.environ.get("RECOVERY_NOTEBOOKS", "/opt/recovery-kit/notebooks"))
STEPS = ("01_replay", "02_dedup", "03_reconcile", "04_divergences")


@dag(
    schedule="15 2 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    # A replay begins anew at the next run; a second try within the night is for the operator to
    # decide.
    default_args={"retries": 0, "execution_timeout": timedelta(hours=2)},
)
def recovery_kit_nightly() -> None:
    """One run a night, into a folder of its own; times are UTC."""
    folder = str(BASE / "runs" / "{{ run_id | replace(':', '') }}")
    parameters = yaml.safe_load((BASE / "params.yaml").read_text()) | {"run_dir": folder}

    @task
    def begin(folder: str) -> None:
        (Path(folder) / "notebooks").mkdir(parents=True)

    @task
    def verdict(folder: str) -> None:
        told = json.loads((Path(folder) / "summary.json").read_text())
        found = told["reconciliation"]
        if told["replay"]["verdict"] != "complete":
            raise AirflowFailException(
                f"the log could not be read whole: {told['replay']['verdict']}"
            )
        asked = found["expected_keys"] is not None
        if not found["recovered_keys"] or (asked and not found["compared"]):
            raise AirflowFailException(f"nothing was compared: {folder}")
        if 100 * told["replay"]["rejects"] > told["replay"]["events"]:
            raise AirflowFailException(
                f"{told['replay']['rejects']} messages are rejects: {folder}"
            )
        if found["divergent"]:
            raise AirflowFailException(
                f"{found['divergent']} of {found['keys']} keys differ, "
                f"{found['absolute_difference']} in all: {folder}"
            )

    last = begin(folder)
    for name in STEPS:
        step = PapermillOperator(
            task_id=name,
            input_nb=str(NOTEBOOKS / f"{name}.ipynb"),
            output_nb=f"{folder}/notebooks/{name}.ipynb",
            parameters=parameters,
            kernel_name="recovery-kit",
            language_name="python",
        )
        last >> step
        last = step
    last >> verdict(folder)


recovery_kit_nightly()
