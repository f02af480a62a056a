"""Whether traces are exported, by the standard variables of OpenTelemetry.

Nothing about traces ends a process: these variables are often set for all programs of a cluster. What cannot be used is
said in one line of the log, and the process works without.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import anyio
import structlog

from worker.distribution import install
from worker.traces.spans import NoSpans

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from worker.settings import Settings
    from worker.traces.spans import Spans

PROTOCOL: Final = "http/protobuf"
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_EXPORTER: Final = "OTEL_TRACES_EXPORTER"
_SAMPLER: Final = "OTEL_TRACES_SAMPLER"
WORKER: Final = "ach"
INGEST: Final = "ach-ingest"
SERVE: Final = "ach-serve"
NOTIFY: Final = "ach-notify"
"""Names of the services where `OTEL_SERVICE_NAME` gives none."""

log = structlog.get_logger()


@asynccontextmanager
async def open_spans(
    environment: Mapping[str, str], settings: Settings, service: str = WORKER
) -> AsyncGenerator[Spans]:
    """Say where the spans of a service go, for the length of a block, and export what is left behind it."""
    spans = spans_of(environment, settings, service)
    try:
        yield spans
    finally:
        with anyio.CancelScope(shield=True):
            await spans.close()


def spans_of(environment: Mapping[str, str], settings: Settings, service: str = WORKER) -> Spans:
    """Return where the spans of a service go."""
    if not is_asked_for(environment):
        return NoSpans()
    wrong = what_is_wrong(environment)
    if not wrong:
        try:
            from worker.traces.otlp import OtlpSpans  # noqa: PLC0415 - an extra

            made = OtlpSpans(settings, service, begins=bool(environment.get(_SAMPLER, "").strip()))
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] not in {"google", "opentelemetry", "requests"}:
                raise
            wrong = f"opentelemetry is not installed: {install('otel')}"
        except (ValueError, TypeError, OSError) as error:
            # Not its words, which may quote a variable with a secret in it.
            wrong = f"a variable OTEL_... is malformed ({type(error).__name__})"
        else:
            log.info("traces are exported", to=_shown(environment))
            return made
    log.warning("traces are not exported", because=wrong)
    return NoSpans()


def is_asked_for(environment: Mapping[str, str]) -> bool:
    """Tell whether an environment asks for traces."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environment.get(_EXPORTER, "").strip().lower()
    return exporter != "none" and bool(exporter or _first(environment, _ENDPOINTS))


def what_is_wrong(environment: Mapping[str, str]) -> str:
    """Return why traces cannot be exported as an environment asks for, "" if they can."""
    exporters = {one.strip().lower() for one in environment.get(_EXPORTER, "").split(",")} - {""}
    if exporters - {"otlp"}:
        return f"{_EXPORTER}: expected otlp or none"
    if (_first(environment, _PROTOCOLS) or PROTOCOL) != PROTOCOL:
        return f"OTEL_EXPORTER_OTLP_PROTOCOL: expected {PROTOCOL}, whose port is 4318 as a rule"
    return (
        ""
        if _address(_first(environment, _ENDPOINTS) or "http://localhost:4318")
        else ("OTEL_EXPORTER_OTLP_ENDPOINT: expected http://host:port or https://host:port")
    )


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((value for name in names if (value := environment.get(name, "").strip())), "")


def _address(url: str) -> str:
    """Return scheme, host and port of a URL, "" if it is none: the rest may be secret."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return ""
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}" if parts.scheme in {"http", "https"} and host else ""


def _shown(environment: Mapping[str, str]) -> str:
    return _address(_first(environment, _ENDPOINTS) or "http://localhost:4318")
