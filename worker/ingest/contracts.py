"""What events are held to: the form that the worker asks for, or the contracts of the rules as well."""

from __future__ import annotations

from secrets import randbits
from time import monotonic
from typing import TYPE_CHECKING, Final

import anyio

from worker.contract.strict_reader import Contract
from worker.engine.rule_set import RulesRefusedError
from worker.ingest.reading import Held
from worker.pipeline.rules_in_force import load_deployed
from worker.serve.problems import AwayError
from worker.store import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dsl.schema import EventSchema
    from worker.settings import Settings
    from worker.store import Store

FRESH_SECONDS: Final = 2.0
"""For which the rules in force are used before they are asked for again."""


class Contracts:
    """The two contracts: of any rules, and of those of the files that were given or of those in force."""

    def __init__(self, store: Store, settings: Settings, declared: Mapping[str, EventSchema] | None = None) -> None:
        self._store = store
        self._settings = settings
        self._files = declared is not None
        self._loading = anyio.Lock()
        self._epoch: int | None = None
        self._asked_at = 0.0
        self.plain = Held(self._contract({}))
        """Asks for the form alone."""
        self._strict = None if declared is None else self._held(declared)

    def take(self, declared: Mapping[str, EventSchema]) -> None:
        """Put the declarations of rule files in the place of the present ones."""
        self._strict = self._held(declared)

    async def of_rules(self) -> Held:
        """Return the contract of the rules.

        Raises:
            AwayError: the rules in force cannot be read now, or there are none.
        """
        if not self._files and (self._strict is None or monotonic() - self._asked_at > FRESH_SECONDS):
            async with self._loading:
                await self._load()
        if self._strict is None:
            raise AwayError("no rules are in force, so there is nothing to validate by", retry_after=10)
        return self._strict

    async def _load(self) -> None:
        try:
            async with self._store.alone() as session:
                epoch = await session.value(int, "epoch_in_force") or 0
            if epoch and epoch != self._epoch:
                self._strict = self._held((await load_deployed(self._store, self._settings)).rules.events)
                self._epoch = epoch
        except UnavailableError as error:
            raise AwayError("the rules cannot be read, and events cannot be validated without them") from error
        except RulesRefusedError as error:
            raise AwayError("the rules in force are of another version of ach", retry_after=60) from error
        self._asked_at = monotonic()

    def _held(self, declared: Mapping[str, EventSchema]) -> Held:
        return Held(self._contract(declared), frozenset(declared))

    def _contract(self, declared: Mapping[str, EventSchema]) -> Contract:
        settings = self._settings
        return Contract(declared, prefix=settings.input_prefix, skew=settings.skew * 1_000_000, mark=randbits(62))
