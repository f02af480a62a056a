"""Examples in rule files, run: the tests that live beside the rules they test.

Each example's events are folded in canonical order, and what is expected is compared with what came out. Then the same
events are fed shuffled, doubled and cut into batches, through the incremental way a worker takes (step what is later,
fold again what is late), and the outcome must not change.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dsl.calendar import format_instant
from dsl.event import Event, Position
from dsl.fold import fold, standings, start, step
from dsl.outcome import Subject, Unlock, canonical_order, run, shown
from dsl.payload import Fault, Reader
from dsl.syntax import Expect, Given
from dsl.values import canonical_number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dsl.compile import Program
    from dsl.fold import Standing
    from dsl.outcome import Outcome
    from dsl.progress import Grant, State
    from dsl.schema import Rules
    from dsl.source import Source, Span
    from dsl.syntax import Example
    from dsl.types import Json, Number

TENANT: Final = "example"
"""The tenant of an example's events that name none."""
_BATCHES: Final = (1, 2, 3, 7)
_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")


class Failure(NamedTuple):
    """What an example expected and did not get: where it says so, and what came out instead."""

    source: Source
    example: str
    span: Span
    expected: str
    got: str


class Verdict(NamedTuple):
    """One example, run; it passed where there are no failures."""

    source: Source
    example: Example
    failures: tuple[Failure, ...]


def run_example(rules: Rules, program: Program, source: Source, example: Example) -> Verdict:
    """Run one example, in order and in every other way its events may arrive."""
    telling = _Telling(rules, source, example)
    events = list(telling.events())
    if telling.failures:
        return Verdict(source, example, tuple(telling.failures))
    outcome = run(program, events)
    clock = max((event.at for event in events), default=0)
    for line in example.lines:
        if isinstance(line, Expect):
            got = _check(program, outcome, clock, line)
            if got is not None:
                telling.fail(line.span, _expected(line), got)
    telling.failures.extend(_reordered(program, events, outcome, source, example))
    return Verdict(source, example, tuple(telling.failures))


# -- events -----------------------------------------------------------------------------------------------------------


class _Telling:
    """Turns the `at` lines of an example into events, and keeps what is wrong with them."""

    def __init__(self, rules: Rules, source: Source, example: Example) -> None:
        self.rules = rules
        self.source = source
        self.example = example
        self.failures: list[Failure] = []
        self.ids: set[tuple[str, str]] = set()

    def fail(self, span: Span, expected: str, got: str) -> None:
        """Note a failure."""
        self.failures.append(Failure(self.source, self.example.title, span, expected, got))

    def events(self) -> Iterator[Event]:
        """Yield the events, those with the id of an earlier one left out."""
        number = 0
        for line in self.example.lines:
            if not isinstance(line, Given):
                continue
            for n in range(1, line.times + 1):
                number += 1
                event = self._event(line, n, f"e{number:06d}")
                if event is None:
                    break
                if (event.tenant, event.id) not in self.ids:
                    self.ids.add((event.tenant, event.id))
                    yield event

    def _event(self, line: Given, n: int, made_up: str) -> Event | None:
        payload = {key: _numbered(value, n) for key, value in line.payload.items()}
        schema = self.rules.events.get(line.event.text)
        fields = {} if schema is None else Reader(schema).strict(_ENCODER.encode(payload))
        if isinstance(fields, Fault):
            self.fail(line.span, f"{fields.field}: {fields.expected}", fields.got)
            return None
        at = line.at.us + (n - 1) * (0 if line.every is None else line.every.us)
        return Event(
            tenant=TENANT if line.tenant is None else line.tenant,
            id=made_up if line.id is None else _id(line.id, n, line.times),
            type=line.event.text,
            user=line.user,
            at=at,
            offset=line.at.offset,
            fields=fields,
        )


def _id(text: str, n: int, times: int) -> str:
    if "{n}" in text or times == 1:
        return text.replace("{n}", str(n))
    return f"{text}-{n}"


def _numbered(value: Json, n: int) -> Json:
    if isinstance(value, str):
        return value.replace("{n}", str(n))
    if isinstance(value, list):
        return [_numbered(item, n) for item in value]
    if isinstance(value, dict):
        return {key: _numbered(item, n) for key, item in value.items()}
    return value


# -- expectations -----------------------------------------------------------------------------------------------------


def _expected(line: Expect) -> str:
    name = _name(line.target.achievement.text, None if line.target.tier is None else line.target.tier.text)
    if line.negated:
        which = "" if line.occurrence is None else f' occurrence "{line.occurrence}"'
        return f"{line.user} has not {name}{which}"
    if line.progress is not None:
        return f"{line.user} {name} progress {_ratio(*line.progress)}"
    occurrence = "" if line.occurrence is None else f' occurrence "{line.occurrence}"'
    at = "" if line.at is None else f" at {format_instant(line.at.us)}"
    return f"{line.user} has {name}{occurrence}{at}"


def _check(program: Program, outcome: Outcome, clock: int, line: Expect) -> str | None:
    """Return None where the expectation is met, else what there is instead."""
    found = [unlock for unlock in outcome.unlocks if _meant(unlock, line)]
    if line.negated:
        wrong = [unlock for unlock in found if line.occurrence is None or unlock.occurrence == line.occurrence]
        return _listed(wrong) if wrong else None
    if line.progress is not None:
        return _check_progress(program, outcome, clock, line)
    wanted = [unlock for unlock in found if line.occurrence is None or unlock.occurrence == line.occurrence]
    if any(line.at is None or unlock.earned_at == format_instant(line.at.us) for unlock in wanted):
        return None
    if found:
        return _listed(found)
    standing = next(_standings(program, outcome, clock, line), None)
    return "it was not earned" if standing is None else f"it was not earned; progress {_progress(standing)}"


def _meant(unlock: Unlock, line: Expect) -> bool:
    tier = line.target.tier
    return (
        unlock.subject == line.user
        and unlock.achievement == line.target.achievement.text
        and (tier is None or unlock.tier == tier.text)
    )


def _listed(unlocks: Sequence[Unlock]) -> str:
    return "; ".join(
        f"{unlock.subject} has {_name(unlock.achievement, unlock.tier)}"
        + (f' occurrence "{unlock.occurrence}"' if unlock.occurrence is not None else "")
        + f" at {unlock.earned_at}"
        for unlock in unlocks
    )


def _standings(program: Program, outcome: Outcome, clock: int, line: Expect) -> Iterator[Standing]:
    """Yield the progress that a line asks for, of every subject of that name."""
    for subject, state in outcome.states.items():
        if subject.subject != line.user:
            continue
        for standing in standings(program.scopes[subject.scope], state, clock):
            tier = line.target.tier
            if standing.achievement == line.target.achievement.text and (tier is None or standing.tier == tier.text):
                yield standing


def _check_progress(program: Program, outcome: Outcome, clock: int, line: Expect) -> str | None:
    current, target = line.progress or (0, 1)
    found = list(_standings(program, outcome, clock, line))
    for standing in found:
        measure = standing.measure
        if measure.target is None:
            if measure.fraction == Fraction(current) / Fraction(target):
                return None
        elif (measure.current, measure.target) == (current, target):
            return None
    if not found:
        return None if current == 0 else "no progress, for nothing that it counts has happened"
    return "; ".join(f"progress {_progress(standing)}" for standing in found)


def _progress(standing: Standing) -> str:
    measure = standing.measure
    if measure.current is None or measure.target is None:
        return f"{measure.fraction} of the whole"
    return _ratio(measure.current, measure.target)


def _ratio(current: Number, target: Number) -> str:
    return f"{canonical_number(current)}/{canonical_number(target)}"


def _name(achievement: str, tier: str | None) -> str:
    return achievement if tier is None else f"{achievement}.{tier}"


# -- other orders of arrival ------------------------------------------------------------------------------------------


def _reordered(
    program: Program, events: Sequence[Event], outcome: Outcome, source: Source, example: Example
) -> Iterator[Failure]:
    clock = max((event.at for event in events), default=0)
    for size in _BATCHES:
        for way, arriving in (("doubled", _doubled(events)), ("shuffled", _shuffled(events, size))):
            arrival = Arrival(program)
            for at in range(0, len(arriving), size):
                arrival.take(arriving[at : at + size])
            if arrival.unlocks(clock) != outcome.unlocks:
                expected = "the same unlocks however the events arrive"
                yield Failure(source, example.title, example.span, expected, f"others when {way}, in batches of {size}")
                return


def _doubled(events: Sequence[Event]) -> list[Event]:
    return [copy for event in reversed(events) for copy in (event, event)]


def _shuffled(events: Sequence[Event], seed: int) -> list[Event]:
    """Return the events in another order, always the same one for a seed (the fold knows no chance)."""
    keyed = sorted((_hash(f"{seed} {event.id}"), at) for at, event in enumerate(events))
    return [events[at] for _, at in keyed]


def _hash(text: str) -> int:
    """Return a number that scatters texts, the same in every process."""
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value ^ value >> 29


class Arrival:
    """Events as they arrive, batch by batch, folded the incremental way, in memory.

    What is later than everything folded of its subject is one step; otherwise the subject is folded again.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.known: set[tuple[str, str]] = set()
        self.history: dict[Subject, list[Event]] = {}
        self.states: dict[Subject, State] = {}
        self.grants: dict[Subject, list[Grant]] = {}

    def take(self, batch: Sequence[Event]) -> None:
        """Take one batch; events already known are dropped."""
        touched: dict[Subject, list[Event]] = {}
        for event in batch:
            if (event.tenant, event.id) in self.known:
                continue
            self.known.add((event.tenant, event.id))
            for scope, name in self.program.subjects(event):
                touched.setdefault(Subject(event.tenant, scope, name), []).append(event)
        for subject, events in touched.items():
            self._advance(subject, sorted(events, key=canonical_order))

    def _advance(self, subject: Subject, events: Sequence[Event]) -> None:
        plan = self.program.scopes[subject.scope]
        history = self.history.setdefault(subject, [])
        history.extend(events)
        state = self.states.get(subject)
        state = self.states[subject] = start(plan) if state is None else state
        if state.mark is not None and Position(events[0].at, events[0].id) <= state.mark:
            history.sort(key=canonical_order)
            self.states[subject], self.grants[subject] = fold(plan, history)
            return
        for event in events:
            self.grants.setdefault(subject, []).extend(step(plan, state, event))

    def unlocks(self, clock: int) -> list[Unlock]:
        """Return the supported unlocks so far, in order; `clock` (microseconds) is that of `settle`."""
        found = [
            shown(subject, grant)
            for subject, grants in self.grants.items()
            for grant in grants
            if grant.earned_at + grant.settle <= clock
        ]
        return sorted(found, key=lambda unlock: unlock.order)
