"""Queries and those who ask them agree about names, without a server."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

import sql
from worker.engine.columns import (
    all_columns,
    amendment_columns,
    contested_columns,
    evaluation_columns,
    member_columns,
    named_columns,
    position_columns,
    saved_columns,
    subject_columns,
    unlock_columns,
)
from worker.engine.decide import Writes, backfill_facts, decide
from worker.engine.event_rows import pack_events
from worker.engine.long_way import LongWay
from worker.engine.rule_set import Deployed, RuleFile, read_rules
from worker.pipeline.dead_letters import letter_columns
from worker.pipeline.ledger import positions_heard

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
RULES = Deployed(
    1,
    read_rules([RuleFile("r.ach", 'event e {}\nachievement a { title "A" when count(event=e, >= 1) }')]),
    since={},
    prefix="events",
    skew=0,
)
METHODS = {"rows": 1, "row": 1, "value": 1, "pages": 1, "run": 0}
"""Methods of a session that ask a query, and which argument is its name."""
NOTHING = decide(RULES, backfill_facts({}, {}, {}), now=0, clock=0)
COLUMNS = {
    "all_columns": {*all_columns(RULES, NOTHING)},
    "saved_columns": {*saved_columns(NOTHING)},
    "pack_events": {*pack_events([], list)},
    "member_columns": {*member_columns([])},
    "subject_columns": {*subject_columns([])},
    "named_columns": {*named_columns([])},
    "position_columns": {*position_columns({})},
    "unlock_columns": {*unlock_columns(RULES, [])},
    "amendment_columns": {*amendment_columns(NOTHING)},
    "contested_columns": {*contested_columns(NOTHING)},
    "evaluation_columns": {*evaluation_columns(RULES, [])},
    "letter_columns": {*letter_columns([])},
    "positions_heard": {*positions_heard(RULES, "user", {})},
}
"""What functions give that make columns of rows."""
GIVEN = {
    "commit_fast": (
        {"partitions", "generations", "owner", "epoch", "suspects.event_id", "suspects.tenant_id"},
        ("all_columns",),
    ),
    "commit_fast_with_members": (
        {"partitions", "generations", "owner", "epoch", "suspects.event_id", "suspects.tenant_id"},
        ("all_columns", "named_columns"),
    ),
    "save_progress": (set[str](), ("saved_columns",)),
    "insert_event_subjects": (set[str](), ("member_columns",)),
    "forget_progress": (set[str](), ("subject_columns",)),
    "void_progress": (set[str](), ("subject_columns",)),
    "insert_events": ({"now"}, ("pack_events",)),
    "grant_unlocks": ({"now", "clock"}, ("unlock_columns",)),
    "amend_unlocks": ({"now"}, ("amendment_columns",)),
    "contest_unlocks": ({"now"}, ("contested_columns",)),
    "insert_evaluations": ({"now"}, ("evaluation_columns",)),
    "insert_dead_letters": ({"stream", "now"}, ("letter_columns",)),
    "forget_checkpoints": (set[str](), ("position_columns",)),
    "checkpoints_before": (set[str](), ("position_columns",)),
    "events_of_users": (set[str](), ("positions_heard",)),
    "events_of_users_in_roles": (set[str](), ("positions_heard",)),
    "events_of_tenants": (set[str](), ("positions_heard",)),
    "events_of_subjects": ({"scope"}, ("positions_heard",)),
    "pasts_of_users": ({"stamp", "limit"}, ("positions_heard",)),
    "pasts_of_users_in_roles": ({"stamp", "limit"}, ("positions_heard",)),
}
"""What queries are given: names one by one, and by which functions."""


class Call(NamedTuple):
    """Where a query is asked by its name: arguments that are named there, and whether there are more."""

    where: str
    query: str
    names: set[str]
    more: bool


def calls(path: Path) -> Iterator[Call]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="session"), attr=method)) if method in METHODS:
                asked = node.args[METHODS[method]]
                if isinstance(asked, ast.Constant):
                    names = {keyword.arg for keyword in node.keywords if keyword.arg is not None}
                    more = len(names) < len(node.keywords)
                    yield Call(f"{path.relative_to(ROOT)}:{node.lineno}", str(asked.value), names, more)
            case _:
                pass


CALLS = [call for path in sorted((ROOT / "worker").rglob("*.py")) for call in calls(path)]


def test_callers_of_queries_name_the_arguments() -> None:
    known = sql.queries()
    assert len(CALLS) > 80
    for call in CALLS:
        assert call.query in known, call
        names = set(known[call.query].names)
        assert call.names <= names if call.more else call.names == names, (call, names)


@pytest.mark.parametrize("name", GIVEN)
def test_columns_of_rows_have_the_names_of_the_query(name: str) -> None:
    one_by_one, functions = GIVEN[name]
    named = [*one_by_one, *(column for function in functions for column in COLUMNS[function])]
    assert sorted(named) == sorted(sql.query(name).names)


FIELDS = {
    "events": "arrivals",
    "positions": "absorbed",
    "pruned": "checkpoints",
    "checkpoints_kept": "checkpoints",
    "final_ids": "unlocks",
    "subjects": "forgotten",
}
"""Groups of arguments with another name than the field of `Writes` that they come from."""
LONG = {
    "forget_progress": (),
    "save_progress": (),
    "grant_unlocks": (),
    "amend_unlocks": (),
    "contest_unlocks": (),
    "withdraw_unlocks": ("withdrawn",),
    "insert_evaluations": (),
}
"""Statements of the long way that write what was decided, with fields whose arguments have other names."""


def _fields(statement: str) -> set[str]:
    groups = {name.partition(".")[0] for name in sql.query(statement).names} - {"unlock_ids"}
    return {FIELDS.get(group, group) for group in groups}


def test_what_is_decided_is_written_by_either_way() -> None:
    """The fast path does not do some; the long way has inserted events, and forgotten checkpoints, before."""
    fields = {*Writes._fields}
    fast = _fields("commit_fast") - {"partitions", "generations", "owner", "epoch", "suspects"}
    assert fast == fields - {"refolded", "late", "forgotten", "contested", "withdrawn"}
    long = {field for name, named in LONG.items() for field in {*_fields(name), *named}}
    assert long == fields - {"refolded", "late", "arrivals"}


def test_the_fast_path_is_overtaken_for_reasons_that_are_known() -> None:
    reasons = re.findall(r"overtaken\('(\w+)'", sql.query("commit_fast").text)
    assert len(reasons) == 4
    known = {LongWay.PARTITION_MOVED, LongWay.ARCHIVED, LongWay.UNLOCK_KNOWN, LongWay.UNLOCK_MOVED}
    assert {*map(LongWay, reasons)} == known


def test_every_query_is_asked() -> None:
    words: set[object] = set()
    for path in (ROOT / "worker").rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        words.update(node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    parts = set(re.findall(r"^[ \t]*-- use (\w+)$", _texts(), re.MULTILINE))
    assert sql.queries().keys() - words - parts == set()


def test_no_query_counts_its_arguments() -> None:
    assert re.findall(r"\$\d", _texts()) == []


def test_an_argument_is_cast_one_way() -> None:
    for query in sql.queries().values():
        casts: dict[str, set[str]] = {}
        for number, cast in re.findall(r"\$(\d+)((?:::\w+(?:\[\])?)+)", query.text):
            casts.setdefault(query.names[int(number) - 1], set()).add(cast)
        assert [name for name, ways in casts.items() if len(ways) > 1] == [], query.name


def test_a_query_that_uses_others_has_their_arguments() -> None:
    parts = "forget_checkpoints", "prune_checkpoints", "insert_checkpoints", "upsert_progress"
    assert set(sql.query("save_progress").names) == {name for part in parts for name in sql.query(part).names}
    for query in sql.queries().values():
        assert "-- use" not in query.text
        assert len(set(query.names)) == len(query.names)
        assert {int(number) for number in re.findall(r"\$(\d+)", query.text)} == {*range(1, len(query.names) + 1)}


def test_arguments_are_numbered_as_they_appear() -> None:
    text = "SELECT :now::timestamptz, :rows.id::text[] -- not :this\nWHERE x = :owner AND y < :now"
    query = sql._numbered("q", text)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    assert query.text == "SELECT $1::timestamptz, $2::text[] -- not :this\nWHERE x = $3 AND y < $1"
    assert query.names == ("now", "rows.id", "owner")
    assert query.arguments({"owner": 3, "now": 1, "rows.id": 2}) == [1, 2, 3]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"now": 1}, r"query mark_published: missing arguments \['unlock_ids'\], unknown arguments \[\]"),
        ({"now": 1, "unlock_ids": [], "by": ""}, r"missing arguments \[\], unknown arguments \['by'\]"),
        ({"now": 1, "ids": []}, r"missing arguments \['unlock_ids'\], unknown arguments \['ids'\]"),
    ],
)
def test_a_wrong_name_is_an_error(given: dict[str, object], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        sql.query("mark_published").arguments(given)


def _texts() -> str:
    return "\n".join(path.read_text("utf-8") for path in sorted((ROOT / "sql" / "queries").glob("*.sql")))
