from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dsl.schema import EventSchema, Field
from dsl.types import FieldType
from worker.contract.fields import MAX_DEPTH, MAX_ID_BYTES, MAX_MESSAGE_BYTES
from worker.contract.partition import event_subject
from worker.contract.reasons import Reason
from worker.contract.sameness import same_body, stored_body, written_of
from worker.contract.strict_reader import Accepted, Contract, Rejected, element_of

NOW = 1_800_000_000_000_000
SKEW = 300_000_000
SCHEMAS = {
    "lesson.completed": EventSchema(
        "lesson.completed",
        {
            "lesson_id": Field("lesson_id", FieldType.STRING),
            "minutes": Field("minutes", FieldType.INT, optional=True, low=0),
        },
    ),
    "post.published": EventSchema(
        "post.published",
        {
            "tags": Field("tags", FieldType.STRINGS, optional=True),
            "author": Field("author", FieldType.USER, optional=True),
            "seen_by": Field("seen_by", FieldType.USERS, optional=True),
        },
    ),
}
CONTRACT = Contract(SCHEMAS, prefix="events", skew=SKEW, mark=4_611_686_018_427_387_847)


def event(**changes: object) -> dict[str, Any]:
    fields = {
        "event_id": "e1",
        "event_type": "lesson.completed",
        "user_id": "u1",
        "tenant_id": "t1",
        "occurred_at": "2026-04-13T09:00:00.5+02:00",
        "source": "web",
        "payload": {"lesson_id": "l1"},
    }
    return {name: value for name, value in {**fields, **changes}.items() if value is not ...}


def read(body: object, subject: str = "events.raw") -> list[Accepted | Rejected]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return CONTRACT.read(subject, data, now=NOW)


def rejected(body: object, subject: str = "events.raw") -> tuple[Reason, str]:
    (one,) = read(body, subject)
    assert isinstance(one, Rejected)
    assert one.body == (body if isinstance(body, bytes) else json.dumps(body).encode())
    return one.reason, one.detail


def accepted(body: object, subject: str = "events.raw") -> Accepted:
    (one,) = read(body, subject)
    assert isinstance(one, Accepted), one
    return one


def test_event_as_rules_see_it() -> None:
    one = accepted(event())
    assert one.event.at == 1_776_063_600_500_000
    assert one.event.offset == 7200
    assert one.event.fields == {"lesson_id": "l1"}
    assert written_of(json.dumps(event()).encode()) == ("2026-04-13T09:00:00.5+02:00", "web", '{"lesson_id": "l1"}')


@pytest.mark.parametrize("changes", [{"source": None}, {"source": ...}, {"unknown": [1, {"x": None}]}])
def test_optional_and_unknown_fields(changes: dict[str, Any]) -> None:
    assert accepted(event(**changes)).event.id == "e1"


@pytest.mark.parametrize("payload", [..., None])
def test_payload_may_be_absent_where_nothing_is_required(payload: object) -> None:
    body = json.dumps(event(event_type="anything.else", payload=payload)).encode()
    assert (written_of(body).payload, accepted(body).event.fields) == (None, {})


@pytest.mark.parametrize("field", ["event_id", "event_type", "user_id", "tenant_id", "occurred_at"])
@pytest.mark.parametrize("value", [..., None, 7, "", "x" * (MAX_ID_BYTES + 1), "é" * (MAX_ID_BYTES // 2 + 1), []])
def test_invalid_event_names_the_field(field: str, value: object) -> None:
    reason, detail = rejected(event(**{field: value}))
    assert reason is Reason.INVALID_EVENT
    assert detail.startswith(f"{field}:")


@pytest.mark.parametrize("payload", [[], "x", 1, True])
def test_payload_must_be_an_object(payload: object) -> None:
    assert rejected(event(payload=payload)) == (Reason.INVALID_EVENT, "payload: expected an object")


@pytest.mark.parametrize(
    "text",
    [
        "2026-04-13T09:00:00",
        "2026-04-13 09:00:00Z",
        "2026-02-30T09:00:00Z",
        "2026-04-13T24:00:00Z",
        "2026-04-13",
        "1700000000",
        "0001-01-01T00:00:00+10:00",
        "2026-04-13T09:00:00+24:00",
        "\uff12026-04-13T09:00:00Z",
    ],
)
def test_instants_are_rfc_3339_with_an_offset(text: str) -> None:
    reason, detail = rejected(event(occurred_at=text))
    assert reason is Reason.INVALID_EVENT
    assert "occurred_at" in detail


@pytest.mark.parametrize(
    ("payload", "detail"),
    [
        ({}, "payload.lesson_id: expected string, got nothing"),
        ({"lesson_id": None}, "payload.lesson_id: expected string, got null"),
        ({"lesson_id": 5}, "payload.lesson_id: expected string, got 5"),
        ({"lesson_id": "l", "minutes": -1}, "payload.minutes: expected int >= 0, got -1"),
        ({"lesson_id": "l", "minutes": True}, "payload.minutes: expected int >= 0, got true"),
        ({"lesson_id": "l", "minutes": "5"}, 'payload.minutes: expected int >= 0, got "5"'),
    ],
)
def test_broken_contract_names_the_field(payload: object, detail: str) -> None:
    assert rejected(event(payload=payload)) == (Reason.CONTRACT, detail)


@pytest.mark.parametrize(
    ("subject", "reason"),
    [
        (event_subject("events", "t1", "u1", "lesson.completed"), None),
        (event_subject("events", "t2", "u1", "lesson.completed"), Reason.TENANT_MISMATCH),
        (event_subject("events", "t1", "u2", "lesson.completed"), Reason.USER_MISMATCH),
        # Of any shape below the prefix: the first token is the tenant, the second, if any, the user.
        ("events.t1", None),
        ("events.t2", Reason.TENANT_MISMATCH),
        ("events.t1.u1", None),
        ("events.t1.u2", Reason.USER_MISMATCH),
        ("events.t2.u1", Reason.TENANT_MISMATCH),
        ("events.t1.u1.a.b.c.d", None),
        ("events.t2.t1.u1.a.b.c", Reason.TENANT_MISMATCH),
        ("events.t1.u2.u1", Reason.USER_MISMATCH),
        # Another spelling is another name.
        ("events.%741.u1.x", Reason.TENANT_MISMATCH),
        ("events.t1.%751.x", Reason.USER_MISMATCH),
        ("events.T1.u1.x", Reason.TENANT_MISMATCH),
        # A token that no name is encoded to names no user.
        ("events.t1.~batch", None),
        ("events.t1.~batch.batch", None),
        ("events.t1.~", None),
        ("events.t2.~batch.batch", Reason.TENANT_MISMATCH),
        ("events.t1.~" + "0" * 32, Reason.USER_MISMATCH),
        ("events.t1.~" + "0" * 32 + ".x", Reason.USER_MISMATCH),
        ("events.t1.~" + "0" * 31, None),
        ("events.t1.~" + "F" * 32, None),
        ("events.t1.~" + "f" * 32 + "\n", None),
        ("events.~t1.u1.x", Reason.TENANT_MISMATCH),
        ("events.~.u1.x", Reason.TENANT_MISMATCH),
        # Exactly one subject is exempt.
        ("events.raw", None),
        ("events.raw.u1.x", Reason.TENANT_MISMATCH),
        ("events.raw.", Reason.TENANT_MISMATCH),
        ("events.rawx", Reason.TENANT_MISMATCH),
        ("events.batch", Reason.TENANT_MISMATCH),
        # What is outside of the prefix, or has empty tokens, carries no events.
        ("events", Reason.TENANT_MISMATCH),
        ("events.", Reason.TENANT_MISMATCH),
        ("events..u1.x", Reason.TENANT_MISMATCH),
        ("events.t1.", Reason.USER_MISMATCH),
        ("events.t1..x", Reason.USER_MISMATCH),
        ("eventsx.t1.u1.x", Reason.TENANT_MISMATCH),
        ("other.t1.u1.x", Reason.TENANT_MISMATCH),
        ("raw", Reason.TENANT_MISMATCH),
        ("", Reason.TENANT_MISMATCH),
    ],
)
def test_a_subject_binds_the_tenant_and_the_user(subject: str, reason: Reason | None) -> None:
    one, other = event(), event(event_id="e2")
    for body in (one, [one], [one, other], [one, other, one, "none"]):
        (found, *_) = read(body, subject)
        assert (found.reason if isinstance(found, Rejected) else None) is reason


def test_every_element_of_an_array_is_bound() -> None:
    others = [event(event_id="e2", user_id="u2"), event(event_id="e3", tenant_id="t2")]
    for subject, reasons in {
        "events.raw": [None, None, None],
        "events.t1": [None, None, Reason.TENANT_MISMATCH],
        "events.t1.~batch": [None, None, Reason.TENANT_MISMATCH],
        "events.t1.u1.batch": [None, Reason.USER_MISMATCH, Reason.TENANT_MISMATCH],
    }.items():
        for events, wanted in (([event(), *others], reasons), ([*others[::-1], event()], reasons[::-1])):
            found = read(events, subject)
            assert [one.reason if isinstance(one, Rejected) else None for one in found] == wanted


def test_a_field_given_twice_is_the_last_one_for_the_subject_too() -> None:
    """What is judged is what is recorded, however a body is written."""
    body = json.dumps(event()).encode()
    forged = body.replace(b'"tenant_id": "t1"', b'"tenant_id": "t1", "tenant_id": "t2"')
    spelt = body.replace(b'"tenant_id": "t1"', b'"tenant_id": "t1", "tenant\\u005fid": "\\u00742"')
    for one in (forged, spelt, b"[" + forged + b"]", b"[" + spelt + b"," + body + b"]"):
        assert isinstance(found := read(one, "events.t1.u1.x")[0], Rejected)
        assert found.reason is Reason.TENANT_MISMATCH
        assert isinstance(read(one, "events.t2.u1.x")[0], Accepted)


def test_future_beyond_the_skew() -> None:
    assert accepted(event(occurred_at="2027-01-15T08:05:00Z")).event.at == NOW + SKEW
    assert rejected(event(occurred_at="2027-01-15T08:05:00.000001Z"))[0] is Reason.FROM_THE_FUTURE


@pytest.mark.parametrize("body", [b"", b"nope", b"{", b'{"event_id": ', b"\xff\xfe", b"\xef\xbb\xbf{}", b"{}x", b"NaN"])
def test_malformed_json(body: bytes) -> None:
    assert rejected(body)[0] is Reason.MALFORMED_JSON


@pytest.mark.parametrize("body", [b"5", b"null", b'"x"', b"{}"])
def test_json_that_is_no_event(body: bytes) -> None:
    assert rejected(body)[0] is Reason.INVALID_EVENT


def test_text_that_no_database_takes() -> None:
    nul = json.dumps(event(payload={"lesson_id": "a\0b"})).encode()
    assert rejected(nul)[0] is Reason.INVALID_TEXT
    assert rejected(json.dumps(event(user_id="a\0")).encode())[0] is Reason.INVALID_TEXT
    assert rejected(json.dumps(event(payload={"lesson_id": "\ud800"})).encode())[0] is Reason.INVALID_TEXT
    # A backslash and then the letters: text like any other.
    assert accepted(event(payload={"lesson_id": "\\u0000"})).event.fields == {"lesson_id": "\\u0000"}


def test_oversize() -> None:
    body = json.dumps(event(payload={"lesson_id": "x" * MAX_MESSAGE_BYTES})).encode()
    (one,) = read(body)
    assert isinstance(one, Rejected)
    assert one.reason is Reason.OVERSIZE
    # How it begins, and what tells that it was this one: a producer cannot fill the database with the rest.
    assert one.body == body[:MAX_MESSAGE_BYTES]
    assert f"{len(body)} bytes" in one.detail
    assert sha256(body).hexdigest() in one.detail


def nested(depth: int) -> bytes:
    inner = b"[" * depth + b"]" * depth
    return json.dumps(event()).encode().replace(b'"l1"', b'"l1", "deep": ' + inner)


def test_depth() -> None:
    assert accepted(nested(MAX_DEPTH - 2))
    for depth in (MAX_DEPTH - 1, 5_000, 200_000):
        assert rejected(nested(depth))[0] is Reason.TOO_DEEP
    # Brackets in strings nest nothing.
    assert accepted(event(payload={"lesson_id": "[{" * 500}))
    assert rejected(b"[" * 100_000)[0] in {Reason.TOO_DEEP, Reason.MALFORMED_JSON}


def test_an_array_is_many_events_of_which_bad_ones_are_rejected_alone() -> None:
    good, bad = json.dumps(event()), json.dumps(event(user_id=""))
    surrogate = json.dumps(event(payload={"lesson_id": "\udfff"}))
    array = f" [{good} , {bad},{surrogate}, 7,{good}]".encode()
    read_back = read(array)
    kinds = [one.reason if isinstance(one, Rejected) else None for one in read_back]
    assert kinds == [None, Reason.INVALID_EVENT, Reason.INVALID_TEXT, Reason.INVALID_EVENT, None]
    parts = [part.encode() for part in (good, bad, surrogate, "7", good)]
    assert [element_of(array, element) for element in range(5)] == parts
    assert [one.body for one in read_back if isinstance(one, Rejected)] == parts[1:4]


def test_what_is_no_array_is_its_own_element() -> None:
    assert [element_of(body, 0) for body in (b'{"a":1}', b" 7", b"", b"[1")] == [b'{"a":1}', b" 7", b"", b"[1"]


DEEP = {"lesson_id": "l", "more": json.loads("[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1))}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"user_id": ""},
        {"user_id": 5},
        {"user_id": "u" * MAX_ID_BYTES},
        {"user_id": "u" * (MAX_ID_BYTES + 1)},
        {"source": "é" * (MAX_ID_BYTES // 2 + 1)},
        {"user_id": "a\tb\\"},
        {"user_id": "\0"},
        {"payload": ...},
        {"payload": None},
        {"payload": "no object"},
        {"payload": {}},
        {"payload": {"lesson_id": "l", "minutes": -1}},
        {"payload": DEEP},
        {"payload": {"lesson_id": "l", "more": DEEP}},
        {"elsewhere": DEEP},
        {"elsewhere": [[DEEP]]},
        {"occurred_at": "2026-04-13"},
        {"occurred_at": "2999-01-01T00:00:00Z"},
        {"tenant_id": "t2"},
    ],
)
@pytest.mark.parametrize("others", [0, 1, MAX_DEPTH])
def test_an_element_is_read_as_it_would_be_alone(changes: dict[str, Any], others: int) -> None:
    """Arrays are read as a whole where all is plain, which must not show."""
    one = event(event_id="e0", **changes)
    events = [*(event(event_id=f"e{n}", payload={"lesson_id": "l"}) for n in range(1, others + 1)), one]
    assert read(events) == [first for each in events for first in read(each)]


def test_an_empty_array_is_no_event() -> None:
    assert read(b"[]") == []


@given(st.binary(max_size=300))
@example(b'{"a":1,"a":"\\ud800"}')
@example(b"[" * 300)
@example(b'["\\ud800",')
def test_no_bytes_raise_anything(body: bytes) -> None:
    for one in read(body, "events.t.u.x"):
        assert isinstance(one, Accepted | Rejected)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*event(), "more"]), json_values), json_values)
def test_no_json_raises_anything(changes: dict[str, Any], payload: object) -> None:
    body = json.dumps(event(**{"payload": payload, **changes})).encode()
    for one in read(body) + read(b"[" + body + b"," + body + b"]"):
        if isinstance(one, Accepted):
            assert "\0" not in one.event.id + one.event.user + (written_of(body).payload or "")
            one.event.user.encode()


@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_same_json_in_another_guise_is_the_same_body(payload: dict[str, Any]) -> None:
    kept = json.dumps(event(event_type="free", payload=payload))
    first = read(kept.encode())[0]
    again = json.dumps(event(event_type="free", payload=dict(reversed(payload.items()))), indent=2, ensure_ascii=False)
    second = read(again.encode())[0]
    if isinstance(first, Accepted) and isinstance(second, Accepted):
        stored = stored_body(first.event, written_of(kept.encode()))
        assert same_body(second.event, written_of(again.encode()), stored)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ('{"a": 1}', '{"a": 1.0}', True),
        ('{"a": 100}', '{"a": 1e2}', True),
        ('{"a": 0}', '{"a": -0.0}', True),
        ('{"a": 1}', '{"a": true}', False),
        ('{"a": 1}', '{"a": "1"}', False),
        ('{"a": 0.1}', '{"a": 0.10000000000000000000001}', False),
        ('{"a": null}', "{}", False),
        ('{"a": [1, 2]}', '{"a": [2, 1]}', False),
        ('{"a": 1e400}', '{"a": 1e401}', False),
    ],
)
def test_payloads_are_compared_by_value(one: str, other: str, *, same: bool) -> None:
    first, second = (
        json.dumps(event(event_type="free", payload={})).replace("{}", text).encode() for text in (one, other)
    )
    stored = stored_body(accepted(second).event, written_of(second))
    assert same_body(accepted(first).event, written_of(first), stored) is same


def test_other_fields_make_another_body() -> None:
    first = json.dumps(event()).encode()
    stored = stored_body(accepted(first).event, written_of(first))
    for changes in ({"user_id": "u2"}, {"source": None}, {"occurred_at": "2026-04-13T08:00:00.5+01:00"}):
        other = json.dumps(event(**changes)).encode()
        assert not same_body(accepted(other).event, written_of(other), stored)


def test_fields_of_the_ledger_are_read_leniently() -> None:
    assert CONTRACT.fields("lesson.completed", '{"lesson_id": 5, "minutes": 3}') == {"minutes": 3}
    assert CONTRACT.fields("lesson.completed", None) == {}
    assert CONTRACT.fields("unknown", '{"a": 1}') == {}
    assert msgspec.json.encode(CONTRACT.fields("lesson.completed", '{"lesson_id": "x"}'))


@pytest.mark.parametrize(
    ("payload", "detail"),
    [
        ({"seen_by": ["u"] * 101}, "payload.seen_by: expected [user] of at most 100 elements of 1 to 512 bytes"),
        ({"author": ""}, "payload.author: expected user of 1 to 512 bytes, got "),
        ({"author": "é" * 257}, "payload.author: expected user of 1 to 512 bytes, got "),
        ({"author": ["u"]}, "payload.author: expected user of 1 to 512 bytes, got an array of 1"),
        ({"tags": ["x"] * 1001}, "payload.tags: expected [string] of at most 1,000 elements, got an array of 1,001"),
        ({"tags": ["x", 1]}, "payload.tags: expected [string] of at most 1,000 elements, got an array of 2"),
        ({"tags": "x"}, 'payload.tags: expected [string] of at most 1,000 elements, got "x"'),
    ],
)
def test_a_list_or_a_user_that_breaks_its_contract_is_a_dead_letter(payload: dict[str, Any], detail: str) -> None:
    reason, said = rejected(event(event_type="post.published", payload=payload))
    assert reason is Reason.CONTRACT
    assert said.startswith(detail)


def test_lists_and_users_are_read() -> None:
    payload = {"tags": ["x"] * 1000, "author": "é" * 256, "seen_by": ["u", "u"]}
    fields = accepted(event(event_type="post.published", payload=payload)).event.fields
    assert fields == {"tags": ("x",) * 1000, "author": "é" * 256, "seen_by": ("u", "u")}
