"""Unlocks as events: what the unlocks of each achievement say, and which of them a pattern over `unlocks` counts.

An achievement is *plain* if in no version it uses `unlocks`, directly or through `after` or `unlocked`. A pattern
counts the plain achievements that its filter may match, and of the others those that the filter names outright; so each
comes after all that it counts. An unlock stands right behind the event that earned it: its place is that of the event,
with achievement, tier and occurrence behind the id.
"""

from __future__ import annotations

from decimal import Decimal
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dsl.built_ins import REWARD, UNLOCKS
from dsl.counted import Counted, CountedField
from dsl.event import Event
from dsl.expressions import refs
from dsl.filters import compile_test, predicate_key
from dsl.progress import State
from dsl.syntax import And, Compare, Literal, Member, Not, Or, Ref, Unlocked
from dsl.trees import all_counted, fields_of, resets, walk, whens, with_patterns
from dsl.types import FieldType, Value
from dsl.values import canonical_text, value_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from dsl.filters import Getter
    from dsl.progress import Grant
    from dsl.syntax import Achievement, Alternative, Condition, Pattern, Predicate, Reward
    from dsl.types import Json

    Said = Mapping[tuple[str, str | None, int], Mapping[str, Value]]
    """By achievement, tier and version: what unlocks say beside their occurrence."""
    Versions = Mapping[str, Sequence[Achievement]]

OCCURRENCE: Final = "occurrence"
_TEXTS: Final = {
    "achievement": CountedField(FieldType.STRING),
    "tier": CountedField(FieldType.STRING),
    "family": CountedField(FieldType.STRING),
    OCCURRENCE: CountedField(FieldType.STRING),
}
_INDEXED: Final = ("achievement", "family", "tier")
MOST_LOOKED: Final = 3_000_000
"""Versions and tiers that the filters over `unlocks` of one rule set may be held against: that takes some ten seconds.

Filters that name achievements, a family or a tier are held against those alone; equal filters are one.
"""
_NUMBERS: Final = (FieldType.INT, FieldType.DECIMAL)
_NO_STATE: Final = State()


# -- what an unlock says -----------------------------------------------------------------------------------------------


class Kind(NamedTuple):
    """The unlocks that one version and tier of an achievement grants, and what they say beside their occurrence."""

    achievement: str
    tier: str | None
    version: int
    repeats: bool
    fields: Mapping[str, Value]
    odd: Mapping[str, str]
    """Rewards that are no plain value: what they are, in words."""


def kinds_of(versions: Sequence[Achievement]) -> Iterator[Kind]:
    """Yield what the unlocks of an achievement say, by version and tier."""
    for version in versions:
        tiers = [(tier.name.text, tier.reward or version.reward) for tier in version.tiers] or [(None, version.reward)]
        for tier, reward in tiers:
            fields: dict[str, Value] = {"achievement": version.name.text}
            if tier is not None:
                fields["tier"] = tier
            if version.family is not None:
                fields["family"] = version.family.text
            given, odd = _given(reward)
            repeats = version.repeat is not None
            yield Kind(version.name.text, tier, version.version, repeats, fields | given, odd)


def _given(reward: Reward | None) -> tuple[dict[str, Value], dict[str, str]]:
    fields, odd = dict[str, Value](), dict[str, str]()
    for key, value in ({} if reward is None else reward.values).items():
        if isinstance(value, str | bool | int | Decimal):
            fields[REWARD + key] = value
        elif value is not None:
            odd[REWARD + key] = _in_words(value)
    return fields, odd


def _in_words(value: Json) -> str:
    return "a list" if isinstance(value, list) else "an object"


def unlock_events(event: Event, grants: Iterable[Grant], said: Said) -> Iterator[Event]:
    """Yield the unlocks that an event has earned, as events right behind it, in their order."""
    for grant in sorted(grants, key=lambda grant: (grant.achievement, grant.tier or "", grant.occurrence or "")):
        fields = dict(said[grant.achievement, grant.tier, grant.version])
        if grant.occurrence is not None:
            fields[OCCURRENCE] = grant.occurrence
        # No id of an event has the character 0, so that these places follow theirs, and each other in their order.
        place = "\0".join((event.id, grant.achievement, grant.tier or "", grant.occurrence or ""))
        yield Event(event.tenant, place, UNLOCKS, event.user, event.at, event.offset, fields)


def is_unlock(event: Event) -> bool:
    """Return whether an event is an unlock, and none that came from outside."""
    return event.type == UNLOCKS and "\0" in event.id


def earning_id(place: str) -> str:
    """Return the id of the event that earned an unlock, from its place; of any other event its own."""
    return place.partition("\0")[0]


def depths(achievements: Versions) -> Mapping[str, int]:
    """Return how deep achievements that are not plain lie above plain ones: 1, or more than all that they ask for.

    One in a circle, which is an error, has some number.
    """
    others = not_plain(achievements)
    asked = {name: _asked_for(achievements[name]) & others for name in others}
    found: dict[str, int] = {}
    for root in sorted(others):
        waiting, open_ones = [root], set[str]()
        while waiting:
            name = waiting[-1]
            left = [other for other in sorted(asked[name]) if other not in found and other not in open_ones]
            if name not in open_ones and left:
                open_ones.add(name)
                waiting.extend(left)
                continue
            waiting.pop()
            found.setdefault(name, 1 + max((found.get(other, 0) for other in asked[name]), default=0))
    return found


def _asked_for(versions: Sequence[Achievement]) -> frozenset[str]:
    """Return the achievements that versions name: in `after`, `unlocked`, or outright in a filter over `unlocks`."""
    outright = (
        name
        for version in versions
        for pattern, one in patterns_of(version)
        for name, _ in named_outright(filter_of(pattern, one))
    )
    return frozenset(outright).union(*map(named, versions))


# -- who uses them -----------------------------------------------------------------------------------------------------


def patterns_of(version: Achievement) -> Iterator[tuple[Pattern, Alternative]]:
    """Yield what a version counts, or is reset by, of unlocks: the pattern, and the alternative in it."""
    for when in whens(version):
        for pattern in (*all_counted(when), *resets(when)):
            for one in pattern.alternatives:
                if one.event.text == UNLOCKS:
                    yield pattern, one


def uses_unlocks(version: Achievement) -> bool:
    """Return whether a version counts unlocks, or is reset by them."""
    return next(patterns_of(version), None) is not None


def counted_in(when: Condition) -> frozenset[str]:
    """Return the achievements whose unlocks a condition counts."""
    found = (one.counts for pattern in all_counted(when) for one in pattern.alternatives)
    return frozenset[str]().union(*(counts.names for counts in found if counts is not None))


def counted_names(version: Achievement) -> frozenset[str]:
    """Return the achievements whose unlocks a version counts; none before that is known."""
    return frozenset[str]().union(*(one.counts.names for _, one in patterns_of(version) if one.counts is not None))


def named(version: Achievement) -> frozenset[str]:
    """Return the achievements that a version names in `after` and `unlocked`."""
    names = {target.achievement.text for target in version.after}
    for when in whens(version):
        names |= {part.achievement.text for part in walk(when) if isinstance(part, Unlocked)}
    return frozenset(names)


def asked_for(version: Achievement) -> frozenset[str]:
    """Return the achievements that a version names, or whose unlocks it counts."""
    return named(version) | counted_names(version)


def not_plain(achievements: Versions) -> frozenset[str]:
    """Return the achievements that use `unlocks` in a version, directly or through `after` or `unlocked`."""
    found = {name for name, versions in achievements.items() if any(map(uses_unlocks, versions))}
    if not found:
        return frozenset()
    named_by: dict[str, list[str]] = {}
    for name, versions in achievements.items():
        for other in frozenset[str]().union(*map(named, versions)):
            named_by.setdefault(other, []).append(name)
    waiting = list(found)
    while waiting:
        more = [name for name in named_by.get(waiting.pop(), ()) if name not in found]
        found.update(more)
        waiting.extend(more)
    return frozenset(found)


# -- what a filter says of achievements --------------------------------------------------------------------------------


def filter_of(pattern: Pattern, one: Alternative) -> Predicate | None:
    """Return the whole filter of one alternative: its own, and that of its list."""
    if one.where is None or pattern.where is None:
        return one.where or pattern.where
    return And(parts=(one.where, pattern.where))


def named_outright(where: Predicate | None) -> Iterator[tuple[str, Literal]]:
    """Yield the achievements that a filter names by `achievement = "x"` or `achievement in [...]`, and where."""
    match where:
        case And(parts=parts) | Or(parts=parts):
            for part in parts:
                yield from named_outright(part)
        case Compare(left=Ref(name="achievement"), op="=", right=Literal(value=str(name)) as literal):
            yield name, literal
        case Member(left=Ref(name="achievement"), negated=False, values=values):
            for value in values:
                if isinstance(value, Literal) and isinstance(value.value, str):
                    yield value.value, value
        case _:
            pass


def candidates(where: Predicate | None, field: str) -> frozenset[str] | None:
    """Return the only values of a field that may pass a filter, None where it does not say."""
    match where:
        case Compare(left=Ref(name=name), op="=", right=Literal(value=str(value))) if name == field:
            return frozenset({value})
        case Member(left=Ref(name=name), negated=False, values=values) if name == field:
            return frozenset(each.value for each in values if isinstance(each, Literal) and isinstance(each.value, str))
        case And(parts=parts):
            known = [each for part in parts if (each := candidates(part, field)) is not None]
            return known[0].intersection(*known) if known else None
        case _:
            return None


def _judge(where: Predicate, getter: Callable[[Ref], Getter]) -> Callable[[Kind], bool | None]:
    """Return what tells whether an unlock passes a filter; None where its occurrence or its instant decides."""
    match where:
        case And(parts=parts) | Or(parts=parts):
            judges, short = [_judge(part, getter) for part in parts], isinstance(where, Or)

            def several(kind: Kind) -> bool | None:
                found = {judge(kind) for judge in judges}
                return short if short in found else None if None in found else not short

            return several
        case Not(part=part):
            judge = _judge(part, getter)
            return lambda kind: None if (found := judge(kind)) is None else not found
        case _:
            test, read = compile_test(where, getter), {ref.name for ref in refs(where)}
            timed = any(ref.builtin for ref in refs(where))

            def leaf(kind: Kind) -> bool | None:
                if timed or (OCCURRENCE in read and kind.repeats):
                    return None
                return test(_NO_STATE, Event("", "", UNLOCKS, "", 0, 0, {**kind.fields}))

            return leaf


def _getter(ref: Ref) -> Getter:
    name = ref.name
    return lambda state, event: event.fields.get(name)


# -- what patterns count -----------------------------------------------------------------------------------------------


class Giver:
    """Gives patterns over `unlocks` what they count; many rules have the same filter, so what is found is kept."""

    def __init__(self, achievements: Versions, scope_of: Callable[[Achievement], str]) -> None:
        self._achievements = achievements
        self._first = {name: _first_name(name, versions) for name, versions in achievements.items()}
        self._depths = depths(achievements)
        self._others = self._depths.keys()
        self._kinds: dict[str, list[Kind]] = {}
        self._index: dict[tuple[str, str, Value], list[Kind]] = {}
        """By scope, field and value, of the fields in `_INDEXED`."""
        self.looked = 0
        """How many kinds of unlocks filters were held against."""
        self._known: dict[tuple[int, str, str, frozenset[str]], Counted] = {}
        for versions in achievements.values():
            scope = scope_of(versions[0])
            for kind in kinds_of(versions):
                self._kinds.setdefault(scope, []).append(kind)
                for field in _INDEXED:
                    if (value := kind.fields.get(field)) is not None:
                        self._index.setdefault((scope, field, value), []).append(kind)

    def give(self, version: Achievement, scope: str) -> Achievement:
        """Return a version whose patterns over `unlocks` know what they count."""
        if not uses_unlocks(version):
            return version
        reads, depth = frozenset(_reads(version)), self._depths[version.name.text]

        def change(pattern: Pattern) -> Pattern:
            if all(one.event.text != UNLOCKS for one in pattern.alternatives):
                return pattern
            return with_counts(pattern, lambda one: self._counted(depth, scope, filter_of(pattern, one), reads))

        return with_patterns(version, change)

    def _counted(self, depth: int, scope: str, where: Predicate | None, reads: frozenset[str]) -> Counted:
        key = depth, scope, "" if where is None else predicate_key(where), reads
        if key not in self._known:
            self._known[key] = self._count(*key[:2], where, reads)
        return self._known[key]

    def _count(self, depth: int, scope: str, where: Predicate | None, reads: frozenset[str]) -> Counted:
        outright = {name for name, _ in named_outright(where)}
        judge = None if where is None else _judge(where, _getter)
        found: list[tuple[Kind, bool | None]] = []
        near = self._near(scope, where)
        self.looked += len(near)
        for kind in near if self.looked <= MOST_LOOKED else ():
            if kind.achievement in self._others and kind.achievement not in outright:
                continue
            passes = True if judge is None else judge(kind)
            if passes is not False:
                found.append((kind, passes))
        names = frozenset(kind.achievement for kind, _ in found)
        # Deeper ones take in the unlocks of an event later, and share no memory of them with those before.
        text = f"{depth}.{_text(found, reads, self._first)}"
        return Counted(names, text, _fields(found), sure=self._sure(names, where))

    def _near(self, scope: str, where: Predicate | None) -> Sequence[Kind]:
        """Return what a filter may match; most name a family, or achievements."""
        for field in _INDEXED:
            values = candidates(where, field)
            if values is not None:
                return [kind for value in sorted(values) for kind in self._index.get((scope, field, value), ())]
        return self._kinds.get(scope, [])

    def _sure(self, names: frozenset[str], where: Predicate | None) -> bool:
        """Return whether what the filter reads is equal in all versions and, of the unlock, never moves."""
        if where is None:
            return True
        read = [ref for ref in refs(where) if not ref.builtin]
        if len(read) < sum(1 for _ in refs(where)):
            return False
        asked = {ref.name for ref in read} - {"achievement", "tier", OCCURRENCE}
        return all(self._equal(name, field) for name in names for field in asked)

    def _equal(self, name: str, field: str) -> bool:
        versions = self._achievements[name]
        return len(versions) == 1 or field == OCCURRENCE or equal(versions, field)


def equal(versions: Sequence[Achievement], field: str) -> bool:
    """Return whether a field of unlocks says the same in all versions of an achievement, in each tier by itself."""
    said: dict[str | None, set[str | None]] = {}
    for kind in kinds_of(versions):
        value = kind.fields.get(field)
        said.setdefault(kind.tier, set()).add(None if value is None else _said(value))
    return all(len(values) == 1 for values in said.values())


def with_counts(pattern: Pattern, count: Callable[[Alternative], Counted]) -> Pattern:
    """Return a pattern whose alternatives over `unlocks` know what they count."""
    return msgspec.structs.replace(
        pattern,
        alternatives=tuple(
            msgspec.structs.replace(one, counts=count(one)) if one.event.text == UNLOCKS else one
            for one in pattern.alternatives
        ),
    )


def _reads(version: Achievement) -> Iterator[str]:
    """Yield the fields that a version reads of unlocks."""
    for when in whens(version):
        for part in walk(when):
            yield from (name for event, name in fields_of(part) if event == UNLOCKS)


def _first_name(name: str, versions: Sequence[Achievement]) -> str:
    """Return the name that an achievement had first: what is stored goes by that, whatever it is called now."""
    old = next((version.renamed for version in versions if version.renamed), ())
    return old[-1].text if old else name


def _text(found: Sequence[tuple[Kind, bool | None]], reads: frozenset[str], first: Mapping[str, str]) -> str:
    """Return a digest of what is counted: each version and tier, and what it says in the fields that are read."""
    hashed = blake2b(digest_size=12)
    for kind, _ in sorted(found, key=lambda each: (first[each[0].achievement], each[0].tier or "", each[0].version)):
        said = [f"{name} {_said(kind.fields[name])}" for name in sorted(reads & kind.fields.keys() - {"achievement"})]
        parts = [first[kind.achievement], kind.tier or "", str(kind.version), *said]
        hashed.update(canonical_text("\n".join(parts)).encode())
    return hashed.hexdigest()


def _said(value: Value) -> str:
    """Return a value with its type, as text: the number 1 is not the string "1"."""
    return (
        f"{'string' if isinstance(value, str) else 'bool' if isinstance(value, bool) else 'number'} {value_text(value)}"
    )


def _fields(found: Sequence[tuple[Kind, bool | None]]) -> dict[str, CountedField]:
    """Return what the rewards among the fields may be, and the other fields."""
    values: dict[str, list[tuple[Kind, Value]]] = {}
    odd: dict[str, str] = {}
    for kind, _ in found:
        for name, value in kind.fields.items():
            if name.startswith(REWARD):
                values.setdefault(name, []).append((kind, value))
        for name, what in kind.odd.items():
            odd.setdefault(name, f"{what} in `{kind.achievement}`")
    rewards = {name: _reward(each) for name, each in values.items()}
    for name, what in odd.items():
        known = rewards.get(name, CountedField(FieldType.STRING))
        rewards[name] = CountedField(known.type, known.low, known.unlike or what)
    return {**_TEXTS, **rewards}


def _reward(values: Sequence[tuple[Kind, Value]]) -> CountedField:
    types: dict[FieldType, Kind] = {}
    for kind, value in values:
        types.setdefault(type_of(value), kind)
    if types.keys() <= set(_NUMBERS):
        low = min(value for _, value in values if not isinstance(value, str))
        return CountedField(FieldType.INT if types.keys() == {FieldType.INT} else FieldType.DECIMAL, low)
    if len(types) == 1:
        return CountedField(next(iter(types)))
    unlike = ", ".join(f"{_WORDS[kind]} in `{first.achievement}`" for kind, first in types.items())
    return CountedField(FieldType.STRING, unlike=unlike)


_WORDS: Final = {
    FieldType.STRING: "a string",
    FieldType.BOOL: "a bool",
    FieldType.INT: "a number",
    FieldType.DECIMAL: "a number",
}


def type_of(value: Value) -> FieldType:
    """Return the type of a value in a reward."""
    match value:
        case bool():
            return FieldType.BOOL
        case int():
            return FieldType.INT
        case Decimal():
            return FieldType.DECIMAL
        case _:
            return FieldType.STRING
