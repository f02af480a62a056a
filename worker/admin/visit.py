"""Visit the subjects that a search finds: fold them ahead, and write them piece by piece.

Where a build goes on is noted only when all up to there are written.
"""

from __future__ import annotations

import gc
from contextlib import aclosing
from time import monotonic
from typing import TYPE_CHECKING, Final

import msgspec

from dsl.compile import USER
from worker.admin.ahead import fold_ahead, without_rows
from worker.admin.changes import Cursor
from worker.admin.outdated import Named, pages_of
from worker.admin.piece import Pieces, hold
from worker.admin.sweep import Sweep
from worker.pipeline.ledger import clock_of, runs_back
from worker.rulefiles import without_collector

if TYPE_CHECKING:
    from collections.abc import Collection

    from dsl.outcome import Subject
    from worker.admin.hashed_events import Swept
    from worker.admin.outdated import Search
    from worker.admin.piece import Build
    from worker.pipeline.ledger import Read

AHEAD: Final = 1000
"""Users that are folded together."""
AHEAD_OF_MANY: Final = 10
"""Subjects of other scopes: each may have the events of many users, which are sorted together."""


async def visit(work: Build, search: Search) -> None:
    """Bring those up to date that a search finds, from where the change says.

    Raises:
        SupersededError, BuildEndedError: other rules came into force, or the change is not ours any more.
        UnavailableError: the database went away.
    """
    place, here = Cursor() if work.lease is None else work.lease.cursor, (search.scope, search.step)
    if (place.scope, place.step) > here:
        return  # this was done before
    if (place.scope, place.step) != here:
        place = Cursor(scope=search.scope, step=search.step)
    with without_collector():
        if search.swept is not None:
            await _sweep(work, search, search.swept, place)
        else:
            await _by_pages(work, search, place)


async def _by_pages(work: Build, search: Search, place: Cursor) -> None:
    pieces, after = Pieces(work), Named(place.tenant_id, place.subject)
    async with work.store.transaction(patient=True) as session:
        clock = await clock_of(session, work.settings, work.now())
    async for page in pages_of(work.store, work.rules, search, after, clock=clock):
        together = AHEAD if search.scope == USER else AHEAD_OF_MANY
        for at in range(0, len(page.found), together):
            await _fold(work, pieces, search.scope, page.found[at : at + together], runs_back)
        await _looked_at(work, page.looked_at)
        place = msgspec.structs.replace(place, tenant_id=page.last.tenant_id, subject=page.last.subject)
        if pieces.full:
            await _settle(work, pieces, place)
    await _settle(work, pieces, place)


async def _sweep(work: Build, search: Search, swept: Swept, place: Cursor) -> None:
    """Visit users with events of what is new."""
    pieces, rate = Pieces(work), None if work.lease is None else work.lease.rate
    sweep = Sweep(work.rules, swept, after=place.swept, rate=rate)
    while not sweep.over:
        async with aclosing(sweep.slice(work.store, lambda: work.courtesy.calm(monotonic()))) as chunks:
            async for chunk in chunks:
                await _fold(work, pieces, search.scope, chunk.having(search.types), chunk.read)
                await _looked_at(work, len(chunk.events))
                if pieces.full:
                    await _settle(work, pieces, msgspec.structs.replace(place, swept=chunk.last))
        await _settle(work, pieces, msgspec.structs.replace(place, swept=sweep.after))


async def _fold(work: Build, pieces: Pieces, scope: str, subjects: Collection[Subject], read: Read) -> None:
    """Fold subjects ahead, and write what is enough for a piece."""
    if not subjects:
        return
    began = monotonic()
    await _place_rows(work, scope, subjects)
    with without_collector():
        async with work.store.transaction(patient=True) as session:
            ahead = await fold_ahead(session, work.rules, scope, subjects, read)
    await work.rest(began)
    await pieces.add(ahead)


async def _place_rows(work: Build, scope: str, subjects: Collection[Subject]) -> None:
    if scope == USER:
        return
    async with work.store.transaction(patient=True) as session:
        found = await without_rows(session, work.rules, scope, subjects)
    for partition, some in sorted(found.items()):
        names = {"tenant_ids": [one.tenant_id for one in some], "subjects": [one.subject for one in some]}
        async with work.store.transaction() as session:
            await hold(session, work, {partition})
            await session.run("place_void_states", scope=scope, now=work.now(), **names)


async def _looked_at(work: Build, number: int) -> None:
    if work.lease is not None:
        await work.lease.did(looked_at=number)


async def _settle(work: Build, pieces: Pieces, place: Cursor) -> None:
    """Write all that is folded, and note that the build goes on behind a place."""
    await pieces.flush()
    # It would go through all states that wait, again and again; now there are hardly any.
    gc.collect(1)
    if work.lease is not None:
        old = work.lease.cursor
        await work.lease.move(msgspec.structs.replace(place, heard=old.heard, xid=old.xid, unheard=old.unheard))
