"""Whether announcements fit what the broker takes. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import UUID

from dsl.check.rewards import reward_bytes
from dsl.compile import scope_of
from worker.announcement import Claimed, announcement
from worker.deployed import rewards
from worker.wire import MAX_ID_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsl.schema import Rules
    from dsl.syntax import Achievement

HEADER_BYTES: Final = 160
"""Of the headers of an announcement, without the name of the stream."""
LONGEST_OCCURRENCE: Final = "2026-04-13T09"
_LARGEST_ID: Final = "\x01" * MAX_ID_BYTES
"""As JSON, six times as long."""


class Announceable(NamedTuple):
    """An achievement and tier, and how large its announcements are: in bytes, with headers."""

    name: str
    """With its tier, behind a dot."""
    version: int
    least: int
    """For the shortest of ids."""
    most: int
    """For the longest of ids: 512 bytes that JSON has to escape."""


def announcements(rules: Rules, stream: str) -> Iterator[Announceable]:
    """Yield how large announcements of each achievement are, on a stream of that name."""
    for name, versions in rules.achievements.items():
        for version in versions:
            for tier, reward in rewards(version):
                beside = HEADER_BYTES + len(stream) + reward_bytes(reward)
                least, most = (beside + _bytes(version, tier, ident) for ident in ("u", _LARGEST_ID))
                yield Announceable(name if tier is None else f"{name}.{tier}", version.version, least, most)


def _bytes(version: Achievement, tier: str | None, ident: str) -> int:
    """Return the bytes of an announcement whose ids are all the same, but for its reward."""
    occurrence = "" if version.repeat is None else LONGEST_OCCURRENCE
    where = (ident, scope_of(version), ident, version.name.text, tier or "", occurrence)
    one = Claimed(UUID(int=0), *where, version.version, 0, ident, 0, "0")
    return len(announcement(one, str(one.unlock_id))) - len(one.reward)
