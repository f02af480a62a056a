"""Counts beside words that mean the other count: "five days" is not five events of one day.

`count(event=a, per=day, >= 5)` is five on one day, and `count(per=day, count(event=a, >= 1), >= 5)` is five days; with
`by=FIELD` it is the same. Only English is understood.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from dsl.filters import pattern_types
from dsl.notation import condition
from dsl.prove.conditions import at_least
from dsl.roles import bases
from dsl.syntax import NO_MODIFIERS, Cmp, Count, CountGroups, CountUnits, Modifiers, Name, RepeatEvery, StreakUnits
from dsl.trees import walk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsl.advice.rulebook import Rulebook
    from dsl.check.problems import Problems, Report
    from dsl.syntax import Achievement, Condition, Title

_NUMBERS: Final = {
    **dict(enumerate("two three four five six seven eight nine ten eleven twelve".split(), start=2)),  # noqa: SIM905
    14: "fourteen",
    15: "fifteen",
    20: "twenty",
    30: "thirty",
    50: "fifty",
    100: r"(?:a |one )?hundred",
    365: "three hundred (?:and )?sixty[- ]five",
}
_SEVERAL: Final = r"(?:(?:different|distinct|separate|individual|various|calendar|active|whole|full|other) )?"
_ONE: Final = (
    r"(?:in|on|within|during|for|of|to|from|about|under|at) (?:a|an|one|1|the same|same|any|a single) (?:\w+ )?"
)
_IN_A_ROW: Final = re.compile(r"(?i)\b(?:in a row|consecutive(?:ly)?|straight|running|streak|back to back)\b")
_NOT_IN_A_ROW: Final = re.compile(r"(?i)\b(?:not|never|no)\b[\w ]{0,20}\b(?:in a row|consecutive|streak)")
_TIMES: Final = re.compile(r"(?i)\btimes\b")
_SUFFIX: Final = re.compile(r"_(?:ids?|key|name|slug|code|uuid)\Z")


def advise_on_wording(book: Rulebook, problems: Problems) -> None:
    """Report counts of one unit or one value where the words say several, and the other way round."""
    for source, version in book.versions():
        report = problems.of(source)
        for when, said in _conditions(version):
            for part in walk(when):
                _check(part, said, report)
                if isinstance(part, Count) and not part.distinct:
                    _each_time(part, said, book, version, report)


def _conditions(version: Achievement) -> Iterator[tuple[Condition, str]]:
    """Yield each condition with the words that are about it."""
    about = "" if version.about is None else str(version.about.value)
    if version.when is not None:
        yield version.when, f"{_text(version.title)}. {about}"
    for tier in version.tiers:
        yield tier.when, f"{_text(tier.title or version.title)}. {about}"


def _text(title: Title | None) -> str:
    texts = () if title is None else title.texts
    return ". ".join(text for language, text in texts if language in ("", "en") or language.startswith("en-"))


def _check(node: Condition, said: str, report: Report) -> None:
    match node:
        case Count() if node.mods.per is not None:
            _one_unit(node, node.mods.per, said, report)
        case Count() if len(node.mods.by) == 1:
            _one_value(node, node.mods.by[0], said, report)
        case CountUnits():
            _many_units(node, said, report)
        case CountGroups(by=(field,), inner=Count() as inner) if at_least(inner.cmp) == 1:
            _many_values(node, inner, field, said, report)
        case _:
            pass


# -- five in one unit or of one value, where the words say five of them ------------------------------------------------


def _one_unit(node: Count, unit: Name, said: str, report: Report) -> None:
    number = at_least(node.cmp)
    if not _says_several(said, number, unit.text):
        return
    outer = Modifiers(tz=node.mods.tz)
    meant: Condition = CountUnits(unit=unit, inner=_once(node), cmp=node.cmp, mods=outer)
    if _runs(said):
        meant = StreakUnits(unit=unit, inner=_once(node), cmp=node.cmp, mods=outer)
    message = f"this is {number} in one {unit.text}, and the words say {number} {unit.text}s"
    report.warn("ACH528", node.span, message, f"to count {unit.text}s, write: {condition(meant)}")


def _one_value(node: Count, field: Name, said: str, report: Report) -> None:
    number, noun = at_least(node.cmp), _noun(field)
    if not _says_several(said, number, noun):
        return
    meant = CountGroups(by=node.mods.by, inner=_once(node), cmp=node.cmp)
    message = f"this is {number} with one `{field.text}`, and the words say {number} {_plural(noun)}"
    report.warn("ACH528", node.span, message, f"to count values of `{field.text}`, write: {condition(meant)}")


def _once(node: Count) -> Count:
    return replace(node, distinct=(), cmp=Cmp(op=">=", bound=1), mods=NO_MODIFIERS)


# -- every event, where the words say different ones -------------------------------------------------------------------


def _each_time(node: Count, said: str, book: Rulebook, version: Achievement, report: Report) -> None:
    """Report a count of events whose words count different values of a field, or different days."""
    number = at_least(node.cmp)
    field = _field_said(node, said, number, book) or _days_of(node, said, number, version)
    if field is None:
        return
    meant = replace(node, distinct=(Name(text=field),))
    message = f"this counts {number} events, and the words say that they differ"
    report.warn("ACH528", node.span, message, f"to count different ones, write: {condition(meant)}")


def _field_said(node: Count, said: str, number: int, book: Rulebook) -> str | None:
    """Return what must differ: `ten different lessons`, where the events have a field `lesson_id`."""
    found = re.search(rf"(?i)\b(?:{_spelt(number)}) (?:different|distinct|unique|separate) (\w+)", said)
    if found is None or number < 2:  # noqa: PLR2004 - one does not differ
        return None
    noun = found[1].lower()
    if noun in _PARTS:
        return _PARTS[noun] if node.mods.per is None else None
    schemas = [book.rules.events[name].fields for name in bases(pattern_types(node.event)) if name in book.rules.events]
    names = [name for name in schemas[0] if all(name in each for each in schemas)] if schemas else []
    return next((name for name in names if _plural(_noun(Name(text=name))) == noun), None)


def _days_of(node: Count, said: str, number: int, version: Achievement) -> str | None:
    """Return `at.date` where the words count days of a week or a month: five events may be of one day."""
    unit = node.mods.per or (version.repeat.unit if isinstance(version.repeat, RepeatEvery) else None)
    longer = unit is not None and unit.text in ("week", "month", "year")
    return "at.date" if longer and not node.mods.by and _says_several(said, number, "day") else None


_PARTS: Final = {"days": "at.date", "dates": "at.date", "weeks": "at.week", "weekdays": "at.weekday"}


# -- five units or values, where the words say one of them -------------------------------------------------------------


def _many_units(node: CountUnits, said: str, report: Report) -> None:
    unit, number = node.unit.text, at_least(node.cmp)
    if _runs(said):
        meant: Condition = StreakUnits(unit=node.unit, inner=node.inner, cmp=node.cmp, mods=node.mods)
        message = f"these {unit}s need not follow each other, and the words say that they do"
        report.warn("ACH528", node.span, message, f"for {unit}s in a row, write: {condition(meant)}")
    elif isinstance(node.inner, Count) and at_least(node.inner.cmp) == 1 and _says_one(said, unit):
        meant = replace(node.inner, cmp=node.cmp, mods=Modifiers(per=node.unit, tz=node.mods.tz))
        message = f"this is {number} {unit}s, and the words say one"
        report.warn("ACH528", node.span, message, f"to count within one {unit}, write: {condition(meant)}")


def _many_values(node: CountGroups, inner: Count, field: Name, said: str, report: Report) -> None:
    noun = _noun(field)
    if not _says_one(said, noun):
        return
    meant = replace(inner, cmp=node.cmp, mods=Modifiers(by=node.by))
    message = f"this is {at_least(node.cmp)} values of `{field.text}`, and the words say one {noun}"
    report.warn("ACH528", node.span, message, f"to count for one {noun}, write: {condition(meant)}")


# -- words -------------------------------------------------------------------------------------------------------------


def _says_several(said: str, number: int, noun: str) -> bool:
    """Return whether the words count so many of something: `5 days`, `five different posts`."""
    if number < 2:  # noqa: PLR2004 - one is not several
        return False
    return re.search(rf"(?i)\b(?:{_spelt(number)})[ -]{_SEVERAL}{_plural(noun)}\b", said) is not None


def _spelt(number: int) -> str:
    return "|".join(filter(None, (str(number), f"{number:,}", _NUMBERS.get(number))))


def _says_one(said: str, noun: str) -> bool:
    """Return whether the words are about a single one, `on one post`, and neither about several nor so often."""
    if _TIMES.search(said) or re.search(rf"(?i)\b{_plural(noun)}\b", said):
        return False
    return re.search(rf"(?i)\b{_ONE}{re.escape(noun)}\b", said) is not None


def _runs(said: str) -> bool:
    return _IN_A_ROW.search(said) is not None and _NOT_IN_A_ROW.search(said) is None


def _noun(field: Name) -> str:
    """Return what a field names: `post` for `post_id`."""
    return _SUFFIX.sub("", field.text).rpartition("_")[2]


def _plural(noun: str) -> str:
    if noun.endswith("y") and noun[-2:-1] not in ("a", "e", "o", "u"):
        return f"{noun[:-1]}ies"
    return noun if noun.endswith("s") else f"{noun}s"
