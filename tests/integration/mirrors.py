"""Mirrors of real databases, for tests: run, read, and compare with what plain SQL says."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb

from worker.mirror.duck import Bounds, open_duck
from worker.mirror.layout import LAYERS
from worker.mirror.manifest import Manifest, read_manifest
from worker.mirror.once import Ran, Wanted, mirror_once
from worker.mirror.reading import make_views
from worker.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from tests.integration.engine import Engine
    from worker.mirror.duck import Duck
    from worker.mirror.objects import Objects

EVENTS = """
SELECT tenant_id, user_id, event_type, occurred_at, utc_offset, received_at, published_at, region, source, event_id,
    payload, stream_seq
FROM event
"""
EVALUATIONS = """
SELECT tenant_id, scope, subject, achievement, nullif(tier, '') AS t, nullif(occurrence, '') AS o, version, decision,
    final, earned_at, nullif(event_id, ''), decided_at, actor, reason, evaluation_id
FROM evaluation
"""
UNLOCKS = """
SELECT v_unlock.unlock_id::text, tenant_id, v_unlock.scope, subject, user_id, achievement, v_unlock.tier,
    v_unlock.occurrence, unlock.revision, v_unlock.status, version, earned_at, nullif(event_id, ''), granted_at,
    published_at, origin, v_unlock.reward::text
FROM v_unlock JOIN (SELECT unlock_id, revision, origin FROM unlock) AS unlock USING (unlock_id)
"""
LETTERS = "SELECT dead_letter_id, reason, detail, nats_subject, stream, stream_seq, element, died_at FROM dead_letter"
PLAIN = {
    "SELECT tenant_id, user_id, event_type, event_time, utc_offset, processing_time, published_at, region, source, "
    "deduplication_key, payload, stream_seq FROM event": EVENTS,
    "SELECT tenant_id, scope, subject, achievement, tier, occurrence, rule_version, decision, final, event_time, "
    "deduplication_key, processing_time, actor, reason, evaluation_id FROM evaluation": EVALUATIONS,
    "SELECT unlock_id, tenant_id, scope, subject, user_id, achievement, tier, occurrence, revision, unlock_status, "
    "rule_version, event_time, deduplication_key, granted_at, announced_at, origin, reward FROM unlock_now": UNLOCKS,
    "SELECT failed_event_id, reason, detail, nats_subject, stream, stream_seq, element, processing_time "
    "FROM failed_event WHERE change = 'died'": LETTERS,
}
"""What the mirror says, and what PostgreSQL does."""


class Died(BaseException):
    """The process ends here."""


class Dying:
    """Ends a run at the first point where none has ended so far."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, name: str) -> None:
        if name not in self.seen:
            self.seen.append(name)
            raise Died


def nothing(_: str) -> None:
    """Pass a point."""


async def mirror(
    engine: Engine, place: Path | Objects, *, tenant: str | None = None, reached: Callable[[str], None] = nothing
) -> Ran:
    """Run a mirror once."""
    async with open_store(engine.settings.database_url, connections=2) as store:
        wanted = Wanted(place, tenant, Bounds("256MB", 1))
        return await mirror_once(store, engine.settings, wanted, reached=reached)


class Read(NamedTuple):
    """A mirror as it is read."""

    folder: Path

    @property
    def manifest(self) -> Manifest:
        found = read_manifest(self.folder)
        assert found is not None
        return found

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.opened() as duck:
            return duck.rows(query)

    @contextmanager
    def opened(self) -> Generator[Duck]:
        with open_duck(Bounds("256MB", 1), self.folder / ".reading") as duck:
            make_views(duck, self.folder, self.manifest)
            yield duck

    def counts(self) -> dict[str, int]:
        with self.opened() as duck:
            return {layer.name: duck.number(f"SELECT count(*) FROM {layer.name}") for layer in LAYERS}  # noqa: S608

    def texts(self) -> str:
        """Everything that the files hold, whether the manifest names them or not."""
        files = sorted(self.folder.rglob("*.parquet"))
        return "\n".join(str(duckdb.execute("FROM read_parquet(?)", [str(one)]).fetchall()) for one in files)


async def assert_same(engine: Engine, folder: Path) -> None:
    """Compare all layers with what plain SQL says, and see that no row is there twice."""
    read = Read(folder)
    wanted = {ours: [tuple(row.values()) for row in await engine.rows(theirs)] for ours, theirs in PLAIN.items()}
    with read.opened() as duck:
        for ours, rows in wanted.items():
            assert _sorted(duck.rows(ours)) == _sorted(rows), ours
        for layer in LAYERS:
            keys = ", ".join(layer.key)
            twice = f"SELECT {keys}, count(*) FROM {layer.name} GROUP BY ALL HAVING count(*) > 1"  # noqa: S608
            assert duck.rows(twice) == []
    assert all((folder / file.path).stat().st_size == file.bytes for file in every_file(read.manifest))


def every_file(manifest: Manifest) -> list[Any]:
    return [file for files in manifest.layers.values() for file in files]


def _sorted(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(rows, key=repr_of)


def repr_of(row: tuple[Any, ...]) -> str:
    return repr([str(cell) for cell in row])
