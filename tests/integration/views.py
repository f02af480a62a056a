"""Rules with something hidden, earned, shared and limited, and what a reader sees of a subject, for tests."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from dsl.outcome import Subject
from worker.app import wall_clock
from worker.engine.answer import Reader
from worker.store import open_store
from worker.view.reader import View
from worker.view.reveal import StoreRevealer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tests.integration.engine import Engine
    from worker.engine.answer import Shown, Standing

RULES = """
event a.done { team: string? }
event b.done {}
traits from user.updated { plan: string }

achievement crew { title "Crew" scope team when count(event=a.done, >= 2) }
achievement far {
  title { en: "Far", de: "Weit" }
  about "A long way."
  family ways
  reward { xp: 7 }
  reveal at 50%
  when count(event=a.done, >= 4, unless=b.done)
}
achievement paid { title "Paid" for plan = "pro" when count(event=a.done, >= 3) }
achievement secret { title "Psst" reveal secret when count(event=a.done, >= 9) }
achievement steps {
  title "Steps"
  tier low { when count(event=a.done, >= 2) reward { xp: 1 } }
  tier mid { when count(event=a.done, >= 6) reveal secret }
  tier high { when count(event=a.done, >= 8) }
}
"""
USER = Reader(as_user=True)
U1 = Subject("t1", "user", "u1")


@asynccontextmanager
async def view_on(engine: Engine, *, revealing: bool = True) -> AsyncGenerator[View]:
    async with open_store(engine.settings.database_url) as store:
        revealer = StoreRevealer(store) if revealing else None
        yield View(store, engine.settings, revealer=revealer, rarity_seconds=0)


async def seen(engine: Engine, subject: Subject = U1, reader: Reader = USER, *, revealing: bool = True) -> Standing:
    async with view_on(engine, revealing=revealing) as view:
        return await view.standing(subject, reader, wall_clock())


def by_id(standing: Standing) -> dict[str, Shown]:
    return {item.id: item for item in standing.items}
