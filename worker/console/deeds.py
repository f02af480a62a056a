"""The pages that do something: each asks before, and takes a form of its own session with a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsl.compile import USER, scope_of
from worker.console import books, letters
from worker.console.actions import Meant, NotDoneError
from worker.console.views import NotFoundError, asked, asked_subject
from worker.console.web import link
from worker.contract.named_users import users_named
from worker.engine.outlook import outcomes
from worker.pipeline.dead_letters import block_of, headers_of, is_cut

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from starlette.requests import Request

    from worker.console.access import Person
    from worker.console.books import UnlockRow
    from worker.console.desk import Desk
    from worker.console.views import Values
    from worker.pipeline.dead_letters import StoredDeadLetter


class Done:
    """What was done, and where to go."""

    def __init__(self, to: str) -> None:
        self.to = to


# -- dead letters ------------------------------------------------------------------------------------------------------


async def ask_replay(desk: Desk, person: Person, request: Request, form: Mapping[str, str]) -> Values:
    """Give what would become of a dead letter, as it is or mended, and ask for a reason."""
    letter, body = await _letter(desk, person, request, form)
    deployed = (await desk.view.catalogue()).rules
    said = letter.body if body is None else body
    found = outcomes(deployed, letter.nats_subject, said, now=desk.now(), block=block_of(letter))
    return {
        "letter": letter,
        "tenant": letters.tenant_of(letter, desk.settings.input_prefix),
        "mended": None if body is None else form.get("body", ""),
        "outcomes": found,
        "epoch": deployed.epoch,
        "reason": form.get("reason", ""),
    }


async def do_replay(desk: Desk, person: Person, request: Request, form: Mapping[str, str]) -> Done:
    """Send a dead letter again."""
    letter, body = await _letter(desk, person, request, form)
    tenant = letters.tenant_of(letter, desk.settings.input_prefix)
    said = await desk.actions.replay(person, tenant, letter, body, form.get("reason", ""))
    return Done(link(f"/letters/{letter.dead_letter_id}", done=said))


async def _letter(
    desk: Desk, person: Person, request: Request, form: Mapping[str, str]
) -> tuple[StoredDeadLetter, bytes | None]:
    """Return a dead letter, and the body that is to be sent in place of its own.

    A browser sends the ends of lines as CR LF: they mean nothing to JSON, and are sent as they were shown.
    """
    box = letters.mailbox(person, desk.settings.input_prefix)
    letter = await books.read_letter(desk.store, box, request.path_params["letter_id"])
    if letter is None:
        raise NotFoundError
    body = form.get("body")
    if body is None:
        return letter, None
    text = body.replace("\r\n", "\n")
    shown = letters.body_of(letter, cut=is_cut(letter))
    if shown.mendable and text.rstrip("\n") == shown.text.replace("\r\n", "\n").rstrip("\n"):
        return letter, None
    mended = text.encode("utf-8", "replace")
    if person.tenants is not None and not _names_only(mended, letter, box):
        raise NotDoneError("the mended event is of another tenant")
    return letter, mended


def _names_only(body: bytes, letter: StoredDeadLetter, box: books.Mailbox) -> bool:
    """Tell whether a body, sent with a letter's headers, names no tenant but those of a mailbox."""
    named = users_named(box.prefix, "", body, headers_of(letter))
    return all(not one.tenant or one.tenant in (box.tokens or ()) for one in named)


# -- unlocks -----------------------------------------------------------------------------------------------------------


async def ask_revoke(desk: Desk, person: Person, request: Request, form: Mapping[str, str]) -> Values:
    """Give the unlock that is to be revoked, and ask for a reason."""
    return {"unlock": await _unlock(desk, person, request), "reason": form.get("reason", "")}


async def do_revoke(desk: Desk, person: Person, request: Request, form: Mapping[str, str]) -> Done:
    """Revoke an unlock."""
    unlock = await _unlock(desk, person, request)
    said = await desk.actions.revoke(person, unlock, form.get("reason", ""))
    where = {"tenant": unlock.tenant_id, "scope": unlock.scope, "id": unlock.subject}
    return Done(link("/subject", **where, done=said))


async def _unlock(desk: Desk, person: Person, request: Request) -> UnlockRow:
    unlock_id: UUID = request.path_params["unlock_id"]
    unlock = await books.read_unlock(desk.store, unlock_id)
    if unlock is None or not person.sees(unlock.tenant_id):
        raise NotFoundError
    return (await desk.view.catalogue()).rules.renames.shown_in(unlock)


async def ask_grant(desk: Desk, person: Person, request: Request, form: Mapping[str, str]) -> Values:
    """Give what can be granted to a subject, and ask for one and a reason."""
    subject = asked_subject(request, person)
    catalogue = await desk.view.catalogue()
    entries = catalogue.in_effect(subject.scope, desk.now()) if subject.scope in catalogue.scopes else []
    chosen = form.get("achievement") or asked(request, "achievement")
    return {
        "subject": subject,
        "entries": catalogue.rules.renames.shown_in(entries),
        "chosen": chosen,
        "occurrence": form.get("occurrence", ""),
        "reason": form.get("reason", ""),
    }


async def do_grant(desk: Desk, person: Person, request: Request, form: Mapping[str, str]) -> Done:
    """Grant an achievement by hand."""
    subject = asked_subject(request, person)
    given, _, tier = form.get("achievement", "").partition(".")
    rules = (await desk.view.catalogue()).rules
    name = rules.renames.named(given)
    versions = rules.written.achievements.get(name)
    scope = subject.scope or (USER if versions is None else scope_of(versions[0]))
    meant = Meant(
        subject.tenant_id, scope, subject.subject, name, tier or None, form.get("occurrence", "").strip() or None
    )
    said = await desk.actions.grant(person, meant, form.get("reason", ""))
    where = {"tenant": subject.tenant_id, "scope": scope, "id": subject.subject}
    return Done(link("/subject", **where, done=said))
