"""Whether traces are exported, by the variables of OpenTelemetry; what is wrong with them ends no worker."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from worker.distribution import install
from worker.settings import Settings
from worker.traces.choice import is_asked_for, spans_of, what_is_wrong
from worker.traces.spans import NoSpans

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE = "http://127.0.0.1:4318"


@pytest.mark.parametrize(
    ("environment", "asked"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": HERE}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": HERE}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": HERE}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": HERE}, False),
        ({"OTEL_METRICS_EXPORTER": "otlp"}, False),
    ],
)
def test_the_standard_variables_ask_for_traces(environment: Mapping[str, str], asked: bool) -> None:
    assert is_asked_for(environment) is asked
    if not asked:
        assert isinstance(spans_of(environment, Settings()), NoSpans)


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"OTEL_TRACES_EXPORTER": "console"}, "OTEL_TRACES_EXPORTER"),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "localhost:4317"}, "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://s3cret:p@ss@[::1"}, "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://host:s3cret"}, "OTEL_EXPORTER_OTLP_ENDPOINT"),
    ],
)
def test_what_cannot_be_used_is_named_and_the_worker_works_without(environment: Mapping[str, str], named: str) -> None:
    with capture_logs() as lines:
        assert isinstance(spans_of(environment, Settings()), NoSpans)
    (line,) = lines
    assert (line["event"], line["log_level"]) == ("traces are not exported", "warning")
    assert line["because"].startswith(f"{named}: expected ")
    assert "s3cret" not in str(line)
    assert not what_is_wrong({"OTEL_EXPORTER_OTLP_ENDPOINT": HERE})


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "opentelemetry" or name == OTLP]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with capture_logs() as lines:
        assert isinstance(spans_of({"OTEL_EXPORTER_OTLP_ENDPOINT": HERE}, Settings()), NoSpans)
    assert [line["because"] for line in lines] == [f"opentelemetry is not installed: {install('otel')}"]


OTLP = "worker.traces.otlp"
