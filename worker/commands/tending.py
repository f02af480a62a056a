"""What an operator's commands do about single subjects, unlocks and dead letters."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dsl.calendar import format_instant
from dsl.compile import USER, scope_of
from dsl.outcome import Subject
from worker.admin.manual_grant import CannotGrantError, Granted, grant_by_hand
from worker.admin.revocation import of_achievement, of_ids, revoke_all
from worker.app import wall_clock
from worker.engine.reconcile import State as Stands
from worker.pipeline.dead_letters import FOR_EVER, list_letters, purge_letters, show_letter
from worker.pipeline.fence import RulesMovedError
from worker.report import screen
from worker.server_errors import CommandError, patiently, rules_in_force

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from uuid import UUID

    from worker.admin.revocation import Revocable
    from worker.contract.reasons import Reason
    from worker.pipeline.dead_letters import StoredDeadLetter
    from worker.settings import Settings
    from worker.store import Store


# -- unlocks and users ------------------------------------------------------------------------------------------------


class Meant(NamedTuple):
    """An unlock as an operator names it; no scope means that of the achievement."""

    tenant: str
    subject: str
    achievement: str
    """With its tier, behind a dot."""
    scope: str | None
    occurrence: str | None


async def grant(settings: Settings, meant: Meant, *, reason: str, by: str) -> None:
    """Grant an unlock whatever the events say."""
    name, _, tier = meant.achievement.partition(".")

    async def work(store: Store) -> Granted:
        while True:
            rules = await rules_in_force(store, settings)
            versions = rules.rules.achievements.get(name)
            scope = meant.scope or (USER if versions is None else scope_of(versions[0]))
            subject = Subject(meant.tenant, scope, meant.subject)
            with suppress(RulesMovedError):  # others were applied meanwhile
                return await grant_by_hand(
                    store, rules, subject, name, tier or None, meant.occurrence, reason=reason, by=by, now=wall_clock()
                )

    try:
        granted = await patiently(settings, work)
    except CannotGrantError as error:
        raise CommandError(str(error), error.hint) from error
    what = f"{meant.achievement} of {meant.subject} in {meant.tenant}"
    screen.out().print(f"{_GRANTED[granted.before].format(what)}: unlock {granted.unlock_id}", markup=False)


_GRANTED: Final[dict[Stands | None, str]] = {
    None: "granted {}",
    Stands.SETTLING: "granted {}, which was still settling",
    Stands.GRANTED: "granted {} by hand, which events had earned; no late event contests it now",
    Stands.CONTESTED: "granted {} by hand, which was contested",
    Stands.REVOKED: "granted {} again, which had been revoked",
    Stands.BY_HAND: "{} was granted by hand before; nothing changed",
}


SHOWN: Final = 20
"""Unlocks that are named before it is asked whether to revoke them."""


class Chosen(NamedTuple):
    """Which unlocks to revoke: those of ids, or those of an achievement, with its tier behind a dot."""

    ids: Sequence[UUID]
    achievement: str | None
    tenant: str | None
    subject: str | None


async def unlocks_to_revoke(settings: Settings, chosen: Chosen) -> list[Revocable]:
    """Return the unlocks that are meant, and name them.

    Raises:
        CommandError: there are none, or one of the ids is of none.
    """
    if chosen.achievement is None:
        found = await patiently(settings, lambda store: of_ids(store, chosen.ids))
        known = {one.unlock_id for one in found}
        if missing := [unlock_id for unlock_id in chosen.ids if unlock_id not in known]:
            raise CommandError(
                f"there is no unlock {missing[0]}, or it was revoked before; nothing was done", "ach unlocks"
            )
    else:
        name, _, tier = chosen.achievement.partition(".")
        where = {"tenant": chosen.tenant, "subject": chosen.subject}
        found = await patiently(settings, lambda store: of_achievement(store, name, tier or None, **where))
        if not found:
            raise CommandError(
                f"there is no unlock of {chosen.achievement} to revoke there; nothing was done", "ach unlocks"
            )
    out = screen.out()
    out.print(f"{screen.plural(len(found), 'unlock')} to revoke:")
    for one in found[:SHOWN]:
        out.say(f"  {_shown(one)}")
    if len(found) > SHOWN:
        out.print(f"  and {len(found) - SHOWN:,} more")
    return found


def _shown(one: Revocable) -> str:
    name = f"{one.achievement}.{one.tier}" if one.tier else one.achievement
    return f"{name}{f' [{one.occurrence}]' if one.occurrence else ''} of {one.subject} in {one.tenant_id}"


async def revoke_unlocks(settings: Settings, found: Sequence[Revocable], *, reason: str, by: str) -> None:
    """Revoke unlocks; late evidence does not bring them back."""
    ids = [one.unlock_id for one in found]
    revoked = await patiently(settings, lambda store: revoke_all(store, ids, now=wall_clock(), by=by, reason=reason))
    screen.out().print(f"revoked {screen.plural(revoked, 'unlock')}")


# -- dead letters -----------------------------------------------------------------------------------------------------


class Letters(NamedTuple):
    """Which dead letters to list; no reason means any."""

    reason: Reason | None
    replayed: bool
    """Also those that were sent again."""
    limit: int


async def dead_list(settings: Settings, wanted: Letters, *, as_json: bool) -> None:
    """Print dead letters, newest first; as JSON without their bodies, whose sizes are given."""
    letters = await patiently(
        settings,
        lambda store: list_letters(store, reason=wanted.reason, replayed=wanted.replayed, limit=wanted.limit),
    )
    if as_json:
        screen.say_json([_as_json(letter) for letter in letters])
        return
    rows = [
        (
            letter.dead_letter_id,
            letter.reason,
            format_instant(letter.died_at)[:19],
            letter.nats_subject,
            letter.detail,
            "" if letter.died_again_as is None else letter.died_again_as,
        )
        for letter in letters
    ]
    columns = ["id", "reason", "died at", "subject", "detail", "died again as"]
    screen.table(screen.plural(len(rows), "dead letter"), columns, rows, ids=(0, 3))


def _as_json(letter: StoredDeadLetter) -> dict[str, object]:
    said: dict[str, object] = letter._asdict()
    for name in ("died_at", "replayed_at", "erased_at"):
        at = said[name]
        said[name] = format_instant(at) if isinstance(at, int) else None
    del said["body"]  # `ach dead show --raw` has it as it is
    said["bytes"] = len(letter.body)
    said["headers"] = msgspec.Raw(letter.headers.encode())
    return said


async def dead_show(settings: Settings, letter_id: int, *, raw: bool) -> None:
    """Print one dead letter with its bytes; `raw`: those alone, as received."""
    letter = await _letter(settings, letter_id)
    if raw:
        screen.hand_on(letter.body)
        return
    console = screen.out()
    for name, value in _described(letter):
        console.say(f"{name:>13}  {value}")
    console.print()
    console.print(letter.body.decode("utf-8", "backslashreplace"))


def _described(letter: StoredDeadLetter) -> Iterator[tuple[str, object]]:
    yield "reason", letter.reason
    yield "detail", letter.detail
    yield "subject", letter.nats_subject
    yield "headers", letter.headers
    yield "stream", f"{letter.stream} sequence {letter.stream_seq}, element {letter.element}"
    yield "deliveries", letter.deliveries
    yield "died at", format_instant(letter.died_at)
    if letter.replayed_at is not None:
        yield "replayed at", format_instant(letter.replayed_at)
    if letter.died_again_as is not None:
        yield "died again as", letter.died_again_as
    if letter.erased_at is not None:
        yield "erased at", format_instant(letter.erased_at)
    yield "bytes", len(letter.body)


async def dead_purge(settings: Settings, ids: Sequence[int], *, reason: Reason | None, before: int | None) -> None:
    """Delete dead letters."""
    purged = await patiently(
        settings,
        lambda store: purge_letters(
            store, ids=ids or None, reason=reason, before=FOR_EVER if before is None else before
        ),
    )
    screen.out().print(f"deleted {screen.plural(purged, 'dead letter')}")


async def _letter(settings: Settings, letter_id: int) -> StoredDeadLetter:
    letter = await patiently(settings, lambda store: show_letter(store, letter_id))
    if letter is None:
        raise CommandError(f"there is no dead letter {letter_id}", "ach dead list")
    return letter
