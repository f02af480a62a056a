"""How the members of field scopes differ between two rule sets."""

from __future__ import annotations

import pytest

from worker.admin.members import difference
from worker.engine.rule_set import RuleFile, read_rules

EVENTS = "event a.done { n: int? >= 0, team: string? }\nevent b.done { team: string? }\n"
TEAM = 'achievement team { title "T" scope team when count(event=a.done, >= 2) }\n'
BOTH = 'achievement both { title "B" scope team when count(event=b.done, >= 2) }\n'
USER = 'achievement x { title "X" when count(event=b.done, >= 2) }\n'
ENUM = EVENTS.replace("b.done { team: string? }", "b.done { team: int? }")
A, B = frozenset({"a.done"}), frozenset({"b.done"})


@pytest.mark.parametrize(
    ("before", "now", "heard", "moved", "unheard"),
    [
        (EVENTS, EVENTS + USER, {}, {}, False),
        (EVENTS, EVENTS + TEAM, {"team": A}, {}, False),
        (EVENTS + TEAM, EVENTS + TEAM + BOTH, {"team": B}, {}, False),
        (EVENTS + TEAM + BOTH, EVENTS + TEAM, {}, {}, True),
        (EVENTS + TEAM, EVENTS + BOTH, {"team": B}, {}, True),
        (EVENTS + TEAM, EVENTS + USER, {}, {}, True),
        (EVENTS + BOTH, ENUM + BOTH, {}, {"team": B}, False),
        (EVENTS + TEAM, EVENTS.replace(">= 0", ">= 5") + TEAM, {}, {}, False),
        (None, EVENTS + TEAM, {"team": A}, {}, True),
    ],
)
def test_what_differs(
    before: str | None, now: str, heard: dict[str, frozenset[str]], moved: dict[str, frozenset[str]], *, unheard: bool
) -> None:
    old = None if before is None else read_rules([RuleFile("r.ach", before)])
    found = difference(old, read_rules([RuleFile("r.ach", now)]))
    assert (found.heard, found.moved, found.unheard) == (heard, moved, unheard)
    assert found.changes == bool(heard or moved)
