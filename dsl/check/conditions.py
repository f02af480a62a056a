"""Conditions: events, fields and achievements that they name, their windows and their bounds."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from dsl.built_ins import ACTOR, AT, COUNTED, UNLOCKS, ZONED, is_reward
from dsl.calendar import zone
from dsl.check.bounds import (
    check_combine,
    check_distinct,
    check_extreme,
    check_lists,
    check_remembered,
    check_streak,
    check_sum,
    check_whole,
    is_signed,
)
from dsl.check.filters import check_filter
from dsl.check.groups import MOST_NESTED, check_one_value, check_units, most_groups
from dsl.check.problems import a_type
from dsl.check.roles import USER, check_role
from dsl.check.unlocks import check_actor, check_counted, check_field, check_occurrences, check_pattern, fields_of
from dsl.parse.arguments import taken
from dsl.schema import EventSchema
from dsl.syntax import (
    Combine,
    Count,
    CountGroups,
    CountUnits,
    Extreme,
    Sequence,
    Streak,
    StreakUnits,
    Sum,
    Unlocked,
)
from dsl.trees import all_counted, key_of
from dsl.types import FieldType, Unit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dsl.check.names import Names
    from dsl.check.problems import Report
    from dsl.check.unlocks import Link
    from dsl.schema import Field
    from dsl.source import Span
    from dsl.syntax import Alternative, Condition, Modifiers, Name, Nested, Pattern, Ref, Zone

TIMEZONE = "timezone"
"""The trait that `tz=user` reads."""
_NUMBERS = (FieldType.INT, FieldType.DECIMAL)
_ACTORS = ("user_id", "user", "actor_id")
"""What is written for `actor`."""
_FAMILIES = {
    **dict.fromkeys(_NUMBERS, "number"),
    **dict.fromkeys((FieldType.INTS, FieldType.DECIMALS), "numbers"),
}
"""Types whose values are compared with each other, beside those of one type."""


_BUILT_IN: Final = {
    **dict.fromkeys(("day", "days", "date", "dates", "today"), "at.date"),
    **dict.fromkeys(("hour", "hours", "time", "time_of_day", "clock"), "at.hour"),
    **dict.fromkeys(("weekend", "weekends", "is_weekend"), 'at.weekday in ["sat", "sun"]'),
    **dict.fromkeys(("month", "months"), "at.month"),
    **dict.fromkeys(("year", "years"), "at.year"),
    **dict.fromkeys(("week", "weeks"), "at.week"),
    **dict.fromkeys(("now", "current_time", "occurred_at", "created_at", "event_time"), "at"),
    **dict.fromkeys(("weekday", "weekdays", "day_of_week", "dow"), "at.weekday"),
}
"""Names of what an event has by itself, by other names."""


class Conditions:
    """Checks the conditions of one achievement; remembers what they name."""

    def __init__(self, names: Names, report: Report, scope: str = USER) -> None:
        self.names = names
        self.report = report
        self.scope = scope
        self.events: set[str] = set()
        self.unlocked: list[Name] = []
        self.counted: list[Link] = []
        """Achievements that filters over `unlocks` name."""

    def check(self, node: Condition, window: str | None = None) -> None:
        """Check a condition and its parts; `window` says in words what span it stands in."""
        around = window
        self._keys(node, key_of(node))
        window = self._modifiers(node.mods) or window
        match node:
            case Count():
                # Inside its own calendar unit a count is only a number.
                within = node.mods.within
                around = None if around is None or around.startswith("`repeat every") else around
                self._count(node, around if within is None else f"`within={within.text}`")
            case Sum():
                self._sum(node, window)
            case Extreme():
                self._extreme(node)
            case Streak():
                self._streak(node)
            case Sequence():
                self._sequence(node)
            case Combine():
                check_combine(node, self.report)
                # An outer `unless` needs the latest start of a part, as a window does.
                around = window if node.mods.unless is None else window or "`unless=` from outside"
                for part in node.parts:
                    self.check(part, around)
            case Unlocked():
                self.unlocked.append(node.achievement)
                self.target(node.achievement, node.tier)
            case CountGroups() | CountUnits() | StreakUnits():
                self._nested(node, window if node.mods.unless is None else window or "`unless=` from outside")

    # -- operators --

    def _count(self, node: Count, window: str | None) -> None:
        events = self.pattern(node.event)
        fields = [self._values(events, name) for name in node.distinct]
        check_lists(node.distinct, fields, self.report)
        if check_whole(node.cmp, "values" if node.distinct else "events", self.report):
            check_distinct(node, fields, self.report)
            check_remembered(node, window, self.report)

    def _values(self, events: list[Alternative], name: Name) -> list[Field]:
        """Check what `distinct=` counts; return its declarations, none for what is no field of the payload."""
        if name.text in COUNTED:
            check_actor(events, name, self.report)
            return []
        dotted = "." in name.text and not is_reward(name.text)
        if dotted or (name.text == AT and not self._is_declared(events, AT)):
            hint = self.report.guess(name.text, tuple(ZONED)) or f"there are {', '.join(ZONED)}"
            self.report.error("ACH202", name.span, f"`{name.text}` has no values to count", hint)
            return []
        return self.fields(events, name.text, name.span)

    def _is_declared(self, events: list[Alternative], field: str) -> bool:
        return any(field in self.schema(event).fields for event in events)

    def _sum(self, node: Sum, window: str | None) -> None:
        fields = self._numbers(self.pattern(node.event), node.of)
        if not fields:
            return
        check_sum(node, fields, self.report)
        if window is not None and is_signed(fields):
            message = f"`{node.of.text}` may be negative, so its sum takes no {window}"
            hint = f"if it is never negative, declare it: `{node.of.text}: {fields[0].type} >= 0`"
            self.report.error("ACH410", node.of.span, message, hint)

    def _extreme(self, node: Extreme) -> None:
        known = self.pattern(node.event)
        fields = self._numbers(known, node.of)
        # What rewards are by now is no promise, as a lower bound of an event is.
        if all(one.counts is None for one in known):
            check_extreme(node, fields, self.report)

    def _streak(self, node: Streak) -> None:
        self.pattern(node.event)
        check_streak(node, self.unit(node.unit), self.report)

    def _sequence(self, node: Sequence) -> None:
        for step in node.steps:
            self.pattern(step)

    # -- groups --

    def keyed(self, node: Condition, field: Name) -> None:
        """Check the field of `repeat by` on the condition that it groups."""
        self._keys(node, (field,))

    def _keys(self, node: Condition, names: tuple[Name, ...]) -> None:
        """Check the fields by which a condition is asked: everything that it counts has them."""
        if not names:
            return
        patterns = all_counted(node)
        if not patterns:
            hint = "group what is counted: all(unlocked(...), count(event=..., >= 1), by=...)"
            self.report.error("ACH202", names[0].span, "there are no events here to be grouped", hint)
        events = [one for pattern in patterns for one in pattern.alternatives]
        known = [one for one in events if one.event.text in self.names.events or one.counts is not None]
        for name in names:
            check_actor(known, name, self.report)
        fields = [self.fields(known, name.text, name.span) for name in names if name.text != ACTOR]
        check_lists(names, fields, self.report)
        lists = {field.name for each in fields for field in each if field.type.element is not None}
        check_one_value(node, [name for name in names if name.text not in lists], self.report)

    def _nested(self, node: Nested, window: str | None) -> None:
        if not isinstance(node, CountGroups):
            self._units(node, window)
            return
        self._keys(node.inner, node.by)
        self._asked(node.inner, window)
        check_whole(node.cmp, "values", self.report)

    def _asked(self, inner: Condition, window: str | None) -> None:
        """Check what each value or unit is asked."""
        depth = most_groups(inner) + 1
        if depth > MOST_NESTED:
            message = f"values and units may be counted inside each other {MOST_NESTED} times at most"
            self.report.error("ACH108", inner.span, message)
        else:
            self.check(inner, window)

    def _units(self, node: CountUnits | StreakUnits, window: str | None) -> None:
        unit = self.unit(node.unit)
        if not all_counted(node.inner):
            hint = "ask something of its events: count(per=day, count(event=..., >= 1), >= 5)"
            self.report.error("ACH202", node.inner.span, "there are no events here to be put into units", hint)
        self._asked(node.inner, f"`streak(per={node.unit.text})`" if isinstance(node, StreakUnits) else window)
        check_units(node, unit, self.report)

    def _numbers(self, events: list[Alternative], of: Name) -> list[Field]:
        fields = self.fields(events, of.text, of.span)
        wrong = next((field for field in fields if field.type not in _NUMBERS), None)
        if wrong is None:
            return fields
        self.report.error("ACH304", of.span, f"`{of.text}` is {a_type(wrong.type)}; `of=` takes a number")
        return []

    # -- modifiers --

    def _modifiers(self, mods: Modifiers) -> str | None:
        """Check the modifiers; return the window they open, in words."""
        if mods.unless is not None:
            self.pattern(mods.unless)
        if mods.tz is not None:
            self.zone(mods.tz)
        if mods.within is not None and not mods.within.us:
            self.report.error("ACH415", mods.within.span, "no event lies within a span of zero length")
        if mods.per is not None:
            self.unit(mods.per)
        if mods.within is not None:
            return f"`within={mods.within.text}`"
        return None if mods.per is None else f"`per={mods.per.text}`"

    def unit(self, name: Name) -> Unit | None:
        """Return the calendar unit of that name."""
        if name.text in set(Unit):
            return Unit(name.text)
        hint = self.report.guess(name.text, tuple(Unit)) or f"units are {', '.join(Unit)}"
        if name.text in ("weekday", "weekdays", "workday", "workdays", "weekend"):
            hint = "count the days of each week: streak(per=week, count(event=..., distinct=at.date, >= 5), >= 4)"
        if "by" in (taken("count") or ()) and any(name.text in schema.fields for schema in self.names.events.values()):
            hint = f"`per=` takes a calendar unit; for each value of a field write by={name.text}"
        self.report.error("ACH206", name.span, f"there is no calendar unit `{name.text}`", hint)
        return None

    def zone(self, node: Zone) -> None:
        """Check that a zone exists."""
        if node.kind == "user":
            self._user_zone(node)
        elif node.kind == "iana" and zone(node.name) is None:
            hint = 'use an IANA name such as "Europe/Berlin"'
            if node.name in ("user", "event"):
                hint = f"write tz={node.name} without quotes"
            self.report.error("ACH207", node.span, f'there is no time zone "{node.name}"', hint)

    def _user_zone(self, node: Zone) -> None:
        if self.names.lost_traits or self.names.traits.get(TIMEZONE) is FieldType.STRING:
            return
        hint = f"declare it: traits from user.updated {{ {TIMEZONE}: string }}"
        message = f"no trait `{TIMEZONE}` is declared as a string, so tz=user is UTC for all users"
        self.report.warn("ACH502", node.span, message, hint)

    # -- names --

    def pattern(self, node: Pattern) -> list[Alternative]:
        """Check the events of a pattern and their filters; return the alternatives that are declared."""
        known: list[Alternative] = []
        before = self.report.errors
        for one in node.alternatives:
            self.events.add(one.event.text)
            if one.counts is not None:
                known.append(one)
                self.counted.extend(check_pattern(node, one, self.names, self.report))
            elif self.event(one.event):
                known.append(one)
                check_role(self.names, one.event.text, one.role, self.report, scope=self.scope)
            else:
                continue
            if one.where is not None:
                check_filter(one.where, partial(self._ref, [one]), self.report)
        if node.where is not None:
            check_filter(node.where, partial(self._ref, known), self.report)
        for one in known if self.report.errors == before else ():
            check_counted(node, one, self.names, self.report)
            check_occurrences(node, one, self.names, self.report)
        return known

    def schema(self, one: Alternative) -> EventSchema:
        """Return what an alternative over a declared event, or over `unlocks`, may have in its fields."""
        if one.counts is None:
            return self.names.events[one.event.text]
        return EventSchema(name=one.event.text, fields=fields_of(one))

    def event(self, name: Name) -> bool:
        """Return whether an event is declared, and can be looked into."""
        if name.text in self.names.lost_events:
            return False
        if name.text in self.names.events:
            return True
        if name.text == UNLOCKS:
            hint = "unlocks come of events: write the events that earn them"
            self.report.error("ACH201", name.span, f"`{UNLOCKS}` is no event that happens by itself", hint)
            return False
        hint = self._of_an_event(name.text) or self.report.guess(name.text, self.names.events)
        self.report.error("ACH201", name.span, f"there is no event `{name.text}`", hint)
        return False

    def _of_an_event(self, written: str) -> str | None:
        """Return what `like.author` may mean, where `like` is an event with that field."""
        event, _, field = written.rpartition(".")
        schema = self.names.events.get(event)
        if schema is None or field not in schema.fields:
            return None
        if schema.fields[field].type.names_users:
            return f"for the users that the field names, write {event} as {field}"
        return f"`{field}` is a field of `{event}`: filter it, {event} where {field} ..."

    def fields(self, events: Iterable[Alternative], field: str, span: Span, meant: str | None = None) -> list[Field]:
        """Return the declarations of a field in all the events; report it and return none if one lacks it.

        `meant` is the hint where no name is near.
        """
        events = list({one.event.text if one.counts is None else id(one): one for one in events}.values())
        for one in events:
            if one.counts is not None and check_field(one, field, span, self.names, self.report) is None:
                return []
        schemas = [self.schema(one) for one in events]
        lacking = [schema for schema in schemas if field not in schema.fields]
        if lacking:
            where = ", ".join(f"`{schema.name}`" for schema in lacking[:3])
            hint = self.report.guess(field, lacking[0].fields) or meant
            if field in _ACTORS:
                hint = f"`{ACTOR}` is the user of the event"
            if field in self.names.traits:
                hint = f"`{field}` is a trait: use it in the achievement's `for`"
            elif self.report.is_element(field):
                hint = f"write `${field}` for the element of the family"
            elif field in _BUILT_IN:
                hint = f"the event's own time is `at`: write {_BUILT_IN[field]}"
            elif len(lacking) < len(schemas):
                hint = "every alternative must have it; if they differ, filter the alternatives one by one"
            self.report.error("ACH202", span, f"there is no field `{field}` in {where}", hint)
            return []
        found = [schema.fields[field] for schema in schemas]
        return found if self._alike(found, schemas[0].name if schemas else "", span) else []

    def _alike(self, fields: list[Field], first: str, span: Span) -> bool:
        families = {_FAMILIES.get(field.type, str(field.type)) for field in fields}
        if len(families) <= 1:
            return True
        other = next(field for field in fields if field.type is not fields[0].type)
        name = fields[0].name
        message = f"`{name}` is {a_type(fields[0].type)} in `{first}`, and {a_type(other.type)} in another event"
        self.report.error("ACH305", span, message)
        return False

    def _ref(self, events: list[Alternative], ref: Ref, meant: str | None) -> FieldType | None:
        fields = self.fields(events, ref.name, ref.span, meant)
        return fields[0].type if fields else None

    def _unknown(self, achievement: Name) -> None:
        """Report an achievement that there is none of: it has another name now, or is a whole family."""
        name = achievement.text
        now, member = self.names.renamed.get(name), self.names.member_of(name)
        if now is not None:
            self.report.error("ACH204", achievement.span, f"`{name}` is called `{now}` now", f"did you mean `{now}`?")
        elif member is not None:
            hint = f"`{name}` is a family: name one of its achievements, such as {member}"
            self.report.error("ACH204", achievement.span, f"there is no achievement `{name}`", hint)
        else:
            self.report.unknown("ACH204", "achievement", name, achievement.span, self.names.achievements)

    def target(self, achievement: Name, tier: Name | None) -> None:
        """Check that an achievement is declared, and has that tier in one of its versions."""
        name = achievement.text
        if name in self.names.lost_achievements or name.startswith(self.names.lost_families):
            return
        if name not in self.names.achievements:
            self._unknown(achievement)
        elif tier is not None and tier.text not in self.names.tiers[name]:
            tiers = self.names.tiers[name]
            hint = self.report.guess(tier.text, tiers) if tiers else f"`{name}` has no tiers"
            self.report.error("ACH205", tier.span, f"`{name}` has no tier `{tier.text}`", hint)
