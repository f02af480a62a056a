"""What is seen of a condition while it is folded: what each event did, when each part first held, what was lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dsl import words
from dsl.calendar import format_instant
from dsl.event import Position
from dsl.explain.effects import Seen, broken_at, did, ratio, run_of
from dsl.explain.missing import Broken, Closest, History, Moment, missing
from dsl.explain.shape import Did, Happened, Part, Progress
from dsl.filters import pattern_types
from dsl.nodes.node import BEGINNING
from dsl.progress import State
from dsl.types import SECOND
from dsl.values import EXACT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsl.event import Event
    from dsl.nodes.node import Measure
    from dsl.progress import Amount
    from dsl.schema import Rules
    from dsl.watch import Probe, Watch

ROOT = "when"


class Noted(NamedTuple):
    """One event, and what it did to the parts."""

    position: Position
    event: Event
    did: list[Did]

    def shown(self) -> Happened:
        """Return it in the form of an explanation."""
        event = self.event
        return Happened(format_instant(event.at), event.id, event.type, event.user, self.did)


class Recorder:
    """Looks at one judge's condition, event by event. `until` is the event at which the parts are to be shown."""

    def __init__(self, watch: Watch, until: str | None) -> None:
        self.judge = watch.judge
        self.root = watch.probe
        self.until = until
        self.paths = list(_paths(watch.probe, ROOT))
        self.noted: list[Noted] = []
        self.shown: Part | None = None
        """The condition as it stood at `until`, once that has come."""
        self._before: dict[int, Measure] = {}
        self._held: dict[int, int] = {}
        self._histories: dict[int, History] = {}
        self._runs: dict[int, tuple[int, int]] = {}
        self._floor = BEGINNING
        watch.look = self.look

    def afresh(self) -> None:
        """Forget what was noted: another occurrence begins."""
        self.noted = []
        self._before, self._held, self._histories = {}, {}, {}

    def look(self, state: State, event: Event, position: Position) -> None:
        """See what an event did, and whether the parts hold now."""
        floor = self.floor_at(state, event)
        if floor != self._floor:
            self.afresh()
            self._floor = floor
        noted = [each for path, probe in self.paths for each in self._look(path, probe, state, event)]
        if noted:
            self.noted.append(Noted(position, event, noted))
        if event.id == self.until:
            self.shown = self.part(state, event.at, floor)
            if not noted:
                self.noted.append(
                    Noted(position, event, [Did("", "other", "meets the last requirement beside the `when`")])
                )

    def _look(self, path: str, probe: Probe, state: State, event: Event) -> Iterator[Did]:
        key = id(probe)
        before = self._before.get(key) or probe.measure(State(), event.at, self._floor)
        after = self._before[key] = probe.measure(state, event.at, self._floor)
        if probe.full(state, self._floor):
            self._held.setdefault(key, event.at)
        broke = self._run(probe, state)
        history = self._histories.get(key, History())
        if broke is not None:
            history = history._replace(run_broke=broke)
        if before.fraction and before.fraction < 1 and probe.stopped_by(state, event):
            history = history._replace(broken=Broken(event.type, event.at, ratio(before)))
        self._histories[key] = _nearer(history, probe, state, event)
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

    def suppressed(self, rules: Rules, event: Event) -> None:
        """Note a copy that `once per` has dropped, at the parts that would have counted it."""
        once = rules.events[event.type].once
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

    def floor_at(self, state: State, event: Event) -> Position:
        """Return where what counts begins: with the unit of an event under `repeat every`, else at the beginning."""
        unit, clock = self.judge.built.unit, self.judge.built.clock
        if unit is None or clock is None:
            return BEGINNING
        return Position(clock.begin_of(state, event, unit), "")

    def floor_now(self, state: State, now: int) -> Position:
        """Return the same for a moment between events."""
        unit, clock = self.judge.built.unit, self.judge.built.clock
        if unit is None or clock is None:
            return BEGINNING
        return Position(clock.begin(state, unit, clock.now_unit(state, now, unit)), "")

    def part(self, state: State, now: int, floor: Position) -> Part:
        """Return the whole condition as it stands at a moment."""
        if floor != self._floor:
            self.afresh()
            self._floor = floor
        return self._part(self.root, ROOT, Moment(state, now, self._histories), floor)

    def _part(self, probe: Probe, path: str, moment: Moment, floor: Position) -> Part:
        inner = probe.floor(moment.state, moment.now, floor)
        holds = probe.full(moment.state, floor)
        start = probe.start(moment.state) if holds else None
        below = floor if holds else inner
        parts = [self._part(part, f"{path}.{number}", moment, below) for number, part in enumerate(probe.parts, 1)]
        held = self._held.get(id(probe)) if holds else None
        return Part(
            path=path,
            text=words.condition(probe.tree),
            holds=holds,
            since=None if start is None else format_instant(start.at),
            span_seconds=None if start is None else _seconds(moment.now - start.at),
            held_at=None if held is None else format_instant(held),
            progress=_progress(probe.measure(moment.state, moment.now, floor)),
            missing=missing(probe, moment, floor),
            parts=parts,
        )


def _paths(probe: Probe, path: str) -> Iterator[tuple[str, Probe]]:
    yield path, probe
    for number, part in enumerate(probe.parts, 1):
        yield from _paths(part, f"{path}.{number}")


def _types(probe: Probe) -> frozenset[str]:
    return frozenset(probe.stops).union(*(pattern_types(pattern) for pattern in probe.patterns))


def _nearer(history: History, probe: Probe, state: State, event: Event) -> History:
    """Return what was seen of a part, with the shortest span so far in which it came together too slowly."""
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
