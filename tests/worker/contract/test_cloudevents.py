"""CloudEvents as events of our envelope, with the official library as the oracle."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Final

import pytest
from cloudevents.core.bindings import http
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from dsl.schema import EventSchema, Field
from dsl.types import FieldType
from worker.broker.protocol import header_block
from worker.contract import cloudevents
from worker.contract.cloudevents import (
    BATCH_TYPE,
    STRUCTURED_TYPE,
    Mode,
    RawEvent,
    Refusal,
    mode_of,
    read_batch,
    read_binary,
    read_structured,
)
from worker.contract.named_users import Named, types_named, users_named
from worker.contract.reasons import Reason
from worker.contract.sameness import same_body, stored_body, written_of
from worker.contract.strict_reader import Accepted, Contract, Rejected
from worker.contract.transport import NOWHERE

NOW: Final = 1_800_000_000_000_000
ANN: Final = "events.acme.ann.lesson.completed"
SCHEMAS: Final = {
    "lesson.completed": EventSchema("lesson.completed", {"minutes": Field("minutes", FieldType.INT, optional=True)})
}
CONTRACT: Final = Contract(SCHEMAS, prefix="events", skew=0, mark=4_611_686_018_427_387_847)
EVENT: Final = {
    "specversion": "1.0",
    "id": "7",
    "source": "/app",
    "type": "lesson.completed",
    "subject": "ann",
    "tenantid": "acme",
    "time": "2026-04-13T09:00:00Z",
    "data": {"minutes": 5},
}
ENVELOPE: Final = {
    "event_id": "/app#7",
    "event_type": "lesson.completed",
    "user_id": "ann",
    "tenant_id": "acme",
    "occurred_at": "2026-04-13T09:00:00Z",
    "source": "/app",
    "payload": {"minutes": 5},
}
DATA: Final = b'{"minutes":5}'


def body(**changes: object) -> bytes:
    return json.dumps({name: value for name, value in {**EVENT, **changes}.items() if value is not ...}).encode()


def headers(**changes: str) -> dict[str, str]:
    said = {f"ce-{name}": str(value) for name, value in EVENT.items() if name != "data"}
    return {**said, **{name.replace("_", "-"): value for name, value in changes.items()}}


def look(said: bytes, subject: str = ANN, block: dict[str, str] | None = None) -> list[Accepted | Rejected]:
    return CONTRACT.look_closely(subject, said, now=NOW, end=NOWHERE, block=header_block(block or {}))


def died(said: bytes, subject: str = ANN, block: dict[str, str] | None = None) -> tuple[Reason, str]:
    (one,) = look(said, subject, block)
    assert isinstance(one, Rejected)
    assert one.body == said
    return one.reason, one.detail


def lives(said: bytes, subject: str = ANN, block: dict[str, str] | None = None) -> dict[str, Any]:
    (one,) = look(said, subject, block)
    assert isinstance(one, Accepted), one
    if one.envelope is None:
        return json.loads(said)
    written = written_of(one.envelope)
    envelope = CONTRACT.read(subject, one.envelope, now=NOW, end=NOWHERE)
    assert envelope == [Accepted(one.event, one.row)]
    assert same_body(one.event, written, stored_body(one.event, written))
    return json.loads(one.envelope)


# -- the mapping -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "block"),
    [
        (body(), {"content-type": "application/cloudevents+json"}),
        (body(), {"Content-Type": "application/cloudevents; charset=utf-8"}),
        (body(), {}),
        (body(), headers(content_type="application/cloudevents+json")),
        (body(tenantid=..., subject=None), {}),
        (body(comexampleextension=17, dataschema="x", datacontenttype="application/problem+json"), {}),
        (DATA, headers()),
        (DATA, {name.upper(): value for name, value in headers().items()}),
        (DATA, headers(ce_datacontenttype="application/json; charset=utf-8")),
        (DATA, headers(content_type="application/json")),
        (b"  " + DATA + b"\n", headers()),
    ],
)
def test_every_form_is_one_event(said: bytes, block: dict[str, str]) -> None:
    assert lives(said, block=block) == ENVELOPE


def test_an_event_is_the_same_as_its_envelope() -> None:
    (one,), (other,) = look(body()), look(json.dumps(ENVELOPE).encode())
    assert isinstance(one, Accepted)
    assert isinstance(other, Accepted)
    assert one.event == other.event
    assert one.row == other.row
    assert one.envelope is not None
    assert other.envelope is None
    written = written_of(json.dumps(ENVELOPE).encode())
    assert same_body(one.event, written_of(one.envelope), stored_body(other.event, written))


def test_a_body_that_is_an_envelope_is_one_whatever_its_headers_say() -> None:
    assert lives(json.dumps(ENVELOPE).encode(), block=headers(ce_id="8")) == ENVELOPE
    array = json.dumps([ENVELOPE, {"specversion": "1.0"}, EVENT]).encode()
    first, second, third = look(array, block=headers())
    assert isinstance(first, Accepted)
    assert isinstance(second, Rejected)
    assert isinstance(third, Accepted)


def test_a_batch_is_read_by_its_elements() -> None:
    batch = b"[%s, 7, %s]" % (body(), body(id="8", time=...))
    for block in ({}, {"content-type": "application/cloudevents-batch+json"}):
        first, second, third = look(batch, block=block)
        assert isinstance(first, Accepted)
        assert isinstance(second, Rejected)
        assert isinstance(third, Rejected)
        assert (second.body, third.body) == (b"7", body(id="8", time=...))
    assert third.detail == "CloudEvent time: missing; an event needs the instant at which it occurred"
    assert read_batch(b"{}") == Refusal(Reason.INVALID_EVENT, "", "a batch: expected a JSON array")
    found = read_batch(batch)
    assert isinstance(found, list)
    assert [type(one) for one in found] == [RawEvent, Refusal, Refusal]


def test_data_may_be_left_out() -> None:
    nothing = {name: value for name, value in ENVELOPE.items() if name != "payload"}
    assert lives(body(data=...)) == nothing
    assert lives(body(data=None)) == nothing
    assert lives(b"", block=headers()) == nothing
    assert lives(b"", block=headers(content_type="text/plain")) == nothing


def test_numbers_stay_as_they_are_written() -> None:
    text = b'{"x":1.10,"y":12345678901234567890.000000000000000000001}'
    (one,) = look(text, block=headers())
    (other,) = look(body().replace(b'{"minutes": 5}', text))
    assert isinstance(one, Accepted)
    assert isinstance(other, Accepted)
    assert one.envelope == other.envelope
    assert (one.envelope or b"").endswith(b',"payload":' + text + b"}")


def test_a_number_sign_in_a_source_does_not_mix_keys() -> None:
    one, other = read_structured(body(source="a#b", id="c")), read_structured(body(source="a", id="b#c"))
    assert isinstance(one, RawEvent)
    assert isinstance(other, RawEvent)
    assert (one.event_id, one.source, other.event_id) == ("a%23b#c", "a#b", "a#b#c")


def test_no_two_keys_become_one_id() -> None:
    sources = ["a", "a#", "a%23", "a%2523", "a%252523", "a%25", "a%", "a%%23", "a%25#", "a%2525", "a23", "#", "%23"]
    ids: dict[str, str] = {}
    for source in sources:
        one = read_structured(body(source=source, id="1"))
        assert isinstance(one, RawEvent)
        assert one.event_id not in ids, (source, ids.get(one.event_id))
        ids[one.event_id] = source
    assert [one.partition("#")[0] for one in ids][:5] == ["a", "a%23", "a%2523", "a%252523", "a%25252523"]
    assert ids.keys() >= {"a%25#1", "a%#1"}, "what is no escape of a number sign stays as it is"


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"time": ...}, "CloudEvent time: missing; an event needs the instant at which it occurred"),
        ({"time": "yesterday"}, "CloudEvent time: expected an RFC 3339 instant with an offset"),
        ({"id": 7}, "CloudEvent id: expected `str`, got `int`"),
        ({"id": ""}, "CloudEvent id: empty"),
        ({"source": ...}, "CloudEvent source: missing"),
        ({"type": ...}, "CloudEvent type: missing"),
        ({"subject": ""}, "CloudEvent subject: empty"),
        ({"specversion": "0.3"}, "CloudEvent specversion: expected 1.0, got '0.3'"),
        ({"data": [1]}, "CloudEvent data: expected a JSON object"),
        ({"data": '{"minutes": 5}'}, "CloudEvent data: expected a JSON object"),
        ({"data_base64": "e30="}, "CloudEvent data_base64: binary data; expected `data`, a JSON object"),
        (
            {"datacontenttype": "text/xml"},
            "CloudEvent datacontenttype: expected application/json, got 'text/xml'",
        ),
        (
            {"datacontenttype": "application/json; charset=latin-1"},
            "CloudEvent datacontenttype: expected application/json, got 'application/json; charset=latin-1'",
        ),
        ({"id": "x" * 509}, "CloudEvent id: longer than 512 bytes together with its source"),
        ({"subject": "x" * 513}, "CloudEvent subject: longer than 512 bytes"),
    ],
)
def test_what_is_no_event_says_why(changes: dict[str, object], detail: str) -> None:
    assert died(body(**changes)) == (Reason.INVALID_EVENT, detail)


def test_reasons_are_those_of_envelopes() -> None:
    assert died(body(data={"minutes": "x"})) == (
        Reason.CONTRACT,
        'CloudEvent data.minutes: expected int, got "x"',
    )
    assert died(body(time="2100-01-01T00:00:00Z"))[0] is Reason.FROM_THE_FUTURE
    assert died(body(id="a\0b")) == (Reason.INVALID_TEXT, "U+0000 cannot be stored")
    assert died(b"", block=headers(ce_id="a%00b")) == (Reason.INVALID_TEXT, "U+0000 cannot be stored")
    deep = b'{"x":' * 70 + b"1" + b"}" * 70
    assert died(deep, block=headers())[0] is Reason.TOO_DEEP
    assert died(b'{"x":' * 5000, block=headers())[0] is Reason.TOO_DEEP
    assert died(b'{"minutes":', block=headers()) == (
        Reason.MALFORMED_JSON,
        "CloudEvent data: Input data was truncated",
    )
    assert died(b"\xff", block=headers()) == (Reason.MALFORMED_JSON, "CloudEvent data: no UTF-8: byte 0")


@pytest.mark.parametrize(
    ("block", "detail"),
    [
        (
            headers(content_type="application/avro"),
            "datacontenttype: expected application/json, got 'application/avro'",
        ),
        (headers(ce_subject="%ff"), "subject: no UTF-8"),
        (headers(ce_type=""), "type: empty"),
        ({"ce-specversion": "1.0"}, "id: missing; expected the header ce-id"),
    ],
)
def test_headers_that_are_no_event_say_why(block: dict[str, str], detail: str) -> None:
    assert died(DATA, block=block) == (Reason.INVALID_EVENT, f"CloudEvent {detail}")


def test_other_formats_are_named() -> None:
    assert died(b"{}", block={"content-type": "application/cloudevents+avro"}) == (
        Reason.INVALID_EVENT,
        f"CloudEvent: content type 'application/cloudevents+avro'; expected {STRUCTURED_TYPE} or {BATCH_TYPE}",
    )
    assert died(b"{}", block={"content-type": "application/cloudevents+json"}) == (
        Reason.INVALID_EVENT,
        "CloudEvent specversion: missing",
    )


# -- whose it is -------------------------------------------------------------------------------------------------------


def test_a_subject_binds_events_of_every_form() -> None:
    bob = headers(ce_subject="bob")
    expected = (
        Reason.USER_MISMATCH,
        ("CloudEvent subject: the NATS subject says ann; expected the NATS subject events.acme.bob.lesson.completed"),
    )
    assert died(body(subject="bob")) == died(DATA, block=bob) == expected
    assert died(body(tenantid="other"))[0] is Reason.TENANT_MISMATCH
    assert died(DATA, block=headers(ce_tenantid="other"))[0] is Reason.TENANT_MISMATCH
    assert died(body(), "other.acme.ann.x")[0] is Reason.TENANT_MISMATCH


def test_a_subject_says_what_an_event_leaves_out() -> None:
    assert lives(body(tenantid=..., subject=...), "events.acme%2Eio.a%20b.x")["tenant_id"] == "acme.io"
    assert lives(body(tenantid=..., subject=...), "events.acme%2Eio.a%20b.x")["user_id"] == "a b"
    shared = "events.acme.~batch.batch"
    assert died(body(subject=...), shared)[1] == "CloudEvent subject: missing; it names the user of the event"
    assert died(body(tenantid=...), "events.raw")[1] == "CloudEvent tenantid: missing, and nothing else says the tenant"
    hashed = f"events.~{'0' * 32}.ann.x"
    assert died(body(tenantid=...), hashed)[1] == "CloudEvent tenantid: missing, and nothing else says the tenant"
    # A token that is no name's own spelling binds nothing that may come on it.
    assert died(body(tenantid=...), "events.%41cme.ann.x")[0] is Reason.TENANT_MISMATCH


@pytest.mark.parametrize("data", [b'{},"user_id":"bob"', b'{}},{"a":{}', b'{} "x"', b'{"a":1}{"b":2}'])
def test_data_cannot_become_another_field(data: bytes) -> None:
    found = read_binary(headers(), data)
    assert isinstance(found, Refusal)
    assert found.reason is Reason.MALFORMED_JSON


# -- the two readings of the NATS binding ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "user"),
    [
        (headers(ce_subject="a%20b", ce_datacontenttype="application/json"), "a b"),
        (headers(ce_subject="a%20b"), "a b"),
        (headers(ce_subject="%22a%22"), '"a"'),
        (headers(ce_subject="a%20b", content_type="application/json"), "a%20b"),
        (headers(ce_subject="100%"), "100%"),
        (headers(ce_subject="a%20b", ce_id="1 2"), "a%20b"),
        (headers(ce_subject="Zoë %41"), "Zoë %41"),
    ],
)
def test_the_writer_of_headers_is_known_by_them(block: dict[str, str], user: str) -> None:
    assert lives(DATA, "events.acme.~batch.batch", block)["user_id"] == user


def test_modes() -> None:
    assert mode_of({}) is None
    assert mode_of({"content-type": "application/json"}) is None
    assert mode_of({"ce-id": "1"}) is None
    assert mode_of(headers()) is Mode.BINARY
    assert mode_of(headers(content_type="application/cloudevents+json")) is Mode.STRUCTURED
    assert mode_of({"content-type": "Application/CloudEvents-Batch+JSON; charset=utf-8"}) is Mode.BATCH


# -- dead letters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "block"),
    [
        (body(), {}),
        (body()[:-3], {}),
        (b"[%s]" % body(), {}),
        (DATA, headers()),
        (DATA, headers(ce_subject="%61nn")),
        (b"\xff", headers()),
    ],
)
def test_an_erasure_finds_users_of_every_form(said: bytes, block: dict[str, str]) -> None:
    assert Named("acme", "ann") in users_named("events", "events.raw", said, block)
    assert "lesson.completed" in types_named(said, block)


def test_data_names_no_other_user() -> None:
    assert users_named("events", ANN, body(data={"user_id": "bob", "subject": "bob"})) == {Named("acme", "ann")}
    assert users_named("events", ANN, b'{"user_id": "ann", "subject": "bob"}') == {Named("acme", "ann")}


def test_headers_that_are_sent_again() -> None:
    block = headers(Nats_Msg_Id="7", ce_time="a\r\nx: y")
    again = cloudevents.carried({**block, "Content-Type": "application/json"})
    assert set(again) == (set(headers()) | {"Content-Type"}) - {"ce-time"}


# -- the official library ----------------------------------------------------------------------------------------------

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)
INSTANTS = st.datetimes(
    datetime(2000, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    datetime(2026, 1, 1),  # noqa: DTZ001
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-3))]),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | NAMES, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner)
)
DRAWN = st.fixed_dictionaries(
    {"id": NAMES, "source": NAMES, "type": NAMES, "subject": NAMES, "tenantid": NAMES, "time": INSTANTS},
    optional={"datacontenttype": st.just("application/json"), "dataschema": NAMES, "anything": NAMES},
)
DATAS = st.none() | st.dictionaries(NAMES, VALUES, max_size=4)


def same(raw: RawEvent | Refusal | None, official: Any) -> None:  # noqa: ANN401 - the library's
    """Check that we read what the library reads."""
    assert isinstance(raw, RawEvent), raw
    said = official.get_attributes()
    assert (raw.source, raw.event_type, raw.user_id, raw.tenant_id) == (
        said["source"],
        said["type"],
        said["subject"],
        said["tenantid"],
    )
    source, _, own = raw.event_id.partition("#")
    assert own == said["id"]
    assert re.sub("%(25)?((?:25)*23)", lambda found: f"%{found[2]}" if found[1] else "#", source) == said["source"]
    assert datetime.fromisoformat(raw.occurred_at) == said["time"]
    envelope = raw.envelope()
    assert isinstance(envelope, bytes)
    assert json.loads(envelope).get("payload") == official.get_data()


def unprefixed(message: http.HTTPMessage) -> dict[str, str]:
    return {name.lower(): value for name, value in message.headers.items()}


def on_nats(message: http.HTTPMessage) -> dict[str, str]:
    """Return headers as the NATS binding has them, of those that the HTTP binding has."""
    said = unprefixed(message)
    kind = said.pop("content-type", None)
    return said if kind is None else {**said, "ce-datacontenttype": kind}


@given(DRAWN, DATAS)
def test_what_the_library_writes_we_read(attributes: dict[str, Any], data: dict[str, Any] | None) -> None:
    event = CloudEvent(attributes, data)
    structured, binary = http.to_structured_event(event), http.to_binary_event(event)
    assert mode_of(unprefixed(structured)) is Mode.STRUCTURED
    assert mode_of(unprefixed(binary)) is Mode.BINARY
    same(read_structured(structured.body), event)
    same(read_binary(unprefixed(binary), binary.body), event)
    same(cloudevents.read_any(Mode.BINARY, on_nats(binary), binary.body), event)
    plain = {f"ce-{name}": value if isinstance(value, str) else value.isoformat() for name, value in attributes.items()}
    plain |= {"ce-specversion": "1.0", "content-type": plain.pop("ce-datacontenttype", "application/json")}
    same(cloudevents.read_any(Mode.BINARY, plain, binary.body), event)
    batch = read_batch(b"[%s,%s]" % (structured.body, structured.body))
    assert isinstance(batch, list)
    for one in batch:
        same(one, event)


@given(st.dictionaries(st.sampled_from(["ce-id", "ce-source", "ce-type", "ce-subject", "ce-tenantid"]), NAMES))
def test_what_we_read_of_headers_the_library_reads(said: dict[str, str]) -> None:
    safe = "!#$&'()*+,-./:;<=>?@[\\]^_`{|}~"
    block = headers() | {name: "".join(_encoded(char, safe) for char in value) for name, value in said.items()}
    same(read_binary(block, DATA), http.from_binary_event(http.HTTPMessage(block, DATA)))


def _encoded(character: str, safe: str) -> str:
    if character.isascii() and (character.isalnum() or character in safe):
        return character
    return "".join(f"%{byte:02x}" for byte in character.encode())


# -- any bytes ---------------------------------------------------------------------------------------------------------


def cut(at: int, by: bytes) -> bytes:
    return body()[:at] + by + body()[at + 1 :]


PIECES = rb"""
"specversion":"1.0" "id":"1" "source":"s" "type":"t" "time":"2026-01-01T00:00:00Z" "subject":"ann" "data":{} "data":
{ } [ ] , \u0000 \ud800 """.split()
SOUP = st.lists(st.sampled_from([*PIECES, b"\xff", b" "]), max_size=20).map(b"".join)
CUTS = st.builds(cut, st.integers(0, 200), st.binary(max_size=2))
SPOILT = SOUP | st.binary(max_size=40) | CUTS
SPOILT_HEADERS = st.dictionaries(
    st.sampled_from([*headers(), "content-type", "ce-datacontenttype"]),
    st.text(max_size=10) | st.sampled_from([*headers().values(), "application/cloudevents+json", "application/json"]),
)


@given(SPOILT, SPOILT_HEADERS)
def test_no_bytes_and_no_headers_raise(said: bytes, block: dict[str, str]) -> None:
    block_bytes = b"NATS/1.0\r\n" + "".join(f"{k}: {v}\r\n" for k, v in block.items()).encode("utf-8", "replace")
    for one in CONTRACT.look_closely(ANN, said, now=NOW, end=NOWHERE, block=block_bytes):
        assert isinstance(one, Accepted) or one.detail
    for found in (read_structured(said), read_binary(block, said), read_binary(block, said, encoded=False)):
        if isinstance(found, RawEvent):
            assert isinstance(found.envelope(tenant="t", user="u"), bytes)
        else:
            assert found.detail
    read_batch(said)
    users_named("events", ANN, said, block)


def test_halves_of_surrogate_pairs_in_headers_are_refused() -> None:
    for encoded in (True, False):
        found = read_binary(headers(ce_id="\ud800"), DATA, encoded=encoded)
        assert isinstance(found, Refusal)
        assert found.detail == "CloudEvent id: no UTF-8"


def test_decimals_are_exact_in_the_fields() -> None:
    contract = Contract({"x": EventSchema("x", {"n": Field("n", FieldType.DECIMAL)})}, prefix="events", skew=0)
    (one,) = contract.look_closely(ANN, body(type="x", data={"n": 0.1}), now=NOW, end=NOWHERE)
    assert isinstance(one, Accepted)
    assert one.event.fields["n"] == Decimal("0.1")
