"""How rare an achievement is: how many subjects of a tenant have earned it, of how many. Pure."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta, Struct

if TYPE_CHECKING:
    from collections.abc import Mapping

FEWEST: Final = 50
"""Known subjects of a scope; of fewer nothing is said, for it would point at one of them."""
_TENTH: Final = Decimal("0.1")
_ALL: Final = Decimal(100)


class Rarity(Struct, frozen=True):
    """How many subjects have earned it, of how many there are."""

    earned: Annotated[int, Meta(ge=0)]
    subjects: Annotated[int, Meta(ge=FEWEST, description="All that is known in this scope of the tenant.")]
    percent: Annotated[str, Meta(description="With one decimal; 0.0 for none alone, and 100.0 for all alone.")]


class _Counts(NamedTuple):
    as_of: int
    subjects: Mapping[str, int]
    """Known subjects by scope."""
    earned: Mapping[tuple[str, str, str], int]
    """Subjects by scope, achievement and tier ("" for none)."""


class Rarities(_Counts):
    """Counts of one tenant, exact at `as_of` (microseconds)."""

    @cached_property
    def mark(self) -> str:
        """A hash of the counts."""
        counts = msgspec.json.encode([sorted(self.subjects.items()), sorted(self.earned.items())])
        return blake2b(counts, digest_size=8).hexdigest()

    def of(self, scope: str, achievement: str, tier: str | None) -> Rarity | None:
        """Return the rarity of an achievement and tier; None where too few subjects are known."""
        subjects = self.subjects.get(scope, 0)
        if subjects < FEWEST:
            return None
        earned = self.earned.get((scope, achievement, tier or ""), 0)
        return Rarity(earned, subjects, str(_percent(earned, subjects)))


def _percent(earned: int, subjects: int) -> Decimal:
    """Return the share with one decimal, which is 0 for none alone and 100 for all alone."""
    exact = (Decimal(100 * earned) / subjects).quantize(_TENTH, ROUND_HALF_EVEN)
    if not earned:
        return exact
    return max(exact, _TENTH) if earned == subjects else min(max(exact, _TENTH), _ALL - _TENTH)
