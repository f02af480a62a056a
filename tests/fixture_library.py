"""The fixture library: rules, a recorded stream and what must come out, found by listing fixtures/streams.

Here is also how the library is judged without the engine: `by_reference` reads a stream with `json` alone and grants
by the slow reference. Lines that are no events are those that `expected.json` lists as dead, by hand.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import msgspec

from dsl.calendar import format_instant
from dsl.event import Event
from dsl.outcome import Unlock
from dsl.renames import under_first_names
from tests.reference.evaluator import outcome
from tests.reference.rule_text import read
from worker.commands.replay.request import SKEW
from worker.contract.reasons import Reason
from worker.engine.renames import NO_RENAMES
from worker.engine.replay import Counts, Result, as_called, replay
from worker.recording import lines
from worker.rulefiles import load

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dsl.ruleset import RuleSet
    from dsl.types import Value
    from tests.reference.ruleset import FieldRule, Ruleset
    from worker.contract.strict_reader import Rejected

FIXTURES: Final = Path(__file__).parents[1] / "fixtures"
STREAMS: Final = FIXTURES / "streams"
NOW: Final = 1_798_761_600_000_000
"""2027 in UTC, microseconds: later than every event but those that are from the future for a lifetime."""
_LEAP: Final = re.compile(r":60(?=[.Z+-])")


class Dead(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line that is no event, or one element of it, both counted from 1; `detail` is how the words begin."""

    line: int
    element: int | None = None
    reason: Reason = Reason.MALFORMED_JSON
    detail: str = ""


class Expected(msgspec.Struct, frozen=True):
    """What must come out: the form of `ach replay --json`, and the dead letters in the order of arrival."""

    unlocks: list[Unlock]
    contested: list[Unlock] = []
    counts: Counts | None = None
    digest: str | None = None
    dead: list[Dead] = []


class Fixture(NamedTuple):
    """One story of the library."""

    name: str
    rules: Path
    stream: Path
    result: Path

    def lines(self) -> list[bytes]:
        """Return the lines of the stream, blank ones left out."""
        return list(lines([str(self.stream)]))

    def expected(self) -> Expected:
        """Return what must come out."""
        return msgspec.json.decode(self.result.read_bytes(), type=Expected)


def stories() -> list[Fixture]:
    """Return every folder of the library."""
    return [
        Fixture(folder.name, folder / "rules.ach", next(folder.glob("stream.jsonl*")), folder / "expected.json")
        for folder in sorted(STREAMS.iterdir())
        if folder.is_dir()
    ]


def histories() -> list[Fixture]:
    """Return the real streams, which share one rule file."""
    return [
        Fixture(
            result.name.split(".")[0],
            FIXTURES / "rules" / "commits.ach",
            next(STREAMS.glob(f"{result.name.split('.')[0]}.jsonl*")),
            result,
        )
        for result in sorted(STREAMS.glob("*.expected.json"))
    ]


@lru_cache
def _ruleset(path: Path) -> RuleSet:
    return under_first_names(load([path]))


def in_process(fixture: Fixture, messages: Iterable[bytes]) -> tuple[Result, list[Rejected]]:
    """Replay messages under the fixture's rules in this process; return the result and the dead letters."""
    rules = _ruleset(fixture.rules)
    assert rules.program is not None, rules.problems
    result, dead = replay(rules.rules, rules.program, messages, now=NOW, skew=SKEW)
    return as_called(result, NO_RENAMES.with_rules(rules)), dead


# -- the library without the engine --------------------------------------------------------------------------


def by_reference(fixture: Fixture, dead: Iterable[Dead]) -> list[Unlock]:
    """Return what the slow reference grants on the fixture's events; the dead ones are those listed."""
    rules = read(fixture.rules.read_text("utf-8"))
    events: dict[tuple[str, str], Event] = {}
    for body in _bodies(fixture, {(each.line, each.element) for each in dead}):
        event = _event(body, rules)
        events.setdefault((event.tenant, event.id), event)
    found = [
        Unlock(
            unlock.subject.tenant,
            unlock.subject.scope,
            unlock.subject.name,
            unlock.achievement,
            unlock.tier,
            unlock.occurrence,
            unlock.version,
            format_instant(unlock.earned_at),
        )
        for unlock in outcome(rules, events.values()).unlocks
    ]
    return sorted(found, key=lambda unlock: unlock.order)


def _bodies(fixture: Fixture, dead: set[tuple[int, int | None]]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(fixture.lines(), 1):
        if (number, None) in dead:
            continue
        body = json.loads(line, parse_float=Decimal)
        elements = cast("list[dict[str, Any]]", body if isinstance(body, list) else [body])
        for place, element in enumerate(elements, 1):
            if (number, place) not in dead:
                yield element


def _event(body: dict[str, Any], rules: Ruleset) -> Event:
    at, offset = _instant(body["occurred_at"])
    contract = rules.events.get(body["event_type"])
    given: dict[str, Any] = body.get("payload") or {}
    declared = {} if contract is None else contract.fields
    fields = {name: _value(rule, given[name]) for name, rule in declared.items() if given.get(name) is not None}
    return Event(
        tenant=body["tenant_id"],
        id=body["event_id"],
        type=body["event_type"],
        user=body["user_id"],
        at=at,
        offset=offset,
        fields=fields,
    )


def _value(rule: FieldRule, given: Any) -> Value:  # noqa: ANN401 - any JSON
    match rule.type:
        case "decimal":
            number = Decimal(given)
            return number or Decimal(0)
        case "int":
            return int(given)
        case "timestamp":
            return _instant(given)[0]
        case "[string]" | "[user]":
            return cast("Value", tuple(given))
        case "[int]":
            return cast("Value", tuple(map(int, given)))
        case "[decimal]":
            return cast("Value", tuple(map(Decimal, given)))
        case _:
            return given


def _instant(text: str) -> tuple[int, int]:
    """Return microseconds since the epoch, and the offset as written in seconds."""
    leap = _LEAP.search(text) is not None
    when = datetime.fromisoformat(_LEAP.sub(":59", text)) + timedelta(seconds=leap)
    offset = when.utcoffset() or timedelta()
    wall = when.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (wall - offset) // timedelta(microseconds=1), int(offset.total_seconds())
