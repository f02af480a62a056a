from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from worker.contract.message import Message
from worker.notify.endpoints import Kind, Wanted
from worker.notify.message import Item, digest, is_wanted, read_item, single, title_of, webhook_id, window_of

UNLOCK = "7d3f0c9e-55f1-4f57-9d20-6d8a3cbb3fd1"
REPLY = "$JS.ACK.UNLOCKS.c.3.17.5.1776000000123456789.0"
ALL = Wanted(None, None, frozenset(Kind), frozenset({"live", "settled"}))


def said(**changes: object) -> dict[str, Any]:
    return {
        "kind": "granted",
        "revision": 1,
        "unlock_id": UNLOCK,
        "tenant_id": "t1",
        "scope": "user",
        "subject": "u.1",
        "achievement": "three",
        "tier": None,
        "origin": "live",
        "reward": {"price": 1.10, "big": 10**30},
        "title": {"und": "Three", "de": "Drei", "fr": "Trois"},
        **changes,
    }


def message(one: dict[str, Any] | bytes, subject: str = "") -> Message:
    if isinstance(one, bytes):
        return Message(subject, one, b"", 17, REPLY, "1776000000123456789")
    behind = "" if one["revision"] == 1 else f".{one['revision']}"
    subject = subject or f"unlocks.t1.u%2E1.three.{one['unlock_id']}{behind}"
    return Message(subject, json.dumps(one).encode(), b"", 17, REPLY, "1776000000123456789")


def item(**changes: object) -> Item:
    found = read_item(message(said(**changes)), "unlocks")
    assert found is not None
    return found


def test_a_delivery_has_the_announcement_as_it_is() -> None:
    one = item()
    delivery = single(one)
    body = json.loads(delivery.body)
    assert (body["type"], body["timestamp"]) == ("unlock.granted", "2026-04-12T13:20:00.123456Z")
    assert body["data"] == said()
    assert one.body in delivery.body
    assert delivery.id == UNLOCK
    assert delivery.user == ("t1", "user", "u.1")


def test_a_correction_has_an_id_of_its_own() -> None:
    assert webhook_id(item(kind="amended", revision=2).announced) == f"{UNLOCK}_2"
    assert single(item(kind="revoked", revision=3)).type == "unlock.revoked"


def test_no_subject_is_logged_of_what_is_gone() -> None:
    assert single(item(kind="erased", revision=2)).user is None
    assert single(item(kind="withheld")).user is None


def test_languages_narrow_the_title_and_nothing_else() -> None:
    data = json.loads(single(item(), ["de", "it"]).body)["data"]
    assert data == said(title={"de": "Drei"})
    assert b"1000000000000000000000000000000" in single(item(), ["de"]).body
    assert json.loads(single(item(), ["it"]).body)["data"]["title"] == said()["title"]
    assert json.loads(single(item(title=None), ["de"]).body)["data"]["title"] is None


@pytest.mark.parametrize(
    ("languages", "title"), [(["de"], "Drei"), (["it", "fr"], "Trois"), (["it"], "Three"), (None, "Three")]
)
def test_the_title_for_a_person(languages: list[str] | None, title: str) -> None:
    assert title_of(item().announced, languages) == title
    assert title_of(item(title=None).announced, languages) == "three"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'{"stream":"EVENTS","seq":3}',
        b"\xff",
        b"[" * 20_000,
        json.dumps(said(revision="1")).encode(),
        json.dumps(said(unlock_id="x\r\ny")).encode(),
    ],
)
def test_what_is_no_announcement(body: bytes) -> None:
    assert read_item(message(body, f"unlocks.t1.u%2E1.three.{UNLOCK}"), "unlocks") is None


@pytest.mark.parametrize(
    "subject",
    [
        f"unlocks.t2.u%2E1.three.{UNLOCK}",
        f"unlocks.t1.u2.three.{UNLOCK}",
        f"unlocks.t1.u%2E1.other.{UNLOCK}",
        f"unlocks.t1.u%2E1.three.{UNLOCK}.1",
        f"unlocks.t1.u%2E1.three.{UNLOCK}.2",
        "unlocks.t1.u%2E1.three.other",
        f"other.t1.u%2E1.three.{UNLOCK}",
    ],
)
def test_an_announcement_on_another_subject_counts_for_nothing(subject: str) -> None:
    assert read_item(message(said(), subject), "unlocks") is None


def test_a_renamed_achievement_is_on_the_subject_of_its_first_name() -> None:
    body = said(achievement="trio", renamed_from="three")
    found = read_item(message(body), "unlocks")
    assert found is not None
    assert title_of(found.announced, ["de"]) == "Drei"
    assert read_item(message(body, f"unlocks.t1.u%2E1.trio.{UNLOCK}"), "unlocks") is None
    assert read_item(message(body, f"unlocks.t2.u%2E1.three.{UNLOCK}"), "unlocks") is None
    for name in ("three", "trio"):
        assert is_wanted(found.announced, replace(ALL, achievements=frozenset({name})))
    assert not is_wanted(found.announced, replace(ALL, achievements=frozenset({"other"})))


def test_what_an_endpoint_wants() -> None:
    one = item().announced
    assert is_wanted(one, ALL)
    assert not is_wanted(item(origin="backfill").announced, ALL)
    assert not is_wanted(item(kind="amended", revision=2, origin="backfill").announced, ALL)
    assert is_wanted(item(kind="erased", revision=2, origin=None).announced, ALL)
    assert not is_wanted(one, Wanted(frozenset({"t2"}), None, ALL.kinds, ALL.origins))
    assert is_wanted(one, Wanted(frozenset({"t1"}), frozenset({"three"}), ALL.kinds, ALL.origins))
    assert not is_wanted(one, Wanted(None, frozenset({"three.gold"}), ALL.kinds, ALL.origins))
    assert is_wanted(item(tier="gold").announced, Wanted(None, frozenset({"three.gold"}), ALL.kinds, ALL.origins))
    assert not is_wanted(one, Wanted(None, None, frozenset({"revoked"}), ALL.origins))


def test_a_digest_has_all_of_them_under_an_id_of_theirs() -> None:
    one, two = item(), item(unlock_id="00000000-0000-0000-0000-000000000002")
    delivery = digest([one, two])
    body = json.loads(delivery.body)
    assert body["type"] == delivery.type == "unlock.digest"
    assert [entry["data"]["unlock_id"] for entry in body["data"]["unlocks"]] == [
        UNLOCK,
        "00000000-0000-0000-0000-000000000002",
    ]
    assert body["data"]["user_id"] == "u.1"
    assert delivery == digest([one, two])
    assert delivery.id != digest([two, one]).id
    assert digest([one]) == single(one)


def test_windows_lie_side_by_side() -> None:
    one = item()
    begin, end = window_of(one, 30_000)
    assert end - begin == 30_000_000
    assert begin <= one.stored_at < end
    assert window_of(one._replace(stored_at=begin), 30_000) == (begin, end)
    assert window_of(one._replace(stored_at=end - 1), 30_000) == (begin, end)
    assert window_of(one._replace(stored_at=end), 30_000) == (end, end + 30_000_000)
    other = item(subject="u.1", tenant_id="t1")
    assert window_of(other, 30_000) == (begin, end)
