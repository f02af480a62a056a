"""Small rule sets as values, and edits of them: what an author may do to rules that are in force.

Every rule set drawn is one that the checker takes. Rule sets are drawn with seeded dice: a chain of changes draws tens
of them, and has to be quick.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.ruleset import build

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

TRIES: Final = 12
"""To draw an edit that the checker takes."""
MOST: Final = 5
"""Achievements of one rule set."""
NAMES: Final = ("x", "y", "z", "v", "w")
SINCE: Final = ("2026-04-13T12:00:00Z", "2026-04-14T00:00:00Z", "2026-04-14T09:30:00Z", "2026-04-15T00:00:00Z")
"""Versions begin here, in this order."""


class Field(NamedTuple):
    """A declared field."""

    name: str
    type: str
    optional: bool = False
    low: int | None = None

    def text(self) -> str:
        low = "" if self.low is None else f" >= {self.low}"
        return f"{self.name}: {self.type}{'?' if self.optional else ''}{low}"


class Contract(NamedTuple):
    """A declared event, with its `once per`."""

    event: str
    fields: tuple[Field, ...]
    once: tuple[str, ...] = ()
    within: str = ""

    def text(self) -> str:
        once = f" once per {', '.join(self.once)}" if self.once else ""
        within = f" within {self.within}" if self.once and self.within else ""
        return f"event {self.event} {{ {', '.join(field.text() for field in self.fields)}{once}{within} }}"

    def field(self, name: str) -> Field | None:
        return next((field for field in self.fields if field.name == name), None)


class Version(NamedTuple):
    """One version of an achievement."""

    name: str
    number: int
    since: str
    fresh: bool
    scope: str
    repeat: str
    parts: tuple[tuple[str, str], ...]
    """Tier ("" for none) and condition."""
    clauses: tuple[str, ...]
    """`for`, `after`, `active`, `settle`."""
    title: str = "T"

    def meaning(self) -> str:
        """Return its text without words: what may not change under this number."""
        begins = f" from {self.since}" if self.since else ""
        head = f"achievement {self.name} version {self.number}{begins}{' fresh' if self.fresh else ''}"
        lines = [f"scope {self.scope}", *([f"repeat {self.repeat}"] if self.repeat else []), *self.clauses]
        lines += [f"tier {tier} {{ when {when} }}" if tier else f"when {when}" for tier, when in self.parts]
        return f"{head} {{ {' '.join(lines)} }}"

    def text(self) -> str:
        return f'{self.meaning()[:-2]} title "{self.title}" }}'


class Rulebook(NamedTuple):
    """A rule set: contracts, traits, and the versions of achievements in order."""

    contracts: tuple[Contract, ...]
    traits: tuple[Field, ...]
    versions: tuple[Version, ...]
    called: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Achievements that were renamed, by first name: what they are called, and were before, the latest first."""

    def written(self) -> str:
        """Return the text that an author writes: by the names of today, with clauses for those of before."""
        text = self.text()
        for first, (name, *between) in self.called:
            old = ", ".join([*between, first])
            text = re.sub(rf"\b(after |unlocked\(){first}\b", rf"\g<1>{name}", text)
            text = re.sub(rf"\bachievement {first}\b([^{{]*){{", rf"achievement {name}\1{{ renamed from {old} ", text)
        return text

    def text(self) -> str:
        """Return the text by first names: what is stored, and how the engine knows achievements."""
        traits = f"traits from user.updated {{ {', '.join(field.text() for field in self.traits)} }}"
        lines = [*(contract.text() for contract in self.contracts), *([traits] if self.traits else [])]
        return "\n".join([*lines, *(version.text() for version in self.versions)]) + "\n"

    def names(self) -> list[str]:
        return list(dict.fromkeys(version.name for version in self.versions))

    def of(self, name: str) -> tuple[Version, ...]:
        return tuple(version for version in self.versions if version.name == name)

    def without(self, name: str) -> Rulebook:
        return self._replace(versions=tuple(version for version in self.versions if version.name != name))


@lru_cache(maxsize=4096)
def is_valid(text: str) -> bool:
    """Tell whether the checker finds no error in rules."""
    return build([("rules.ach", text.encode())]).program is not None


# -- conditions --------------------------------------------------------------------------------------------------------


def _chance(dice: Random, percent: int) -> bool:
    return dice.random() * 100 < percent


class _Drawing(NamedTuple):
    """What a condition may speak of."""

    dice: Random
    rules: Rulebook
    scope: str
    targets: tuple[str, ...]

    def events(self, field: str = "") -> list[str]:
        """Return the events that have a field, and the field of the scope."""
        wanted = [name for name in (field, self.scope) if name not in ("", "user", "tenant")]
        return [one.event for one in self.rules.contracts if all(one.field(name) for name in wanted)]

    def pattern(self, field: str = "") -> str:
        """Draw an event, with a filter or without; a `b` wherever none has the field, which the checker refuses."""
        names = self.events(field) or ["b"]
        if len(names) > 1 and _chance(self.dice, 10):
            return f"[{', '.join(sorted(self.dice.sample(names, 2)))}]"
        name = self.dice.choice(names)
        if not _chance(self.dice, 20):
            return name
        contract = next((one for one in self.rules.contracts if one.event == name), None)
        field_names = [one.name for one in contract.fields] if contract else []
        tests = [test for name, tests in _TESTS.items() if name in field_names for test in tests]
        return f"{name} where {self.dice.choice([*tests, 'at.hour < 12'])}"

    def condition(self, depth: int = 1) -> str:
        choices: list[Callable[[], str]] = [
            self._count,
            self._count,
            self._count,
            self._distinct,
            self._sum,
            self._best,
        ]
        choices += [self._streak, self._sequence]
        choices += [lambda: self._combined(depth)] * 2 * depth
        choices += [lambda: f"unlocked({self.dice.choice(self.targets)}"] * (2 if self.targets else 0)
        head = self.dice.choice(choices)()
        return f"{head}{self._modifiers(head)})"

    def _modifiers(self, head: str) -> str:
        said = ""
        if _chance(self.dice, 15):
            said += f", within={self.dice.choice(('1h', '3h', '1d', '2d'))}"
        if _chance(self.dice, 12) and "per=" not in head:
            zone = (
                self.dice.choice(("", ', tz="Europe/Berlin"', ", tz=user", ", tz=event")) if "tz=" not in head else ""
            )
            said += f", per=day{zone}"
        if _chance(self.dice, 35):
            said += f", unless={self.dice.choice(('b', 'b', 'c', self.pattern()))}"
        return said

    def _count(self) -> str:
        return f"count(event={self.pattern()}, >= {self.dice.choice((1, 1, 2, 2, 3))}"

    def _distinct(self) -> str:
        return f"count(event={self.pattern('s')}, distinct=s, >= 2"

    def _sum(self) -> str:
        field = self.dice.choice(("n", "x"))
        return f"sum(event={self.pattern(field)}, of={field}, >= {self.dice.choice((1, 2, 3, 5))}"

    def _best(self) -> str:
        field = self.dice.choice(("n", "x"))
        if _chance(self.dice, 60):
            return f"max(event={self.pattern(field)}, of={field}, >= {self.dice.choice((2, 3))}"
        return f"min(event={self.pattern(field)}, of={field}, <= {self.dice.choice((0, 1))}"

    def _streak(self) -> str:
        grace = self.dice.choice(("", "", ", grace=1"))
        zone = self.dice.choice(("", "", ", tz=user", ", tz=event"))
        return f"streak(event={self.pattern()}, per={self.dice.choice(('day', 'day', 'hour'))}, >= 2{grace}{zone}"

    def _sequence(self) -> str:
        by = self.dice.choice(("", "", "s"))
        steps = ", ".join(self.pattern(by) for _ in range(2))
        return f"sequence([{steps}]{f', by={by}' if by else ''}"

    def _combined(self, depth: int) -> str:
        parts = ", ".join(self.condition(depth - 1) for _ in range(2))
        return f"{self.dice.choice(('all', 'any'))}({parts}"


_TESTS: Final[dict[str, tuple[str, ...]]] = {
    "n": ("n >= 1", "n < 2", "n is not present", "not n = 1"),
    "s": ('s = "x"', 's != "y"', "s is present"),
    "f": ("f", "not f"),
    "x": ("x > 1",),
}


# -- rule sets ---------------------------------------------------------------------------------------------------------


def _valid(draw: Callable[[], Rulebook | None]) -> Rulebook | None:
    """Return the first rule set drawn that the checker takes, None where none of some is."""
    for _ in range(TRIES):
        rules = draw()
        if rules is not None and is_valid(rules.text()):
            return rules
    return None


def first_rules(dice: Random) -> Rulebook:
    """Draw a rule set to begin with."""
    contracts = (
        Contract(
            "a",
            (
                Field("n", "int", optional=_chance(dice, 85), low=dice.choice((None, 0, 0, 1))),
                Field("s", "string", optional=True),
                Field("team", "string", optional=True),
                Field("f", "bool", optional=True),
            ),
            ("s",) if _chance(dice, 30) else (),
            dice.choice(("", "1h")),
        ),
        Contract(
            "b", (Field("n", "int", optional=True, low=dice.choice((None, 0))), Field("team", "string", optional=True))
        ),
        Contract("c", (Field("x", "decimal", optional=True, low=0), Field("s", "string", optional=True))),
    )
    rules = Rulebook(contracts, (Field("plan", "string"), Field("timezone", "string")), ())
    wanted = dice.choice((1, 2, 3, 3, 4))
    for name in NAMES[:wanted]:
        rules = _valid(lambda rules=rules, name=name: _added(dice, rules, name)) or rules
    if rules.versions:
        return rules
    plain = Version("x", 1, "", fresh=False, scope="user", repeat="", parts=(("", "count(event=a, >= 2)"),), clauses=())
    return rules._replace(versions=(plain,))


def _added(dice: Random, rules: Rulebook, name: str) -> Rulebook:
    scope = dice.choice(("user", "user", "user", "user", "team", "tenant"))
    repeat = dice.choice(("", "", "each", "each", "every day", "every day tz=event", "every hour"))
    tiers = dice.choice((("",), ("",), ("low", "high")))
    return rules._replace(versions=(*rules.versions, _version(dice, rules, (name, 1, "", scope, repeat), tiers)))


def _version(dice: Random, rules: Rulebook, head: tuple[str, int, str, str, str], tiers: Sequence[str]) -> Version:
    name, number, since, scope, repeat = head
    targets = [
        f"{one.name}.{tier}" if tier and _chance(dice, 50) else one.name
        for one in rules.versions
        if one.scope == scope and one.name != name
        for tier, _ in one.parts
    ]
    drawing = _Drawing(dice, rules, scope, tuple(targets))
    clauses: list[str] = []
    if scope == "user" and _chance(dice, 15):
        clauses.append(dice.choice(('for plan = "pro"', 'for not plan = "free"')))
    if targets and _chance(dice, 25):
        clauses.append(f"after {dice.choice(targets)}")
    if _chance(dice, 5):
        clauses.append(f"active {SINCE[0]} .. {SINCE[3]}")
    if _chance(dice, 35):
        clauses.append(f"settle {dice.choice(('6h', '1d', '2d'))}")
    parts = tuple((tier, drawing.condition()) for tier in tiers)
    fresh = bool(since) and _chance(dice, 25)
    return Version(name, number, since, fresh, scope, repeat, parts, tuple(clauses))


# -- edits -------------------------------------------------------------------------------------------------------------


class Edit(NamedTuple):
    """New rules, and in a word what was done."""

    rules: Rulebook
    what: str


def edited(dice: Random, rules: Rulebook, seen: Sequence[Rulebook]) -> Edit | None:
    """Draw an edit of rules; `seen` are all that were in force. None where what was drawn is refused by the checker."""
    what = dice.choice(_WEIGHED)
    drawn = _valid(lambda: _EDITS[what](dice, rules, seen))
    return None if drawn is None or drawn == rules else Edit(drawn, what)


def renamed(dice: Random, rules: Rulebook, seen: Sequence[Rulebook]) -> Rulebook:
    """Draw another name for an achievement: a new one, or its first one again."""
    if not rules.versions:
        return rules
    first = dice.choice(rules.names())
    before = dict(rules.called).get(first, ())
    used = {name for old in (*seen, rules) for _, names in old.called for name in names}
    fresh = next(name for name in (f"{first}{number}" for number in range(1000)) if name not in used)
    name = first if before and before[0] != first and _chance(dice, 25) else fresh
    names = (name, *(one for one in before if one not in {name, first}))
    made = rules._replace(called=(*(one for one in rules.called if one[0] != first), (first, names)))
    return made if is_valid(made.written()) else rules


def _retire(dice: Random, rules: Rulebook, _: Sequence[Rulebook]) -> Rulebook | None:
    names = rules.names()
    return rules.without(dice.choice(names)) if names else None


def _retire_most(dice: Random, rules: Rulebook, _: Sequence[Rulebook]) -> Rulebook | None:
    kept = dice.choice([(), *((name,) for name in rules.names())])
    return rules._replace(versions=tuple(version for version in rules.versions if version.name in kept))


def _bring_back(dice: Random, rules: Rulebook, seen: Sequence[Rulebook]) -> Rulebook | None:
    gone = [(old, name) for old in seen for name in old.names() if name not in rules.names()]
    if not gone:
        return None
    old, name = dice.choice(gone)
    return rules._replace(versions=(*rules.versions, *old.of(name)))


def _return(dice: Random, _: Rulebook, seen: Sequence[Rulebook]) -> Rulebook | None:
    return dice.choice(seen)


def _add(dice: Random, rules: Rulebook, seen: Sequence[Rulebook]) -> Rulebook | None:
    used = {name for old in (*seen, rules) for name in old.names()}
    names = [name for name in NAMES if name not in used]
    return _added(dice, rules, names[0]) if names and len(rules.names()) < MOST else None


def _new_version(dice: Random, rules: Rulebook, seen: Sequence[Rulebook]) -> Rulebook | None:
    if not rules.versions:
        return None
    name = dice.choice(rules.names())
    versions = rules.of(name)
    last = versions[-1]
    number = 1 + max(one.number for old in (*seen, rules) for one in old.of(name))
    begins = [since for since in SINCE if since > last.since]
    if not begins:
        return None
    tiers = [tier for tier, _ in last.parts]
    if tiers != [""]:
        tiers = dice.choice((tiers, ["low", "high"], ["low"], ["high", "top"]))
    head = name, number, dice.choice(begins), last.scope, last.repeat
    made = _version(dice, rules, head, tiers)
    kept = versions if _chance(dice, 75) else ()  # in place of those before
    at = rules.versions.index(versions[0])
    others = [version for version in rules.versions if version.name != name]
    return rules._replace(versions=(*others[:at], *kept, made, *others[at:]))


def _drop_version(dice: Random, rules: Rulebook, _: Sequence[Rulebook]) -> Rulebook | None:
    several = [version for version in rules.versions if len(rules.of(version.name)) > 1]
    if not several:
        return None
    dropped = dice.choice(several)
    return rules._replace(versions=tuple(version for version in rules.versions if version != dropped))


def _other_meaning(dice: Random, rules: Rulebook, _: Sequence[Rulebook]) -> Rulebook | None:
    """Change what a version means under its number: that is refused."""
    if not rules.versions:
        return None
    old = dice.choice(rules.versions)
    drawn = _version(
        dice, rules, (old.name, old.number, old.since, old.scope, old.repeat), [tier for tier, _ in old.parts]
    )
    made = drawn._replace(fresh=old.fresh)
    if _chance(dice, 30):
        made = old._replace(clauses=drawn.clauses)
    return rules._replace(versions=tuple(made if version == old else version for version in rules.versions))


def _words(dice: Random, rules: Rulebook, _: Sequence[Rulebook]) -> Rulebook | None:
    if not rules.versions:
        return None
    old = dice.choice(rules.versions)
    made = old._replace(title=f"{old.title}'")
    return rules._replace(versions=tuple(made if version == old else version for version in rules.versions))


def _contract(dice: Random, rules: Rulebook, _: Sequence[Rulebook]) -> Rulebook | None:
    old = dice.choice(rules.contracts)
    made = dice.choice((_bound, _bound, _bound, _optional, _once, _once, _once_within, _type, _field))(dice, old)
    contracts = tuple(made if contract == old else contract for contract in rules.contracts)
    return None if made == old else rules._replace(contracts=contracts)


def _change_field(contract: Contract, old: Field, new: Field) -> Contract:
    return contract._replace(fields=tuple(new if field == old else field for field in contract.fields))


def _bound(dice: Random, contract: Contract) -> Contract:
    numbers = [field for field in contract.fields if field.type in ("int", "decimal")]
    if not numbers:
        return contract
    old = dice.choice(numbers)
    return _change_field(contract, old, old._replace(low=dice.choice((None, 0, 1, 2, 3))))


def _optional(dice: Random, contract: Contract) -> Contract:
    old = dice.choice(contract.fields)
    return _change_field(contract, old, old._replace(optional=not old.optional))


def _once(dice: Random, contract: Contract) -> Contract:
    names = [field.name for field in contract.fields]
    return contract._replace(once=dice.choice(((), *((name,) for name in names))), within=dice.choice(("", "1h", "1d")))


def _once_within(dice: Random, contract: Contract) -> Contract:
    return contract._replace(within=dice.choice(("", "30m", "1h", "1d")))


def _type(dice: Random, contract: Contract) -> Contract:
    numbers = [field for field in contract.fields if field.type in ("int", "decimal")]
    if not numbers:
        return contract
    old = dice.choice(numbers)
    return _change_field(contract, old, old._replace(type="decimal" if old.type == "int" else "int"))


def _field(dice: Random, contract: Contract) -> Contract:
    if len(contract.fields) > 1 and _chance(dice, 50):
        gone = dice.choice(contract.fields)
        once = tuple(name for name in contract.once if name != gone.name)
        return contract._replace(fields=tuple(field for field in contract.fields if field != gone), once=once)
    known = [field.name for field in contract.fields]
    more = [field for field in _FIELDS if field.name not in known]
    return contract._replace(fields=(*contract.fields, dice.choice(more))) if more else contract


_FIELDS: Final = (
    Field("n", "int", optional=True),
    Field("s", "string", optional=True),
    Field("team", "string", optional=True),
    Field("x", "decimal", optional=True, low=0),
)


def _declare(dice: Random, rules: Rulebook, seen: Sequence[Rulebook]) -> Rulebook | None:
    """Take a declaration away, or bring one back."""
    there = {contract.event for contract in rules.contracts}
    gone = [contract for old in seen for contract in old.contracts if contract.event not in there]
    if gone:
        return rules._replace(contracts=(*rules.contracts, dice.choice(gone)))
    old = dice.choice(rules.contracts)
    return rules._replace(contracts=tuple(contract for contract in rules.contracts if contract != old))


def _traits(dice: Random, rules: Rulebook, _: Sequence[Rulebook]) -> Rulebook | None:
    plan, timezone = Field("plan", "string"), Field("timezone", "string")
    return rules._replace(
        traits=dice.choice(((), (plan,), (timezone,), (plan, timezone), (plan, Field("timezone", "int"))))
    )


_EDITS: Final[dict[str, Callable[[Random, Rulebook, Sequence[Rulebook]], Rulebook | None]]] = {
    "retire": _retire,
    "retire most": _retire_most,
    "bring back": _bring_back,
    "return to": _return,
    "add": _add,
    "new version": _new_version,
    "drop version": _drop_version,
    "other meaning": _other_meaning,
    "words": _words,
    "contract": _contract,
    "declaration": _declare,
    "traits": _traits,
}
_WEIGHED: Final = (
    *("retire",) * 3,
    *("retire most",) * 2,
    *("bring back",) * 4,
    *("return to",) * 2,
    *("add",) * 3,
    *("new version",) * 4,
    *("drop version",) * 2,
    *("other meaning",) * 1,
    *("words",) * 1,
    *("contract",) * 8,
    *("declaration",) * 1,
    *("traits",) * 1,
)
