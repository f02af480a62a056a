"""Rules that a shorter form says as well: tiers that are a ladder, achievements that are a family."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, cast

import msgspec
from msgspec.structs import replace

from dsl import notation
from dsl.expand import slug
from dsl.source import ElementSource
from dsl.syntax import Cmp, Literal
from dsl.values import canonical_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsl.advice.rulebook import Rulebook
    from dsl.check.problems import Problems
    from dsl.source import Source
    from dsl.syntax import Achievement, Condition

LEAST: Final = 3
"""Tiers or achievements that are alike, at least: two are as well written out."""
_NOTHING: Final = Cmp(op=">=", bound=0)


def advise_on_length(book: Rulebook, problems: Problems) -> None:
    """Report tiers that differ in their bound alone, and achievements that differ in one value alone."""
    alike: defaultdict[tuple[str, str], list[tuple[Source, Achievement, str]]] = defaultdict(list)
    for source, version in book.versions():
        if isinstance(source, ElementSource):
            continue
        steps = _steps(version) if len(version.tiers) >= LEAST else None
        if steps is not None:
            first = zip(version.tiers[:2], steps, strict=False)
            tiers = " ".join(f"tier {tier.name.text} {notation.bound(step)}" for tier, step in first)
            message = f"the {len(version.tiers)} tiers differ in their bound alone"
            hint = f"write the `when` once, without its bound, and: {tiers} ..."
            problems.of(source).warn("ACH546", version.tiers[0].name.span, message, hint)
        for value in () if version.tiers else dict.fromkeys(_texts(version)):
            end = f"_{slug(value)}"
            if version.name.text.endswith(end) and len(version.name.text) > len(end):
                alike[version.name.text.removesuffix(end), _without(version, value)].append((source, version, value))
    for (name, _), found in alike.items():
        if len(found) >= LEAST:
            source, first, _ = found[0]
            values = ", ".join(canonical_text(value) for _, _, value in found[:2])
            message = f"{len(found)} achievements differ from this one in {canonical_text(found[0][2])} alone"
            hint = f"write a family: achievement {name} for each x in [{values}, ...]"
            problems.of(source).warn("ACH547", first.name.span, message, hint)


def _steps(version: Achievement) -> list[Cmp] | None:
    """Return the bounds in which tiers differ, where they differ in one operator's bound alone."""
    whens = [tier.when for tier in version.tiers]
    if whens[0].span == whens[1].span:
        return None  # it is written as one
    if len({notation.condition(_blank(when)) for when in whens}) != 1:
        return None
    bounds = [[part for part in _parts(when) if isinstance(part, Cmp)] for when in whens]
    differing = [each for each in zip(*bounds, strict=True) if len(set(map(notation.bound, each))) > 1]
    return list(differing[0]) if len(differing) == 1 else None


def _blank(when: Condition) -> Condition:
    return cast("Condition", _blanked(when))


def _blanked(value: object) -> object:
    if isinstance(value, Cmp):
        return replace(_NOTHING, op=value.op) if value.op in ("<=", "<") else _NOTHING
    if type(value) is tuple:
        return tuple(map(_blanked, cast("tuple[object, ...]", value)))
    if isinstance(value, msgspec.Struct):
        return replace(value, **{name: _blanked(getattr(value, name)) for name in value.__struct_fields__})
    return value


def _texts(version: Achievement) -> Iterator[str]:
    """Yield the strings that the filters of an achievement compare with."""
    for part in _parts(version.when):
        if isinstance(part, Literal) and isinstance(part.value, str) and part.value:
            yield part.value


def _without(version: Achievement, value: str) -> str:
    """Return all that an achievement says, with a value and its name left out."""
    title = () if version.title is None else version.title.texts
    reward = {} if version.reward is None else version.reward.values
    about = "" if version.about is None else version.about.value
    when = "" if version.when is None else notation.condition(version.when)
    family = "" if version.family is None else version.family.text
    reveal = None if version.reveal is None else version.reveal.kind
    said = f"{version.version} {when} {notation.clauses(version)} {title} {about} {reward} {family} {reveal}"
    return said.replace(canonical_text(value), "$x").replace(value, "{x}")


def _parts(value: object) -> Iterator[object]:
    yield value
    if type(value) is tuple:
        for part in cast("tuple[object, ...]", value):
            yield from _parts(part)
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _parts(getattr(value, name))
