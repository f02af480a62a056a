"""Roles in rule files: how they are read, written back, and refused; what they cost is what rules ask for."""

from __future__ import annotations

import pytest

from dsl.advice import examine
from dsl.analyze import verdicts
from dsl.diagnostics import Severity
from dsl.event import Event
from dsl.format import format_file
from dsl.notation import condition
from dsl.outcome import run
from dsl.ruleset import RuleSet, build

CONTRACTS = """
event like { post: string, author: user, fans: [user]? }
event met { host: user }
"""


def rules(*whens: str, contracts: str = CONTRACTS, head: str = "") -> RuleSet:
    parts = [f'achievement x{n} {{ title "X" {head} when {when} }}' for n, when in enumerate(whens)]
    return build([("x.ach", "\n".join((contracts, *parts, "")).encode())])


def codes(found: RuleSet) -> list[str]:
    return [problem.code for problem in found.problems if problem.severity is Severity.ERROR]


@pytest.mark.parametrize(
    "text",
    [
        "count(event=like as author, >= 2)",
        'count(event=like as author where post = "p", >= 2)',
        "count(event=[like as author, met], >= 2)",
        'count(event=[like, like where post = "p"] as author where post != "q", >= 2)',
        "count(event=like, >= 2, unless=met as host)",
        "sequence([like as author, like, met as host])",
    ],
)
def test_a_role_is_written_as_it_is_read(text: str) -> None:
    found = rules(text)
    assert codes(found) == []
    (version,) = found.rules.achievements["x0"]
    assert version.when is not None
    assert condition(version.when) == text


@pytest.mark.parametrize(
    ("when", "code", "hint"),
    [
        ("count(event=like as post, >= 1)", "ACH325", "declare it as one"),
        ("count(event=like as autor, >= 1)", "ACH202", "did you mean `author`?"),
        ("count(event=like as actor, >= 1)", "ACH202", "leave `as actor` out"),
        ("count(event=[like, met] as author, >= 1)", "ACH202", "name users: host"),
        ("count(event=[like as fans] as author, >= 1)", "ACH111", "behind the brackets"),
        ('count(event=like where post = "p" as author, >= 1)', "ACH101", "a filter follows the role"),
        ("sequence([like, met] as host)", "ACH113", "for example"),
        ("count(event=like, distinct=post as author, >= 1)", "ACH113", None),
        ("streak(event=like, per=day as author, >= 1)", "ACH113", None),
        ("unlocked(x0 as author)", "ACH113", None),
    ],
)  # fmt: skip
def test_slips(when: str, code: str, hint: str | None) -> None:
    found = rules(when)
    assert codes(found)[:1] == [code]
    first = next(problem for problem in found.problems if problem.severity is Severity.ERROR)
    assert hint is None or hint in (first.hint or "")


def test_roles_are_for_users() -> None:
    assert codes(rules("count(event=like as author, >= 1)", head="scope tenant")) == ["ACH455"]


def test_too_many_roles() -> None:
    fields = ", ".join(f"f{n}: user" for n in range(6))
    contract = f"event like {{ {fields} }}\n"
    whens = [f"count(event=like as f{n}, >= 1)" for n in range(6)]
    assert codes(rules(*whens[:5], contracts=contract)) == []
    assert codes(rules(*whens, contracts=contract)) == ["ACH456"]
    once = f"event like {{ {fields} once per f1 }}\n"
    assert codes(rules(*whens[:1], contracts=once)) == ["ACH456"]


def test_what_no_rule_asks_for_has_no_views() -> None:
    found = rules("count(event=like, >= 1)")
    assert found.program is not None
    assert found.program.scopes["user"].types == {"like"}
    asked = rules("count(event=like as author, >= 1)", "count(event=like, >= 1)")
    assert asked.program is not None
    assert asked.program.scopes["user"].types == {"like", "like as author", "like as actor+author"}


def test_a_count_of_the_actor_is_the_same_count_beside_roles() -> None:
    plain, beside = (
        rules("count(event=like, >= 1)"),
        rules("count(event=like, >= 1)", "count(event=like as fans, >= 1)"),
    )
    assert plain.program is not None
    assert beside.program is not None
    keys = [{entry.base for entry in each.program.scopes["user"].entries} for each in (plain, beside) if each.program]
    assert keys[0] < keys[1]


def test_the_formatter_keeps_roles() -> None:
    found = rules('count( event = [ like,met ]as   author where post="p",>=1)')
    assert '[like, met] as author where post = "p"' in format_file(found.files[0])


def test_advice_reads_fields_of_events_in_roles() -> None:
    found = rules("all(count(event=like as author, distinct=post, >= 2), count(event=like as author, >= 2))")
    assert codes(found) == []
    assert "ACH507" in {problem.code for problem in examine(found.files, found.rules, found.problems)}


def test_a_late_copy_moves_between_groups_in_roles_too() -> None:
    contracts = "event like { post: string, team: string, author: user once per post within 1d }"
    found = rules("count(event=like as author, by=team, >= 2)", contracts=contracts)
    assert codes(found) == []
    assert verdicts(found.rules)["x0", 1].reasons


# -- in the fold -------------------------------------------------------------------------------------------------------

COPIES = "event seen { key: string, by: user once per key }\n"


def of(user: str, number: int, by: str, key: str = "k", kind: str = "seen") -> Event:
    return Event("t", f"e{number}", kind, user, number, 0, {"key": key, "by": by})


def test_copies_are_found_in_whatever_role_they_are() -> None:
    """The second of ann's is a copy in her history, though only it is there in the role."""
    program = rules("count(event=seen as by, >= 1)", contracts=COPIES).program
    assert program is not None
    events = [of("ann", 1, "ben"), of("ann", 2, "ann"), of("ben", 3, "cid"), of("cid", 4, "ann", key="other")]
    found = sorted((unlock.subject, unlock.earned_at[-3:-1]) for unlock in run(program, events).unlocks)
    assert found == [("ann", "04"), ("ben", "01"), ("cid", "03")]


def test_a_pseudonym_has_no_history() -> None:
    program = rules("count(event=seen, >= 1)", "count(event=seen as by, >= 1)", contracts=COPIES).program
    assert program is not None
    event = of("~erased~1", 1, "ann")
    assert program.roles.seen_by(event, "~erased~1").type not in program.scopes["user"].types
    assert program.roles.seen_by(of("ann", 2, "~erased~1"), "~erased~1").type not in program.scopes["user"].types
    found = run(program, [event, of("ben", 2, "~erased~1")])
    assert {unlock.subject for unlock in found.unlocks} == {"ann", "ben"}
