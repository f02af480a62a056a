"""Which subjects a rebuild is for, and how they are found."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dsl.compile import USER, scope_of
from dsl.diagnostics import nearest
from dsl.outcome import Subject
from dsl.reads import reads_of
from worker.admin.outdated import BEFORE_ALL, PAGE, Named
from worker.engine.columns import FIELDLESS
from worker.pipeline.ledger import subjects_heard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from worker.engine.rule_set import Deployed
    from worker.store import Store


class UnknownAchievementError(ValueError):
    """No rule in force has an achievement of this name; `hint` is what may be meant."""

    def __init__(self, name: str, hint: str | None) -> None:
        super().__init__(f"no achievement {name} is in force")
        self.hint = hint


class Page(NamedTuple):
    """Some subjects of a scope, in order."""

    subjects: list[Subject]

    @property
    def last(self) -> Named:
        """The last one."""
        tenant, _, name = self.subjects[-1]
        return Named(tenant, name)


class Target(NamedTuple):
    """All subjects; those of a tenant; one user; those that hear events which an achievement reads."""

    tenant: str | None = None
    user: str | None = None
    achievement: str | None = None
    """By its first name."""


def scopes_of(rules: Deployed, target: Target) -> list[str]:
    """Return the scopes of the subjects, in order.

    Raises:
        UnknownAchievementError: there is no such achievement.
    """
    if target.achievement is None:
        return [USER] if target.user is not None else sorted(rules.program.scopes)
    known = rules.rules.achievements
    if target.achievement not in known:
        close = nearest(target.achievement, rules.written.achievements)
        raise UnknownAchievementError(target.achievement, None if close is None else f"did you mean {close}?")
    return [scope_of(known[target.achievement][0])]


async def pages_of(
    store: Store, rules: Deployed, target: Target, scope: str, after: Named = BEFORE_ALL
) -> AsyncIterator[Page]:
    """Yield the subjects of a scope behind one, in order: those with events, and those that only have rows.

    Raises:
        UnavailableError: the database went away.
    """
    if target.user is not None:
        yield Page([Subject(target.tenant or "", scope, target.user)])
        return
    queries = [subjects_heard(rules, scope), ("subjects_with_rows", {"scope": scope})]
    if target.achievement is not None and scope in FIELDLESS:
        versions = rules.rules.achievements[target.achievement]
        types = frozenset[str]().union(*(reads_of(one).types for one in versions))
        queries = [subjects_heard(rules, scope, types)]
    after = max(after, Named(target.tenant or "", ""))
    while True:
        found = list[list[Named]]()
        async with store.transaction(patient=True) as session:
            for query, asked in queries:
                place = {"after_tenant": after.tenant_id, "after_subject": after.subject}
                found.append(await session.rows(Named, query, **asked, **place, limit=PAGE))
        # A page that is full says nothing of what lies behind its end.
        end = min((some[-1] for some in found if len(some) == PAGE), default=None)
        names = sorted({name for some in found for name in some if end is None or name <= end})
        within = [name for name in names if target.tenant in {None, name.tenant_id}]
        if within:
            yield Page([Subject(one.tenant_id, scope, one.subject) for one in within])
        if end is None or len(within) < len(names):
            return
        after = end
