"""The reference on two real histories, compared with the result of a separate program for the same language."""

from __future__ import annotations

import gzip
import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dsl.calendar import format_instant
from dsl.event import Event
from tests.reference.evaluator import supported_unlocks
from tests.reference.rule_text import read
from tests.reference.wall_clock import instant

if TYPE_CHECKING:
    from tests.reference.latest_starts import Unlock
    from tests.reference.ruleset import Ruleset

FIXTURES = Path(__file__).parents[2] / "fixtures"


def rules() -> Ruleset:
    return read((FIXTURES / "rules" / "commits.ach").read_text("utf-8"))


def events(stream: str, known: Ruleset) -> list[Event]:
    """Read the events of a stream, each id once."""
    with gzip.open(FIXTURES / "streams" / f"{stream}.jsonl.gz", "rt", encoding="utf-8") as lines:
        read_events = [_event(json.loads(line), known) for line in lines]
    return list({(event.tenant, event.id): event for event in read_events}.values())


def _event(body: dict[str, Any], known: Ruleset) -> Event:
    contract = known.events[body["event_type"]].fields
    fields = {name: value for name, value in body["payload"].items() if name in contract and value is not None}
    for name, value in fields.items():
        if contract[name].type == "timestamp":
            fields[name] = instant(value)
    when = datetime.fromisoformat(body["occurred_at"])
    offset = when.utcoffset()
    return Event(
        tenant=body["tenant_id"],
        id=body["event_id"],
        type=body["event_type"],
        user=body["user_id"],
        at=instant(body["occurred_at"]),
        offset=0 if offset is None else int(offset.total_seconds()),
        fields=fields,
    )


def rows(found: list[Unlock]) -> list[dict[str, str | int | None]]:
    return [
        {
            "tenant_id": unlock.subject.tenant,
            "scope": unlock.subject.scope,
            "subject": unlock.subject.name,
            "achievement": unlock.achievement,
            "tier": unlock.tier,
            "occurrence": unlock.occurrence,
            "version": unlock.version,
            "earned_at": format_instant(unlock.earned_at),
        }
        for unlock in found
    ]


@pytest.mark.parametrize(("stream", "distinct"), [("lark", 2_699), ("flask", 7_417)])
def test_the_reference_grants_what_was_expected(stream: str, distinct: int) -> None:
    expected = json.loads((FIXTURES / "streams" / f"{stream}.expected.json").read_text("utf-8"))
    known = rules()
    history = events(stream, known)
    assert len(history) == distinct
    assert rows(supported_unlocks(known, history)) == expected["unlocks"]
