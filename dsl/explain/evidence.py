"""The events that earned an achievement: enough that they alone would have earned it at the same event.

By definition, the events after the latest start are enough for most conditions. A streak also needs the events in its
units, because on the current clock those may lie before it. The list also has the events that `for` and `tz=user`
read, and those that earned the named achievements. The module folds the list to check that it is enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dsl.event import Position
from dsl.explain.occurrences import meant
from dsl.explain.recorder import Noted, Recorder
from dsl.explain.shape import Did
from dsl.explain.story import Story, Title, place
from dsl.explain.unmet import shown
from dsl.local_time import TIMEZONE, UserClock
from dsl.nodes.compose import Has
from dsl.references import traits_of
from dsl.unlocks import earning_id, is_unlock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from dsl.event import Event
    from dsl.progress import Grant
    from dsl.watch import Watch

    Choice = Callable[[Noted, Recorder], bool]


class Ground(NamedTuple):
    """A grant, and the observations on the way to it."""

    story: Story
    grant: Grant
    recorder: Recorder


def evidence(story: Story, grant: Grant, recorder: Recorder, firsts: dict[Title, Grant]) -> list[Noted]:
    """Return the events that earned a grant, in canonical order, from the observations on the way to it.

    `firsts` has the first grant of every achievement and tier up to there.
    """
    ground = Ground(story, grant, recorder)
    grounds = [ground, *_named(ground, firsts)]
    until = [event for event in story.events if place(event) <= place_of(grant)]
    for choice in (_behind_the_start, _without_copies, _no_copy):
        found = _together(grounds, choice, until)
        if any(is_unlock(each.event) for each in found):
            return found  # what is counted was earned by further events: they are in the explanations of the unlocks
        if story.earns([each.event for each in found], grant):
            return found
    beside = {event.id: Noted(place(event), event, [_other("does not count, but was considered")]) for event in until}
    found = {each.event.id: each for each in _together(grounds, _anything, until)}
    return sorted((beside | found).values(), key=lambda each: each.position)


def place_of(grant: Grant) -> Position:
    """Return the place of the event that earned a grant."""
    return Position(grant.earned_at, grant.event_id)


# -- what is enough, the fewest events first --------------------------------------------------------------------------


def _behind_the_start(noted: Noted, recorder: Recorder) -> bool:
    """Choose the events after the latest start, and those in a unit of a streak that holds."""
    if recorder.since is None or noted.position >= recorder.since:
        return True
    first = recorder.first
    return any(path in recorder.full and path in first and unit >= first[path] for path, unit in noted.units.items())


def _without_copies(noted: Noted, recorder: Recorder) -> bool:
    """Choose the same events without copies: the original of a copy may not be among them."""
    return not noted.copy and _behind_the_start(noted, recorder)


def _no_copy(noted: Noted, recorder: Recorder) -> bool:
    del recorder
    return not noted.copy


def _anything(noted: Noted, recorder: Recorder) -> bool:
    del noted, recorder
    return True


def _together(grounds: Sequence[Ground], choice: Choice, until: Sequence[Event]) -> list[Noted]:
    """Sort the chosen events of each ground, and the traits that they read."""
    found: dict[str, Noted] = {}
    for story, grant, recorder in grounds:
        chosen = [each for each in recorder.noted if choice(each, recorder)]
        for each in chosen if recorder is grounds[0].recorder else _for_another(chosen, story.title, grant):
            known = found.get(each.event.id)
            found[each.event.id] = each if known is None else known._replace(did=[*known.did, *each.did])
    for each in _facts([ground.story for ground in grounds], list(found.values()), until):
        known = found.get(each.event.id)
        found[each.event.id] = each if known is None else known._replace(did=[*each.did, *known.did])
    return sorted(found.values(), key=lambda each: each.position)


def _for_another(noted: Iterable[Noted], title: Title, grant: Grant) -> Iterator[Noted]:
    for each in noted:
        what = "earns" if earning_id(each.event.id) == grant.event_id else "counts towards"
        yield each._replace(did=[_other(f"{what} {title.text}")])


def _other(text: str) -> Did:
    return Did("", "other", text)


# -- what was earned before -------------------------------------------------------------------------------------------


def _named(ground: Ground, firsts: dict[Title, Grant]) -> list[Ground]:
    """Return the grounds of the achievements that one needs to have been earned, and of those that these need."""
    found: dict[Title, Ground] = {}
    waiting, story = [ground], ground.story
    while waiting:
        one = waiting.pop()
        for slots in _slots(one.recorder):
            rulings = (ruling for ruling in one.story.watched.plan.rulings if ruling.slot in slots)
            titles = (Title(ruling.achievement, ruling.tier) for ruling in rulings)
            grants = [firsts[title] for title in titles if title in firsts]
            first = min(grants, key=place_of, default=None)
            if first is None or Title(first.achievement, first.tier) in found:
                continue
            title = Title(first.achievement, first.tier)
            events = [event for event in story.events if place(event) <= place_of(first)]
            found[title] = _ground(Story(story.rules, story.scope, title, events), first)
            waiting.append(found[title])
    return list(found.values())


def _slots(recorder: Recorder) -> Iterator[tuple[int, ...]]:
    """Yield the sufficient tiers for each achievement in `after` and each `unlocked` that holds."""
    yield from recorder.judge.after
    for path, probe in recorder.paths:
        if isinstance(probe.bare, Has) and path in recorder.full:
            yield probe.bare.slots


def _ground(story: Story, grant: Grant) -> Ground:
    """Look at a grant."""
    aim = meant(story.ruling, story.known(grant.earned_at), grant.occurrence)
    recorder = Recorder(story.watch_of(aim), aim)
    story.look(recorder)
    return Ground(story, grant, recorder)


# -- traits -----------------------------------------------------------------------------------------------------------


def _facts(stories: Sequence[Story], chosen: Sequence[Noted], until: Sequence[Event]) -> Iterator[Noted]:
    """Yield the trait events that are read from the first event on: the last ones before it, and all behind it."""
    names = {name for story in stories for watch in story.watches for name in _traits(watch)}
    carried = stories[0].rules.trait_events
    if not names or not chosen:
        return
    begin = min(each.position for each in chosen)
    wanted = {(each.event.user, name) for each in chosen for name in names}
    for event in reversed(until):
        values = {name: event.fields.get(name) for name in carried.get(event.type, ()) if (event.user, name) in wanted}
        text = ", ".join(f"{name} is {shown(value)}" for name, value in values.items() if value is not None)
        if not text:
            continue
        if place(event) < begin:
            wanted -= {(event.user, name) for name, value in values.items() if value is not None}
        yield Noted(place(event), event, [_other(text)])


def _traits(watch: Watch) -> set[str]:
    """Return the traits that one version reads."""
    where, clocks = watch.judge.version.where, [probe.clock for probe in watch.probe.walk()]
    names = set[str]() if where is None else traits_of(where)
    if any(isinstance(clock, UserClock) for clock in (*clocks, watch.judge.built.clock)):
        names.add(TIMEZONE)
    return names
