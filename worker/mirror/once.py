"""One run of the mirror: what is new since the run before, in one snapshot of PostgreSQL.

Every layer takes the rows of one window of transactions (`window.py`), without those that are there already by their
key. Files come first and the manifest last, so a run that dies leaves the mirror as it was; the next one clears up.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from anyio import to_thread

from dsl.calendar import format_instant
from worker.contract.named_users import name_token
from worker.mirror.archived import hand_archived
from worker.mirror.bucket import BucketMirror
from worker.mirror.duck import Bounds, open_duck
from worker.mirror.erasures import erase
from worker.mirror.files import Files
from worker.mirror.folder import BusyError, Folder, on_disk
from worker.mirror.intake import stage
from worker.mirror.layout import (
    EVALUATION,
    EVENT,
    FAILED_EVENT,
    LAYERS,
    PROGRESS_DAILY,
    RULE_VERSION,
    TRAIT,
    UNLOCK,
)
from worker.mirror.manifest import Manifest
from worker.mirror.progress import Progress
from worker.mirror.rules import rule_rows
from worker.mirror.small_files import merge_small
from worker.mirror.traits import declared, stage_traits
from worker.mirror.window import Look, window
from worker.pipeline.ledger import clock_of
from worker.pipeline.rules_in_force import load_deployed

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.engine.rule_set import Deployed
    from worker.mirror.duck import Duck
    from worker.mirror.files import Place
    from worker.mirror.intake import Sink, Source
    from worker.mirror.layout import Layer
    from worker.mirror.manifest import File
    from worker.mirror.objects import Objects
    from worker.mirror.window import Window
    from worker.settings import Settings
    from worker.store import Session, Store

_QUERIES: Final = {
    EVENT.name: "mirror_event",
    EVALUATION.name: "mirror_evaluation",
    UNLOCK.name: "mirror_unlock",
    FAILED_EVENT.name: "mirror_failed_event",
}
_DAY: Final = len("2026-01-01")


class Wanted(NamedTuple):
    """Where to (a folder, or objects of a bucket), the tenant (None: all), and what DuckDB may take."""

    place: Path | Objects
    tenant: str | None = None
    bounds: Bounds = Bounds()


class Ran(NamedTuple):
    """What a run has done."""

    manifest: Manifest
    rows: dict[str, int]
    """By layer, how many more these are."""
    erased: int
    """Users whose rows are gone."""
    stale: int
    """Subjects whose progress is not up to date with the rules in force: they come once it is."""


def _pass(_: str) -> None:
    pass


async def mirror_once(
    store: Store, settings: Settings, wanted: Wanted, *, reached: Callable[[str], None] = _pass
) -> Ran:
    """Bring a mirror up to date. After a crash at any moment, the next run makes good for it.

    `reached` is called at points where a process may die, for tests.

    Raises:
        BusyError: another mirror is at work in the place.
        ManifestError: the place is none that this run can go on with.
        UnavailableError: the database is away; the mirror is as it was.
        DuckError: DuckDB cannot go on; the mirror is as it was.
        DiskError: the disk cannot; the mirror is as it was.
        StoreError: the store of a bucket cannot; the mirror is as it was unless the message says more.
    """
    place = _writing(wanted.place)
    with on_disk(place.staging.parents[1]):
        await to_thread.run_sync(place.look)
        with place.held():
            return await _held(store, settings, wanted, place, reached)


def _writing(place: Path | Objects) -> Place:
    return Folder(place) if isinstance(place, Path) else BucketMirror(place)


async def _held(store: Store, settings: Settings, wanted: Wanted, place: Place, reached: Callable[[str], None]) -> Ran:
    rules = await load_deployed(store, settings)
    async with store.transaction(patient=True) as session:
        look = await _look(session, place)
        before = await to_thread.run_sync(place.begin, wanted.tenant, look.database)
        reached("begun")
        with open_duck(wanted.bounds, place.spill) as duck:
            files = Files(place, before, duck, reached)
            await to_thread.run_sync(files.mend)
            ran = await _Run(session, settings, rules, wanted, before, files, duck).all(look)
    reached("all placed")
    await to_thread.run_sync(place.write, ran.manifest)
    reached("manifest written")
    await to_thread.run_sync(place.end, ran.manifest)
    return ran


async def _look(session: Session, place: Place) -> Look:
    """Begin the snapshot.

    Raises:
        BusyError: another run for the place holds the lock of the database.
    """
    await session.script("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    await session.run("mirror_settings")
    if place.mutex is not None and not await session.value(bool, "mirror_alone", mutex=place.mutex):
        raise BusyError(f"another `ach mirror` is at work in {place}")
    look = await session.row(Look, "mirror_bound")
    if look is None:
        raise AssertionError("mirror_bound")
    return look


class _Run:
    """One run, in one transaction."""

    def __init__(  # noqa: PLR0913, PLR0917 - made in one place
        self,
        session: Session,
        settings: Settings,
        rules: Deployed,
        wanted: Wanted,
        before: Manifest,
        files: Files,
        duck: Duck,
    ) -> None:
        self._session = session
        self._settings = settings
        self._rules = rules
        self._tenant = wanted.tenant
        self._before = before
        self._files = files
        self._duck = duck

    async def all(self, look: Look) -> Ran:
        """Write all files of the run; return what the manifest is to say."""
        before = self._before
        day = format_instant(look.now)[:_DAY]
        new = window(look, before.bound)
        letters = day != before.progress_day
        erased = await erase(self._session, self._files, self._duck, new, letters=letters)
        events = await self._append(EVENT, new)
        for layer in (EVALUATION, UNLOCK, FAILED_EVENT):
            await self._append(layer, new)
        traits = await self._traits(events)
        rules = await self._rule_versions()
        stale = 0
        progress = before.progress_bound, before.progress_day, before.progress_rules
        if day != before.progress_day and self._rules.epoch:
            # Other rules see other progress in states that are not written for it.
            since = before.progress_bound if rules == before.progress_rules else 0
            stale = await self._progress(look, since)
            progress = look.bound, day, "" if stale else rules
        await to_thread.run_sync(merge_small, self._files, day)
        for layer in LAYERS:
            await to_thread.run_sync(self._files.found, layer)
        manifest = Manifest(
            database=look.database,
            tenant=self._tenant,
            run=before.run + 1,
            attempt=self._files.number,
            holder=before.holder,
            at=format_instant(look.now),
            bound=max(look.bound, before.bound),
            progress_bound=progress[0],
            progress_day=progress[1],
            progress_rules=progress[2],
            traits=traits,
            rules=rules,
            layers=self._files.layers,
        )
        rows = {layer.name: manifest.rows(layer.name) - before.rows(layer.name) for layer in LAYERS}
        return Ran(manifest, rows, erased, stale)

    async def _append(self, layer: Layer, new: Window) -> list[File]:
        args: dict[str, object] = {**new._asdict(), "tenant_id": self._tenant}
        if layer is FAILED_EVENT:
            place = self._settings.input_prefix.count(".") + 2
            token = None if self._tenant is None else name_token(self._tenant)
            args = {**new._asdict(), "tenant_token": token, "tenant_place": place}

        async def source(sink: Sink) -> None:
            await self._session.copy(sink, _QUERIES[layer.name], **args)
            if layer is EVENT:
                # What was archived before a run has seen it; the rest is there already, and is left out by its key.
                await hand_archived(self._session, sink, new, self._tenant)

        return await self._written(layer, source)

    async def _written(self, layer: Layer, source: Source) -> list[File]:
        folder = self._stage_of(layer)
        await stage(self._duck, layer, folder, source)
        return await to_thread.run_sync(self._files.add, layer, folder)

    def _stage_of(self, layer: Layer) -> Path:
        return self._files.place.staging / layer.name

    async def _traits(self, events: list[File]) -> str:
        """Write the traits of new events; of all of them where others are declared now. Return the declarations."""
        says = declared(self._rules)
        if says != self._before.traits:
            self._files.reset(TRAIT)
            events = self._files.of(EVENT)
        folder = self._stage_of(TRAIT)
        await stage_traits(self._rules, self._duck, folder, self._files.place, events)
        await to_thread.run_sync(self._files.add, TRAIT, folder)
        return says

    async def _rule_versions(self) -> str:
        rows = await rule_rows(self._session, self._rules)
        if rows.hash != self._before.rules:
            self._files.reset(RULE_VERSION)
            await self._written(RULE_VERSION, rows.hand)
        return rows.hash

    async def _progress(self, look: Look, since: int) -> int:
        now = await clock_of(self._session, self._settings, look.now)
        progress = Progress(self._session, self._rules, as_of=look.now, now=now)
        changed = window(look, since)
        await self._written(PROGRESS_DAILY, partial(progress.hand, changed=changed, tenant=self._tenant))
        return progress.stale
