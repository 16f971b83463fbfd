"""What goes wrong in kafka-python's own thread, told at once to whoever waits for it.

kafka-python 3.0.12 logs what a task or a callback of its own raises, and goes on without it. Nobody
reads that connection any more, or asks what the cluster looks like, and the kit would wait for a
broker that has long answered. ``tests/kafka/test_thread.py`` fails when a new kafka-python changes
what is used here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import kafka
from kafka import KafkaConsumer
from kafka.cluster import ClusterMetadata
from kafka.errors import KafkaConnectionError
from kafka.errors import KafkaError as LibraryError
from kafka.net.compat import KafkaNetClient

from recovery_kit._show import told
from recovery_kit.errors import KafkaError
from recovery_kit.kafka.client.secret import hide_secrets

Failed = Callable[[BaseException], None]


def watch(client: KafkaNetClient, options: Mapping[str, object]) -> Failed:
    """Let an error in the thread of a client end every wait for it, also those to come.

    Parameters
    ----------
    client : KafkaNetClient
        One that was just made.
    options : mapping
        What it connects with; no secret of it is told.

    Returns
    -------
    callable
        To be called in that thread, with what else went wrong there.
    """
    net, cluster = client._net, client._manager.cluster
    fail, done = net._fail_pending_waiters, net._task_done

    def failed(error: BaseException) -> None:
        if not net._stop:  # else it is being closed, and whoever waits is told just that
            net._exception = error = _error(error, options)
        fail(error)

    def task_done(task: Any) -> None:
        done(task)
        if task.exception is not None:
            failed(task.exception)

    net._fail_pending_waiters, net._task_done = failed, task_done
    cluster.update_metadata = watched(cluster.update_metadata, failed)
    _try_again(cluster)
    return failed


def watched(callback: Callable[..., Any], failed: Failed) -> Callable[..., Any]:
    """A callback whose errors kafka-python would log and no more, or take for the broker's."""

    @wraps(callback)
    def call(*args: Any) -> Any:
        try:
            return callback(*args)
        except Exception as error:
            if not isinstance(error, LibraryError):
                failed(error)
            raise

    return call


def close(consumer: KafkaConsumer) -> None:
    """Close a consumer, also one whose thread has failed and takes no more orders."""
    if consumer._net._exception is None:
        consumer.close(autocommit=False, timeout_ms=2000)
    else:
        release(consumer._client)


def release(client: KafkaNetClient) -> None:
    """Close a client and end its thread, whatever has become of that."""
    net = client._net
    net._exception = None  # it would be raised again
    net.stop()
    for task in list(net._pending_tasks):  # else they would be told that it closes, and try again
        net.cancel(task)
    for connection in list(client._manager._conns.values()):
        if connection.transport:  # else it would wait for what is still to be written
            connection.transport.abort()
    client.close()


def _try_again(cluster: ClusterMetadata) -> None:
    """Let a look at the cluster be tried again, whatever stood in its way.

    kafka-python does so after errors of its own alone; but a name that cannot be looked up comes
    out of it as an IndexError, after which it would never look again.
    """
    refresh, fail = cluster.refresh_metadata, cluster.failed_update

    async def refresh_metadata(*args: Any) -> None:
        try:
            await refresh(*args)
        except Exception as error:
            raise _as_theirs(error) from None

    cluster.refresh_metadata = refresh_metadata
    cluster.failed_update = lambda error: fail(_as_theirs(error))


def _as_theirs(error: Exception) -> LibraryError:
    if isinstance(error, LibraryError):
        return error
    return KafkaConnectionError(f"{type(error).__name__}: {error}")


def _error(error: BaseException, options: Mapping[str, object]) -> KafkaError:
    said = told(hide_secrets(str(error), options), 400)
    return KafkaError(
        f"kafka-python {kafka.__version__} failed in its own thread: {type(error).__name__}"
        f"{f': {said}' if said else ''}. Nothing more can be read with it, so this ends here. Run "
        "again; if it ends so again, it is a defect, in kafka-python or in how it is used here: "
        "please report it"
    )
