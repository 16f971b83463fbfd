"""What every test shares: UTC, and one real broker a session."""

from __future__ import annotations

import gc
import logging
import os
import time
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from recovery_kit.sandbox import Kafka

settings.register_profile("kit", deadline=None)  # a machine that is busy is no defect
settings.load_profile("kit")

os.environ["TZ"] = "UTC"
time.tzset()

with warnings.catch_warnings():
    # While it is imported, kafka-python reads its schemas by a call that Python 3.11 and 3.12 warn
    # about.
    warnings.simplefilter("ignore", DeprecationWarning)
    import kafka  # noqa: F401


@pytest.fixture(scope="session")
def broker() -> Iterator[Kafka]:
    """A real Apache Kafka for the whole session: give each test topics of its own, and do not stop
    it.
    """
    from recovery_kit.sandbox import Kafka

    with Kafka() as running:
        yield running


@pytest.fixture
def dead_brokers() -> Iterator[None]:
    """For tests whose clients meet a broker that is down.

    kafka-python leaves the socket of a connection that was refused to the garbage collector, which
    then warns. It also logs each refusal, and pytest would keep those records, and the sockets with
    them, for later.
    """
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"unclosed <(ssl\.SSLS|s)ocket", ResourceWarning)
        yield
        gc.collect()
    logging.getLogger("kafka").setLevel(logging.NOTSET)


def pytest_configure(config: pytest.Config) -> None:
    """Compile the scan once, before several workers would each do it at the same time."""
    if not hasattr(config, "workerinput"):
        from recovery_kit.payload.reader import Reader
        from recovery_kit.schema import EventSchema
        from tests.messages import pack

        Reader(EventSchema()).read(pack([b'{"id": "e1", "type": "add", "value": 1}']))
