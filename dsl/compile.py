"""Rules to programs: shared aggregates, indexed by event type.

A `Program` has one `Plan` per scope. For each event type, a plan lists the operations that an event of that type
needs, in the order in which they must run: aggregates before conditions, conditions before achievements, and an
achievement before those that name it in `after` or `unlocked`. Rules that do not use a type add no operations to it.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from hashlib import blake2b
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from dsl.conditions import build, heard_any, named_types, owner_of
from dsl.filters import pattern_types
from dsl.judge import Judge, LateJudgement, Ruling, Terms
from dsl.labels import labels_of
from dsl.local_time import TIMEZONE
from dsl.memory import USER_ZONE, Contracts, Entry, Memory
from dsl.moments import holds_of_nothing, moment_of, moments_of
from dsl.nodes.late import LateStep, nothing
from dsl.progress import ENCODING
from dsl.references import in_order, references, tier_conditions, traits_of
from dsl.roles import Roles, base_of, bases, has_actor, is_pseudonym, views
from dsl.schema import fields_in, fields_of, is_listed
from dsl.stages import Hearing, Hearings, Stages
from dsl.strands import strands_of
from dsl.types import FieldType
from dsl.values import value_text
from dsl.wiring import Dispatch, Late, Once, Wiring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from dsl.event import Event, Position
    from dsl.memory import Operation
    from dsl.nodes.late import Undo
    from dsl.nodes.node import Step
    from dsl.progress import State
    from dsl.schema import Rules
    from dsl.strands import Strands
    from dsl.syntax import Achievement, Condition, Pattern, Target

    Watching = Callable[[Memory, Judge, Condition], Operation]

USER = "user"
TENANT = "tenant"


class Order(NamedTuple):
    """All operations in the order in which they must run, and those of them that are behind plain achievements."""

    operations: Sequence[Operation]
    stages: Sequence[Sequence[Operation]] = ()


class Plan:
    """The rules of one scope, compiled. A stored state is valid only under the same `fingerprint`."""

    def __init__(
        self,
        rules: Rules,
        scope: str,
        rulings: Sequence[Ruling],
        dispatch: Mapping[str, Dispatch],
        described: str,
        order: Order,
    ) -> None:
        self.rules = rules
        self.scope = scope
        self.rulings = tuple(rulings)
        """Every achievement and tier, in the order of judgement; the index is the slot of what was earned."""
        self.dispatch = dispatch
        self.types = frozenset(dispatch)
        """Event types that it hears, or views of them: dsl/roles.py."""
        self.fingerprint = blake2b(described.encode(), digest_size=16).hexdigest()
        operations, stages = order
        self.operations = tuple(operations)
        """All operations, in the order in which they must run."""
        self.stages = tuple(map(tuple, stages))
        """Those of them that are behind the plain achievements, where rules use `unlocks`: dsl/stages.py."""
        entries = [each for each in operations if isinstance(each, Entry)]
        self.entries = tuple(sorted(entries, key=lambda entry: entry.aggregate.slot))
        """The aggregates; of a whole plan, the index is the slot of a node."""
        self.judged = frozenset(each.ruling.slot for each in operations if isinstance(each, Judge))
        """Slots of the rulings that it judges."""
        plain = plain_of(self.operations, self.stages)
        self.moments = Stages(self.stages, rules.achievements).moments(plain) if stages else moments_of(plain)
        """When versions begin, ascending."""

    @cached_property
    def strands(self) -> Strands | None:
        """What takes runs of events in bulk; None where each event has to be looked at in turn."""
        return None if self.stages else strands_of(self.operations, self.dispatch)

    @cached_property
    def roles(self) -> Roles:
        """The users that events name, by the declarations that this plan was compiled with."""
        return Roles({name: schema.users for name, schema in self.rules.events.items()}, self.rules.roles)

    def part(self, rulings: AbstractSet[int], traits: AbstractSet[str], counted: AbstractSet[str]) -> Plan:
        """Return the plan of some rulings alone, with the slots of this one, and of what it is to follow beside them.

        Rulings that one names must be among them. `traits` are further traits, `counted` further types with `once per`
        whose copies are suppressed. It takes no late events.
        """
        return _Part(self, rulings, traits, counted).plan()


class Program:
    """A rule set, compiled: one plan a scope that has achievements."""

    def __init__(self, scopes: Mapping[str, Plan], labels: Mapping[str, tuple[str, ...]] | None = None) -> None:
        self.scopes = scopes
        self.labels = labels or {}
        """By event type, the fields whose values name occurrences: they have no more bytes than such a name."""
        parts = "\n".join(f"{name} {scopes[name].fingerprint}" for name in sorted(scopes))
        self.fingerprint = blake2b(parts.encode(), digest_size=16).hexdigest()

        self.roles = scopes[USER].roles
        """The users that events name."""
        self.for_users = frozenset(scopes[USER].types if set(scopes) == {USER} else ()) - self.roles.naming
        """Event types that the plan of users hears, and no other, and that name no user but the actor."""

    def subjects(self, event: Event) -> tuple[tuple[str, str], ...]:
        """Return (scope, subject) of every plan that hears the event."""
        if event.type in self.for_users:
            return ((USER, event.user),)
        return tuple((scope, name) for scope, name, _ in self.hearing(event))

    def others(self, event: Event) -> Iterator[tuple[str, str]]:
        """Yield (scope, subject) of every plan that hears the event, but for that of users."""
        for scope, plan in self.scopes.items():
            if scope == USER or event.type not in plan.types:
                continue
            if scope == TENANT:
                yield scope, event.tenant
            else:
                value = event.fields.get(scope)
                if value is not None and value != "":
                    yield scope, value_text(value)

    def hearing(self, event: Event) -> Iterator[tuple[str, str, Event]]:
        """Yield (scope, subject, event as it is in the history of the subject) of every plan that hears it."""
        types = self.scopes[USER].types
        for user in (event.user, *self.roles.named(event)):
            seen = self.roles.seen_by(event, user)
            if seen.type in types and not is_pseudonym(user):
                yield USER, user, seen
        for scope, name in self.others(event):
            yield scope, name, event


def compile_rules(rules: Rules) -> Program:
    """Compile checked rules. Rules that the checker found errors in may raise anything."""
    scopes = sorted({scope_of(versions[0]) for versions in rules.achievements.values()} | {USER})
    plans = {scope: _PlanBuilder(rules, scope).build() for scope in scopes}
    return Program(plans, labels_of(rules))


def compile_watched(rules: Rules, scope: str, watching: Watching) -> Plan:
    """Compile the rules of one scope with an operation of `watching` right before the judges of each achievement.

    It may ask the memory for aggregates of its own, and sees at every event what the judge is about to see. States of
    such a plan are no states of the plan without.
    """
    return _PlanBuilder(rules, scope, watching).build()


def contracts_of(rules: Rules) -> Contracts:
    """Return what the declarations of events say of the fields that conditions read."""

    def integral(pattern: Pattern, field: str) -> bool:
        return all(each is not None and each.type is FieldType.INT for each in fields_in(rules, pattern, field))

    def signed(pattern: Pattern, field: str) -> bool:
        return any(each is None or each.low is None or each.low < 0 for each in fields_in(rules, pattern, field))

    def listed(pattern: Pattern, field: str) -> bool:
        return is_listed(rules, pattern_types(pattern), field)

    def declared(event: str, field: str) -> bool:
        return field in fields_of(rules, event)

    return Contracts(integral, signed, listed, declared)


def is_whole(rules: Rules, types: AbstractSet[str], field: str) -> bool:
    """Return whether a field is a whole number in every declared event among some types, or views of them."""
    fields = [fields_of(rules, name).get(field) for name in bases(types) if rules.schema(name) is not None]
    return all(each is not None and each.type is FieldType.INT for each in fields)


def zone_types_of(rules: Rules) -> frozenset[str]:
    """Return the event types that carry the time zone of a user."""
    return frozenset(event for event, names in rules.trait_events.items() if TIMEZONE in names)


def every_type(rules: Rules, scope: str) -> frozenset[str]:
    """Return all types of events that a subject of a scope may have, of users in whatever role that rules ask for."""
    types = frozenset(rules.events)
    if scope != USER or not rules.roles:
        return types
    return types | {view for name, fields in rules.roles.items() for view in views(name, fields)}


def scope_of(achievement: Achievement) -> str:
    """Return `user`, `tenant` or the field that is an achievement's scope."""
    return USER if achievement.scope is None else achievement.scope.name


class _Judged(NamedTuple):
    """A version, the one that takes over from it, and the event types at which any of its tiers can be earned.

    `hearing` is what it hears of unlocks.
    """

    version: Achievement
    following: Achievement | None
    types: frozenset[str]
    hearing: Hearing


class _PlanBuilder:
    """Builds the plan of one scope."""

    def __init__(self, rules: Rules, scope: str, watching: Watching | None = None) -> None:
        self.rules = rules
        self.scope = scope
        self.watching = watching
        self.achievements = {
            name: versions for name, versions in rules.achievements.items() if scope_of(versions[0]) == scope
        }
        self.memory = Memory(
            single=scope == USER,
            all_types=every_type(rules, scope),
            zone_types=zone_types_of(rules),
            contracts=contracts_of(rules),
        )
        self.rulings: list[Ruling] = []
        self.judges: list[Judge] = []
        self.asking: Mapping[int, frozenset[int]] = {}
        self._ends: list[int] = []
        """Where the operations of plain achievements end, and those of each stage but the last."""
        self._stages: Stages | None = None
        self._hearings = Hearings(self.achievements, self.memory)

    def build(self) -> Plan:
        for name, depth in self._hearings.ordered(in_order(self.achievements)):
            while len(self._ends) < depth:
                self._ends.append(len(self.memory.order))
            self._add(name, self.achievements[name])
        self.memory.number()
        for ruling in self.rulings:
            for judge in ruling.judges:
                if (spender := judge.spender()) is not None:
                    spender.slot = ruling.slot
        self.asking = asking_of(self.judges)
        traits = self._traits_used()
        types = [name for event_type in self.rules.events for name in self._names(event_type)]
        order, ends = self.memory.order, [*self._ends, len(self.memory.order)]
        stages = [order[start:end] for start, end in pairwise(ends)]
        self._stages = Stages(stages, self.achievements) if stages else None
        dispatch = {name: entry for name in types if (entry := self._dispatch(name, traits))}
        described = self._describe(dispatch)
        return Plan(self.rules, self.scope, self.rulings, dispatch, described, Order(order, stages))

    # -- achievements --

    def _add(self, name: str, versions: tuple[Achievement, ...]) -> None:
        tiers: dict[str | None, Ruling] = {}
        for version in versions:
            for tier, _ in tier_conditions(version):
                if tier not in tiers:
                    tiers[tier] = Ruling(len(self.rulings), name, tier)
                    self.rulings.append(tiers[tier])
        judges: list[Judge] = []
        watches: list[Operation] = []
        hears = [self._heard(version) for version in versions]
        hearing = self._hearings.begin(name)
        following = [*versions[1:], None]
        for judged in map(_Judged, versions, following, hears, hearing):
            for tier, when in tier_conditions(judged.version):
                judge = self._judge(tiers[tier], judged, when)
                if self.watching is not None:
                    watches.append(self.watching(self.memory, judge, when))
                judges.append(judge)
        # After the aggregates of all versions: those that `repeat each` resets must take the event first.
        self.memory.order.extend([*watches, *judges])
        self.judges.extend(judges)
        self.memory.slots[name] = {tier: ruling.slot for tier, ruling in tiers.items()}
        self.memory.hears[name] = frozenset[str]().union(*hears)
        self._hearings.end(name, hearing)

    def _judge(self, ruling: Ruling, judged: _Judged, when: Condition) -> Judge:
        tier, (version, following, types, hearing) = ruling.tier, judged
        built = build(self.memory, when, version, tier)
        until = None if following is None or following.since is None else following.since.us
        owner = owner_of(version, tier)
        blank = moment_of(version) is not None and holds_of_nothing(when, self.memory.signed)
        judge = Judge(
            ruling,
            version,
            built,
            Terms(
                until=until,
                after=tuple(self._after(target) for target in version.after),
                types=types,
                own=lambda: self.memory.own_slots(owner),
                spender=lambda: self.memory.spenders.get(owner),
                decimal_traits=frozenset(name for name, kind in self.rules.traits.items() if kind is FieldType.DECIMAL),
                heard=heard_any(self.memory, types, version, tier) if blank else None,
                unlocks=self._hearings.terms(hearing),
            ),
        )
        ruling.judges.append(judge)
        return judge

    def _heard(self, version: Achievement) -> frozenset[str]:
        """Return the event types at which a version can be earned: those of all its tiers."""
        types = frozenset[str]().union(*(named_types(when) for _, when in tier_conditions(version)))
        types |= types.union(*(self.memory.hears[other] for other in references(version)))
        return types if version.where is None else types | frozenset(self.rules.trait_events)

    def _after(self, target: Target) -> tuple[int, ...]:
        slots = self.memory.slots[target.achievement.text]
        return tuple(slots.values()) if target.tier is None else (slots[target.tier.text],)

    # -- dispatch --

    def _names(self, event_type: str) -> Iterator[str]:
        """Yield an event type, and its views where rules ask for it in roles."""
        roles = self.rules.roles.get(event_type) if self.scope == USER else None
        return iter((event_type,)) if roles is None else views(event_type, roles)

    def _traits_used(self) -> frozenset[str]:
        names = {TIMEZONE} if self.memory.uses_user_zone else set[str]()
        for versions in self.achievements.values():
            for version in versions:
                names |= set[str]() if version.where is None else traits_of(version.where)
        return frozenset(names)

    def _dispatch(self, event_type: str, traits: frozenset[str]) -> Dispatch | None:
        steps = tuple(self._steps(event_type))
        moved = tuple(sorted(traits & set(self.rules.trait_events.get(event_type, ()))))
        base = base_of(event_type)
        once = self.rules.events[base].once
        if not steps and not moved and (once is None or self.scope != USER):
            return None
        late = None if once is not None or moved else self._late(event_type)
        copies = None if once is None else Once(*once)
        return Dispatch(steps, copies, moved, late, base, own=int(has_actor(event_type)))

    def _steps(self, event_type: str) -> Iterator[Step]:
        """Return the operations on events of a type; a watch has to look at each in its order."""
        operations = self.memory.operations(event_type)
        if self._stages is not None:
            plain = self.memory.order[: self._ends[0]]
            operations = (each for each in plain if event_type in each.types)
        if self.watching is not None:
            steps = (operation.stepper(event_type) for operation in operations)
        else:
            steps = Wiring(list(operations), event_type).steps()
        return steps if self._stages is None else iter(self._stages.step(event_type, tuple(steps)))

    def _late(self, event_type: str) -> Late | None:
        """Return what takes late events of a type, None where an operation has no rule for them."""
        takes: list[LateStep] = []
        judges: list[LateJudgement] = []
        for operation in self.memory.operations(event_type):
            if isinstance(operation, Judge):
                judge = operation.late()
                if judge is None:
                    return None
                judges.append(judge)
            elif isinstance(operation, Entry):
                takes.append(
                    _late_step(operation.late(event_type), self.asking.get(operation.aggregate.slot, frozenset()))
                )
            else:
                return None
        return Late(tuple(takes), tuple(judges))

    def _describe(self, dispatch: Mapping[str, Dispatch]) -> str:
        """Return everything that a stored state depends on, as text.

        The contract of a field decides which values of the ledger are read: one that does not fit it is absent.
        """
        lines = [f"encoding {ENCODING}", f"scope {self.scope}"]
        lines.extend(f"aggregate {entry.key()}" for entry in self.memory.entries.values())
        lines.extend(f"judge {judge.described}" for judge in self.judges)
        for event_type in sorted(dispatch):
            schema, entry = self.rules.events[base_of(event_type)], dispatch[event_type]
            fields = ",".join(sorted(f"{field.name}:{field.contract}" for field in schema.fields.values()))
            lines.append(f"event {event_type} {fields} once {entry.once} traits {entry.traits}")
        return "\n".join(lines)


class _Part:
    """Builds the plan of some rulings of another plan."""

    def __init__(
        self, plan: Plan, rulings: AbstractSet[int], traits: AbstractSet[str], counted: AbstractSet[str]
    ) -> None:
        self.whole = plan
        self.counted = counted
        judges = [each for each in plan.operations if isinstance(each, Judge) and each.ruling.slot in rulings]
        asked = {aggregate.slot for judge in judges for aggregate in judge.asked()}
        self.operations = [
            each
            for each in plan.operations
            if (isinstance(each, Entry) and each.aggregate.slot in asked)
            or (isinstance(each, Judge) and each.ruling.slot in rulings)
        ]
        kept = set(map(id, self.operations))
        self._behind = [[each for each in stage if id(each) in kept] for stage in plan.stages]
        self._plain = plain_of(self.operations, self._behind)
        self._stages = Stages(self._behind, plan.rules.achievements) if self._behind else None
        keys = [judge.built.key for judge in judges]
        keys += [each.key() for each in self.operations if isinstance(each, Entry)]
        wheres = [judge.version.where for judge in judges if judge.version.where is not None]
        self.traits = set(traits).union(*(traits_of(where) for where in wheres))
        if any(USER_ZONE in key for key in keys):
            self.traits.add(TIMEZONE)

    def plan(self) -> Plan:
        whole = self.whole
        needed = bases([name for name in whole.dispatch if self._needs(name)])
        dispatch = {name: entry for name in whole.dispatch if (entry := self._dispatch(name, needed))}
        order = Order(self.operations, self._behind)
        return Plan(whole.rules, whole.scope, whole.rulings, dispatch, "part", order)

    def _needs(self, event_type: str) -> bool:
        return bool(self._moved(event_type)) or any(event_type in each.types for each in self.operations)

    def _moved(self, event_type: str) -> tuple[str, ...]:
        return tuple(sorted(self.traits & set(self.whole.rules.trait_events.get(event_type, ()))))

    def _dispatch(self, event_type: str, needed: AbstractSet[str]) -> Dispatch | None:
        """Return what an event costs; `needed` are types that are heard in any role, whose copies all count."""
        entry = self.whole.dispatch[event_type]
        copies = entry.once is not None and (event_type in self.counted or entry.base in needed)
        if not copies and not self._needs(event_type):
            return None
        operations = [each for each in self._plain if event_type in each.types]
        steps = tuple(Wiring(operations, event_type).steps())
        if self._stages is not None:
            steps = self._stages.step(event_type, steps)
        return Dispatch(steps, entry.once, self._moved(event_type), None, entry.base, entry.own)


def plain_of(operations: Sequence[Operation], stages: Sequence[Sequence[Operation]]) -> Sequence[Operation]:
    """Return the operations before all stages, those of plain achievements."""
    return operations[: len(operations) - sum(map(len, stages))] if stages else operations


def asking_of(judges: Iterable[Judge]) -> Mapping[int, frozenset[int]]:
    """Return, per slot of an aggregate, the slots of the rulings that look at it."""
    asking: defaultdict[int, set[int]] = defaultdict(set)
    for judge in judges:
        for aggregate in judge.asked():
            asking[aggregate.slot].add(judge.ruling.slot)
    return {slot: frozenset(rulings) for slot, rulings in asking.items()}


def _late_step(take: LateStep | None, rulings: frozenset[int]) -> LateStep:
    """Return the aggregates that take late events, also if all their readers are already earned."""

    def step(state: State, event: Event, position: Position) -> Undo | None:
        undo = None if take is None else take(state, event, position)
        return nothing if undo is None and state.earned.keys() >= rulings else undo

    return step
