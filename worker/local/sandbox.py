"""A private engine for replays, the demo and `ach dev`: servers of its own, migrated, with rules applied."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from worker.admin.backfill import backfill
from worker.admin.rollout import apply_rules
from worker.app import wall_clock
from worker.broker.publish import Published, Publisher
from worker.broker.streams import open_broker
from worker.engine.rule_set import rule_files
from worker.identity import Identity
from worker.local.servers import embedded
from worker.pipeline.rules_in_force import load_deployed
from worker.retry import PATIENCE_SECONDS
from worker.store import open_store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable
    from pathlib import Path

    from dsl.ruleset import RuleSet
    from worker.admin.rollout import Applied
    from worker.broker.publish import Outgoing
    from worker.engine.rule_set import Deployed
    from worker.local.servers import Servers
    from worker.settings import Settings


class Sandbox(NamedTuple):
    """Running servers and the settings of a worker on them."""

    servers: Servers
    settings: Settings


@asynccontextmanager
async def sandbox(folder: Path, settings: Settings, *, durable: bool) -> AsyncGenerator[Sandbox]:
    """Run private servers in a folder for the length of a block; `settings` are a worker's, except for the addresses.

    Raises:
        EmbeddedError: they cannot be started.
    """
    async with embedded(folder, durable=durable) as servers:
        urls = {"nats_url": servers.nats_url, "database_url": servers.database_url}
        # Our servers ask for no identity, and no secret goes to them.
        yield Sandbox(servers, msgspec.structs.replace(settings, identity=Identity(), **urls))


async def deploy(settings: Settings, rules: RuleSet, *, by: str) -> Applied:
    """Migrate, apply rules, and bring all users up to date.

    Raises:
        UnavailableError, SchemaMismatchError, RulesRefusedError, MeaningChangedError: see `migrate` and `apply_rules`.
    """
    async with open_store(settings.database_url, pooler=settings.pooler) as store:
        await store.migrate(now=wall_clock())
        applied = await apply_rules(store, rule_files(rules), settings, by=by, now=wall_clock())
        if applied.changed:
            await backfill(store, settings, now=wall_clock, pause=0)
    return applied


async def publish(settings: Settings, messages: Iterable[Outgoing], on_progress: Callable[[int], None]) -> Published:
    """Publish to the input stream, which is made if it is missing.

    Raises:
        BrokerAwayError, BrokerMismatchError: see `Publisher.publish` and `open_broker`.
    """
    async with open_broker(settings, patience=PATIENCE_SECONDS) as broker:
        publisher = Publisher(broker.client.window)
        await publisher.publish(messages, on_progress)
    return Published(publisher.stored, publisher.duplicates, tuple(publisher.refused))


async def rules_in_force(settings: Settings) -> Deployed:
    """Return the deployed rules, ready for use."""
    async with open_store(settings.database_url, pooler=settings.pooler) as store:
        return await load_deployed(store, settings)
