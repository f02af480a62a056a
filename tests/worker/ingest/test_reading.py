"""Bodies taken apart, and events held to the contract: pure, for any bytes."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from tests.integration.engine import event
from worker.contract.strict_reader import Accepted, Contract
from worker.ingest.cloud import envelopes_of
from worker.ingest.forms import Form, elements_of, form_of
from worker.ingest.problems import ContractError, EventsError, EventTooLargeError, MediaTypeError, OtherTenantError
from worker.ingest.reading import Held, Naming, check_sizes, messages_of
from worker.rulefiles import load
from worker.serve.problems import BadRequestError, ProblemError, TooLargeError

NOW = 1_900_000_000_000_000
MARK = 1234
NAMING = Naming("events", b"k" * 32)
PLAIN = Held(Contract({}, prefix="events", skew=0, mark=MARK))
LONE = json.dumps({**event(1), "event_id": "?"}).encode().replace(b"?", b"\\ud800")


def read(elements: list[bytes], held: Held = PLAIN, tenant: str = "t1") -> list[str]:
    return [one.subject for one in messages_of(elements, held, tenant=tenant, naming=NAMING, now=NOW)]


def text(**changes: object) -> bytes:
    return json.dumps({**event(1), **changes}).encode()


@pytest.mark.parametrize(
    ("kind", "names", "form"),
    [
        ("application/json", [], Form.JSON),
        ("Application/JSON; charset=UTF-8", [], Form.JSON),
        ("application/x-ndjson", [], Form.LINES),
        ("application/jsonl", [], Form.LINES),
        ("application/cloudevents+json; charset=utf-8", ["ce-id"], Form.CLOUDEVENT),
        ("application/cloudevents-batch+json", [], Form.CLOUDEVENTS),
        ("application/json", ["ce-id"], Form.BINARY),
        (None, ["ce-specversion"], Form.BINARY),
    ],
)
def test_forms(kind: str | None, names: list[str], form: Form) -> None:
    assert form_of(kind, names) is form


@pytest.mark.parametrize("kind", [None, "", "text/json", "application/json; charset=utf-16", "application/cloudevents"])
def test_other_types_are_refused(kind: str | None) -> None:
    with pytest.raises(MediaTypeError):
        form_of(kind, [])


def test_bodies_are_taken_apart_without_a_change() -> None:
    one, other = b'{"a": 1.50}', b'{"b":"\\n"}'
    assert elements_of(Form.JSON, b" " + one + b"\n", 9) == [one]
    assert elements_of(Form.JSON, b"\r\n[ %s , %s ]\n" % (one, other), 9) == [one, other]
    assert elements_of(Form.LINES, b"%s\r\n\n  %s" % (one, other), 9) == [one, other]
    with pytest.raises(TooLargeError):
        elements_of(Form.LINES, b"1\n2\n3", 2)


@pytest.mark.parametrize("body", [b"[", b"[1,]", b"[" * 100_000, b'[{"a": "\\ud800"}]', b"[1] 2"])
def test_arrays_that_are_none(body: bytes) -> None:
    with pytest.raises(BadRequestError):
        elements_of(Form.JSON, body, 9)


@pytest.mark.parametrize(
    ("element", "field"),
    [
        (text(tenant_id=""), "tenant_id"),
        (text(event_id="\0"), None),
        (text(user_id="u" * 513), "user_id"),
        (text(occurred_at="2026-01-01"), "occurred_at"),
        (text(payload=[]), "payload"),
        (text(payload={"x": "["}).replace(b'"["', b"[" * 70 + b"]" * 70), None),
        (b"[" + text() + b"]", None),
        (text() + b"," + text(), None),
        (text() + b",%d," % MARK + text(), None),
        (b"", None),
        (b"null", None),
        (b"1e999", None),
        (b'{"event_id": "\xff"}', None),
        (LONE, None),
    ],
)
def test_one_event_at_fault_is_named(element: bytes, field: str | None) -> None:
    with pytest.raises(EventsError) as caught:
        read([text(event_id="good"), element])
    (flaw,) = caught.value.flaws
    assert (flaw.index, flaw.field) == (1, UNSET if field is None else field)
    with pytest.raises(EventsError):
        read([element])


def test_events_of_another_tenant_are_refused() -> None:
    with pytest.raises(OtherTenantError) as caught:
        read([text(), text(event_id="2", tenant_id="t2")])
    assert [one.index for one in caught.value.flaws] == [1]
    # The last one of two names counts, here as for the worker.
    twice = text().replace(b'"tenant_id": "t1"', b'"tenant_id": "t1", "tenant_id": "t2"')
    with pytest.raises(OtherTenantError):
        read([twice])


def test_ids_cannot_leave_their_subject() -> None:
    odd = "a.>*\r\nPUB x 0\r\n \t" + "\u2028"
    (subject,) = read([text(user_id=odd, event_type=f"x.{odd}", event_id=odd)])
    assert subject.startswith("events.t1.")
    assert subject.isascii()
    assert not any(one in subject for one in "*> \r\n\t")
    (message,) = messages_of([text(event_id=odd)], PLAIN, tenant="t1", naming=NAMING, now=NOW)
    assert message.id is not None
    assert re.fullmatch("[0-9a-f]{32}", message.id)


def test_message_ids_are_of_one_event_one_tenant_one_key() -> None:
    ids = [
        naming.message_id(tenant, event_id)
        for naming in (NAMING, Naming("events", b"l" * 32))
        for tenant, event_id in (("t1", "1"), ("t1", "2"), ("t2", "1"), ("t", "11"), ("t1\u2028", "1"))
    ]
    assert len({*ids}) == len(ids)
    assert NAMING.message_id("t1", "1") == ids[0]


def test_declared_types_and_their_fields(tmp_path: Any) -> None:  # noqa: ANN401
    (tmp_path / "a.ach").write_text("event lesson.completed { score: int }\n")
    declared = load([tmp_path]).rules.events
    held = Held(Contract(declared, prefix="events", skew=0, mark=MARK), declared)
    assert read([text(event_type="lesson.completed", payload={"score": 1})], held)
    for changes, field in (
        ({"event_type": "lesson.completd"}, "event_type"),
        ({"event_type": "lesson.completed", "payload": {"score": "1"}}, "payload.score"),
    ):
        with pytest.raises(ContractError) as caught:
            read([text(**changes)], held)
        assert caught.value.flaws[0].field == field
    with pytest.raises(EventsError) as mixed:
        read([text(event_type="lesson.completed", payload={}), b"{}"], held)
    assert (mixed.value.status, [one.index for one in mixed.value.flaws]) == (400, [0, 1])


def test_large_messages_are_named() -> None:
    messages = [("s", b"", b"1234"), ("s", b"h" * 4, b"1234")]
    check_sizes(messages, 8)
    with pytest.raises(EventTooLargeError) as caught:
        check_sizes(messages, 7)
    assert [one.index for one in caught.value.flaws] == [1]


BYTES = st.binary(max_size=60) | st.sampled_from(
    [text(), LONE, b"[" * 3000, b"{}", b"\n", b"[]", b'{"specversion":"1.0"}']
)
JOINED = st.lists(BYTES, max_size=4).map(b",".join)
BODIES = BYTES | JOINED | JOINED.map(lambda one: b"[" + one + b"]") | st.lists(BYTES, max_size=4).map(b"\n".join)
HEADERS = st.dictionaries(st.sampled_from(["ce-id", "ce-time", "ce-source"]), st.text(max_size=9))


@settings(max_examples=300, deadline=None)
@given(
    BODIES,
    st.sampled_from([*Form]),
    st.dictionaries(st.sampled_from(["ce-id", "ce-time", "ce-source"]), st.text(max_size=9)),
)
def test_no_bytes_are_a_defect(body: bytes, form: Form, headers: dict[str, str]) -> None:
    """What is taken is what the worker takes; all else is a problem that is below 500."""
    try:
        elements = elements_of(form, body, 1000)
        if form in {Form.BINARY, Form.CLOUDEVENT, Form.CLOUDEVENTS}:
            elements = envelopes_of(form, elements, headers, "t1")
        messages = messages_of(elements, PLAIN, tenant="t1", naming=NAMING, now=NOW)
    except ProblemError as problem:
        status, messages = problem.status, []
    else:
        status = 202
    assert status < 500
    for one in messages:
        (found,) = PLAIN.contract.read(one.subject, one.body, now=NOW)
        assert isinstance(found, Accepted)
