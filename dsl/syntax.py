"""The syntax tree: frozen values, matched with `match`, never visited by a framework.

The tree says what the author wrote, with spans, before any name or type is checked. `parse` makes it, `check` judges
it, `format` prints it, `compile` turns it into a program. Two trees that differ only in spans mean the same.
"""

from __future__ import annotations

from typing import Literal as OneOf

import msgspec

from dsl.source import NOWHERE, Source, Span
from dsl.types import Json, Number


class Node(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Anything written at one place of a file."""

    span: Span = NOWHERE


class Name(Node, frozen=True, gc=False):
    """A name or a dotted event name, as written."""

    text: str


class Duration(Node, frozen=True, gc=False):
    """An exact length: `90s 15m 1h 7d 2w`; `us` is its microseconds, `text` as written."""

    us: int
    text: str


class Instant(Node, frozen=True, gc=False):
    """An RFC 3339 instant: microseconds since the epoch, the offset as written in seconds, and the text."""

    us: int
    offset: int
    text: str


class Literal(Node, frozen=True, gc=False):
    """A constant of a filter: string, bool or number. Instants stand there as `Instant`, lengths as `Duration`."""

    value: str | bool | Number


Operand = Literal | Instant


class Hole(str):
    """`$var`, spelt so: it stands for the element of a family, in the place of a constant or of a JSON value."""

    __slots__ = ()


class Cmp(Node, frozen=True, gc=False):
    """A bound: `>= 10`, `> 9`, and for `min` `<= 3`, `< 3`.

    Before dsl/expand has read a tree there are two more kinds: `>= all`, and one that is left `open` for tiers to give.
    """

    op: OneOf[">=", ">", "<=", "<"]
    bound: Number
    kind: OneOf["", "all", "open"] = ""


# -- filters ----------------------------------------------------------------------------------------------------------


class Ref(Node, frozen=True, gc=False):
    """A payload field or a trait, or where `builtin` a name of dsl/built_ins.py, such as `at.hour`, `at`, `actor`."""

    name: str
    builtin: bool = False


class Arithmetic(Node, frozen=True):
    """`x + y`, `x - y`, `x * y`."""

    op: OneOf["+", "-", "*"]
    left: Expression
    right: Expression


class Call(Node, frozen=True):
    """`length(f)`, `lower(f)`, `size(f)`."""

    function: OneOf["length", "lower", "size"]
    of: Expression


Expression = Ref | Literal | Instant | Duration | Arithmetic | Call


class Compare(Node, frozen=True):
    """`x op y`. A constant compared with a single field stands on the right, wherever it was written."""

    left: Expression
    op: OneOf["=", "!=", "<", "<=", ">", ">=", "starts with", "ends with", "contains"]
    right: Expression


class Member(Node, frozen=True):
    """`x in [..]` or `x not in [..]`."""

    left: Expression
    negated: bool
    values: tuple[Operand, ...]


class Contains(Node, frozen=True):
    """`x in FIELD` or `x not in FIELD`, where the field is a list."""

    left: Expression
    negated: bool
    list: Ref


class Present(Node, frozen=True):
    """`field is present` or, `negated`, `field is not present`."""

    left: Ref
    negated: bool


class Truth(Node, frozen=True):
    """A bare bool field."""

    left: Ref


class Not(Node, frozen=True):
    """`not P`."""

    part: Predicate


class And(Node, frozen=True):
    """`P and P and ...`, two parts or more."""

    parts: tuple[Predicate, ...]


class Or(Node, frozen=True):
    """`P or P or ...`, two parts or more."""

    parts: tuple[Predicate, ...]


Leaf = Compare | Member | Contains | Present | Truth
Predicate = Leaf | Not | And | Or


# -- conditions -------------------------------------------------------------------------------------------------------


class Alternative(Node, frozen=True):
    """One event name with its own optional filter; in a role, `like as author`, where that is not the actor's."""

    event: Name
    where: Predicate | None = None
    role: Name | None = None
    seen: tuple[str, ...] = ()
    """The views of the type that have the role in them, once roles are known; none where rules name no role of it."""

    @property
    def types(self) -> tuple[str, ...]:
        """The event types, or views of them, that it names."""
        if self.seen or self.role is None:
            return self.seen or (self.event.text,)
        return (f"{self.event.text} as {self.role.text}",)


class Pattern(Node, frozen=True):
    """An E: one event, or a list of alternatives; `where` is the filter behind a list, for all of it.

    `listed` means that the pattern has brackets; without them there is one alternative and `where` is None.
    """

    alternatives: tuple[Alternative, ...]
    where: Predicate | None = None
    listed: bool = False
    role: Name | None = None
    """What stands behind the brackets; each alternative has it too."""


class Zone(Node, frozen=True, gc=False):
    """`tz=`: an IANA name in quotes, `user`, or `event`."""

    kind: OneOf["iana", "user", "event"]
    name: str = "UTC"


class Modifiers(msgspec.Struct, frozen=True):
    """What every operator takes. Applied in this order: `within`, then `per`, then `unless`; all of them in a group.

    `by` has the fields whose values make groups. A sequence by one field has it in its own `by`, as it always had.
    """

    within: Duration | None = None
    per: Name | None = None
    unless: Pattern | None = None
    tz: Zone | None = None
    by: tuple[Name, ...] = ()


NO_MODIFIERS = Modifiers()


class Count(Node, frozen=True):
    """`count(event=E, [distinct=FIELD,] CMP)`; `distinct` has the fields whose values, or combinations, are counted."""

    event: Pattern
    distinct: tuple[Name, ...]
    cmp: Cmp
    mods: Modifiers = NO_MODIFIERS


class Sum(Node, frozen=True):
    """`sum(event=E, of=FIELD, CMP)`."""

    event: Pattern
    of: Name
    cmp: Cmp
    mods: Modifiers = NO_MODIFIERS


class Extreme(Node, frozen=True):
    """`max(event=E, of=FIELD, CMP)` or `min(...)`."""

    kind: OneOf["max", "min"]
    event: Pattern
    of: Name
    cmp: Cmp
    mods: Modifiers = NO_MODIFIERS


class Streak(Node, frozen=True):
    """`streak(event=E, per=UNIT, CMP, [min=K,] [grace=G,] [tz=ZONE])`; `mods.per` is always None here.

    `within` and `unless` are taken like everywhere else.
    """

    event: Pattern
    unit: Name
    cmp: Cmp
    min: int = 1
    grace: int = 0
    mods: Modifiers = NO_MODIFIERS


class Sequence(Node, frozen=True):
    """`sequence([E, E, ...], [by=FIELD])`."""

    steps: tuple[Pattern, ...]
    by: Name | None
    mods: Modifiers = NO_MODIFIERS


class Combine(Node, frozen=True):
    """`all(...)`, `any(...)` or `at_least(K, ...)`; `k` is the number of parts that must hold."""

    kind: OneOf["all", "any", "at_least"]
    k: int
    parts: tuple[Condition, ...]
    mods: Modifiers = NO_MODIFIERS


class Unlocked(Node, frozen=True):
    """`unlocked(NAME[.TIER])`."""

    achievement: Name
    tier: Name | None
    mods: Modifiers = NO_MODIFIERS


class CountGroups(Node, frozen=True):
    """`count(by=FIELD, C, CMP)`: the values of the field, or of the fields, for which C holds."""

    by: tuple[Name, ...]
    inner: Condition
    cmp: Cmp
    mods: Modifiers = NO_MODIFIERS


class CountUnits(Node, frozen=True):
    """`count(per=UNIT, C, CMP)`: the calendar units on whose events C holds; `mods.per` is always None here."""

    unit: Name
    inner: Condition
    cmp: Cmp
    mods: Modifiers = NO_MODIFIERS


class StreakUnits(Node, frozen=True):
    """`streak(per=UNIT, C, CMP, [grace=G,] [tz=ZONE])`: a unit is active when C holds on its events."""

    unit: Name
    inner: Condition
    cmp: Cmp
    grace: int = 0
    mods: Modifiers = NO_MODIFIERS


Nested = CountGroups | CountUnits | StreakUnits
"""Operators with one condition inside, which holds or not for each value or each calendar unit."""
Condition = Count | Sum | Extreme | Streak | Sequence | Combine | Unlocked | CountGroups | CountUnits | StreakUnits


# -- declarations -----------------------------------------------------------------------------------------------------


class FieldDecl(Node, frozen=True):
    """`name: type? >= low`; `type` is as written (`[string]` without spaces), judged by the checker."""

    name: Name
    type: Name
    optional: bool = False
    low: Literal | None = None


class OncePer(Node, frozen=True):
    """`once per FIELD, ... [within DURATION]`."""

    fields: tuple[Name, ...]
    within: Duration | None = None


class EventDecl(Node, frozen=True):
    """`event NAME { ... }`: the contract of an event's payload."""

    name: Name
    fields: tuple[FieldDecl, ...]
    once: OncePer | None = None


class TraitsDecl(Node, frozen=True):
    """`traits from EVENT [as FIELD] { ... }`."""

    event: Name
    fields: tuple[FieldDecl, ...]
    role: Name | None = None


class ListDecl(Node, frozen=True):
    """`list NAME = [...]`."""

    name: Name
    values: tuple[Operand, ...]


class ForEach(Node, frozen=True):
    """`for each VAR in LIST`: the name of a list, or the values themselves."""

    var: Name
    name: Name | None = None
    values: tuple[Operand, ...] = ()


class Title(Node, frozen=True):
    """A title: one string under the language "", or one string a language."""

    texts: tuple[tuple[str, str], ...]


class RepeatEach(Node, frozen=True):
    """`repeat each`."""


class RepeatEvery(Node, frozen=True):
    """`repeat every UNIT [tz=ZONE]`."""

    unit: Name
    tz: Zone | None = None


class RepeatBy(Node, frozen=True):
    """`repeat by FIELD`."""

    field: Name


Repeat = RepeatEach | RepeatEvery | RepeatBy


class Target(Node, frozen=True, gc=False):
    """`NAME` or `NAME.TIER`, in `after` and `expect`."""

    achievement: Name
    tier: Name | None = None


class Reveal(Node, frozen=True):
    """`always`, `at N%`, `after NAME`, `secret`."""

    kind: OneOf["always", "at", "after", "secret"]
    percent: int | None = None
    after: Target | None = None


class Active(Node, frozen=True):
    """`active INSTANT .. INSTANT`, either end may be left out; the second is exclusive."""

    start: Instant | None
    end: Instant | None


class Scope(Node, frozen=True, gc=False):
    """`scope user`, `scope tenant`, or `scope FIELD` (then `name` is the field)."""

    name: str


class Reward(Node, frozen=True):
    """`reward { key: JSON value, ... }`; numbers are `int` or `Decimal`."""

    values: dict[str, Json]


class Tier(Node, frozen=True):
    """`tier NAME { title? when reward? reveal? }`."""

    name: Name
    when: Condition
    title: Title | None = None
    reward: Reward | None = None
    reveal: Reveal | None = None


class Rung(Node, frozen=True):
    """`tier NAME CMP { title? reward? reveal? }`: a tier of a ladder, which gives the bound that `when` leaves out."""

    name: Name
    bound: Cmp
    title: Title | None = None
    reward: Reward | None = None
    reveal: Reveal | None = None


class Achievement(Node, frozen=True):
    """`achievement NAME [for each ...] [version N [from INSTANT] [fresh]] { ... }`.

    Either `when` is set or `tiers` is not empty, once dsl/expand has put `rungs` and `each` into other words. `order`
    lists the clause keywords in the order written, for the formatter (tiers as `tier`).
    """

    name: Name
    version: int = 1
    since: Instant | None = None
    fresh: bool = False
    title: Title | None = None
    about: Literal | None = None
    when: Condition | None = None
    tiers: tuple[Tier, ...] = ()
    where: Predicate | None = None
    """The `for` clause, a predicate over traits."""
    after: tuple[Target, ...] = ()
    active: Active | None = None
    reveal: Reveal | None = None
    reward: Reward | None = None
    repeat: Repeat | None = None
    scope: Scope | None = None
    family: Name | None = None
    settle: Duration | None = None
    renamed: tuple[Name, ...] = ()
    """What it was called before, the latest name first; under the last one it was deployed for the first time."""
    order: tuple[str, ...] = ()
    rungs: tuple[Rung, ...] = ()
    each: ForEach | None = None
    open: bool = False
    """Whether something in it has its meaning from other declarations, or from its place: a list, `at`, `$var`."""


class Given(Node, frozen=True):
    """`at INSTANT USER EVENT { payload } [times N every DURATION] [tenant "T"] [id "ID"]`."""

    at: Instant
    user: str
    event: Name
    payload: dict[str, Json]
    times: int = 1
    every: Duration | None = None
    tenant: str | None = None
    id: str | None = None


class Expect(Node, frozen=True):
    """`expect USER NAME[.TIER] [occurrence "X"] [at INSTANT]`, `expect USER not NAME`, `... progress C/T`."""

    user: str
    target: Target
    negated: bool = False
    occurrence: str | None = None
    at: Instant | None = None
    progress: tuple[Number, Number] | None = None


class Until(Node, frozen=True):
    """`until INSTANT`: how far the clock of an example goes."""

    at: Instant


class Example(Node, frozen=True):
    """`example "..." { ... }`: lines in the order written."""

    title: str
    lines: tuple[Given | Expect | Until, ...]
    each: ForEach | None = None
    open: bool = False
    """As of an achievement."""

    @property
    def until(self) -> Instant | None:
        """How far the clock goes; None for the latest event."""
        return next((line.at for line in self.lines if isinstance(line, Until)), None)


Declaration = EventDecl | TraitsDecl | ListDecl | Achievement | Example


class File(msgspec.Struct, frozen=True):
    """One parsed file: its source and the declarations that could be read."""

    source: Source
    declarations: tuple[Declaration, ...]
