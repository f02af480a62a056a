"""Counts by tenant, for the few that send most; all others together are OTHER. Pure.

Producers choose the names of tenants, and each name shown is a series that a time series database keeps. So
there are at most `most` names at a time, and a new one takes the place of another seldom: `SWAPS` times at once, and
then once in `SWAP_SECONDS`, and only if it has sent much more than that other lately.

No counter falls. What is counted under OTHER stays there, and so does what is counted under a name: a name that gives
way takes its counters with it, and begins at 0 if it comes back, which is a reset as after a restart.

Who sends much lately is known from a sketch of bounded size (Misra and Gries): it holds each tenant with more than
1/SKETCHED of the events, however many names there are.
"""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

OTHER: Final = "other"
SKETCHED: Final = 400
"""Tenants whose recent events are remembered."""
RANK_SECONDS: Final = 60
"""Between two looks at who sends most; what was sent before counts half each time."""
SWAPS: Final = 5
SWAP_SECONDS: Final = 900
MUCH_MORE: Final = 2
"""Times as many recent events as those of the tenant that gives way."""
LEAST_SHARE: Final = 100
"""One event in so many recent ones is the least with which a tenant takes the place of another."""
LONGEST_LABEL: Final = 64
_DIGEST: Final = 12
"""Hexadecimal digits."""
_SECOND: Final = 1_000_000


class TenantCounts(msgspec.Struct):
    """What a worker has done for one tenant since the tenant is counted apart."""

    events: int = 0
    duplicates: int = 0
    dead: int = 0
    unlocks: int = 0


class Tenants:
    """Counts of the tenants that send most, by their labels; instants in microseconds."""

    def __init__(self, most: int = 20) -> None:
        self.most = most
        """Tenants that are counted apart; 0 for none."""
        self._named: dict[str, TenantCounts] = {}
        self._other = TenantCounts()
        self._recent: Counter[str] = Counter()
        self._rank_at = 0
        self._swaps: int = SWAPS
        self._swap_at = 0

    def counts(self) -> dict[str, TenantCounts]:
        """Return all counts by label, OTHER included."""
        return {**{label_of(name): one for name, one in self._named.items()}, OTHER: self._other}

    def see(self, sizes: Mapping[str, int], now: int) -> None:
        """Take note of the events that tenants have sent, before they are counted."""
        recent = self._recent
        recent.update(sizes)
        if len(recent) > SKETCHED:
            self._shorten()
        if len(self._named) < self.most:
            for name, _ in Counter(sizes).most_common(self.most - len(self._named)):
                if name and name not in self._named and len(self._named) < self.most:
                    self._named[name] = TenantCounts()
        if now >= self._rank_at:
            self._rank(now)

    def of(self, name: str) -> TenantCounts:
        """Return where to count what was done for a tenant."""
        return self._named.get(name, self._other)

    def _shorten(self) -> None:
        floor = sorted(self._recent.values(), reverse=True)[SKETCHED]
        self._recent = Counter({name: count - floor for name, count in self._recent.items() if count > floor})

    def _rank(self, now: int) -> None:
        """Let tenants that send much take the places of those that send least."""
        self._rank_at = now + RANK_SECONDS * _SECOND
        if now >= self._swap_at and self._swaps < SWAPS:
            self._swaps += 1
            self._swap_at = now + SWAP_SECONDS * _SECOND
        recent, least = self._recent, max(1, self._recent.total() // LEAST_SHARE)
        for name, count in recent.most_common(self.most):
            if not self._swaps or count < least:
                break
            if name and name not in self._named:
                last = min(self._named, key=lambda one: (recent[one], one))
                if count <= MUCH_MORE * recent[last]:
                    break
                if self._swaps == SWAPS:
                    self._swap_at = now + SWAP_SECONDS * _SECOND
                self._swaps -= 1
                del self._named[last]
                self._named[name] = TenantCounts()
        self._recent = Counter({name: half for name, count in recent.items() if (half := count // 2)})


def label_of(name: str) -> str:
    """Return a tenant's name as a label: printable, of bounded length, and unlike any other label.

    A name that is shown in another way than it is, or that is OTHER, carries a digest of itself.
    """
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in name)[:LONGEST_LABEL]
    if shown == name and name != OTHER and not _is_digested(name):
        return name
    digest = blake2b(name.encode(errors="surrogatepass"), digest_size=_DIGEST // 2).hexdigest()
    return f"{shown[: LONGEST_LABEL - _DIGEST - 1]}~{digest}"


def _is_digested(name: str) -> bool:
    """Tell whether a name looks like what stands for another one."""
    text, sign, digest = name.rpartition("~")
    return bool(sign and text) and len(digest) == _DIGEST and not set(digest) - set("0123456789abcdef")
