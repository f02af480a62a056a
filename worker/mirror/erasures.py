"""Users that were erased since the last run lose their rows in all files, which are written anew in their places."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio import to_thread

from dsl.roles import PSEUDONYM
from worker.mirror.duck import read_parquet
from worker.mirror.layout import EVENT, FAILED_EVENT, LAYERS

if TYPE_CHECKING:
    from worker.mirror.duck import Duck
    from worker.mirror.files import Files
    from worker.mirror.layout import Layer
    from worker.mirror.window import Window
    from worker.store import Session

_PERSONAL = ("detail", "nats_subject")
"""Columns of dead letters that may name a user."""


async def erase(session: Session, files: Files, duck: Duck, new: Window, *, letters: bool) -> int:
    """Take out the rows of erased users; return how many users these are.

    `letters` asks to look for dead letters that were deleted, too; where a user was erased, that is done anyway.

    Raises:
        DuckError, DiskError: see `Files`.
        UnavailableError: the database is away.
    """
    users = await session.rows(_pair, "mirror_erasures", **new._asdict())
    if users:
        await to_thread.run_sync(_take_out, files, duck, users)
        await _take_out_lost(session, files, duck)
    renamed = await session.rows(_pair, "mirror_renamed", **new._asdict())
    if renamed:
        await to_thread.run_sync(_take_out_events, files, duck, renamed)
    if (users or letters) and files.layers.get(FAILED_EVENT.name):
        alive = await session.rows(_number, "mirror_letters")
        await to_thread.run_sync(_blank, files, duck, alive)
    return len(users)


def _pair(tenant_id: str, name: str) -> tuple[str, str]:
    """Return a tenant with a user or an event of it."""
    return tenant_id, name


def _number(number: int) -> int:
    return number


def _take_out(files: Files, duck: Duck, users: list[tuple[str, str]]) -> None:
    duck.run("CREATE OR REPLACE TEMP TABLE erased (tenant_id VARCHAR, user_id VARCHAR)")
    duck.run("INSERT INTO erased SELECT unnest(?), unnest(?)", *map(list, zip(*users, strict=True)))
    for layer in LAYERS:
        if layer.whose is not None:
            condition = f"(tenant_id, {layer.whose}) IN (SELECT tenant_id, user_id FROM erased)"
            _rewrite(files, duck, layer, condition, f"SELECT * FROM {{}} WHERE ({condition}) IS NOT TRUE")


async def _take_out_lost(session: Session, files: Files, duck: Duck) -> None:
    """Take out events under pseudonyms that are gone, since the last user that they concerned was erased.

    An event of a pseudonym has its row in `renamed_event` as long as there is the event.
    """
    written = await to_thread.run_sync(_under_pseudonyms, files, duck)
    if not written:
        return
    tenants, ids = map(list, zip(*written, strict=True))
    there = set(await session.rows(_pair, "mirror_renamed_events", tenant_ids=tenants, event_ids=ids))
    lost = [one for one in written if one not in there]
    if lost:
        await to_thread.run_sync(_take_out_events, files, duck, lost)


def _under_pseudonyms(files: Files, duck: Duck) -> list[tuple[str, str]]:
    """Return the tenants and ids of events of pseudonyms, in tenants of users that were erased since."""
    found: set[tuple[str, str]] = set()
    for batch in files.place.batches(files.of(EVENT)):
        asked = (
            f"SELECT DISTINCT tenant_id, deduplication_key FROM {read_parquet(files.place.fetch(batch))}"
            f" WHERE starts_with({EVENT.whose}, ?) AND tenant_id IN (SELECT tenant_id FROM erased)"
        )
        found.update((str(tenant), str(name)) for tenant, name in duck.rows(asked, PSEUDONYM))
        files.place.drop(batch)
    return sorted(found)


def _take_out_events(files: Files, duck: Duck, events: list[tuple[str, str]]) -> None:
    """Take out events that have pseudonyms for erased users by now: they come again as they are."""
    duck.run("CREATE OR REPLACE TEMP TABLE renamed (tenant_id VARCHAR, event_id VARCHAR)")
    duck.run("INSERT INTO renamed SELECT unnest(?), unnest(?)", *map(list, zip(*events, strict=True)))
    condition = "(tenant_id, deduplication_key) IN (SELECT tenant_id, event_id FROM renamed)"
    _rewrite(files, duck, EVENT, condition, f"SELECT * FROM {{}} WHERE ({condition}) IS NOT TRUE")


def _blank(files: Files, duck: Duck, alive: list[int]) -> None:
    duck.run("CREATE OR REPLACE TEMP TABLE alive (id BIGINT)")
    duck.run("INSERT INTO alive SELECT unnest(?)", alive)
    gone = "failed_event_id NOT IN (SELECT id FROM alive)"
    blank = ", ".join(f"CASE WHEN {gone} THEN NULL ELSE {name} END AS {name}" for name in _PERSONAL)
    personal = " OR ".join(f"{name} IS NOT NULL" for name in _PERSONAL)
    _rewrite(files, duck, FAILED_EVENT, f"{gone} AND ({personal})", f"SELECT * REPLACE ({blank}) FROM {{}}")


def _rewrite(files: Files, duck: Duck, layer: Layer, condition: str, query: str) -> None:
    """Write those files anew that have a row for which the condition holds."""
    for batch in files.place.batches(files.of(layer)):
        for file, path in zip(batch, files.place.fetch(batch), strict=True):
            rows = read_parquet([path])
            if duck.number(f"SELECT count(*) FROM {rows} WHERE {condition}"):
                files.replace(layer, file, query.format(rows))
        files.place.drop(batch)
