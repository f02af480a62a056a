"""How log lines look: readable on a terminal, one JSON object a line where a machine reads them."""

from __future__ import annotations

import logging
import os
import sys

import structlog

from worker.settings import LogFormat


def configure(form: LogFormat, level: int = logging.INFO) -> None:
    """Set up logging to standard error, once, at a composition root."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer()
            if form is LogFormat.JSON
            else structlog.dev.ConsoleRenderer(colors=_coloured(), pad_event_to=28),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # The clients of the servers tell their troubles as exceptions, which are told here in words.
    logging.getLogger("nats").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)


def quiet() -> None:
    """Show warnings and errors alone: for commands that have a result to print."""
    configure(LogFormat.TEXT, logging.WARNING)


def _coloured() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")
