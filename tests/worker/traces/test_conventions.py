"""Names and attributes of spans: bounded, and without anything of a user."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from worker.contract.trace import Trace
from worker.traces.conventions import caller_of, end_request, request
from worker.traces.spans import NO_FACTS, NoSpans, Start, ended

if TYPE_CHECKING:
    from worker.traces.spans import Facts

PARENT = f"00-{1:032x}-{2:016x}-01"
TRACE = Trace(f"{1:032x}", f"{2:016x}", 1)


class Recorded:
    """An open span that keeps what it is ended with."""

    trace = TRACE

    def __init__(self) -> None:
        self.ends: list[tuple[Facts, str, str]] = []

    def end(self, facts: Facts = NO_FACTS, *, name: str = "", error: str = "") -> None:
        self.ends.append((dict(facts), name, error))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"traceparent": [PARENT]}, TRACE),
        ({"traceparent": [PARENT], "tracestate": ["a=1"]}, TRACE._replace(state="a=1")),
        ({"traceparent": [PARENT], "tracestate": ["a=1", "b=2"]}, TRACE),
        ({"traceparent": [PARENT, PARENT]}, None),
        ({"traceparent": ["nonsense"]}, None),
        ({"tracestate": ["a=1"]}, None),
        ({}, None),
    ],
)
def test_a_caller_says_one_trace_or_none(given: dict[str, list[str]], said: Trace | None) -> None:
    assert caller_of(lambda name: given.get(name, [])) == said


def test_a_method_that_is_made_up_is_no_name() -> None:
    made_up, known = (request(method, lambda _: [PARENT]) for method in ("BREW-ann", "GET"))
    assert (made_up.name, made_up.facts) == ("HTTP", {"http.request.method": "_OTHER"})
    assert (known.name, known.facts, known.parent) == ("GET", {"http.request.method": "GET"}, TRACE)


def test_a_request_fails_by_the_fault_of_the_server_alone() -> None:
    span = Recorded()
    for route, status in (("/v1/{user}", 200), ("/v1/{user}", 404), (None, 404), ("/v1/{user}", 503), (None, 0)):
        end_request(span, "GET", route, status)
    assert [(name, error) for _, name, error in span.ends] == [
        ("GET /v1/{user}", ""),
        ("GET /v1/{user}", ""),
        ("", ""),
        ("GET /v1/{user}", "503"),
        ("", ""),
    ]
    assert span.ends[-1][0] == {}


def test_a_span_ends_with_its_block_and_says_no_words_of_an_error() -> None:
    good, bad = Recorded(), Recorded()
    with ended(good):
        pass
    with pytest.raises(ValueError, match="s3cret"), ended(bad):
        raise ValueError("s3cret")
    assert good.ends == [({}, "", "")]
    assert bad.ends == [({}, "", "ValueError")]
    with ended(None):
        pass


def test_without_an_exporter_nothing_begins() -> None:
    assert NoSpans().begin(Start("x", "server", TRACE)) is None
    assert not NoSpans().exports
