"""What a change has decided: the numbers of its plan, whether its build or a worker has folded a subject."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.integration.engine import Engine, event
from tests.integration.pipelines import sent
from tests.integration.roles import with_roles
from tests.integration.test_plan import AFTER, END, EVENTS, FOUR, THREE, counts, deploy, planned, streamed
from worker.admin.backfill import backfill
from worker.admin.changes import UnknownChangeError
from worker.admin.reconciliation import NoChangeError, of_subject, one_by_one, reconciliation
from worker.admin.rollout import apply_rules
from worker.engine.rule_set import RuleFile
from worker.store import Store, open_store

if TYPE_CHECKING:
    from worker.engine.reconciliation import Decided, Reconciliation

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
__all__ = ["streamed"]
NEXT = EVENTS + THREE + FOUR + END + 'achievement two { title "2" when count(event=a.done, >= 2) }\n'


async def history(engine: Engine) -> None:
    await deploy(engine, EVENTS + THREE + END)
    for user, done in (("ann", 3), ("ben", 4), ("cal", 2), ("dan", 3)):
        await sent(engine, *(event(number, user=user) for number in range(done)))
    await sent(engine, *(event(100, "b.done", user=user) for user in ("ann", "ben")))


async def listed(store: Store, change_id: int) -> list[Decided]:
    return [one async for page in one_by_one(store, change_id) for one in page]


def totals(found: Reconciliation) -> Counter[str]:
    total = Counter[str]()
    for row in found.rows:
        total.update({f"{row.achievement} {kind}": number for kind, number in row.decisions.items()})
    return total


@pytest.mark.parametrize("live", [False, True])
async def test_the_numbers_are_those_of_the_plan(streamed: Engine, *, live: bool) -> None:
    await history(streamed)
    async with open_store(streamed.settings.database_url) as store:
        seen, _ = await planned(store, streamed, NEXT)
        files = [RuleFile("rules.ach", NEXT)]
        await apply_rules(store, files, streamed.settings, by="ann", now=AFTER, accept_contracts=True)
        if live:
            # An event that decides nothing: the worker folds its subject by the new rules.
            await sent(streamed, *(event(200, "c.done", user=user) for user in ("ann", "ben", "cal")))
            await sent(streamed, *(event(201, user=user, id=f"late-{user}") for user in ("cal",)))
        else:
            assert not totals(await reconciliation(store, None))
        await backfill(store, streamed.settings, now=lambda: AFTER, pause=0)
        found = await reconciliation(store, None)
        foreseen = Counter[str]()
        for name, number in counts(seen).items():
            foreseen[" ".join(name.split()[:2])] += number
        assert totals(found) == foreseen
        assert (found.state, found.applied_by, found.unchanged) == ("done", "ann", 1)
        assert sum(found.total.values()) == len(await listed(store, found.change_id))
        (contested, gained) = await of_subject(store, "t1", "user", "ann", change_id=None, limit=2)
        assert {contested.decision, gained.decision} <= {"contested", "granted"}


async def test_unchanged_is_what_stands_without_a_decision(streamed: Engine) -> None:
    await history(streamed)
    async with open_store(streamed.settings.database_url) as store:
        files = [
            RuleFile("rules.ach", EVENTS + THREE + END + 'achievement x { title "X" when count(event=c.done, >= 1) }')
        ]
        await apply_rules(store, files, streamed.settings, by="ann", now=AFTER * 2)
        await backfill(store, streamed.settings, now=lambda: AFTER, pause=0)
        found = await reconciliation(store, None)
        assert (found.rows, found.total, found.unchanged) == ([], {}, 5)


async def test_what_is_not_there(streamed: Engine) -> None:
    async with open_store(streamed.settings.database_url) as store:
        with pytest.raises(NoChangeError, match="`ach apply` makes one"):
            await reconciliation(store, None)
        with pytest.raises(UnknownChangeError, match="no change 7"):
            await reconciliation(store, 7)
        assert await of_subject(store, "t1", "user", "zoe", change_id=None, limit=5) == []


async def test_a_reader_may_ask(streamed: Engine) -> None:
    await history(streamed)
    async with (
        with_roles(streamed.settings.database_url) as deployment,
        open_store(deployment.url_as(deployment.roles.reader)) as store,
    ):
        found = await reconciliation(store, None)
        assert found.epoch == 1
        assert await listed(store, found.change_id) == []
        assert await of_subject(store, "t1", "user", "ann", change_id=found.change_id, limit=5) == []
