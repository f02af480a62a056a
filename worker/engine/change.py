"""A change of rules, as decisions see it: which one they come of, and what is announced of what it grants. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Announced(StrEnum):
    """What is announced of the unlocks that a change grants; the values are those of the table `change`."""

    ALL = "all"
    SINCE = "since"
    """Those that were earned at an instant or later."""
    NONE = "none"


class Policy(NamedTuple):
    """What is announced of the unlocks that a change grants. What it takes or moves is announced in any case."""

    announced: Announced = Announced.ALL
    since: int | None = None
    """Of `SINCE`, in microseconds."""

    def silences(self, earned_at: int) -> bool:
        """Tell whether nothing is announced of an unlock that was earned at an instant, in microseconds."""
        match self.announced:
            case Announced.ALL:
                return False
            case Announced.SINCE:
                return self.since is not None and earned_at < self.since
            case Announced.NONE:
                return True


class Cause(NamedTuple):
    """The change of rules that decisions come of, where no event has caused them."""

    change_id: int
    policy: Policy = Policy()
