"""The pages that only look: what each reads, and what its template is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from anyio import to_thread

from dsl.compile import TENANT, USER
from dsl.outcome import Subject
from worker.console import books, changes, letters, rules
from worker.console.history import read_events, why
from worker.console.now import page_of
from worker.console.subjects import meant_subject, read_facts_of, read_subject_page, reward_of
from worker.engine.standing import status_of
from worker.engine.why import CannotExplainError, Question
from worker.pipeline.dead_letters import is_cut
from worker.pipeline.ledger import TooManyEventsError
from worker.store import UnavailableError

if TYPE_CHECKING:
    from starlette.requests import Request

    from worker.console.access import Person
    from worker.console.desk import Desk

LONGEST: Final = 1024
"""Characters of what is asked for in a query."""


class NotFoundError(Exception):
    """There is no such thing, or none that this person may see: the answer is the same."""


Values = dict[str, object]


def asked(request: Request, name: str) -> str:
    """Return a part of the query; "" where it is not there.

    Raises:
        NotFoundError: nothing has so long a name, or one that no database takes.
    """
    text = request.query_params.get(name, "")
    if len(text) > LONGEST or "\0" in text:
        raise NotFoundError
    return text


def asked_subject(request: Request, person: Person) -> Subject:
    """Return the subject that a query names.

    Raises:
        NotFoundError: it names none, or one of a tenant that the person does not see.
    """
    subject = Subject(*meant_subject(asked(request, "tenant"), asked(request, "scope"), asked(request, "id")))
    if not subject.tenant_id or not subject.subject or not person.sees(subject.tenant_id):
        raise NotFoundError
    return subject


async def now(desk: Desk, person: Person, request: Request) -> Values:
    """Give what happens now."""
    del request
    return {"now": page_of(await desk.snapshot(person)), **await in_force(desk)}


async def in_force(desk: Desk) -> Values:
    """Give the versions in effect, which the first page shows beside its numbers."""
    catalogue = await desk.view.catalogue()
    entries = [entry for scope in catalogue.scopes for entry in catalogue.in_effect(scope, desk.now())]
    now_called = catalogue.rules.renames.now
    versions = {now_called(entry.achievement): (entry.version, entry.final) for entry in entries}
    return {"versions": sorted(versions.items()), "rules_epoch": catalogue.rules.epoch}


# -- rules -------------------------------------------------------------------------------------------------------------


async def rule_list(desk: Desk, person: Person, request: Request) -> Values:
    """Give all achievements."""
    del request
    catalogue = await desk.view.catalogue()
    earned = await desk.earned(person)
    return {"cards": rules.cards(catalogue, earned, desk.now()), "epoch": catalogue.rules.epoch}


async def rule_page(desk: Desk, person: Person, request: Request) -> Values:
    """Give one achievement."""
    catalogue = await desk.view.catalogue()
    deployed = catalogue.rules
    first = deployed.renames.first(request.path_params["name"])
    name = deployed.renames.now(first)
    versions = await books.read_versions(desk.store, first)
    if first not in deployed.rules.achievements:
        if not versions:
            raise NotFoundError
        holders = await books.read_holders(desk.store, first, person.limit)
        return {"name": name, "versions": versions, "holders": holders, "card": None}
    earned = await desk.earned(person)
    at = desk.now()
    near = trouble = None
    try:
        near = await rules.near_misses(desk.store, deployed, first, person.limit, at)
    except UnavailableError as error:
        trouble = str(error)
    cards = [card for card in rules.cards(catalogue, earned, at) if card.name == name]
    return {
        "name": name,
        "card": cards[0] if cards else None,
        "editions": rules.editions(deployed, first, versions, at),
        "versions": versions,
        "holders": await books.read_holders(desk.store, first, person.limit),
        "near": near,
        "trouble": trouble,
    }


# -- users, teams, tenants ---------------------------------------------------------------------------------------------


async def subject_list(desk: Desk, person: Person, request: Request) -> Values:
    """Give the subjects of a tenant whose names begin with a text."""
    known = await books.tenants_in_books(desk.store, person)
    tenant = asked(request, "tenant") or (known[0] if len(known) == 1 else "")
    scope, start = asked(request, "scope") or USER, asked(request, "start")
    catalogue = await desk.view.catalogue()
    found = []
    if tenant:
        if not person.sees(tenant):
            raise NotFoundError
        found = await books.find_subjects(desk.store, tenant, scope, start)
    return {
        "tenants": known,
        "tenant": tenant,
        "scope": scope,
        "scopes": sorted({USER, *catalogue.scopes}),
        "start": start,
        "found": found[: books.LISTED],
        "more": len(found) > books.LISTED,
    }


async def subject_page(desk: Desk, person: Person, request: Request) -> Values:
    """Give one user, team or tenant."""
    subject = asked_subject(request, person)
    page = await read_subject_page(desk, subject)
    seen = asked(request, "as") == "user"
    return {"page": page, "as_user": seen, "reward_of": reward_of, "done": asked(request, "done")}


async def why_page(desk: Desk, person: Person, request: Request) -> Values:
    """Give why a subject has an achievement, or what is missing."""
    subject = asked_subject(request, person)
    question = Question(
        asked(request, "achievement"), asked(request, "tier") or None, asked(request, "occurrence") or None
    )
    catalogue, facts, trouble = await read_facts_of(desk, subject)
    deployed = catalogue.rules
    question = question._replace(achievement=deployed.renames.named(question.achievement))
    stored = [] if facts is None else deployed.renames.shown_in([held.stored for held in facts.unlocks])
    known = {(row.achievement, row.tier or None, row.occurrence or None): status_of(row) for row in stored}
    values: Values = {"subject": subject, "question": question, "found": [], "trouble": trouble, "books": known}
    try:
        events = await read_events(desk.store, deployed, subject)
        values["found"] = await to_thread.run_sync(why, deployed, subject, question, events, desk.now())
    except CannotExplainError as error:
        values["trouble"] = str(error)
    except TooManyEventsError:
        values["trouble"] = "It has too many events to be explained on a page: use `ach explain --from-ledger`."
    return values


async def tenant_list(desk: Desk, person: Person, request: Request) -> Values:
    """Give the tenants."""
    del request
    known = await books.tenants_in_books(desk.store, person)
    return {"tenants": known, "shares": {one.tenant: one for one in page_of(await desk.snapshot(person)).tenants}}


async def tenant_page(desk: Desk, person: Person, request: Request) -> Values:
    """Give one tenant: its subjects by scope, and how it stands itself where a rule is of the scope `tenant`."""
    tenant = asked(request, "id")
    if not tenant or not person.sees(tenant):
        raise NotFoundError
    catalogue = await desk.view.catalogue()
    rows = await books.read_tenant(desk.store, tenant)
    mine = await desk.snapshot(person._replace(tenants=frozenset({tenant})))
    return {
        "tenant": tenant,
        "rows": rows,
        "now": page_of(mine),
        "is_judged": TENANT in catalogue.scopes,
    }


# -- dead letters, changes, actions ------------------------------------------------------------------------------------


async def letter_list(desk: Desk, person: Person, request: Request) -> Values:
    """Give the dead letters."""
    box = letters.mailbox(person, desk.settings.input_prefix)
    before = asked(request, "before")
    wanted = books.LettersWanted(
        before=int(before) if before.isdecimal() and len(before) < len(str(books.LAST_LETTER)) else books.LAST_LETTER,
        reason=asked(request, "reason") or None,
        tenant_token=asked(request, "tenant") or None,
        replayed=asked(request, "all") == "1",
    )
    found = await books.list_letters(desk.store, box, wanted)
    return {
        "tallies": letters.tallies(await books.count_letters(desk.store, box)),
        "wanted": wanted,
        "letters": found[: books.LISTED],
        "next": found[books.LISTED - 1].dead_letter_id if len(found) > books.LISTED else None,
        "first": wanted.before == books.LAST_LETTER,
        "tenant_name": letters.tenant_name,
    }


async def letter_page(desk: Desk, person: Person, request: Request) -> Values:
    """Give one dead letter."""
    box = letters.mailbox(person, desk.settings.input_prefix)
    found = await books.read_letter(desk.store, box, request.path_params["letter_id"])
    if found is None:
        raise NotFoundError
    return {
        "letter": found,
        "tenant": letters.tenant_of(found, desk.settings.input_prefix),
        "meaning": letters.meaning(found.reason),
        "body": letters.body_of(found, cut=is_cut(found)),
        "done": asked(request, "done"),
    }


async def change_list(desk: Desk, person: Person, request: Request) -> Values:
    """Give the sets of rules that were applied."""
    del request, person
    sets = await books.read_rule_sets(desk.store)
    renames = (await desk.view.catalogue()).rules.renames
    versions = renames.shown_in(await books.read_versions(desk.store))
    return {"changes": changes.changes(sets, versions), "building": await books.read_building(desk.store)}


async def change_page(desk: Desk, person: Person, request: Request) -> Values:
    """Give one set of rules: what was new in it, what was decided since, how its texts differ."""
    epoch: int = request.path_params["epoch"]
    texts = await books.read_rule_texts(desk.store, epoch) if epoch < 2**62 else []
    if not texts:
        raise NotFoundError
    sets = [one for one in await books.read_rule_sets(desk.store, 10_000) if one.epoch == epoch]
    renames = (await desk.view.catalogue()).rules.renames
    (change,) = changes.changes(sets, renames.shown_in(await books.read_versions(desk.store)))
    until = change.rules.until or desk.now() + 1
    effects = trouble = None
    try:
        decided = await books.read_decided(desk.store, change.rules.applied_at, until, person.limit)
        effects = changes.effects(renames.shown_in(decided))
    except UnavailableError as error:
        trouble = str(error)
    return {
        "change": change,
        "effects": effects,
        "trouble": trouble,
        "lines": changes.difference(texts),
        "current": change.rules.until is None,
    }


async def cohort_page(desk: Desk, person: Person, request: Request) -> Values:
    """Give funnels, retention and rarity from the latest run of a mirror, where there is one."""
    del request
    return {"cohorts": None if desk.cohorts is None else await desk.cohorts.of(person.tenants)}


async def action_list(desk: Desk, person: Person, request: Request) -> Values:
    """Give what was done on the console."""
    del request
    return {"actions": await books.read_actions(desk.store, person.limit)}
