"""Values that name occurrences: what is too long for a name is a dead letter, whichever way the event takes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

import ach
from ach import EventError
from dsl.ruleset import build
from worker.contract.message import Message
from worker.contract.reasons import Reason
from worker.engine.decoding import decode
from worker.engine.rule_set import Deployed

if TYPE_CHECKING:
    from worker.engine.batch import Batch

RULES = """
event like { post: string?, tags: [string], n: int, team: string?, author: user? }
event share { post: string }
achievement nice { title "Nice" when count(event=like, >= 1) repeat by post }
achievement tags { title "Tags" when count(event=like, >= 1) repeat by tags }
achievement people { title "People" when count(event=like, >= 1) repeat by actor }
achievement plain { title "Plain" when count(event=share, by=post, >= 1) }
"""
TEAMS = RULES + 'achievement of_team { title "Team" scope team when count(event=[like, share], >= 1) }\n'.replace(
    "[like, share]", "like"
)
ROLES = RULES + 'achievement liked { title "Liked" when count(event=like as author, >= 1) }\n'
JUST, LONG = "ä" * 256, "ä" * 256 + "x"


def batch_of(text: str, *payloads: dict[str, object], kind: str = "like") -> Batch:
    deployed = Deployed(1, build([("rules.ach", text.encode())]), since={}, prefix="events", skew=0)
    messages = [
        Message("events.raw", json.dumps(body(kind, payload, n)).encode(), b"", n, "reply")
        for n, payload in enumerate(payloads, start=1)
    ]
    return decode(messages, deployed, now=1_800_000_000_000_000)


def body(kind: str, payload: dict[str, object], n: int = 1) -> dict[str, object]:
    payload = payload if kind != "like" else {"tags": [], "n": 1, **payload}
    common: dict[str, object] = {"event_id": f"e{n}", "user_id": "u", "tenant_id": "t", "payload": payload}
    return {**common, "event_type": kind, "occurred_at": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize("text", [RULES, TEAMS, ROLES], ids=["users", "teams", "roles"])
def test_a_value_too_long_to_name_an_occurrence_is_a_dead_letter(text: str) -> None:
    found = batch_of(
        text,
        {"post": JUST},
        {"post": LONG, "author": "v"},
        {"tags": ["a", LONG], "team": "red"},
        {"post": "x" * 100_000},
        {"post": "p", "author": "v"},
    )
    assert [item.event.id for item in found.items] == ["e1", "e5"]
    assert [(letter.reason, letter.detail) for letter in found.letters] == [
        (Reason.CONTRACT, f"payload.{name}: longer than 512 bytes, too long for an occurrence")
        for name in ("post", "tags", "post")
    ]


def test_what_only_groups_may_be_as_long_as_a_message() -> None:
    found = batch_of(RULES, {"post": "x" * 500_000}, kind="share")
    assert (len(found.items), found.letters) == (1, ())


def test_the_library_refuses_it_too() -> None:
    rules = ach.load_text(RULES)
    assert len(rules.user("t", "u").feed(json.dumps(body("like", {"post": JUST})))) == 2
    with pytest.raises(EventError, match=r"payload\.post: longer than 512 bytes"):
        rules.user("t", "u").feed(json.dumps(body("like", {"post": LONG})))
