"""Rules that read right and mean something else: `unless` in a part, weekdays beside `grace`, `settle` as a wait."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from dsl.advice.groups import weeks_with_days
from dsl.analyze import patterns
from dsl.calendar import WEEKDAYS
from dsl.check.filters import refs
from dsl.notation import condition, pattern
from dsl.prove.conditions import at_least
from dsl.syntax import And, Combine, Compare, Count, Literal, Member, Modifiers, Pattern, Sequence, Streak
from dsl.trees import walk, whens
from dsl.types import Unit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

    from dsl.advice.rulebook import Rulebook
    from dsl.check.problems import Problems, Report
    from dsl.syntax import Achievement, Condition, Predicate

_WHOLE: Final = 2
"""Parts that must hold: with fewer, none waits for another one."""
_ALL: Final[frozenset[str]] = frozenset(WEEKDAYS)
_LONGEST: Final = 320
"""Characters of a suggestion that a hint shows."""
_TAKEN_BACK: Final = (
    r"(?i)\b(?:not|never|no|without|nor)\b(?:\W+\w+){0,4}?\W+"
    r"(?:cancel|refund|return|revert|revok|withdraw|roll(?:ed)?\W?back|taken? back"
    r"|charge\W?back|disput|und[oi]|delet|remov)"
)
"""What a title says of a rule that waits for nothing to happen."""


def advise_on_traps(book: Rulebook, problems: Problems) -> None:
    """Report rules that say something else than they seem to."""
    for source, version in book.versions():
        report = problems.of(source)
        waits = _waits_in_vain(version, report)
        for when in whens(version):
            if not waits and isinstance(when, Count):
                _first_alone(when, report)
            for part in walk(when):
                if isinstance(part, Combine):
                    _held_once(part, report)
                elif isinstance(part, Streak):
                    _days_off(part, report)


# -- `unless` in a part ------------------------------------------------------------------------------------------------


def _held_once(node: Combine, report: Report) -> None:
    """Report parts with an `unless` that resets nothing once they have held."""
    resetting = [part for part in node.parts if part.mods.unless is not None]
    if node.k < _WHOLE or node.mods.unless is not None:
        return
    if len(resetting) < _WHOLE and not any(_is_first(part) for part in resetting):
        return
    first = resetting[0]
    if first.mods.unless is None:
        raise AssertionError(first)
    shown = pattern(first.mods.unless)
    message = f"a part that held once goes on holding: after that no `{shown}` resets it"
    report.warn("ACH520", first.mods.unless.span, message, _meaning_it(node, resetting))


def _meaning_it(node: Combine, resetting: list[Condition]) -> str:
    """Return the form in which each `unless` counts until all parts hold."""
    resets = [part.mods.unless for part in resetting if part.mods.unless is not None]
    ordered = _in_either_order(node) if len({pattern(each) for each in resets}) > 1 else None
    text = condition(ordered or _as_a_whole(node, resets))
    if ordered is None:
        why = "an `unless` of the whole begins all parts afresh"
        return f"{why}; write: {text}" if len(text) <= _LONGEST else f"{why}: all(..., ..., unless=...)"
    form = text if len(text) <= _LONGEST else "any(sequence([A, B], unless=X), sequence([B, A], unless=Y))"
    return f"a sequence for each order has the `unless` of its first event; write: {form}"


def _as_a_whole(node: Combine, resets: list[Pattern]) -> Combine:
    parts = tuple(_with(part, replace(part.mods, unless=None)) for part in node.parts)
    known = {pattern(each): each for each in resets}
    unless = next(iter(known.values()))
    if len(known) > 1:
        alternatives = tuple(one for each in known.values() for one in each.alternatives)
        unless = Pattern(alternatives=alternatives, listed=True, span=unless.span)
    return replace(node, parts=parts, mods=replace(node.mods, unless=unless))


def _in_either_order(node: Combine) -> Combine | None:
    """Return two sequences for two single events, each with its own `unless`."""
    match node.parts:
        case [Count(distinct=()) as one, Count(distinct=()) as two] if _is_first(one) and _is_first(two):
            pass
        case _:
            return None
    if any(replace(part.mods, unless=None) != Modifiers() for part in (one, two)) or node.mods != Modifiers():
        return None
    sequences = tuple(
        Sequence(steps=(first.event, then.event), by=None, mods=Modifiers(unless=first.mods.unless), span=node.span)
        for first, then in ((one, two), (two, one))
    )
    return Combine(kind="any", k=1, parts=sequences, span=node.span)


def _with(node: Condition, mods: Modifiers) -> Condition:
    return replace(node, mods=mods)


def _is_first(node: Condition) -> bool:
    """Return whether a single event is enough."""
    return isinstance(node, Count) and at_least(node.cmp) == 1


def _first_alone(node: Count, report: Report) -> None:
    """Report a count of one event: it holds at the first, whatever resets it."""
    unless = node.mods.unless
    if unless is None or not _is_first(node) or node.mods.within is not None or node.mods.per is not None:
        return
    message = f"one event is enough, and it is not taken back: `{pattern(unless)}` resets nothing"
    hint = "let your product send an event when nothing can be taken back any more, and count that"
    report.warn("ACH520", unless.span, message, hint)


# -- weekdays and `grace` ----------------------------------------------------------------------------------------------


def _days_off(node: Streak, report: Report) -> None:
    """Report a streak of days whose filter is about weekdays, and whose `grace` is meant for the others."""
    filters = [each.where for each in node.event.alternatives if each.where is not None]
    filters += [] if node.event.where is None else [node.event.where]
    if node.grace == 0 or node.unit.text != Unit.DAY or not any(_asks_weekday(each) for each in filters):
        return
    days = _weekdays(filters)
    meant = "the days that the filter leaves out" if days is None else _listed(_ALL - days)
    also = "any others" if days is None else _listed(days)
    number = "one day" if node.grace == 1 else f"any {node.grace} days in a row"
    message = f"`grace={node.grace}` forgives {number}: not only {meant}, but {also} as well"
    report.warn("ACH521", node.event.span, message, _weeks(node, days))


def _weeks(node: Streak, days: AbstractSet[str] | None) -> str:
    wanted = 5 if days is None else len(days)
    weeks = max(1, -(-int(node.cmp.bound) // wanted))
    text = condition(weeks_with_days(node, node.event, wanted, replace(node.cmp, bound=weeks)))
    return f"count the days of each week; write: {text}"


def _asks_weekday(where: Predicate) -> bool:
    return any(ref.builtin and ref.name == "at.weekday" for ref in refs(where))


def _weekdays(filters: list[Predicate]) -> AbstractSet[str] | None:
    """Return the weekdays that pass, where one list says so."""
    found: list[AbstractSet[str]] = []
    for where in filters:
        for part in where.parts if isinstance(where, And) else (where,):
            match part:
                case Member(negated=negated, values=values) if _asks_weekday(part):
                    named = {str(value.value) for value in values if isinstance(value, Literal)}
                    found.append(_ALL - named if negated else named)
                case Compare(op="=" | "!=" as op, right=Literal(value=value)) if _asks_weekday(part):
                    found.append({str(value)} if op == "=" else _ALL - {str(value)})
                case _:
                    pass
    return found[0] if len(found) == 1 and found[0] else None


def _listed(days: AbstractSet[str]) -> str:
    ordered = [day for day in WEEKDAYS if day in days]
    return ", ".join(ordered[:-1]) + (" and " if len(ordered) > 1 else "") + ordered[-1] if ordered else "none"


# -- `settle` ----------------------------------------------------------------------------------------------------------


def _waits_in_vain(version: Achievement, report: Report) -> bool:
    """Report a `settle` that is meant to wait for what happens after the achievement was earned."""
    if version.settle is None:
        return False
    said = [text for _, text in version.title.texts] if version.title is not None else []
    said += [] if version.about is None else [str(version.about.value)]
    cancelled = next(_cancelling(version), None)
    if cancelled is None and not any(re.search(_TAKEN_BACK, text) for text in said):
        return False
    what = "anything that happens afterwards" if cancelled is None else f"`{cancelled}` that happens afterwards"
    message = f"`settle {version.settle.text}` waits for late events of the time before, and not for {what}"
    hint = (
        "let your product send an event when the time for it is over, such as `order.kept`, and count that: "
        "count(event=order.kept, >= 1)"
    )
    report.warn("ACH522", version.settle.span, message, hint)
    return True


def _cancelling(version: Achievement) -> Iterator[str]:
    """Yield what would cancel a condition that a single event fulfils."""
    for when in whens(version):
        if _is_first(when) and when.mods.unless is not None:
            yield pattern(patterns(when)[-1])
