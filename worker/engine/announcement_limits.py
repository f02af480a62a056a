"""Whether announcements fit what the broker takes. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import UUID

from dsl.check.rewards import reward_bytes
from dsl.compile import scope_of
from dsl.outcome import full_name
from dsl.renames import old_names
from worker.contract.fields import MAX_ID_BYTES
from worker.engine.announcement import Claimed, Correction, announcement, correction, words_of
from worker.engine.origin import Origin
from worker.engine.rule_set import rewards

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsl.schema import Rules
    from dsl.syntax import Achievement
    from worker.engine.announcement import Words

HEADER_BYTES: Final = 160
"""Of the headers of an announcement, without the name of the stream, and without its trace."""
MOST_BYTES_WITH_TRACE: Final = 64 * 1024
"""Of the body of an announcement that says its trace. A larger one may have room for nothing else, and producers must
not be able to make it too large for the broker."""
MAX_REASON: Final = 1000
"""Characters of an operator's reason, which is announced."""
LONGEST_OCCURRENCE: Final = "2026-04-13T09"
MOST_CHANGE: Final = 2**63 - 1
"""The largest number of a change."""
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
        first = (name, *old_names(versions))[-1]
        for version in versions:
            for tier, reward in rewards(version):
                beside, given = HEADER_BYTES + len(stream), reward_bytes(reward)
                least = beside + given + _bytes(version, tier, "u", first, least=True)
                most = beside + max(
                    given + _bytes(version, tier, _LARGEST_ID, first),
                    2 * given + _correction_bytes(version, tier, _LARGEST_ID, first),
                )
                yield Announceable(full_name(name, tier), version.version, least, most)


def _where(version: Achievement, tier: str | None, ident: str, first: str) -> tuple[str, str, str, str, str, str]:
    occurrence = "" if version.repeat is None else LONGEST_OCCURRENCE
    return ident, scope_of(version), ident, first, tier or "", occurrence


def _words(version: Achievement, name: str | None, *, final: bool = False) -> Words:
    tier = next((tier for tier in version.tiers if tier.name.text == name), None)
    return words_of(version, tier, final=final, name=version.name.text)


def _bytes(version: Achievement, tier: str | None, ident: str, first: str, *, least: bool = False) -> int:
    """Return the bytes of an announcement whose ids are all the same, but for its reward."""
    origin = min(Origin, key=len) if least else max(Origin, key=len)
    change_id = None if least else MOST_CHANGE
    where = _where(version, tier, ident, first)
    one = Claimed(UUID(int=0), *where, version.version, 0, ident, 0, "0", origin, change_id)
    return len(announcement(one, str(one.unlock_id), _words(version, tier, final=least))) - len(one.reward)


def _correction_bytes(version: Achievement, tier: str | None, ident: str, first: str) -> int:
    """Return the bytes of the largest correction, but for its reward, which it has twice."""
    now, before = (version.version, 0, ident), (version.version + 1, 1, f"{ident}~")
    said = [part for pair in zip(before, now, strict=True) for part in pair]
    one = Correction(
        UUID(int=0),
        10**9,
        "revoked",
        *_where(version, tier, ident, first),
        max(Origin, key=len),
        0,
        "0",
        "contested",
        "revoked",
        *said,  # pyright: ignore[reportArgumentType] - in the order of the fields
        by_hand_before=True,
        by_hand=False,
        actor=ident,
        reason="\x01" * MAX_REASON,
        decided_at=0,
        withheld=False,
        change_id=MOST_CHANGE,
    )
    return len(correction(one, _words(version, tier))) - 2 * len(one.reward)
