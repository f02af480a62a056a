"""Why a subject has an achievement, or why not yet.

The rules are compiled as always, with a watch before the judge of the achievement in question (`dsl.watch`), and the
subject's events are folded one by one. What the watch has seen is put into words. So an explanation can be wrong about
a word, but not about who has earned what: that is the fold's own answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.calendar import format_instant
from dsl.compile import scope_of
from dsl.event import Event, Position
from dsl.explain.clauses import requirements
from dsl.explain.occurrences import Meant, MeantError, meant
from dsl.explain.recorder import Recorder
from dsl.explain.shape import Explanation, Had
from dsl.fold import start, step
from dsl.progress import Grant
from dsl.watch import only, watched

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dsl.explain.shape import Outcome, Part, Requirement
    from dsl.progress import State
    from dsl.schema import Rules
    from dsl.watch import Watch, Watched

__all__ = ["Asked", "Explanation", "MeantError", "explain", "tiers_of"]


_LAST: Final = "\U0010ffff" * 2
"""Behind every event id of an instant."""


class Asked(NamedTuple):
    """Who asks for what: `now` in microseconds, `occurrence` None for the current one."""

    tenant: str
    subject: str
    achievement: str
    tier: str | None
    occurrence: str | None
    now: int


def tiers_of(rules: Rules, achievement: str) -> list[str | None]:
    """Return the tiers of an achievement over all its versions, in the order written; one None where it has none."""
    versions = rules.achievements[achievement]
    names = dict.fromkeys(tier.name.text for version in versions for tier in version.tiers)
    plain: list[str | None] = [None] if any(version.when is not None for version in versions) else []
    return [*plain, *names]


def explain(rules: Rules, asked: Asked, events: Iterable[Event]) -> Explanation:
    """Explain one achievement and tier of one subject, from all events of that subject.

    Raises:
        MeantError: there is no such achievement, tier or occurrence.
    """
    versions = rules.achievements.get(asked.achievement)
    if versions is None or asked.tier not in tiers_of(rules, asked.achievement):
        raise MeantError(f"there is no achievement {asked.achievement}{'.' + asked.tier if asked.tier else ''}")
    reduced = only(rules, asked.achievement)
    scope = scope_of(versions[0])
    ordered = sorted((event for event in events if event.at <= asked.now), key=lambda event: (event.at, event.id))
    story = _Story(reduced, scope, asked, ordered)
    return story.told()


class _Story:
    """One explanation in the making."""

    def __init__(self, rules: Rules, scope: str, asked: Asked, events: Sequence[Event]) -> None:
        self.rules = rules
        self.watched = watched(rules, scope)
        self.asked = asked
        self.events = events

    def told(self) -> Explanation:
        """Fold once to see what was earned, and once more to look at how."""
        asked = self.asked
        state, grants = self._fold(None)
        ruling = next(
            ruling
            for ruling in self.watched.plan.rulings
            if (ruling.achievement, ruling.tier) == (asked.achievement, asked.tier)
        )
        return self._look(meant(ruling, grants, state, asked.occurrence, asked.now), grants)

    def _fold(self, recorder: Recorder | None, until: Position | None = None) -> tuple[State, list[Grant]]:
        """Fold the events up to one of them, and return the grants of the achievement and tier in question."""
        plan = self.watched.plan
        state, grants = start(plan), list[Grant]()
        for event in self.events:
            if until is not None and Position(event.at, event.id) > until:
                break
            copies = state.suppressed
            mine = [grant for grant in step(plan, state, event) if self._asked_for(grant)]
            grants.extend(mine)
            if recorder is not None and state.suppressed > copies:
                recorder.suppressed(self.rules, event)
            if recorder is not None and mine and event.id != recorder.until:
                recorder.afresh()
        return state, grants

    def _asked_for(self, grant: Grant) -> bool:
        return (grant.achievement, grant.tier) == (self.asked.achievement, self.asked.tier)

    def _look(self, aim: Meant, grants: Sequence[Grant]) -> Explanation:
        watch, grant = _watch_of(self.watched, aim, self.asked), aim.grant
        recorder = Recorder(watch, None if grant is None else grant.event_id)
        until = Position(aim.now, _LAST) if grant is None else Position(grant.earned_at, grant.event_id)
        state, _ = self._fold(recorder, until)
        now = aim.now if grant is None else grant.earned_at
        part = recorder.shown
        if part is None:
            part = recorder.part(state, now, recorder.floor_now(state, now))
        facts = requirements(watch, self.rules, state, now)
        return self._shown(aim, watch, recorder, part, facts, grants)

    def _shown(
        self,
        aim: Meant,
        watch: Watch,
        recorder: Recorder,
        part: Part,
        facts: list[Requirement],
        grants: Sequence[Grant],
    ) -> Explanation:
        asked, grant = self.asked, aim.grant
        noted = recorder.noted
        if grant is not None and part.since is not None:
            # By the clock of its events a streak may begin behind the last of them.
            noted = [
                each for each in noted if format_instant(each.event.at) >= part.since or each.event.id == grant.event_id
            ]
        return Explanation(
            tenant_id=asked.tenant,
            scope=self.watched.plan.scope,
            subject=asked.subject,
            achievement=asked.achievement,
            tier=asked.tier,
            occurrence=aim.occurrence,
            version=watch.judge.version.version,
            now=format_instant(asked.now),
            outcome=_outcome(grant, asked.now),
            earned_at=None if grant is None else format_instant(grant.earned_at),
            earned_by=None if grant is None else grant.event_id,
            settles_at=None if grant is None or not grant.settle else format_instant(grant.earned_at + grant.settle),
            when=part,
            requirements=facts,
            missing=[] if grant is not None else _missing(part, facts, watch),
            events=[each.shown() for each in noted],
            had=[Had(one.occurrence, one.version, format_instant(one.earned_at)) for one in grants],
        )


def _watch_of(plan: Watched, aim: Meant, asked: Asked) -> Watch:
    """Return the watch of the version that granted it, or would."""
    own = [
        watch
        for watch in plan.watches
        if (watch.judge.ruling.achievement, watch.judge.ruling.tier) == (asked.achievement, asked.tier)
    ]
    if aim.grant is not None:
        return next(watch for watch in own if watch.judge.version.version == aim.grant.version)
    in_effect = [watch for watch in own if watch.judge.covers(aim.now)]
    coming = [watch for watch in own if watch.judge.since is not None and watch.judge.since > aim.now]
    return [*in_effect, *coming, own[-1]][0]


def _outcome(grant: Grant | None, now: int) -> Outcome:
    if grant is None:
        return "not yet"
    return "earned" if grant.earned_at + grant.settle <= now else "settling"


def _missing(part: Part, facts: list[Requirement], watch: Watch) -> list[str]:
    texts = [*part.missing, *(fact.detail for fact in facts if not fact.holds)]
    if texts:
        return texts
    return [f"nothing but the next event that it hears: {', '.join(sorted(watch.judge.types))}"]
