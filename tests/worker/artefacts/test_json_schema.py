"""A schema accepts what the worker accepts, and refuses what it refuses, but for limits that no schema can say."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Final, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator, Draft202012Validator

from dsl.types import FieldType
from tests.worker.artefacts.rules import EVENTS
from worker.artefacts.bundle import files_of
from worker.artefacts.json_schema import body_of
from worker.contract.strict_reader import Accepted, Contract

NOW: Final = 1_900_000_000_000_000
CONTRACT: Final = Contract(EVENTS, prefix="events", skew=0)
FILES: Final = files_of(EVENTS, prefix="events", title="Events")
SCHEMAS: Final = {path: json.loads(text) for path, text in FILES.items() if path.endswith(".schema.json")}
VALIDATORS: Final = {name: Draft202012Validator(SCHEMAS[f"events/{name}.schema.json"]) for name in EVENTS}
ENVELOPE: Final = Draft202012Validator(SCHEMAS["envelope.schema.json"])

INSTANTS_GOOD: Final = ["2026-01-01T00:00:00Z", "2026-01-01t00:00:00.123456789+05:30", "2016-12-31T23:59:60z"]
INSTANTS_BAD: Final = ["2026-01-01", "2026-01-01T00:00:00", "2026-01-01 00:00:00Z", "2026-01-01T24:00:00Z", "", "now"]
INSTANTS = st.sampled_from([*INSTANTS_GOOD, *INSTANTS_BAD])
NUMBERS = st.sampled_from([0, -0, 1, -1, 5.0, 1.5, 1.25, -2, -2.5, -3, -4, 10**20, 0.1, 1e3])
NUMBER_TEXTS = st.sampled_from(["0", "-0", "-0.0", "1.50", "01", "1.", ".5", "-1", "1e3", "+1", "1e1000", " 1", "x"])
TEXTS = st.sampled_from(["", "l1", "é", "true", "5"])
OTHERS: Final[list[Any]] = [None, True, False, [], {}, {"a": 1}]
ANYTHING: Final[st.SearchStrategy[Any]] = NUMBERS | NUMBER_TEXTS | TEXTS | INSTANTS | st.sampled_from(OTHERS)
FITTING: Final[dict[FieldType, st.SearchStrategy[Any]]] = {
    FieldType.STRING: TEXTS,
    FieldType.INT: NUMBERS,
    FieldType.DECIMAL: NUMBERS | NUMBER_TEXTS,
    FieldType.BOOL: st.booleans(),
    FieldType.TIMESTAMP: INSTANTS,
    FieldType.USER: TEXTS,
    FieldType.STRINGS: st.lists(TEXTS, max_size=3) | st.sampled_from([["x"] * 1000, ["x"] * 1001]),
    FieldType.INTS: st.lists(NUMBERS, max_size=3),
    FieldType.DECIMALS: st.lists(NUMBERS | NUMBER_TEXTS, max_size=3),
    FieldType.USERS: st.lists(TEXTS, max_size=3) | st.sampled_from([["x"] * 100, ["x"] * 101]),
}
GOOD: Final = {"event_id": "e1", "user_id": "ann", "tenant_id": "acme", "occurred_at": "2026-01-01T00:00:00Z"}
ABSENT: Final = "absent"


@st.composite
def events(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """Draw an event that is good but for some of its fields."""
    name = draw(st.sampled_from(sorted(EVENTS)))
    fields = EVENTS[name].fields.values()
    payload: dict[str, Any] = {}
    for field in fields:
        value = draw(st.one_of(FITTING[field.type], FITTING[field.type], ANYTHING, st.just(ABSENT)))
        if value != ABSENT:
            payload[field.name] = value
    if draw(st.booleans()):
        payload["undeclared"] = [1, {"a": None}]
    said: dict[str, Any] = {**GOOD, "event_type": name, "payload": payload}
    for field in draw(st.lists(st.sampled_from([*said, "source", "else"]), max_size=1)):
        said[field] = draw(ANYTHING | st.sampled_from(["x" * 512, "x" * 513, "other.type"]))
    for field in draw(st.lists(st.sampled_from(sorted(said)), max_size=1)):
        if draw(st.booleans()):
            del said[field]
    return name, said


def is_accepted(event: object) -> bool:
    (one,) = CONTRACT.read("events.raw", json.dumps(event).encode(), now=NOW)
    return isinstance(one, Accepted)


@given(events())
def test_what_the_worker_accepts_the_schema_accepts_and_nothing_else(drawn: tuple[str, dict[str, Any]]) -> None:
    name, event = drawn
    accepted = is_accepted(event)
    if event.get("event_type") == name:
        assert VALIDATORS[name].is_valid(event) == (accepted or is_beyond_schemas(name, event)), event
    else:
        assert not VALIDATORS[name].is_valid(event)
    if accepted:
        assert ENVELOPE.is_valid(event)
    elif str(event.get("event_type")) not in EVENTS:
        assert not ENVELOPE.is_valid(event)


@pytest.mark.parametrize("name", sorted(EVENTS))
@pytest.mark.parametrize("payload", [{}, {"payload": None}, {"payload": {}}], ids=str)
def test_a_payload_is_asked_for_where_the_worker_asks_for_it(name: str, payload: dict[str, Any]) -> None:
    event = {**GOOD, "event_type": name, **payload}
    assert VALIDATORS[name].is_valid(event) == is_accepted(event)
    assert is_accepted(event) == all(field.optional for field in EVENTS[name].fields.values())


def is_beyond_schemas(name: str, event: dict[str, Any]) -> bool:
    """Tell whether all that is wrong with an event is a number in a text that is too low, or too long."""
    payload: Any = event.get("payload")
    if not isinstance(payload, dict):
        return False
    mended = dict(cast("dict[str, Any]", payload))
    for field in EVENTS[name].fields.values():
        value = mended.get(field.name)
        if field.type is FieldType.DECIMAL and isinstance(value, str) and VALIDATORS[name].is_valid(event):
            bad = value == "1e1000" or (field.low is not None and Decimal(value) < field.low)
            mended[field.name] = 10 if bad else value
    return mended != payload and is_accepted({**event, "payload": mended})


@pytest.mark.parametrize("path", SCHEMAS)
def test_every_schema_is_one(path: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[path])
    assert SCHEMAS[path]["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_no_schema_says_what_draft_7_does_not_know(name: str) -> None:
    """AsyncAPI takes schemas of that draft."""
    Draft7Validator.check_schema(body_of(EVENTS[name]))


def test_bounds_have_the_digits_of_the_rules() -> None:
    text = FILES["events/price.seen.schema.json"]
    assert '"minimum": 1.5' in text
    assert '"minimum": -2\n' in text
    assert '"minimum": -3\n' in FILES["events/purchase.placed.schema.json"]


def test_what_counts_once_is_said() -> None:
    said = SCHEMAS["events/lesson.completed.schema.json"]["description"]
    assert said.startswith("Events of one user that are equal in lesson_id and team within 10 minutes are copies")
    assert SCHEMAS["events/plan.changed.schema.json"]["description"].startswith("Declared by `traits from` alone.")
