"""`ach erase --undo`: the tombstone of a user is lifted, and what that does not restore."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar

from dsl.calendar import format_instant
from worker.admin.journal import journaled
from worker.admin.purge import PurgeRefusedError, purge_announcements
from worker.admin.tombstone import NotAnnouncedError, NoTombstoneError, check_tombstone, lift_tombstone
from worker.app import wall_clock
from worker.broker.streams import BrokerAwayError
from worker.commands.operator_word import check_reason
from worker.commands.servers import CommandError, on_servers, with_store
from worker.engine.journal import Lift
from worker.report import screen
from worker.urls import shown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator

    from dsl.outcome import Subject
    from worker.settings import Settings

T = TypeVar("T")


def undo(user: Subject, by: str, reason: str, *, purge: bool, yes: bool, as_json: bool) -> None:
    """Lift a tombstone, after a question if that is not answered yet.

    Raises:
        click.UsageError: an option does not go with --undo, or the reason is missing.
    """
    if purge:
        raise screen.usage("--purge-streams does not go with --undo, which removes their announcements in any case")
    if not reason.strip():
        raise screen.usage("--undo needs --reason: why are their events to be taken again?")
    check_reason(reason)
    if not yes:
        on_servers(partial(_must_be_erased, user=user))
        screen.confirm(
            f"take events of {user.subject!r} in tenant {user.tenant_id!r} again? what was erased stays gone"
        )
    on_servers(partial(_lift, user=user, by=by, reason=reason, as_json=as_json))


async def _must_be_erased(settings: Settings, user: Subject) -> int:
    """Return when a user was erased, in microseconds.

    Raises:
        CommandError: the user is not, or that is not announced yet.
    """
    return await with_store(
        settings, lambda store: _liftable(user, check_tombstone(store, user.tenant_id, user.subject))
    )


async def _lift(settings: Settings, user: Subject, *, by: str, reason: str, as_json: bool) -> None:
    """Remove the announcements of a user, then lift the tombstone.

    Raises:
        CommandError: nothing is lifted.
    """
    erased_at = await _must_be_erased(settings, user)
    removed = await _purge_announcements(settings, user)
    now = wall_clock()
    lifted = partial(lift_tombstone, tenant=user.tenant_id, user=user.subject, by=by, reason=reason, now=now)
    with journaled(settings, lambda names: Lift(names.of_subject(user)), by=by, at=now):
        await with_store(settings, lambda store: _liftable(user, lifted(store)))
    if as_json:
        screen.say_json(
            {
                "lifted_at": format_instant(now),
                "erased_at": format_instant(erased_at),
                "by": by,
                "reason": reason,
                "announcements_removed": removed,
                "not_restored": list(_not_restored(settings)),
            }
        )
        return
    out = screen.out()
    out.say(
        f"events of {user.subject!r} in tenant {user.tenant_id!r} are taken again; removed "
        f"{screen.plural(removed, 'announcement')} from {settings.unlock_stream}"
    )
    out.print("not restored:")
    for line in _not_restored(settings):
        out.say(f"  {line}")


async def _liftable(user: Subject, work: Awaitable[T]) -> T:
    """Return what work on a tombstone returns.

    Raises:
        CommandError: there is none, or it cannot be lifted yet.
    """
    try:
        return await work
    except NoTombstoneError:
        what = f"{user.subject!r} in tenant {user.tenant_id!r} is not erased; nothing was done"
        raise CommandError(what, "is the name right?") from None
    except NotAnnouncedError:
        what = f"the erasure of {user.subject!r} in tenant {user.tenant_id!r} is not announced yet; nothing was done"
        raise CommandError(what, "a running worker announces it within seconds; run the command again then") from None


async def _purge_announcements(settings: Settings, user: Subject) -> int:
    """Remove the announcements of a user from the stream; return how many.

    Raises:
        CommandError: that failed, and the tombstone stands.
    """
    try:
        return await purge_announcements(settings, user.tenant_id, user.subject)
    except BrokerAwayError as error:
        said = f"nothing was lifted: NATS at {shown(settings.nats_url)}: {error}"
        raise CommandError(said, "is NATS_URL right? announcements of the erased unlocks must go first") from error
    except PurgeRefusedError as error:
        hint = "does the stream deny purges? what is earned anew could not be announced beside the old messages"
        raise CommandError(f"nothing was lifted: {error}", hint) from error


def _not_restored(settings: Settings) -> Iterator[str]:
    """Yield what lifting a tombstone does not bring back."""
    yield "what was erased: the producer has to send those events again, with their old ids or new ones"
    yield (
        f"messages that {settings.input_stream} still holds: a worker does not read them again, and the broker drops a "
        "message whose Nats-Msg-Id it has seen within its duplicate window (two minutes unless it was set)"
    )
    yield (
        "within that window after an announcement was made, the same unlock is not announced again "
        f"on {settings.unlock_stream}: send the events when it is over"
    )
    yield "unlocks at consumers that keep the revision of an erased unlock: they begin at revision 1 again"
