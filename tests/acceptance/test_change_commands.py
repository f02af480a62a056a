"""`ach apply` with its options, and `ach change`, as an operator uses them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import asyncpg
import pytest

from tests.acceptance.conftest import said
from worker.admin.plan_file import plan_file, plan_text
from worker.engine.rule_set import RuleFile, rules_hash, sources_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.acceptance.conftest import Shell
    from tests.acceptance.herd import Ran

pytestmark = pytest.mark.anyio

RULES = 'event a.done {}\nachievement x { title "X" when count(event=a.done, >= 2) }\n'
MORE = RULES + 'achievement y { title "Y" when count(event=a.done, >= 3) }\n'
FAILS = MORE + 'example "one is enough" {\n  at 2026-05-01T10:00:00Z ada a.done {}\n  expect ada x\n}\n'


async def test_a_change_from_the_plan_to_its_end(on_servers: Shell, database_url: str) -> None:
    ach: Callable[..., Ran] = on_servers.ach
    rules = on_servers.write("rules.ach", RULES)
    said(ach("apply", rules, "-m", "to begin with"), 0, "in force: epoch 1")
    rules = on_servers.write("rules.ach", MORE)
    said(ach("apply", rules, "--dry-run"), 0, "would be in force: epoch 2", "nothing was done", "new: y version 1")
    plan = on_servers.folder / "friday.plan"
    against = rules_hash(sources_of([RuleFile(str(rules), RULES)])).hex()
    made = plan_file([RuleFile(str(rules), MORE)], epoch=1, against=against, made_at="", made_by="ann")
    plan.write_bytes(plan_text(made))
    elsewhere = on_servers.folder / "elsewhere.plan"
    other = plan_file([RuleFile(str(rules), MORE)], epoch=1, against="ab" * 32, made_at="", made_by="ann")
    elsewhere.write_bytes(plan_text(other))
    of_another = "epoch 1 is in force, applied", ": to begin with, with other rules: it is a plan of another database"
    said(ach("apply", elsewhere), 1, *of_another, "make a new one")
    said(ach("apply", elsewhere, "--dry-run"), 1, *of_another)
    said(ach("apply", plan, "--announce", "none", "-m", "y for all"), 0, "in force: epoch 2")
    stale = on_servers.folder / "stale.plan"
    stale.write_bytes(
        plan_text(plan_file([RuleFile("rules.ach", RULES)], epoch=1, against=against, made_at="", made_by="ann"))
    )
    said(ach("plan", plan), 1, "friday.plan is a plan, and no rules: `ach apply")
    said(ach("apply", rules, plan), 2, "friday.plan is a plan, and no rules")
    said(ach("apply", on_servers.write("cut.plan", "")), 1, "cut.plan is no plan")
    events = on_servers.write("rules.ach", "event a.done {}\n")
    said(ach("apply", events), 1, "would retire all 2 that are in force; nothing was done", "ach rules retire NAME")
    rules = on_servers.write("rules.ach", MORE)
    said(ach("apply", stale), 1, "was made against epoch 1, and epoch 2 is in force", ": y for all; make a new one")
    listed = json.loads(ach("change", "list", "--json").out)
    states = [(one["change_id"], one["state"], one["announce"]) for one in listed]
    assert states == [(2, "done", "none"), (1, "done", "all")]
    assert [one["seconds_left"] for one in listed] == [None, None]
    assert listed[0]["plan"] == made.plan
    said(ach("change", "show", "2"), 0, "change:    2, done", "message:   y for all", "unlocks:   0 granted")
    said(ach("change", "status"), 0, "no change is under way")
    said(ach("change", "pause", "2"), 1, "change 2 is done: only one that is building can be paused")
    # As if it had died in the middle.
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE change SET state = 'building', ended_at = NULL WHERE change_id = 2")
    said(ach("change", "pause", "2"), 0, "change 2 is paused")
    said(ach("apply", rules), 0, "change 2 is paused: `ach change resume 2`")
    said(ach("change", "resume", "2"), 0, "backfill: 0 subjects folded again")
    said(ach("change", "resume", "2"), 1, "change 2 is done: nothing of it is left to build")
    await connection.execute("UPDATE change SET state = 'building', ended_at = NULL WHERE change_id = 2")
    await connection.close()
    said(ach("apply", rules), 0, "in force already (epoch 2); continuing its backfill: change 2 is still being built")
    said(ach("apply", rules), 0, "nothing changed")
    said(ach("change", "announce", "2"), 0, "0 unlocks of change 2 will be announced")


async def test_what_cannot_be_applied_is_said(on_servers: Shell) -> None:
    ach: Callable[..., Ran] = on_servers.ach
    rules = on_servers.write("rules.ach", FAILS)
    said(ach("apply", rules), 1, "rules.ach:6:", "one is enough", "an example of the rules fails; nothing was done")
    rules = on_servers.write("rules.ach", RULES)
    said(ach("apply", rules, "--announce", "since", "yesterday"), 2, "--announce since yesterday")
    said(ach("apply", rules, "--announce", "some"), 2, "--announce: expected none, all, or since")
    said(ach("apply", rules, "-m", "x" * 1001), 2, "--message: 1,001 characters")
    broken = on_servers.write("broken.plan", '{"ach_plan": 1')
    said(ach("apply", broken), 1, "is no plan")
    said(ach("apply", rules, "--announce", "since", "7d"), 0, "in force: epoch 1")
    said(ach("change", "show", "9"), 1, "there is no change 9: `ach change list` lists them")


async def test_what_was_interrupted_behind_its_switch_is_gone_on_with(on_servers: Shell, database_url: str) -> None:
    """The rules are in force by then: the same command says so, and brings the rest up to date."""
    ach: Callable[..., Ran] = on_servers.ach
    for name, text in (("rules.ach", RULES), ("more.ach", MORE)):
        said(ach("apply", on_servers.write(name, text)), 0, "in force")
    connection = await asyncpg.connect(database_url)
    died = "UPDATE change SET state = 'building', ended_at = NULL WHERE epoch = (SELECT max(epoch) FROM rule_set)"
    try:
        said(ach("apply", on_servers.write("z.ach", MORE.replace("achievement y", "achievement z"))), 0, "epoch 3")
        said(ach("rollback", "2", "--yes"), 0, "in force: epoch 4, with the rules of epoch 2")
        await connection.execute(died)
        said(ach("rollback", "2", "--dry-run"), 0, "in force already (epoch 4); continuing its backfill: change 4")
        assert json.loads(ach("rollback", "2", "--dry-run", "--json").out)["changed"] is False
        said(ach("rollback", "2", "--yes"), 0, "continuing its backfill: change 4", "0 subjects folded again")
        said(ach("rollback", "2", "--yes"), 1, "epoch 4 is in force, with the rules of epoch 2; nothing was done")
        await connection.execute(died)
        said(ach("change", "pause", "4"), 0, "change 4 is paused")
        said(ach("rollback", "2"), 0, "change 4 is paused: `ach change resume 4`")
        said(ach("change", "resume", "4"), 0, "0 subjects folded again")

        retire = ("rules", "retire", "y", "--reason", "counts what it should not")
        said(ach(*retire), 0, "in force: epoch 5", "retired: y version 1", "take y out of your rule files too")
        await connection.execute(died)
        said(ach(*retire), 0, "in force already (epoch 5); continuing its backfill: change 5", "take y out of your")
        said(ach(*retire), 1, "no achievement y is in force")
        assert await connection.fetchval("SELECT count(*) FROM change WHERE state = 'building'") == 0
    finally:
        await connection.close()
