"""Who takes part: how each is started, on which tables, and where its unlocks are found."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from bench import pathway_env
from bench.expected import Unlock
from bench.peers import by_hand, postgres_only
from bench.processes import python

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.rig import Arena

_MICROSECONDS: Final = "(extract(epoch FROM earned_at) * 1000000)::bigint"
_OWN: Final = f"SELECT user_id, achievement, {_MICROSECONDS} FROM unlock"  # noqa: S608 - constants
_WORKER: Final = (
    f"SELECT subject, achievement, {_MICROSECONDS} FROM unlock"  # noqa: S608 - constants
    " WHERE granted_at IS NOT NULL AND contested_at IS NULL"
)
_PATHWAY_TABLES: Final = """
CREATE TABLE progress (user_id text PRIMARY KEY, events bigint, state text);
CREATE TABLE unlock (user_id text, achievement text, earned_at text, PRIMARY KEY (user_id, achievement));
"""
_PATHWAY: Final = (
    "SELECT user_id, achievement, (extract(epoch FROM earned_at::timestamptz) * 1000000)::bigint FROM unlock"
)
_PENDING: Final = "SELECT count(*) FROM unlock WHERE published_at IS NULL"

DEPLOYED: Final = "deployed"
"""The worker's tables and the five rules."""
LEDGER: Final = "ledger"
"""The worker's tables without rules."""


class Contestant(NamedTuple):
    """One row of the table."""

    key: str
    title: str
    command: Callable[[int], Sequence[str]]
    """For messages of so many events."""
    tables: str
    """DEPLOYED, LEDGER, or SQL that makes tables."""
    unlocks: str | None
    """SQL of (user, achievement, earned_at in microseconds); None where there are no rules."""
    differs: str
    """How it differs from the worker in what it does; empty if in nothing that a user would see."""
    share: float = 1.0
    """Of the events of a run: the slow ones get fewer."""
    lanes: int = 1
    """Processes, each with a stream of its own, which holds its share of the users."""
    announces: bool = True
    outbox: str | None = None
    """SQL that counts what is still to be announced once everything is acknowledged."""
    file: bool = False
    """It reads a file to its end, in place of the stream."""
    kept: str = "SELECT count(*) FROM event"
    """SQL that counts the events that have been taken in."""
    acknowledges_early: bool = False
    """What is acknowledged is not kept yet: how far it is, is what `kept` says."""
    missing: Callable[[], str | None] = lambda: None
    """Tells why it cannot take part."""

    async def prepare(self, arena: Arena) -> None:
        """Make the tables that it works on."""
        if self.tables == DEPLOYED:
            await arena.deploy()
        elif self.tables == LEDGER:
            await arena.ledger()
        else:
            await arena.connection.execute(self.tables)

    async def found(self, arena: Arena) -> list[Unlock]:
        """Return the unlocks that it has granted."""
        if self.unlocks is None:
            return []
        return [Unlock(*row) for row in await arena.connection.fetch(self.unlocks)]

    async def done(self, arena: Arena) -> bool:
        """Tell whether nothing is left to do, once everything is acknowledged."""
        return self.outbox is None or not await arena.connection.fetchval(self.outbox)


def _ach(_: int) -> Sequence[str]:
    return (str(Path(sys.executable).with_name("ach")), "run")


def _pathway(per: int) -> Sequence[str]:
    return (str(pathway_env.PYTHON), "-m", "bench.peers.pathway_job", str(per))


def _own(name: str) -> Callable[[int], Sequence[str]]:
    return lambda per: python(f"bench.peers.{name}", str(per))


CONTESTANTS: Final = (
    Contestant("worker", "**ach, one worker**", _ach, DEPLOYED, _WORKER, "", outbox=_PENDING),
    Contestant("workers", "ach, two workers", _ach, DEPLOYED, _WORKER, "", lanes=2, outbox=_PENDING),
    Contestant(
        "limit",
        "the limit",
        _own("limit"),
        LEDGER,
        None,
        "no rules: fetch, decode, insert-first into the same ledger, commit, ack",
        announces=False,
    ),
    Contestant(
        "batched",
        "by hand, batched",
        _own("batched"),
        by_hand.TABLES,
        _OWN,
        "order of arrival; an id told with another body goes unnoticed; no contract, no dead letters; what is "
        "committed and not announced at a crash never is; a ledger without an index by user",
    ),
    Contestant(
        "per_message",
        "by hand, per message (FastStream)",
        _own("per_message"),
        by_hand.TABLES,
        _OWN,
        "order of handling, 32 at a time; otherwise as above",
        share=0.06,
    ),
    Contestant(
        "postgres",
        "PostgreSQL only",
        _own("postgres_only"),
        postgres_only.TABLES,
        _OWN,
        "no stream: a complete file is loaded and judged at once; nothing is announced",
        announces=False,
        file=True,
    ),
    Contestant(
        "pathway",
        "Pathway",
        _pathway,
        _PATHWAY_TABLES,
        _PATHWAY,
        "no ledger: what it has seen is kept in its own files alone; a batch is put in order, across batches it is the "
        "order of arrival; no contract, no dead letters",
        share=0.2,
        kept="SELECT coalesce(sum(events), 0)::bigint FROM progress",
        acknowledges_early=True,
        missing=pathway_env.missing,
    ),
)
