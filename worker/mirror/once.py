"""One run of the mirror: what is new since the run before, in one snapshot of PostgreSQL.

Every layer takes the rows of one window of transactions (`window.py`), without those that are there already by their
key. Files come first and the manifest last, so a run that dies leaves the mirror as it was; the next one clears up.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from anyio import to_thread

from dsl.calendar import format_instant
from worker.contract.named_users import name_token
from worker.mirror.archived import hand_archived
from worker.mirror.duck import Bounds, open_duck
from worker.mirror.erasures import erase
from worker.mirror.files import Files
from worker.mirror.folder import clear, locked, on_disk, spill, staging
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
from worker.mirror.manifest import Manifest, ManifestError, read_manifest, write_manifest
from worker.mirror.progress import Progress
from worker.mirror.rules import rule_rows
from worker.mirror.small_files import merge_small
from worker.mirror.traits import declared, stage_traits
from worker.mirror.window import Look, window
from worker.pipeline.ledger import clock_of
from worker.pipeline.rules_in_force import load_deployed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from worker.engine.rule_set import Deployed
    from worker.mirror.duck import Duck
    from worker.mirror.intake import Sink, Source
    from worker.mirror.layout import Layer
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
    """Where to, the tenant (None: all), and what DuckDB may take."""

    folder: Path
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
        BusyError: another mirror is at work in the folder.
        ManifestError: the folder is none that this run can go on with.
        UnavailableError: the database is away; the mirror is as it was.
        DuckError: DuckDB cannot go on; the mirror is as it was.
        DiskError: the disk cannot; the mirror is as it was.
    """
    with on_disk(wanted.folder):
        read_manifest(wanted.folder)
        with locked(wanted.folder):
            return await _locked(store, settings, wanted, reached)


async def _locked(store: Store, settings: Settings, wanted: Wanted, reached: Callable[[str], None]) -> Ran:
    before = read_manifest(wanted.folder)
    if before is None:
        before = Manifest(tenant=wanted.tenant)
        write_manifest(wanted.folder, before)
    if before.tenant != wanted.tenant:
        what = "all tenants" if before.tenant is None else f"tenant {before.tenant!r} alone"
        raise ManifestError(f"{wanted.folder} is a mirror of {what}: name another folder for another one")
    clear(wanted.folder, before)
    rules = await load_deployed(store, settings)
    with open_duck(wanted.bounds, spill(wanted.folder)) as duck:
        files = Files(wanted.folder, before, duck, reached)
        files.mend()
        async with store.transaction(patient=True) as session:
            ran = await _Run(session, settings, rules, wanted, before, files, duck).all()
    reached("all placed")
    write_manifest(wanted.folder, ran.manifest)
    reached("manifest written")
    clear(wanted.folder, ran.manifest)
    return ran


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
        self._folder = wanted.folder
        self._before = before
        self._files = files
        self._duck = duck

    async def all(self) -> Ran:
        """Write all files of the run; return what the manifest is to say."""
        before, look = self._before, await self._look()
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
            self._files.found(layer)
        manifest = Manifest(
            database=look.database,
            tenant=self._tenant,
            run=before.run + 1,
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

    async def _look(self) -> Look:
        await self._session.script("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        await self._session.run("mirror_settings")
        look = await self._session.row(Look, "mirror_bound")
        if look is None:
            raise AssertionError("mirror_bound")
        if self._before.database not in {"", look.database}:
            raise ManifestError(f"{self._folder} is a mirror of another database: name an empty folder")
        return look

    async def _append(self, layer: Layer, new: Window) -> list[Path]:
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

    async def _written(self, layer: Layer, source: Source) -> list[Path]:
        folder = self._stage_of(layer)
        await stage(self._duck, layer, folder, source)
        return await to_thread.run_sync(self._files.add, layer, folder)

    def _stage_of(self, layer: Layer) -> Path:
        return staging(self._folder) / layer.name

    async def _traits(self, events: list[Path]) -> str:
        """Write the traits of new events; of all of them where others are declared now. Return the declarations."""
        says = declared(self._rules)
        if says != self._before.traits:
            self._files.reset(TRAIT)
            events = self._files.paths(EVENT)
        folder = self._stage_of(TRAIT)
        await stage_traits(self._rules, self._duck, folder, events)
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
