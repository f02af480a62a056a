"""The level of the log: by the setting, and by signals while a process runs."""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import TYPE_CHECKING

import anyio
import pytest
import structlog

from worker.process import logs
from worker.process.signals import stop_on_signals
from worker.settings import LogFormat, LogLevel, SettingsError, read_settings

if TYPE_CHECKING:
    from collections.abc import Generator

pytestmark = pytest.mark.anyio


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Generator[io.StringIO]:
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    logs.configure(LogFormat.JSON, logs.LEVELS[LogLevel.INFO])
    yield file
    structlog.reset_defaults()


def test_the_setting_names_a_level() -> None:
    assert read_settings({}).log_level is LogLevel.INFO
    assert read_settings({"ACH_LOG_LEVEL": "debug"}).log_level is LogLevel.DEBUG
    with pytest.raises(SettingsError, match="ACH_LOG_LEVEL: expected debug or info or warning or error, got 'verbose'"):
        read_settings({"ACH_LOG_LEVEL": "verbose"})


def test_a_level_is_changed_step_by_step_and_no_further_than_to_the_ends(written: io.StringIO) -> None:
    log = structlog.get_logger()  # as modules hold it: from before the change
    log.debug("unseen")
    logs.change_level(-1)
    log.debug("seen")
    logs.change_level(-1)
    for _ in range(5):
        logs.change_level(1)
    log.warning("unseen")
    log.error("seen")
    lines = written.getvalue()
    assert lines.count('"seen"') == 2
    assert '"unseen"' not in lines
    assert lines.count('"now": "debug"') == 2
    assert lines.count('"now": "error"') == 3


async def test_signals_change_it_and_nothing_else(written: io.StringIO) -> None:
    log = structlog.get_logger()
    async with stop_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGUSR1)
        await until(written, '"now": "debug"')
        log.debug("seen")
        os.kill(os.getpid(), signal.SIGUSR2)
        await until(written, '"now": "info"')
        log.debug("unseen")
        assert not stop.is_set()
    assert '"seen"' in written.getvalue()
    assert '"unseen"' not in written.getvalue()


async def until(written: io.StringIO, text: str) -> None:
    with anyio.fail_after(10):
        while text not in written.getvalue():  # noqa: ASYNC110 - a signal is handled when the loop comes round
            await anyio.sleep(0.001)
