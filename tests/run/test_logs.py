"""Log lines: levels, one line a record, and no secret."""

import logging
from collections.abc import Iterator

import pytest

from recovery_kit.kafka.client.secret import Secret
from recovery_kit.run.logs import Relay, log_to_stderr


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    loggers = [
        logging.getLogger(),
        *map(logging.getLogger, ("kafka", "kafka.protocol", "papermill")),
    ]
    levels = [logger.level for logger in loggers]
    handlers = list(loggers[0].handlers)
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
    loggers[0].handlers[:] = handlers


def test_levels_and_quiet_libraries(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr("info")
    log_to_stderr("info")  # a second time adds no second handler
    logging.getLogger("recovery_kit.run").info("begins")
    logging.getLogger("recovery_kit.run").debug("not told")
    logging.getLogger("kafka.client").info("not told either")
    logging.getLogger("kafka.client").warning("a warning")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("Z ", 1)[1] for line in lines] == [
        "INFO recovery_kit.run: begins",
        "WARNING kafka.client: a warning",
    ]


def test_by_default_libraries_tell_errors_only(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr("warning")
    logging.getLogger("kafka.conn").warning("a connection is tried again")
    logging.getLogger("kafka.conn").error("broken")
    assert [line.split("Z ", 1)[1] for line in capsys.readouterr().err.splitlines()] == [
        "ERROR kafka.conn: broken"
    ]


def test_what_a_message_says_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr("info")
    Relay(logging.getLogger("recovery_kit.run")).write("replay: 1 of 2\r\x1b[2Jreplay: 2 of 2\n\n")
    told = capsys.readouterr().err
    assert "\x1b" not in told
    assert [line.split(": ", 1)[1] for line in told.splitlines()] == [
        "replay: 1 of 2",
        r"\x1b[2Jreplay: 2 of 2",
    ]


def test_no_secret_at_debug(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr("debug")
    logging.getLogger("kafka.net.connection").debug(
        "sent %s, %r", b"\x00alice\x00planted", Secret("planted")
    )
    logging.getLogger("kafka.protocol.parser").debug("bytes %s", b"planted")
    told = capsys.readouterr().err
    assert "kafka.net.connection" in told
    assert "planted" not in told
