"""Some of the same faults on Apache Kafka 3.9, which speaks the older protocol."""

# ruff: noqa: F401

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.test_faults_cluster import (
    QUICK,
    admin,
    hundred,
    new_topic,
    pytestmark,
    segmented,
    send,
    test_fault_08_retention_deletes_segments_during_the_read,
    test_fault_09_the_log_start_moves_between_capture_and_first_fetch,
    test_fault_12_a_topic_deleted_and_made_anew_during_the_read,
    test_fault_15_a_broker_restarts_during_the_read,
    test_fault_15_connections_are_cut_again_and_again,
    test_fault_22_who_holds_the_transaction_open_and_since_when,
    test_fault_23_a_compacted_topic_is_told_before_the_read,
)
from tests.proxied import Proxied


@pytest.fixture(scope="module")
def broker() -> Iterator[Proxied]:
    with Proxied(QUICK, version="3.9.2") as running:
        yield running
