"""A private engine for replays, the demo and `ach dev`: servers of its own, migrated, with rules applied."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from worker.admin.afresh import Held, forget_decisions, supported
from worker.admin.backfill import backfill
from worker.admin.rollout import apply_rules
from worker.app import wall_clock
from worker.broker.publish import Published, Publisher
from worker.broker.streams import open_broker
from worker.engine.rule_set import RuleFile, rule_files
from worker.identity import Identity
from worker.local.ports import note_ports, usual_ports
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


_NO_RULES: Final = RuleFile("none.ach", "# The rules have changed.\n")


class Sandbox(NamedTuple):
    """Running servers and the settings of a worker on them."""

    servers: Servers
    settings: Settings


@asynccontextmanager
async def sandbox(
    folder: Path, settings: Settings, *, durable: bool, keep_ports: bool = False
) -> AsyncGenerator[Sandbox]:
    """Run private servers in a folder for the length of a block; `settings` are a worker's, except for the addresses.

    With `keep_ports` they listen where they did the last time, and at first where such servers usually do, unless
    another program listens there.

    Raises:
        EmbeddedError: they cannot be started.
    """
    nats_port, pg_port = usual_ports(folder) if keep_ports else (None, None)
    async with embedded(folder, durable=durable, nats_port=nats_port, pg_port=pg_port) as servers:
        if keep_ports:
            note_ports(folder, servers)
        urls = {"nats_url": servers.nats_url, "database_url": servers.database_url}
        # Our servers ask for no identity, and no secret goes to them.
        yield Sandbox(servers, msgspec.structs.replace(settings, identity=Identity(), **urls))


async def deploy(settings: Settings, rules: RuleSet, *, by: str, accept_contracts: bool = False) -> Applied:
    """Migrate, apply rules, and bring all users up to date; see `apply_rules`.

    Raises:
        UnavailableError, SchemaMismatchError, RulesRefusedError, MeaningChangedError: see `migrate` and `apply_rules`.
    """
    async with open_store(settings.database_url, pooler=settings.pooler) as store:
        await store.migrate(now=wall_clock())
        files, now = rule_files(rules), wall_clock()
        applied = await apply_rules(store, files, settings, by=by, now=now, accept_contracts=accept_contracts)
        if applied.changed:
            await backfill(store, settings, now=wall_clock, pause=0)
    return applied


class Afresh(NamedTuple):
    """What a history earns by new rules, beside what it earned by those before."""

    applied: Applied
    gained: tuple[Held, ...]
    """Unlocks that are new, or earned at another instant."""
    lost: tuple[Held, ...]


async def deploy_afresh(settings: Settings, rules: RuleSet, *, by: str) -> Afresh:
    """Apply rules as if they had always been in force: forget what was decided, and fold every event again.

    No worker may run meanwhile.

    Raises:
        UnavailableError, SchemaMismatchError, RulesRefusedError: see `deploy`.
        BrokerAwayError, PurgeRefusedError: the announcements cannot be removed.
    """
    async with open_store(settings.database_url, pooler=settings.pooler) as store:
        before = await supported(store)
        await forget_decisions(store, settings)
        # Nothing is carried over from rules without achievements, so the next ones fold all.
        await apply_rules(store, [_NO_RULES], settings, by=by, now=wall_clock())
        applied = await apply_rules(store, rule_files(rules), settings, by=by, now=wall_clock())
        await backfill(store, settings, now=wall_clock, pause=0)
        after = await supported(store)
    known, kept = set(before), {held.key for held in after}
    gained = tuple([held for held in after if held not in known])
    return Afresh(applied, gained, tuple([held for held in before if held.key not in kept]))


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
