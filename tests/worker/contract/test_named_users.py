"""Which users bytes name, whatever bytes they are."""

from __future__ import annotations

import json
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.contract.named_users import Named, name_token, read, users_named

EVENT = {"event_id": "e", "event_type": "a.done", "tenant_id": "t1", "user_id": "u1", "payload": {"user_id": "friend"}}
U1 = Named("t1", "u1")


NONE: set[Named] = set()


def text(**changes: object) -> bytes:
    return json.dumps({**EVENT, **changes}).encode()


def named(body: bytes, subject: str = "events.raw") -> set[Named]:
    return set(users_named("events", subject, body))


PEOPLE = frozenset({"author", "crew"})
FRIENDS = {"author": "ann", "crew": ["bob", "cid", "bob"], "deep": [{"author": ["dan"]}], "other": "eve"}
ANN = Named("t1", "ann"), Named("t9", "ann")
NAMED = {U1, *(Named("t1", name) for name in ("ann", "bob", "cid", "dan"))}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (text(payload=FRIENDS), NAMED),
        (text(payload=FRIENDS, event_type=5), NAMED),
        (b"[7, %s]" % text(payload=FRIENDS), NAMED),
        (text(payload=FRIENDS)[:-2], NAMED),
        (text(payload={"crew": ["bob", "cid", "dan"]})[:-5], {U1, Named("t1", "bob"), Named("t1", "cid")}),
        (json.dumps(text(payload=FRIENDS).decode()).encode()[:-2], NAMED),
        (json.dumps({"specversion": "1.0", "tenantid": "t1", "subject": "u1", "data": FRIENDS}).encode(), NAMED),
        (json.dumps({"tenant_id": "t1", **FRIENDS}).encode(), NAMED - {U1}),
        (text(payload={"author": {"name": 5}}), {U1, Named("t1", "5")}),
        (b'{"tenant_id": "t9", "events": [%s]}' % text(payload={"author": "ann"}), {U1, *ANN}),
        (b'{"tenant_id": "t9", "x": {"tenant_id": "t5", "x": {"tenant_id": "t1", "author": "ann"}}}', set(ANN)),
        (b'{"x": {"tenant_id": "t1", "author": "ann"}}', {Named("", "ann"), Named("t1", "ann")}),
        (text(payload={"tenant_id": "t9", "author": "ann"}), {U1, Named("t1", "ann")}),
        (text(payload={"author": ""}), {U1}),
        (b'"crew":[' * 100_000, {Named("", "crew")}),
    ],
)
def test_fields_that_name_users_are_read_wherever_they_are(body: bytes, expected: set[Named]) -> None:
    assert set(users_named("events", "events.raw", body, fields=PEOPLE)) == expected
    assert set(users_named("events", "events.raw", body)) <= {U1}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (text(), {U1}),
        (text(occurred_at=5, payload=[1]), {U1}),
        (text(user_id=17), {Named("t1", "17")}),
        (text(user_id=["u1", "u2"]), {U1, Named("t1", "u2")}),
        (text(user_id=None), {Named("t1", "friend")}),
        (text(user_id=""), {Named("t1", "friend")}),
        (b"[%s, %s, 7, null]" % (text(), text(user_id="u2")), {U1, Named("t1", "u2")}),
        (b"[[%s]]" % text(), {U1}),
        (b'{"events": [%s], "tenant_id": "t9"}' % text(), {U1}),
        (b'{"tenant_id": "t1", "events": [{"user_id": "u1"}]}', {U1}),
        (json.dumps(text().decode()).encode(), {U1}),
        (b'{"user_id": "u1", "tenant_id": "t1", "user_id": "u2"}', {U1, Named("t1", "u2")}),
        (b'{"tenant_id": "t1", "user_id": "u1", "tenant_id": "t2"}', {Named("", "u1")}),
        (b'{"user\\u005fid": "u\\u0031", "tenant_id": "t1"}', {U1}),
        (b'{"tenant_id": "t1", "user_id": "u1", "n": %s}' % (b"9" * 20_000), {U1}),
        # No JSON any more.
        (text()[:-20], {U1}),
        (text() + b"}", {U1, Named("t1", "friend")}),
        (b'{"x": "5" tall", %s' % text()[1:], {U1, Named("t1", "friend")}),
        (b'{"tenant_id": "t1", "user_id": "u1', {U1}),
        (b"{'tenant_id': 't1', 'user_id': 'u1'}", {U1}),
        (b"user_id=u1&tenant_id=t1", {U1}),
        (b"<tenant_id>t1</tenant_id><user_id>u1</user_id>", {U1}),
        (json.dumps(text(payload={}).decode()).encode()[:-3], {U1}),
        (b'{"tenant_id": "t1", "user_id": "u1", "x": %s' % (b"[" * 5000), {U1}),
        (b'{"tenant_id": "t1", "user_id": "u1", "x": "\xff"}', {U1}),
        (
            b'{"tenant_id": "t1", "user_id": "M\xfcller", "x": 1}',
            {Named("t1", name_token("Müller")), Named("t1", "M%EF%BF%BDller")},
        ),
        ("\ufeff".encode() + text(), {U1}),
        (text().decode().encode("utf-16"), {U1}),
        (b"%s%s" % (text(), text(tenant_id="t2")), {Named("", "u1"), Named("", "friend")}),
        # No user.
        (b"", NONE),
        (b"nope", NONE),
        (b"[1, 2]", NONE),
        (b'{"super_user_id": "u1"}', NONE),
    ],
)
def test_who_is_named(body: bytes, expected: set[Named]) -> None:
    assert named(body) == expected


LONG = "x" * 200


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("events.t1.u1.a.done", {U1}),
        ("events.t1.u1", {U1}),
        ("events.t%31.%75%31.a.done", {U1}),
        (f"events.t1.{name_token(LONG)}.a", {Named("t1", name_token(LONG))}),
        ("events.t1.~batch.a", NONE),
        ("events.t1", NONE),
        ("events.raw", NONE),
        ("eventsx.t1.u1.a", NONE),
        ("other.t1.u1.a", NONE),
    ],
)
def test_a_subject_names_its_user(subject: str, expected: set[Named]) -> None:
    assert named(b"nope", subject) == expected
    assert named(text(), subject) == expected | {U1}


def test_a_body_without_a_tenant_is_of_the_tenant_of_its_subject() -> None:
    assert named(b'{"user_id": "u2"}', "events.t1.~batch.a") == {Named("t1", "u2")}
    assert named(b'{"user_id": "u2"}', "events.raw") == {Named("", "u2")}


def test_types() -> None:
    assert read(b"[%s, %s]" % (text(), text(event_type="b.done"))).types == {"a.done", "b.done"}
    assert read(text()[:-2]).types == {"a.done"}


def test_many_tenants_and_many_users_are_no_more_names_than_users() -> None:
    many = ", ".join(f'"tenant_id": "t{n}", "user_id": "u{n}"' for n in range(20_000))
    assert len(named(b"{%s}" % many.encode())) == 20_000
    assert len(named(b"{%s" % many.encode())) == 20_000


@pytest.mark.parametrize(
    "inner", ['"x": {', '"user_id": "u", "payload": {', '"tenant_id": "t", "author": "ann", "x": {']
)
def test_a_deep_body_takes_no_longer_than_a_flat_one(inner: str) -> None:
    """Its depth is the sender's choice, and what lies in it is as much as a message may hold."""

    def seconds(depth: int) -> float:
        body = ("{" + inner * depth + f'"leaves": {json.dumps([[]] * 50_000)}' + "}" * (depth + 1)).encode()
        began = process_time()
        users_named("events", "events.raw", body, fields=PEOPLE)
        return process_time() - began

    assert seconds(300) < 20 * seconds(1)


@given(st.binary(max_size=200), st.text(max_size=40))
def test_no_bytes_raise(body: bytes, subject: str) -> None:
    assert isinstance(named(body, subject), set)
    assert isinstance(named(body, f"events.{subject}"), set)


pieces = st.sampled_from(
    [
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b"\\",
        b":",
        b",",
        b'"user_id"',
        b'"tenant_id"',
        b'"u1"',
        b"\\u0000",
        b"\\ud800",
        b"\xff",
    ]
)


@given(st.lists(pieces, max_size=30).map(b"".join))
def test_no_pieces_of_events_raise(body: bytes) -> None:
    assert isinstance(named(body), set)


names = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffd"), min_size=1, max_size=20)


@given(names, names, st.integers(0, 400), st.binary(max_size=6))
def test_an_event_that_is_spoilt_behind_its_names_names_its_user(
    tenant: str, user: str, at: int, spoilt: bytes
) -> None:
    body = json.dumps({"tenant_id": tenant, "user_id": user}).encode()[:-1] + b', "payload": {"n": 1, "m": [2, {}]}}'
    at = max(at, body.index(b"payload") - 1)
    broken = body[:at] + spoilt + body[at + 1 :]

    assert Named(name_token(tenant), name_token(user)) in named(broken)
