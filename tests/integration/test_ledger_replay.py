"""The ledger folded again says what production has granted, and names every unlock about which they differ."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from tests.integration.engine import Engine, event
from worker.admin import ledger_replay
from worker.admin.ledger_replay import NotInLedgerError, Part, Replayed, check_scopes, replay_ledger
from worker.admin.results import read_digest, read_results
from worker.commands.options import microseconds
from worker.engine.agreement import Why
from worker.engine.rule_set import Deployed, RuleFile, read_rules
from worker.pipeline import sorted_lines
from worker.pipeline.rules_in_force import load_deployed
from worker.store import open_store

if TYPE_CHECKING:
    from typing import Any

pytestmark = pytest.mark.anyio

RULES = """
event a.done { n: int? >= 0, team: string? once per n within 2m }
event b.done {}

achievement x { title "X" when count(event=a.done, >= 3) repeat every hour }
achievement big { title "B" tier one { when sum(event=a.done, of=n, >= 30) } }
achievement team { title "T" scope team when count(event=a.done, >= 12, unless=b.done) }
achievement all { title "A" scope tenant when count(event=b.done, >= 4) }
achievement slow { title "S" when count(event=b.done, >= 1) settle 40m }
"""


def history(seed: int, events: int = 400) -> list[dict[str, Any]]:
    dice = Random(seed)  # noqa: S311 - no secret
    made: list[dict[str, Any]] = []
    for number in range(events):
        who = {"user": f"u{dice.randrange(12)}", "tenant": f"t{dice.randrange(2)}", "id": f"e{number}"}
        if dice.random() < 0.8:
            made.append(event(dice.randrange(300), n=dice.randrange(9), team=f"red{dice.randrange(3)}", **who))
        else:
            made.append(event(dice.randrange(300), "b.done", **who))
    return made


async def fold(engine: Engine, part: Part | None = None, *, text: str | None = None) -> Replayed:
    async with open_store(engine.settings.database_url) as store:
        rules = in_force = await load_deployed(store, engine.settings)
        if text is not None:
            made = read_rules([RuleFile("rules.ach", text)])
            rules = Deployed(1, made, since={}, prefix="events", skew=0)
            check_scopes(rules, in_force)
        first, second = await replay_ledger(store, rules, part or Part(), times=2)
        assert first == second
        return first


@pytest.fixture
async def played(engine: Engine) -> Engine:
    await engine.apply(RULES)
    await engine.publish(history(1))
    await engine.drain(batch_size=60)
    return engine


@pytest.mark.parametrize("small", [False, True])
async def test_the_ledger_says_what_production_has(
    played: Engine, monkeypatch: pytest.MonkeyPatch, *, small: bool
) -> None:
    if small:  # pages, pieces and files: the borders between them do not show
        monkeypatch.setattr(ledger_replay, "PAGE", 3)
        monkeypatch.setattr(ledger_replay, "PIECE", 2)
        monkeypatch.setattr(sorted_lines.SortedLines.__init__, "__defaults__", (200,))
    found = await fold(played)
    assert found.disagreements == []
    async with open_store(played.settings.database_url) as store:
        rules = await load_deployed(store, played.settings)
        stored, hashed = await read_results(store, rules), await read_digest(store, rules)
    assert found.digest == stored.digest == hashed.digest
    assert found.unlocks.total() == len(stored.unlocks) == hashed.unlocks > 30
    assert (found.subjects, found.suppressed) == (len(stored.states), stored.suppressed)
    assert hashed.subjects == len(stored.states)
    assert hashed.contested == len(stored.contested)


async def test_every_difference_is_named(played: Engine) -> None:
    tampered = {
        Why.MISSING: "DELETE FROM unlock WHERE unlock_id = $1",
        Why.CHANGED: "UPDATE unlock SET earned_at = earned_at - interval '1 s' WHERE unlock_id = $1",
        Why.CONTESTED: "UPDATE unlock SET contested_at = now() WHERE unlock_id = $1",
        Why.REVOKED: "UPDATE unlock SET revoked_at = now() WHERE unlock_id = $1",
        Why.UNSUPPORTED: "UPDATE unlock SET subject = 'nowhere' WHERE unlock_id = $1",
    }
    rows = await played.rows(
        "SELECT unlock_id, scope, subject, achievement, occurrence FROM unlock WHERE achievement = 'x'"
        " AND contested_at IS NULL ORDER BY unlock_id"
    )
    for (_, statement), row in zip(tampered.items(), rows, strict=False):
        await played.rows(statement, row["unlock_id"])
    found = await fold(played)
    # The one that was moved to another subject is missing where it was.
    assert found.disagreed == {**dict.fromkeys(tampered, 1), Why.MISSING: 2}
    for why, row in zip(tampered, rows, strict=False):
        subject = "nowhere" if why is Why.UNSUPPORTED else row["subject"]
        assert any(
            (one.why, one.subject, one.occurrence) == (why, subject, row["occurrence"]) for one in found.disagreements
        )


async def test_other_rules_are_tried_on_the_same_history(played: Engine) -> None:
    found = await fold(played, text=RULES.replace(">= 30)", ">= 40)"))
    assert found.disagreed[Why.UNSUPPORTED]
    assert {(one.achievement, one.tier) for one in found.disagreements} == {("big", "one")}
    fewer = RULES.replace("achievement slow", "achievement slower")
    renamed = await fold(played, text=fewer)
    assert renamed.disagreed[Why.RETIRED] == renamed.disagreed[Why.MISSING] > 0


async def test_a_scope_that_the_ledger_does_not_know_is_refused(played: Engine) -> None:
    wider = (
        RULES
        + 'event c.done { team: string? }\nachievement c { title "C" scope team when count(event=c.done, >= 1) }\n'
    )
    with pytest.raises(NotInLedgerError, match=r"scope team.*c\.done"):
        await fold(played, text=wider)


async def test_a_part_of_the_history(played: Engine) -> None:
    events = [one for one in history(1) if one["tenant_id"] == "t1"]
    whole = await fold(played, Part(tenant="t1"))
    assert whole.disagreements == []
    assert {name for name, _ in whole.unlocks} == {"x", "big", "team", "all", "slow"}
    since, until = event(60)["occurred_at"], event(120)["occurred_at"]
    hour = await fold(played, Part(microseconds(since), microseconds(until), "t1"))
    # Each is heard in two scopes: `a.done` of users and teams, `b.done` of users and the tenant.
    assert hour.folded == 2 * sum(since <= one["occurred_at"] < until for one in events) > 0
    assert not hour.disagreed
    one = await fold(played, Part(tenant="t1", user="u3"))
    assert one.folded == sum(each["user_id"] == "u3" for each in events)
    assert one.disagreements == []
    unknown = await fold(played, Part(tenant="t1", user="stranger"))
    assert (unknown.folded, unknown.subjects) == (0, 0)
