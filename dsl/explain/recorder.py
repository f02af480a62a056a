"""What is seen of a condition while it is folded: what each event did, when each part first held, what was lost."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec.structs import replace

from dsl import words
from dsl.calendar import format_instant
from dsl.event import Position
from dsl.explain.effects import Seen, broken_at, did, first_unit, matches, ratio, run_of, unit_of
from dsl.explain.missing import Broken, Closest, History, Moment, missing
from dsl.explain.shape import Did, Happened, Part, Progress
from dsl.filters import pattern_types
from dsl.local_time import Now, alike, unit_now
from dsl.moments import now_at
from dsl.nodes.compose import reach_of
from dsl.nodes.node import BEGINNING, EVERYWHERE, Reach
from dsl.outcome import full_name
from dsl.progress import State
from dsl.roles import base_of
from dsl.syntax import Streak
from dsl.types import SECOND
from dsl.unlocks import earning_id, is_unlock
from dsl.values import EXACT, value_text
from dsl.watch import is_grouped

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dsl.event import Event
    from dsl.explain.occurrences import Meant
    from dsl.nodes.node import Measure
    from dsl.progress import Amount
    from dsl.schema import Rules
    from dsl.watch import Probe, Watch

ROOT = "when"
NOWHERE: Final = Reach(Position(2**63 - 1, ""), -(2**63))


class Noted(NamedTuple):
    """One event, what it did to the parts, and for streaks, by the path of the part, the unit in which it fell."""

    position: Position
    event: Event
    did: list[Did]
    units: Mapping[str, int] = {}

    def shown(self) -> Happened:
        """Return it in the form of an explanation."""
        event = self.event
        return Happened(format_instant(event.at), earning_id(event.id), event.type, event.user, self.did)

    @property
    def copy(self) -> bool:
        """Whether it is a copy that `once per` has dropped."""
        return all(did.effect == "copy" for did in self.did)


class Course:
    """What was seen on the way to one occurrence, by the id of a part."""

    def __init__(self) -> None:
        self.before: dict[int, Measure] = {}
        self.held: dict[int, int] = {}
        self.histories: dict[int, History] = {}


class Recorder:
    """Looks at one judge's condition, event by event, and shows it at the event or the instant that is aimed at."""

    def __init__(self, watch: Watch, aim: Meant) -> None:
        self.watch = watch
        self.judge = watch.judge
        self.root = watch.probe
        self.aim = aim
        self.paths = list(_paths(watch.probe, ROOT))
        self.noted: list[Noted] = []
        self.shown: Part | None = None
        """The condition as it stood at the event aimed at, once that has come."""
        self.since: Position | None = None
        """The latest start of the whole condition there."""
        self.full: frozenset[str] = frozenset()
        """The paths of the parts that held there."""
        self.first: dict[str, int] = {}
        """Of each streak, by its path, the unit with which its latest start begins."""
        self._courses: defaultdict[int | None, Course] = defaultdict(Course)
        self._runs: dict[int, tuple[int, int]] = {}
        self._starts: dict[int, Position] = {}
        self._floor, self._at = BEGINNING, 0
        watch.look = self.look

    def reset(self) -> None:
        """Drop the notes: the next occurrence of `repeat each` starts."""
        self.noted = []
        self._courses.clear()

    def look(self, state: State, event: Event, position: Position) -> None:
        """See what an event did, and whether the parts hold now."""
        now = now_at(event)
        unit, reach = self._unit(state, now), self._reach(state, now)
        course = self._courses[unit]
        held, found, units = len(course.held), list[Did](), dict[str, int]()
        for path, probe in self.paths:
            found.extend(self._look(path, probe, Glance(state, now, reach, course, event)))
            if isinstance(probe.tree, Streak) and not is_grouped(probe.tree):
                self._look_at_units(path, probe, state, event, units)
        if len(course.held) > held and not found:
            found.append(Did("", "other", "does not count, but the condition holds from here on"))
        if earning_id(event.id) == self.aim.event and not self._earned_already(event):
            self._aimed(state, now)
            if not found and (not self.judge.unlocks.names or self._holds(state, now)):
                found.append(Did("", "other", "meets the last requirement outside the `when`"))
        if found and event.id:
            if is_unlock(event):
                found = [replace(each, text=f"{_unlocked(event)}: {each.text}") for each in found]
            self.noted.append(Noted(position, event, found, units))

    def _earned_already(self, event: Event) -> bool:
        """Return whether the condition held before at what is aimed at: at an unlock before this one."""
        return is_unlock(event) and self.shown is not None and self.shown.holds and self._at == event.at

    def _look(self, path: str, probe: Probe, glance: Glance) -> Iterator[Did]:
        key, (state, now, reach, course, event) = id(probe), glance
        before = course.before.get(key) or probe.measure(State(), now, reach)
        after = course.before[key] = probe.measure(state, now, reach)
        if probe.full(state, now, reach):
            course.held.setdefault(key, event.at)
        broke = self._run(probe, state)
        history = course.histories.get(key, History())
        if broke is not None:
            history = history._replace(run_broke=broke)
        if before.fraction and before.fraction < 1 and probe.stopped_by(state, event):
            history = history._replace(broken=Broken(event.type, event.at, ratio(before)))
        course.histories[key] = _nearer(history, probe, state, event)
        yield from did(path, probe, Seen(event, before, after, broke), state)

    def _run(self, probe: Probe, state: State) -> str | None:
        """Return where the run of a streak broke, at the event that begins the next one."""
        run, last = run_of(probe, state), self._runs.get(id(probe))
        if run is None:
            return None
        self._runs[id(probe)] = run
        if last is None or run[0] == last[0] or run[1] > last[1]:
            return None
        return broken_at(probe, last[0])

    def _look_at_units(self, path: str, probe: Probe, state: State, event: Event, units: dict[str, int]) -> None:
        """Note the unit of a streak in which an event falls, and the first one of the run that makes it hold."""
        if matches(probe, state, event):
            units[path] = unit_of(probe, state, event)
        start, first = probe.start(state, now_at(event)), first_unit(probe, state)
        if start is not None and first is not None and self._starts.get(id(probe)) != start:
            self._starts[id(probe)] = start
            self.first[path] = first

    def suppressed(self, rules: Rules, event: Event) -> None:
        """Note a copy that `once per` has dropped, at the parts that would have counted it."""
        once = rules.events[base_of(event.type)].once
        if once is None:
            return
        fields, span = once
        length = "" if span is None else f" within {words.length(span)}"
        text = f"a copy: counted once per {', '.join(fields)}{length}"
        named = [path for path, probe in self.paths if event.type in _types(probe)]
        if named:
            noted = [Did(path, "copy", text) for path in named]
            self.noted.append(Noted(Position(event.at, event.id), event, noted))

    # -- where it stands --

    def concerned(self, state: State) -> list[Noted]:
        """Return the notes of an occurrence that is not earned, at the requested instant."""
        floor, now = self._floor, Now(self.aim.now)
        if self.aim.event is None:
            floor = self._reach(state, now).floor if self._unit(state, now) == self.aim.unit else NOWHERE.floor
        return [each for each in self.noted if each.position >= floor]

    def part(self, state: State) -> Part:
        """Return the whole condition as it stands at the instant aimed at."""
        return self._whole(state, Now(self.aim.now))

    def _aimed(self, state: State, now: Now) -> None:
        """Remember how everything stands at the event aimed at."""
        self.shown, self._at = self._whole(state, now), now.at
        reach = self._reach(state, now)
        self.since, self._floor = self.root.start(state, now), reach.floor
        self.full = frozenset(path for path, probe in self.paths if probe.full(state, now))

    def _unit(self, state: State, now: Now) -> int | None:
        """Return the unit of a moment under `repeat every`."""
        unit, clock = self.judge.built.unit, self.judge.built.clock
        return None if unit is None or clock is None else unit_now(clock, state, now, unit)

    def _reach(self, state: State, now: Now) -> Reach:
        """Return the reach: under `repeat every` the unit of a moment, otherwise everything."""
        unit, clock = self.judge.built.unit, self.judge.built.clock
        return EVERYWHERE if unit is None or clock is None else reach_of(clock, state, now, unit)

    def _holds(self, state: State, now: Now) -> bool:
        """Return whether the whole condition holds: under `repeat every` within the unit of a moment."""
        unit, clock = self.judge.built.unit, self.judge.built.clock
        if unit is None or clock is None:
            return self.root.full(state, now)
        start = self.root.start(state, now)
        return start is not None and alike(clock, state, now, start.at, unit)

    def _whole(self, state: State, now: Now) -> Part:
        unit = self._unit(state, now)
        moment = Moment(state, now, self._courses[unit].histories)
        if unit != self.aim.unit:  # nothing has happened in the requested unit, on any clock
            return self._part(self.root, ROOT, moment, Standing(NOWHERE, {}, holds=False))
        standing = Standing(self._reach(state, now), self._courses[unit].held, holds=self._holds(state, now))
        return self._part(self.root, ROOT, moment, standing)

    def _part(self, probe: Probe, path: str, moment: Moment, standing: Standing) -> Part:
        state, now, histories = moment
        del histories
        reach, held, holds = standing
        start = probe.start(state, now) if holds else None
        if start is not None and not reach.has(start):
            reach = Reach(min(reach.floor, start), max(reach.end, start.at + 1))
        below = reach if holds else probe.reach(state, now, reach)
        parts = [
            self._part(part, f"{path}.{number}", moment, Standing(below, held, holds=part.full(state, now, below)))
            for number, part in enumerate(probe.parts, 1)
        ]
        since = held.get(id(probe)) if holds else None
        measured = probe.measure(state, now, reach)
        return Part(
            path=path,
            text=words.condition(probe.tree),
            holds=holds,
            since=None if start is None else format_instant(start.at),
            span_seconds=None if start is None else _seconds(max(0, now.at - start.at)),
            held_at=None if since is None else format_instant(since),
            progress=_progress(measured),
            missing=[] if holds else missing(probe, moment, reach),
            parts=parts,
        )


def _unlocked(event: Event) -> str:
    """Return which achievement an unlock is of."""
    names = (event.fields.get(name) for name in ("achievement", "tier", "occurrence"))
    achievement, tier, occurrence = (None if name is None else value_text(name) for name in names)
    return full_name(achievement or "", tier, occurrence)


class Glance(NamedTuple):
    """What a part is looked at with: the state, the moment, what lies within reach, what was seen before, the event."""

    state: State
    now: Now
    reach: Reach
    course: Course
    event: Event


class Standing(NamedTuple):
    """How a part is shown: what lies within reach, when which part held first, and whether this one holds."""

    reach: Reach
    held: Mapping[int, int]
    holds: bool


def _paths(probe: Probe, path: str) -> Iterator[tuple[str, Probe]]:
    yield path, probe
    for number, part in enumerate(probe.parts, 1):
        yield from _paths(part, f"{path}.{number}")


def _types(probe: Probe) -> frozenset[str]:
    return frozenset(probe.stops).union(*(pattern_types(pattern) for pattern in probe.patterns))


def _nearer(history: History, probe: Probe, state: State, event: Event) -> History:
    """Return the observations of a part, with the shortest span so far that was too long."""
    window = probe.tree.mods.within
    start = None if probe.loose is None or event.type not in probe.loose.types else probe.loose.start(state)
    if window is None or start is None:
        return history
    length, known = event.at - start.at, history.closest
    if length < window.us or (known is not None and length >= known.length):
        return history
    return history._replace(closest=Closest(length, event.at))


def _seconds(us: int) -> Amount:
    whole, rest = divmod(us, SECOND)
    return EXACT.divide(us, SECOND) if rest else whole


def _progress(measure: Measure) -> Progress:
    return Progress(str(measure.fraction), measure.current, measure.target)
