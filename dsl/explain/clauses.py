"""The other clauses than `when` at a moment: the version in effect, `active`, `for` and `after`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsl import words
from dsl.event import Event
from dsl.explain.shape import Requirement
from dsl.explain.unmet import facts, instant, unmet
from dsl.judge import trait_getter
from dsl.types import FieldType

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsl.judge import Judge
    from dsl.progress import State
    from dsl.schema import Rules
    from dsl.syntax import Predicate, Target
    from dsl.watch import Watch


def requirements(watch: Watch, rules: Rules, state: State, now: int) -> list[Requirement]:
    """Return every clause that an achievement has beside its `when`, and whether it is met."""
    version = watch.judge.version
    found = list(_version(watch.judge, now))
    if version.active is not None:
        found.append(_active(watch.judge, now))
    if version.where is not None:
        found.append(_audience(version.where, rules, state))
    found.extend(_after(target, slots, state) for target, slots in _targets(watch.judge))
    return found


def _version(judge: Judge, now: int) -> Iterator[Requirement]:
    since, until = judge.since, judge.until
    if since is None and until is None:
        return
    begin = "" if since is None else f" from {instant(since)}"
    end = "" if until is None else f" until {instant(until)}"
    text = f"{judge.version.version}, in effect{begin}{end}"
    yield Requirement("version", text, judge.covers(now), f"version {text}: it is {instant(now)}")


def _active(judge: Judge, now: int) -> Requirement:
    active = judge.version.active
    if active is None:
        raise TypeError(judge.described)
    text = words.active(active)
    begun = active.start is None or now >= active.start.us
    over = active.end is not None and now >= active.end.us
    return Requirement("active", text, begun and not over, f"active {text}: it is {instant(now)}")


def _audience(where: Predicate, rules: Rules, state: State) -> Requirement:
    decimals = frozenset(name for name, kind in rules.traits.items() if kind is FieldType.DECIMAL)
    read, no_event = trait_getter(decimals), Event("", "", "", "", 0, 0, {})
    lacks = unmet(where, read, state, no_event)
    detail = "; ".join(lacks) if lacks else facts(where, read, state, no_event)
    return Requirement("for", words.predicate(where), not lacks, detail)


def _targets(judge: Judge) -> Iterator[tuple[Target, tuple[int, ...]]]:
    return zip(judge.version.after, judge.after, strict=True)


def _after(target: Target, slots: tuple[int, ...], state: State) -> Requirement:
    name = words.target_name(target)
    earned = min((state.earned[slot].first for slot in slots if slot in state.earned), default=None)
    said = "not earned" if earned is None else f"earned {instant(earned.at)}"
    return Requirement("after", name, earned is not None, f"after {name}: {said}")
