"""Who lives in a group of workers, as one of its members hears it. Pure: `now` is in seconds, of any clock."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

SILENT_SECONDS: Final = 2.0
"""Without a sign of life, after which a member counts as dead."""
MOST_MEMBERS: Final = 1024
"""That are listened to."""


class Roll:
    """The other members of a group: those that gave a sign of life, those on the sheet, and those that have left.

    The sheet has a member that has left until someone deals again. So it is noted who has left, or the sheet would
    bring such a member back for as long as a dead one is waited for.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._heard: dict[str, float] = {}
        """When each other member was last heard, or was given its time to be heard."""
        self._listed: set[str] = set()
        """Those on the sheet as it was last read."""
        self._left: set[str] = set()

    def hear(self, member: str, now: float) -> bool:
        """Note a sign of life; return whether the member is another one than those before."""
        if member == self._name:
            return False
        self._left.discard(member)
        is_new = member not in self._heard
        if is_new and len(self._heard) >= MOST_MEMBERS:
            return False
        self._heard[member] = now
        return is_new

    def leave(self, member: str) -> None:
        """Note that a member has said goodbye."""
        if self._heard.pop(member, None) is not None or member in self._listed:
            self._left.add(member)

    def read(self, members: Collection[str], now: float) -> None:
        """Note who is on the sheet: a member that is new there has its time to be heard."""
        listed = {*members} - {self._name}
        for member in sorted(listed - self._listed - self._left)[:MOST_MEMBERS]:
            self._heard.setdefault(member, now)
        self._listed = listed
        self._left &= listed

    def trust_all(self, now: float) -> None:
        """Give all their time to be heard, as nothing could be heard until now."""
        self._heard = dict.fromkeys([*self._heard, *sorted(self._listed - self._left - {*self._heard})], now)

    def living(self, now: float) -> set[str]:
        """Return who lives, ourselves included."""
        self._heard = {member: at for member, at in self._heard.items() if now - at < SILENT_SECONDS}
        return {self._name, *self._heard}

    def silent_in(self, now: float) -> float:
        """Return the seconds until the next member counts as dead, unless it is heard before; infinite for none."""
        return max(0.0, min(self._heard.values(), default=inf) + SILENT_SECONDS - now)
