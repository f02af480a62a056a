"""A deployment with recorded streams in it, for pages to show: rules and their changes, events, dead letters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dsl.calendar import format_instant
from dsl.outcome import Subject
from tests.integration.engine import Engine, event
from worker.admin.backfill import backfill
from worker.admin.manual_grant import grant_by_hand
from worker.admin.revocation import of_achievement, revoke_all
from worker.admin.rollout import apply_rules
from worker.app import wall_clock
from worker.broker.outgoing import outgoing
from worker.broker.publish import Publisher
from worker.broker.streams import open_broker
from worker.engine.rule_set import RuleFile
from worker.pipeline.rules_in_force import load_deployed
from worker.recording import lines
from worker.store import open_store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.settings import Settings

FIXTURES: Final = Path(__file__).parents[2] / "fixtures"
HOSTILE: Final = (
    '<img src=x onerror="alert(1)">&amp;\'"',
    "abc\u202edcba\u2066x\u2069",
    "x" * 512,
    "\U0001f3c6" * 128,
    "../../etc/passwd?a=b&c=d#e",
    " \u200b ",
)
"""Ids of users that pages have to bear."""
TENANT: Final = "acme"
OTHER: Final = "globex"
HOSTILE_TENANT: Final = "t&<b>\u202e"
SECRET: Final = "only-globex-may-know"
"""In everything that the other tenant has sent: no page of `acme` may hold it."""
NOTES: Final = """
event note.written { words: int?, team: string? }

achievement writer {
  title  { en: "Writer", de: "Schreiber" }
  about  "For those who write things down."
  family writing
  tier bronze { when count(event=note.written, >= 2) reward { xp: 10 } }
  tier silver { when count(event=note.written, >= 5) reward { xp: 20 } }
  tier gold { when count(event=note.written, >= 20) reward { xp: 100, badge: "gold" } }
}

achievement novelist {
  title  "Novelist"
  reveal secret
  when   sum(event=note.written, of=words, >= 1000)
  reward { xp: 500 }
}
achievement crew { title "Crew" scope team when count(event=note.written, >= 3) }
achievement weekly_note { title "Once a week" when count(event=note.written, >= 1) repeat every week }
"""


def note(number: int, user: str, tenant: str = TENANT, **payload: object) -> dict[str, Any]:
    """Return a note, of yesterday or so, as late as its number."""
    made = event(number, "note.written", user=user, tenant=tenant, id=f"note-{number}-{user[:40]}", **payload)
    made["occurred_at"] = format_instant(wall_clock() - 40 * 3_600_000_000 + number * 1_800_000_000)
    return made


async def fill(settings: Settings, *, streams: Sequence[str] = ("lark",)) -> Engine:
    """Put rules, recorded streams, hostile names, dead letters and corrections into a deployment."""
    engine = Engine(settings)
    commits = RuleFile("commits.ach", (FIXTURES / "rules" / "commits.ach").read_text())
    await _apply(settings, [commits], by="ada")
    await _emit(settings, [str(FIXTURES / "streams" / f"{name}.jsonl.gz") for name in streams])
    await engine.drain()
    await engine.publish(_notes())
    for subject, body in _broken():
        await engine.publish([body], f"{settings.input_prefix}.{subject}")
    await engine.drain()
    await _apply(settings, [commits, RuleFile("notes.ach", NOTES)], by="grace <hopper>")
    await engine.publish(note(30 + n, "ann", words=40, team="red") for n in range(2))
    await _tend(settings)
    await engine.drain()
    return engine


def _notes() -> list[dict[str, Any]]:
    found = [note(n, "ann", words=100 + n, team="red") for n in range(6)]
    found += [note(n, "ben", words=400, team="blue") for n in range(2)]
    found += [note(n, user, words=1, team=user) for user in HOSTILE for n in range(3)]
    found += [note(n, "ann", HOSTILE_TENANT, team="a/b") for n in range(3)]
    found += [note(n, SECRET, OTHER, words=9, team=f"{SECRET}-team") for n in range(6)]
    return [*found, *found[:9]]  # some come twice


def _broken() -> list[tuple[str, bytes]]:
    def body(**changes: object) -> bytes:
        return json.dumps(
            {**note(90, "ann"), "event_id": f"broken-{len(changes)}-{next(iter(changes))}", **changes}
        ).encode()

    return [
        (f"{TENANT}.ann.note.written", b'{"event_id": "half'),
        (f"{TENANT}.ann.note.written", b"\xff\xfe<script>alert(1)</script>"),
        (f"{TENANT}.ann.note.written", body(payload={"words": "many \u202e<b>"})),
        (f"{TENANT}.ann.note.written", body(occurred_at="2999-01-01T00:00:00Z")),
        (f"{TENANT}.ann.note.written", body(tenant_id=OTHER)),
        (f"{OTHER}.{SECRET}.note.written", b'{"said": "' + SECRET.encode() + b'"}'),
        ("raw", b"[1, 2]"),
    ]


async def _apply(settings: Settings, files: list[RuleFile], *, by: str) -> None:
    async with open_store(settings.database_url) as store:
        await store.migrate(now=wall_clock())
        await apply_rules(store, files, settings, by=by, now=wall_clock())
        await backfill(store, settings, now=wall_clock, pause=0)


async def _emit(settings: Settings, streams: list[str]) -> None:
    async with open_broker(settings) as broker:
        messages = outgoing(lines(streams), settings.input_prefix, dedup=False)
        await Publisher(broker.client.window).publish(messages, lambda _: None)


async def _tend(settings: Settings) -> None:
    async with open_store(settings.database_url) as store:
        rules, ann = await load_deployed(store, settings), Subject(TENANT, "user", "ann")
        ids = [one.unlock_id for one in await of_achievement(store, "writer", "silver", tenant=TENANT, subject="ann")]
        await revoke_all(store, ids, now=wall_clock(), by="ada", reason="copied <b>from</b> elsewhere")
        why, now = "she won the contest", wall_clock()
        await grant_by_hand(store, rules, ann, "novelist", None, None, reason=why, by="ada", now=now)
