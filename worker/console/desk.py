"""What the handlers of pages work with: the store, the rules in force, and what is kept for a while."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import anyio

from worker.console.actions import Actions
from worker.console.books import read_earned
from worker.console.pulse import Pulse, mine
from worker.console.render import Pages
from worker.contract.named_users import name_token
from worker.view.rarity import Rarity
from worker.view.reader import View

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from worker.analysis.kept import Keeper
    from worker.console.access import Person
    from worker.console.books import EarnedBooks
    from worker.console.pulse import Snapshot
    from worker.console.web import Entrance
    from worker.settings import Settings
    from worker.store import Store

T = TypeVar("T")

KEPT_SECONDS: Final = 15
MOST_KEPT: Final = 100


class Kept(Generic[T]):
    """Values that are kept for some seconds, the latest asked for; each is made once at a time."""

    def __init__(self, seconds: int = KEPT_SECONDS) -> None:
        self._age = seconds * 1_000_000
        self._known: OrderedDict[Hashable, tuple[int, T]] = OrderedDict()
        self._lock = anyio.Lock()

    async def of(self, key: Hashable, now: int, make: Callable[[], Awaitable[T]]) -> T:
        """Return what is kept under a key, or make it; `now` in microseconds."""
        async with self._lock:
            found = self._known.get(key)
            if found is None or not 0 <= now - found[0] < self._age:
                found = self._known[key] = (now, await make())
                while len(self._known) > MOST_KEPT:
                    self._known.popitem(last=False)
            self._known.move_to_end(key)
            return found[1]


class Desk:
    """All that a handler needs. One for a process. `now` is in microseconds."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        entrance: Entrance,
        *,
        now: Callable[[], int],
        lag: Callable[[], int | None] = lambda: None,
        cohorts: Keeper | None = None,
    ) -> None:
        self.store = store
        self.settings = settings
        self.entrance = entrance
        self.now = now
        self.pages = Pages()
        self.view = View(store, settings)
        self.rarity = Rarity(store)
        self.pulse = Pulse(store, prefix=settings.input_prefix, now=now, lag=lag)
        self.actions = Actions(store, settings, now)
        self.cohorts = cohorts
        self._earned: Kept[EarnedBooks] = Kept()
        self.fragments: OrderedDict[Hashable, str] = OrderedDict()
        """The moving part of the first page, by snapshot and tenants: rendered once for all who see the same."""

    async def earned(self, person: Person) -> EarnedBooks:
        """Return what has become of all achievements, as far as a person may see.

        Raises:
            UnavailableError: the database is away, or took too long.
        """
        return await self._earned.of(person.tenants, self.now(), lambda: read_earned(self.store, person.limit))

    async def snapshot(self, person: Person) -> Snapshot:
        """Return what happens now, as far as a person may see.

        Raises:
            UnavailableError: the database is away, and has been since the start.
        """
        tokens = frozenset(name_token(tenant) for tenant in person.tenants or ())
        return mine(await self.pulse.snapshot(), person.tenants, tokens)
