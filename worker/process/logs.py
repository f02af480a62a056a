"""How log lines look: readable on a terminal, one JSON object a line where a machine reads them."""

from __future__ import annotations

import json
import logging
import os
import sys
from bisect import bisect_left
from typing import TYPE_CHECKING, Any, Final

import structlog

from worker.report.escape import visible
from worker.settings import LogFormat, LogLevel

if TYPE_CHECKING:
    from collections.abc import MutableMapping

LEVELS: Final = {one: getattr(logging, one.name) for one in LogLevel}
"""The numbers of levels, the least urgent first."""


def configure(form: LogFormat, level: int = logging.INFO, *, once: bool = False) -> None:
    """Set up logging to standard error, once, at a composition root; with `once`, no line is written again."""
    structlog.configure(
        processors=[
            *([_Once()] if once else []),
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            *([] if form is LogFormat.JSON else [_visible]),
            structlog.processors.JSONRenderer(_json)
            if form is LogFormat.JSON
            else structlog.dev.ConsoleRenderer(colors=_coloured(), pad_event_to=28),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # The clients of the servers also raise what they log, and that is logged here in words.
    logging.getLogger("nats").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)


def change_level(steps: int) -> None:
    """Write more lines from now on, or fewer: so many levels more urgent, less if negative; the ends are kept."""
    numbers = [*LEVELS.values()]
    at = bisect_left(numbers, structlog.get_logger().get_effective_level())
    level = [*LEVELS][min(max(at + steps, 0), len(numbers) - 1)]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]))
    structlog.get_logger().log(LEVELS[level], "log level", now=level.value)


class _Once:
    """Drops a line that was written before: each attempt to reach a server that is away logs the same."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def __call__(self, _logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        said = repr(sorted(line.items()))
        if said in self._said:
            raise structlog.DropEvent
        self._said.add(said)
        return line


def _visible(_logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Make received text visible, so that a terminal does not obey it. Other values are written as Python does."""
    for name, value in line.items():
        if isinstance(value, str):
            line[name] = visible(value, kept="\n" if name == "exception" else "")
    return line


def _json(line: object, **how: Any) -> str:  # noqa: ANN401 - of the library
    # The one character that a terminal obeys and JSON in ASCII leaves as it is.
    return json.dumps(line, **how).replace("\x7f", "\\u007f")


def quiet() -> None:
    """Log warnings and errors alone, each once: for commands that print a result."""
    configure(LogFormat.TEXT, logging.WARNING, once=True)


def _coloured() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")
