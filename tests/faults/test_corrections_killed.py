"""The relay of corrections dies before and behind each of its steps: none is lost, none said twice, all in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.faults.changes_chain import Crash
from tests.faults.changes_world import FUSE, Died, fused
from tests.faults.oracle import corrected
from tests.integration.engine import Engine, event
from tests.integration.pipelines import pipeline_on, send
from tests.integration.test_corrections import by_hand, notifier_on, revoke
from worker.admin.erasure import erase_user
from worker.app import wall_clock
from worker.broker.streams import BrokerAwayError
from worker.store import UnavailableError, open_store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = [pytest.mark.anyio, pytest.mark.faults]

STEPS: Final = 60
"""More than any of these takes."""


async def judged(engine: Engine) -> list[str]:
    """Return what is wrong."""
    found = [*corrected(await engine.said(), await engine.rows("SELECT * FROM unlock"))]
    return found + [f"not announced: {row}" for row in await engine.rows("SELECT unlock_id, kind FROM correction")]


async def _announced_before(engine: Engine) -> None:
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(0), event(2), event(0, user="u2"), event(2, user="u2"))
    async with notifier_on(engine) as outbox_relay:
        await outbox_relay.relay()


async def _changed(engine: Engine) -> None:
    """Amend both, contest one, and revoke it; erase the other."""
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(1), event(1, user="u2"))
        await send(pipeline, event(0, "b.done", id="x"), event(1, "b.done", id="y"))
    await revoke(engine)
    await by_hand(engine)
    async with open_store(engine.settings.database_url) as store:
        await erase_user(store, engine.settings, "t1", "u2", by="ann", now=wall_clock())


async def _withheld(engine: Engine) -> None:
    """Revoke and erase what was not announced."""
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(0), event(2), event(0, user="u2"), event(2, user="u2"))
    await revoke(engine)
    async with open_store(engine.settings.database_url) as store:
        await erase_user(store, engine.settings, "t1", "u2", by="ann", now=wall_clock())


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("scene", ["announced", "withheld"])
async def test_it_dies_at_every_step(engine: Engine, scene: str, *, behind: bool) -> None:
    await engine.apply()
    with fused():
        burnt = True
        for number in range(STEPS):
            prefix = f"k{number}"
            this = engine.with_settings(unlock_stream=f"K{number}", unlock_prefix=prefix)
            await engine.rows("DELETE FROM event")
            for table in ("unlock", "correction", "evaluation", "progress", "checkpoint", "erasure"):
                await engine.rows(f"DELETE FROM {table}")  # noqa: S608 - names of ours
            changes: tuple[Callable[[Engine], Awaitable[None]], ...] = (
                (_announced_before, _changed) if scene == "announced" else (_withheld,)
            )
            for change in changes:
                await change(this)
            try:
                async with notifier_on(this) as outbox_relay:
                    with FUSE.armed(Crash(number, behind=behind, dies=True)):
                        await outbox_relay.relay()
            except (Died, UnavailableError, BrokerAwayError):
                pass
            burnt = FUSE.burnt
            async with notifier_on(this) as outbox_relay:
                await outbox_relay.relay()
            assert await judged(this) == [], f"dead at step {number}"
            kinds = [
                one["kind"] for one in await this.said() if (one["subject"], one["achievement"]) == ("u1", "clean")
            ]
            if scene == "announced":
                wanted = ["granted", "amended", "contested", "revoked", "granted_by_hand"]
                assert kinds == wanted, f"dead at step {number}"
            else:
                assert kinds == ["withheld", "revoked"], f"dead at step {number}"
            if not burnt:
                break
        assert not burnt, "there are more steps"
