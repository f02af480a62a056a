"""Roles, computed by hand from the language page: the reference and the fold agree with it, and with each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import pytest

from dsl.event import Event
from dsl.outcome import run
from dsl.ruleset import build
from tests.reference import evaluator
from tests.reference.rule_text import read

if TYPE_CHECKING:
    from dsl.types import Listed, Value

CONTRACTS: Final = """
event like { post: string, author: user }
event met { crew: [user], host: user? }
event seen { by: user, what: string once per what }
event named { member: user }
traits from named as member { role: string }
traits from named { team: string }
"""
MINUTE: Final = 60_000_000


def happened(minute: int, kind: str, user: str, /, **fields: Value | Listed) -> Event:
    given = cast("dict[str, Value]", fields)
    return Event("t", f"e{minute}", kind, user, minute * MINUTE, 0, given)


def like(minute: int, user: str, author: str) -> Event:
    return happened(minute, "like", user, post="p", author=author)


STREAM: Final = (
    like(1, "ann", "bob"),
    like(2, "ann", "bob"),
    like(3, "cid", "bob"),
    like(4, "bob", "bob"),
    happened(5, "met", "ann", crew=("bob", "bob", "ann"), host="cid"),
    happened(6, "met", "cid", crew=(), host="cid"),
    happened(7, "seen", "ann", by="bob", what="x"),
    happened(8, "seen", "ann", by="cid", what="x"),
    happened(9, "seen", "dan", by="bob", what="x"),
    happened(10, "named", "ann", member="bob", role="mod", team="red"),
    like(11, "bob", "cid"),
)


def earned(when: str) -> dict[str, int]:
    """Return who earns a condition at which minute, as reference and fold agree."""
    text = f'{CONTRACTS}achievement x {{ title "X" {when} }}\n'
    rules = build([("x.ach", text.encode())])
    assert rules.program is not None, [problem.message for problem in rules.problems]
    expected = evaluator.outcome(read(text), STREAM).unlocks
    found = run(rules.program, STREAM)
    assert [(one.subject, one.earned_at) for one in found.unlocks] == [
        (one.subject.name, f"1970-01-01T00:{one.earned_at // MINUTE:02}:00.000000Z") for one in expected
    ]
    return {one.subject.name: one.earned_at // MINUTE for one in expected}


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("when count(event=like, >= 2)", {"ann": 2, "bob": 11}),
        ("when count(event=like as author, >= 2)", {"bob": 2}),
        ("when count(event=like as author, >= 4)", {"bob": 4}),
        ("when count(event=like as author, distinct=actor, >= 2)", {"bob": 3}),
        ("when count(event=like as author, distinct=actor, >= 3)", {"bob": 4}),
        ("when count(event=like as author where author != actor, distinct=actor, >= 3)", {}),
        ("when count(event=like as author where actor = author, >= 1)", {"bob": 4}),
        # One event, once in a history, and for one step.
        ("when count(event=met as crew, >= 1)", {"bob": 5, "ann": 5}),
        ("when count(event=[met as crew, met as host], >= 1)", {"ann": 5, "bob": 5, "cid": 5}),
        ("when count(event=[met as crew, met as host, met], >= 2)", {"cid": 6}),
        ("when sequence([like as author, like])", {"bob": 4}),
        ("when sequence([like as author, like, like as author])", {}),
        ("when all(count(event=like as author, >= 1), count(event=like, >= 1))", {"bob": 4, "cid": 11}),
        ("when count(event=[like, met] as author, >= 1)", None),
        ("when count(event=like as author, >= 2, unless=like)", {"bob": 2}),
        ("when count(event=like, >= 2, unless=met as crew)", {"ann": 2}),
        # Copies are those of one actor, in whatever role the first of them was seen.
        ("when count(event=seen as by, >= 1)", {"bob": 7, "cid": 8}),
        ("when count(event=seen as by, >= 2)", {"bob": 9}),
        ("when count(event=seen, >= 1)", {"ann": 7, "dan": 9}),
        # Traits of who is named, and of who does it.
        ('when count(event=like, >= 1) for role = "mod"', {"bob": 10}),
        ('when count(event=like, >= 1) for team = "red"', {"ann": 10}),
        # Heard in the roles that are named, and in no other.
        ("when count(event=like as author, >= 1) repeat every day", {"bob": 1, "cid": 11}),
    ],
)
def test_who_earns_what(when: str, expected: dict[str, int] | None) -> None:
    if expected is None:
        text = f'{CONTRACTS}achievement x {{ title "X" {when} }}\n'
        assert "there is no field `author` in `met`" in [
            each.message for each in build([("x.ach", text.encode())]).problems
        ]
    else:
        assert earned(when) == expected
