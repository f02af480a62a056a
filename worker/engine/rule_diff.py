"""How two rule sets differ: achievements, versions, declarations, and what depends on what. Pure."""

from __future__ import annotations

from collections import defaultdict
from itertools import zip_longest
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dsl import notation
from dsl.calendar import format_instant
from dsl.compile import USER, scope_of
from dsl.format import strip_spans
from dsl.reads import once_text
from dsl.references import in_order, tier_conditions
from dsl.remembers import inventory
from dsl.renames import called
from dsl.syntax import Cmp, Combine, Count, Extreme, Streak, Sum
from dsl.unlocks import asked_for, counted_names
from worker.engine.meaning import change_of, meanings_of, nameless
from worker.engine.preview import (
    AchievementChange,
    Build,
    ContractChange,
    Difference,
    SameRule,
    Status,
    VersionChange,
)
from worker.engine.renames import NO_RENAMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from dsl.schema import EventSchema, Rules
    from dsl.syntax import Achievement, Condition
    from worker.engine.meaning import Meaning
    from worker.engine.renames import Renames

_OF_ACHIEVEMENT: Final = "achievement "
_EVENT: Final = "event "
_NO_BOUND: Final = Cmp(op=">=", bound=0)


class Differences(NamedTuple):
    """How new rules differ from those in force."""

    achievements: list[AchievementChange]
    """Those that are new, changed or retired, by name; effects are not in it."""
    in_words: list[str]
    unchanged: int
    contracts: list[ContractChange]
    direct: frozenset[str]
    """Achievements that are new, or whose own text or declarations differ: what changes of them is no consequence."""
    roots: Mapping[str, Sequence[str]]
    """Achievement to those that it names or whose unlocks it counts, by itself or through others, and that are another
    cause: those of `direct` in the order of judgement, then those that are retired, or whose reward or family differs.
    """
    gone: frozenset[str]
    """Achievements that are retired altogether."""
    same: list[SameRule]
    """Retired ones, each with a new one that means the same under another name."""


def compare_rules(before: Rules, now: Rules, renames: Renames = NO_RENAMES) -> Differences:
    """Compare two rule sets without errors, under first names. What differs is said by the names of `renames`."""
    compared = _Compared(before, now, renames)
    changes = [compared.achievement(name) for name in sorted(before.achievements.keys() | now.achievements.keys())]
    of_status: defaultdict[Status, list[AchievementChange]] = defaultdict(list)
    for change in changes:
        of_status[change.status].append(change)
    direct = frozenset(compared.direct)
    return Differences(
        [change for change in changes if change.status not in {Status.UNCHANGED, Status.WORDS}],
        [change.achievement for change in of_status[Status.WORDS]],
        len(of_status[Status.UNCHANGED]),
        compared.contracts(),
        direct,
        _roots(before, now, direct, frozenset(change.achievement for change in of_status[Status.WORDS])),
        frozenset(before.achievements.keys() - now.achievements.keys()),
        _same(before, now),
    )


def _same(before: Rules, now: Rules) -> list[SameRule]:
    gone, new = (
        {name: nameless(one.achievements[name]) for name in sorted(one.achievements.keys() - other.achievements.keys())}
        for one, other in ((before, now), (now, before))
    )
    of_meaning = {meaning: name for name, meaning in reversed(new.items())}
    return [SameRule(name, of_meaning[meaning]) for name, meaning in gone.items() if meaning in of_meaning]


class _Compared:
    """Two rule sets, and what is found when they are compared."""

    def __init__(self, before: Rules, now: Rules, renames: Renames) -> None:
        self._before, self._now = before, now
        self._names = renames.by_first
        self._meant, self._means = meanings_of(before), meanings_of(now)
        self.direct: set[str] = set()
        """Achievements found so far that differ by themselves."""

    def achievement(self, name: str) -> AchievementChange:
        """Compare one achievement."""
        old = {each.version: each for each in self._before.achievements.get(name, ())}
        new = {each.version: each for each in self._now.achievements.get(name, ())}
        scope = scope_of(next(iter((new or old).values())))
        found: list[VersionChange] = []
        for version in sorted(old.keys() | new.keys()):
            one = self._version(old.get(version), new.get(version), new)
            if one is not None:
                found.append(one)
        status = _status_of(found, is_new=not old, is_gone=not new)
        return AchievementChange(name, scope, status, found, [], [])

    def _version(
        self, old: Achievement | None, new: Achievement | None, among: Mapping[int, Achievement]
    ) -> VersionChange | None:
        """Compare one version; None where it says the same."""
        if new is None:
            return None if old is None else self._retired(old, among)
        key = new.name.text, new.version
        if old is None:
            self.direct.add(new.name.text)
            earlier = [number for number in among if number < new.version]
            parts = self._parts(among[max(earlier)], new) if earlier else []
            return VersionChange(new.version, Status.NEW, _starts(new), parts, [])
        before, now = self._meant[key], self._means[key]
        # A further tier is no change of what a version means, but its text is another one.
        own = (before.own, before.starts_at) != (now.own, now.starts_at)
        if not own and not any(self._places(key)):
            # Where only an achievement differs that it names, it means the same by itself.
            same = _words(old) == _words(new)
            return None if same else VersionChange(new.version, Status.WORDS, _starts(new), [], [])
        self.direct.add(new.name.text)
        parts = [*_from(old, new), *self._parts(old, new)]
        change = None if own else change_of(*key, before, now)
        reasons = () if change is None else change.reasons
        reasons = [reason for reason in reasons if not reason.startswith(_OF_ACHIEVEMENT)]
        return VersionChange(new.version, Status.CHANGED, _starts(new), parts, reasons)

    def _parts(self, old: Achievement, new: Achievement) -> list[Difference]:
        return _parts(called(old, self._names), called(new, self._names))

    def _retired(self, old: Achievement, among: Mapping[int, Achievement]) -> VersionChange:
        if among:
            self.direct.add(old.name.text)
        return VersionChange(old.version, Status.RETIRED, _starts(old), [], [])

    def _places(self, key: tuple[str, int]) -> Iterator[str]:
        """Yield the declarations, other than achievements, that a version reads and that differ."""
        before, now = _declared(self._meant[key]), _declared(self._means[key])
        for place in sorted(before.keys() | now.keys()):
            if before.get(place) != now.get(place) and not place.startswith(_OF_ACHIEVEMENT):
                yield place

    def contracts(self) -> list[ContractChange]:
        """Compare what is declared beside achievements."""
        readers: defaultdict[str, dict[str, None]] = defaultdict(dict)
        said: dict[str, tuple[str | None, str | None]] = {}
        for key in sorted(self._meant.keys() & self._means.keys()):
            # A version whose own text differs reads other declarations for that reason.
            if self._meant[key].own == self._means[key].own:
                for place in self._places(key):
                    readers[place][key[0]] = None
                    said[place] = _declared(self._meant[key]).get(place), _declared(self._means[key]).get(place)
        said |= dict(_schemas(self._before, self._now))
        return [
            ContractChange(declaration, place, before, now, list(readers[f"{declaration}: {place}"]))
            for name, (before, now) in sorted(said.items())
            for declaration, _, place in [name.partition(": ")]
        ]


def _declared(meaning: Meaning) -> Mapping[str, str]:
    return meaning.declared or {}


def _status_of(versions: Sequence[VersionChange], *, is_new: bool, is_gone: bool) -> Status:
    if is_new or is_gone:
        return Status.NEW if is_new else Status.RETIRED
    statuses = {one.status for one in versions}
    if not statuses:
        return Status.UNCHANGED
    return Status.WORDS if statuses == {Status.WORDS} else Status.CHANGED


def _starts(version: Achievement) -> str | None:
    return None if version.since is None else format_instant(version.since.us)


def _words(version: Achievement) -> object:
    tiers = [(tier.name.text, tier.title, tier.reward, tier.reveal) for tier in version.tiers]
    said = (version.title, version.about, version.reveal, version.family, version.reward)
    return strip_spans((said, tuple(tiers)))


# -- how two versions differ ------------------------------------------------------------------------------------------


def _from(old: Achievement, new: Achievement) -> Iterator[Difference]:
    before, now = notation.clauses(old), notation.clauses(new)
    if before.get("from") != now.get("from"):
        yield Difference("from", before.get("from"), now.get("from"))


def _parts(old: Achievement, new: Achievement) -> list[Difference]:
    """Return the conditions and clauses of two versions that differ; `from` is left out."""
    found: list[Difference] = []
    before, now = dict(tier_conditions(old)), dict(tier_conditions(new))
    for tier in dict.fromkeys([*before, *now]):
        found.extend(_conditions(tier, before.get(tier), now.get(tier)))
    was, is_ = notation.clauses(old), notation.clauses(new)
    found.extend(
        Difference(keyword, was.get(keyword), is_.get(keyword))
        for keyword in dict.fromkeys([*was, *is_])
        if keyword != "from" and was.get(keyword) != is_.get(keyword)
    )
    return found


def _conditions(tier: str | None, before: Condition | None, now: Condition | None) -> Iterator[Difference]:
    whole = "when" if tier is None else f"tier {tier}"
    texts = [None if one is None else notation.condition(one) for one in (before, now)]
    if texts[0] == texts[1]:
        return
    if before is None or now is None or notation.condition(_bare(before)) != notation.condition(_bare(now)):
        yield Difference(whole, *texts)
        return
    several = isinstance(now, Combine)
    for one, two in zip_longest(_bounds(before), _bounds(now)):
        old, new = notation.bound(one.cmp), notation.bound(two.cmp)
        if old != new:
            name = _operator(two, several=several)
            yield Difference(name if tier is None else f"{tier}: {name}", old, new)


_Bounded = Count | Sum | Extreme | Streak


def _bounds(tree: Condition) -> Iterator[_Bounded]:
    """Yield the atoms of a condition that have a bound, in order."""
    if isinstance(tree, Combine):
        for part in tree.parts:
            yield from _bounds(part)
    elif isinstance(tree, _Bounded):
        yield tree


def _bare(tree: Condition) -> Condition:
    """Return a condition with the same bound everywhere."""
    if isinstance(tree, Combine):
        return msgspec.structs.replace(tree, parts=tuple(map(_bare, tree.parts)))
    return msgspec.structs.replace(tree, cmp=_NO_BOUND) if isinstance(tree, _Bounded) else tree


def _operator(tree: _Bounded, *, several: bool) -> str:
    name = tree.kind if isinstance(tree, Extreme) else type(tree).__name__.lower()
    return f"{name}({notation.pattern(tree.event)})" if several else name


# -- declarations -----------------------------------------------------------------------------------------------------


def _schemas(before: Rules, now: Rules) -> Iterator[tuple[str, tuple[str | None, str | None]]]:
    """Yield place to what was and is declared, of all events, whether or not a rule reads it."""
    for event in sorted(before.events.keys() | now.events.keys()):
        old, new = before.events.get(event), now.events.get(event)
        if old is None or new is None:
            said = None if old is None else "declared", None if new is None else "declared"
            yield f"{_EVENT}{event}: ", said
            continue
        was, is_ = _contract(old), _contract(new)
        for place in sorted(was.keys() | is_.keys()):
            if was.get(place) != is_.get(place):
                yield f"{_EVENT}{event}: {place}", (was.get(place), is_.get(place))


def _contract(schema: EventSchema) -> dict[str, str]:
    found = {name: field.contract for name, field in schema.fields.items()}
    if schema.once is not None:
        found["once per"] = once_text(schema)
    return found


# -- what depends on what ---------------------------------------------------------------------------------------------


def _roots(before: Rules, now: Rules, direct: frozenset[str], words: frozenset[str]) -> dict[str, Sequence[str]]:
    """Return the causes of what changes of each achievement; `words` are those whose words or reward differ."""
    order = {name: number for number, name in enumerate(in_order(now.achievements))}
    gone = before.achievements.keys() - now.achievements.keys()
    found: dict[str, frozenset[str]] = {}
    for name in order:
        asked, counted = _asked_for(now.achievements[name]), _counted(now.achievements[name])
        # What has been counted and is retired stands in the rules before.
        causes = (asked & direct) | (counted & words) | (_asked_for(before.achievements.get(name, ())) & gone)
        found[name] = causes.union(*(found[other] for other in asked))
    return {name: sorted(roots, key=lambda each: _rank(each, direct, gone, order)) for name, roots in found.items()}


def _rank(name: str, direct: frozenset[str], gone: AbstractSet[str], order: Mapping[str, int]) -> tuple[object, ...]:
    return name not in direct, name in gone, order.get(name, 0), name


def _asked_for(versions: Iterable[Achievement]) -> frozenset[str]:
    return frozenset[str]().union(*map(asked_for, versions))


def _counted(versions: Iterable[Achievement]) -> frozenset[str]:
    return frozenset[str]().union(*map(counted_names, versions))


# -- what has to be built ---------------------------------------------------------------------------------------------


def build_of(
    before: Rules, now: Rules, differs: Differences, *, events: int, rate: int | None, measured: bool
) -> Build:
    """Return what has to be folded: aggregates that are new, or whose events are read otherwise now."""
    stored = {(one.scope, one.key) for one in inventory(before).aggregates}
    wanted = inventory(now).aggregates
    touched = {name for change in differs.contracts for name in change.achievements}
    new, reused = list[str](), 0
    for one in wanted:
        users = {user.achievement for user in one.users}
        if (one.scope, one.key) not in stored or users & touched:
            new.append(one.label if one.scope == USER else f"{one.scope}: {one.label}")
        elif users & differs.direct:
            reused += 1
    dropped = len(stored - {(one.scope, one.key) for one in wanted})
    seconds = None if rate is None else -(-events // rate)
    return Build(new, reused, dropped, events, rate, measured and rate is not None, seconds)
