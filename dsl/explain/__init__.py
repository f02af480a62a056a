"""Why a subject has an achievement, or why not yet.

The rules are compiled as usual, with a watch before the judge of the achievement in question (`dsl.watch`), and the
subject's events are folded one by one. The observations of the watch become text. So an explanation may have a wrong
word, but its verdict is the fold's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dsl.calendar import format_instant
from dsl.compile import scope_of
from dsl.explain.clauses import requirements
from dsl.explain.evidence import evidence
from dsl.explain.occurrences import MeantError, meant
from dsl.explain.recorder import Noted, Recorder
from dsl.explain.shape import Did, Explanation, Had
from dsl.explain.story import Folded, Story, Title, place
from dsl.explain.ties import ties
from dsl.moments import at_moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dsl.event import Event
    from dsl.explain.shape import Outcome, Part, Requirement
    from dsl.progress import Grant
    from dsl.schema import Rules
    from dsl.watch import Watch

__all__ = ["Asked", "Explanation", "MeantError", "explain", "tiers_of"]


class Asked(NamedTuple):
    """A question: `now` in microseconds, `occurrence` None for the current one."""

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
    ordered = sorted((event for event in events if event.at <= asked.now), key=place)
    story = Story(rules, scope_of(versions[0]), Title(asked.achievement, asked.tier), ordered)
    known = story.known(asked.now)
    aim = meant(story.ruling, known, asked.occurrence)
    recorder = Recorder(story.watch_of(aim), aim)
    return _explained(story, asked, recorder, story.look(recorder), known.grants)


def _explained(story: Story, asked: Asked, recorder: Recorder, seen: Folded, grants: Sequence[Grant]) -> Explanation:
    watch, aim = recorder.watch, recorder.aim
    grant = aim.grant
    part = recorder.shown or recorder.part(seen.state)
    facts = requirements(watch, story.rules, seen.state, aim.now)
    noted = recorder.concerned(seen.state) if grant is None else evidence(story, grant, recorder, seen.firsts)
    earned_by = None if grant is None else grant.event_id
    if grant is not None and at_moment(grant) and (last := _last_heard(story, watch, grant)) is not None:
        earned_by = last.id
        if earned_by not in {each.event.id for each in noted}:
            text = f"is the last one before version {grant.version} began"
            noted = sorted([*noted, Noted(place(last), last, [Did("", "other", text)])], key=lambda each: each.position)
    return Explanation(
        tenant_id=asked.tenant,
        scope=story.scope,
        subject=asked.subject,
        achievement=asked.achievement,
        tier=asked.tier,
        occurrence=aim.occurrence,
        version=watch.judge.version.version,
        now=format_instant(asked.now),
        outcome=_outcome(grant, asked.now),
        earned_at=None if grant is None else format_instant(grant.earned_at),
        earned_by=earned_by,
        at_begin=grant is not None and at_moment(grant),
        settles_at=None if grant is None or not grant.settle else format_instant(grant.earned_at + grant.settle),
        when=part,
        requirements=facts,
        missing=[] if grant is not None else _missing(part, facts, watch),
        events=[each.shown() for each in noted],
        had=[Had(one.occurrence, one.version, format_instant(one.earned_at)) for one in grants],
        ties=ties(story, aim, grants),
    )


def _last_heard(story: Story, watch: Watch, grant: Grant) -> Event | None:
    """Return the last event before a moment that the version has heard."""
    before = (event for event in story.events if event.at < grant.earned_at)
    types = watch.judge.types | watch.judge.unlocks.sources
    heard = (event for event in before if event.type in types and watch.probe.sees(event))
    return max(heard, key=place, default=None)


def _outcome(grant: Grant | None, now: int) -> Outcome:
    if grant is None:
        return "not yet"
    return "earned" if grant.earned_at + grant.settle <= now else "settling"


def _missing(part: Part, facts: list[Requirement], watch: Watch) -> list[str]:
    texts = [*part.missing, *(fact.detail for fact in facts if not fact.holds)]
    if texts:
        return texts
    return [f"nothing but the next event that it hears: {', '.join(sorted(watch.judge.types))}"]
