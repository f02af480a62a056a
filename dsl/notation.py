"""Trees as the language writes them: on one line, arguments in one order, without comments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsl.syntax import (
    And,
    Arithmetic,
    Call,
    Combine,
    Compare,
    Contains,
    Count,
    CountGroups,
    CountUnits,
    Duration,
    Extreme,
    Instant,
    Member,
    Not,
    Or,
    Present,
    Ref,
    RepeatBy,
    RepeatEach,
    Sequence,
    Streak,
    StreakUnits,
    Sum,
    Truth,
    Unlocked,
)
from dsl.values import canonical_number, canonical_text

if TYPE_CHECKING:
    from dsl.syntax import (
        Achievement,
        Active,
        Alternative,
        Cmp,
        Condition,
        Expression,
        Literal,
        Modifiers,
        Name,
        Nested,
        Pattern,
        Predicate,
        Repeat,
        Target,
        Zone,
    )

# -- conditions -------------------------------------------------------------------------------------------------------


def condition(tree: Condition) -> str:
    """Return a condition, such as `count(event=lesson.completed, >= 10, within=7d)`."""
    match tree:
        case Count(event=event, distinct=names, cmp=cmp):
            distinct = (f"distinct={_fields(names)}",) if names else ()
            return _call("count", f"event={pattern(event)}", *distinct, bound(cmp), *_modifiers(tree.mods))
        case Sum(event=event, of=name, cmp=cmp):
            return _call("sum", f"event={pattern(event)}", f"of={name.text}", bound(cmp), *_modifiers(tree.mods))
        case Extreme(kind=kind, event=event, of=name, cmp=cmp):
            return _call(kind, f"event={pattern(event)}", f"of={name.text}", bound(cmp), *_modifiers(tree.mods))
        case Streak():
            return _streak(tree)
        case Sequence(steps=steps, by=name):
            by = () if name is None else (f"by={name.text}",)
            return _call("sequence", f"[{', '.join(map(pattern, steps))}]", *by, *_modifiers(tree.mods))
        case Combine(kind=kind, k=k, parts=parts):
            number = (str(k),) if kind == "at_least" else ()
            return _call(kind, *number, *map(condition, parts), *_modifiers(tree.mods))
        case Unlocked():
            return _call("unlocked", target(tree), *_modifiers(tree.mods))
        case CountGroups() | CountUnits() | StreakUnits():
            return _nested(tree)


def _nested(tree: Nested) -> str:
    kind = "streak" if isinstance(tree, StreakUnits) else "count"
    key = f"by={_fields(tree.by)}" if isinstance(tree, CountGroups) else f"per={tree.unit.text}"
    rests = (f"grace={tree.grace}",) if isinstance(tree, StreakUnits) and tree.grace else ()
    return _call(kind, key, condition(tree.inner), bound(tree.cmp), *rests, *_modifiers(tree.mods))


def _call(operator: str, *arguments: str) -> str:
    return f"{operator}({', '.join(arguments)})"


def _streak(tree: Streak) -> str:
    least = () if tree.min == 1 else (f"min={tree.min}",)
    grace = () if not tree.grace else (f"grace={tree.grace}",)
    parts = (f"event={pattern(tree.event)}", f"per={tree.unit.text}", bound(tree.cmp), *least, *grace)
    return _call("streak", *parts, *_modifiers(tree.mods))


def _modifiers(mods: Modifiers) -> list[str]:
    texts: list[str] = []
    if mods.within is not None:
        texts.append(f"within={mods.within.text}")
    if mods.per is not None:
        texts.append(f"per={mods.per.text}")
    if mods.unless is not None:
        texts.append(f"unless={pattern(mods.unless)}")
    if mods.tz is not None:
        texts.append(f"tz={zone(mods.tz)}")
    if mods.by:
        texts.append(f"by={_fields(mods.by)}")
    return texts


def _fields(names: tuple[Name, ...]) -> str:
    return names[0].text if len(names) == 1 else f"[{', '.join(name.text for name in names)}]"


def zone(tz: Zone) -> str:
    """Return what stands behind `tz=`: `user`, `"Europe/Berlin"`."""
    return canonical_text(tz.name) if tz.kind == "iana" else tz.kind


def bound(cmp: Cmp) -> str:
    """Return a bound: `>= 10`."""
    return f"{cmp.op} {canonical_number(cmp.bound)}"


def target(tree: Target | Unlocked) -> str:
    """Return `NAME` or `NAME.TIER`."""
    return tree.achievement.text if tree.tier is None else f"{tree.achievement.text}.{tree.tier.text}"


# -- events and filters -----------------------------------------------------------------------------------------------


def pattern(tree: Pattern) -> str:
    """Return a pattern: `lesson.completed where seconds >= 60`, or a list of them."""
    each = [_alternative(one, in_role=tree.role is None) for one in tree.alternatives]
    text = f"[{', '.join(each)}]" if tree.listed or len(each) > 1 else each[0]
    text = text if tree.role is None else f"{text} as {tree.role.text}"
    return text if tree.where is None else f"{text} where {predicate(tree.where)}"


def _alternative(tree: Alternative, *, in_role: bool) -> str:
    name = tree.event.text if tree.role is None or not in_role else f"{tree.event.text} as {tree.role.text}"
    return name if tree.where is None else f"{name} where {predicate(tree.where)}"


def predicate(tree: Predicate) -> str:
    """Return a filter, with parentheses where they are needed."""
    match tree:
        case Compare(left=left, op=op, right=right):
            return f"{expression(left)} {op} {expression(right)}"
        case Member(left=left, negated=negated, values=values):
            return f"{expression(left)}{' not' * negated} in [{', '.join(map(expression, values))}]"
        case Contains(left=left, negated=negated, list=listed):
            return f"{expression(left)}{' not' * negated} in {listed.name}"
        case Present(left=left, negated=negated):
            return f"{left.name} is{' not' * negated} present"
        case Truth(left=left):
            return left.name
        case Not(part=part):
            return f"not {_part(part, And, Or)}"
        case And(parts=parts):
            return " and ".join(_part(part, And, Or) for part in parts)
        case Or(parts=parts):
            return " or ".join(_part(part, Or) for part in parts)


def _part(tree: Predicate, *looser: type[Predicate]) -> str:
    return f"({predicate(tree)})" if isinstance(tree, looser) else predicate(tree)


def expression(tree: Expression) -> str:
    """Return a value of a filter, with parentheses where they are needed: `2 * (seconds + 5)`."""
    match tree:
        case Ref(name=name):
            return name
        case Call(function=function, of=of):
            return f"{function}({expression(of)})"
        case Arithmetic(op=op, left=left, right=right):
            return f"{_factor(left, op)} {op} {_factor(right, op, last=True)}"
        case Instant(text=text) | Duration(text=text):
            return text
        case _:
            return _literal(tree)


def _factor(tree: Expression, op: str, *, last: bool = False) -> str:
    """Return an operand, in parentheses where they change what belongs together."""
    apart = isinstance(tree, Arithmetic) and (last or tree.op != "*") and (op == "*" or (last and tree.op != "*"))
    return f"({expression(tree)})" if apart else expression(tree)


def _literal(tree: Literal) -> str:
    value = tree.value
    if isinstance(value, bool):
        return "true" if value else "false"
    return canonical_text(value) if isinstance(value, str) else canonical_number(value)


# -- clauses ----------------------------------------------------------------------------------------------------------


def clauses(version: Achievement) -> dict[str, str]:
    """Return the clauses beside `when` and `tier` that decide who earns a version, and when: keyword to its text."""
    found: dict[str, str] = {}
    if version.since is not None:
        found["from"] = version.since.text
    if version.fresh:
        found["fresh"] = "fresh"
    if version.where is not None:
        found["for"] = predicate(version.where)
    if version.after:
        found["after"] = ", ".join(map(target, version.after))
    if version.active is not None:
        found["active"] = _active(version.active)
    if version.repeat is not None:
        found["repeat"] = _repeat(version.repeat)
    if version.scope is not None and version.scope.name != "user":
        found["scope"] = version.scope.name
    if version.settle is not None:
        found["settle"] = version.settle.text
    return found


def _active(tree: Active) -> str:
    ends = [None if end is None else end.text for end in (tree.start, tree.end)]
    return " ".join(part for part in (ends[0], "..", ends[1]) if part is not None)


def _repeat(tree: Repeat) -> str:
    if isinstance(tree, RepeatEach):
        return "each"
    if isinstance(tree, RepeatBy):
        return f"by {tree.field.text}"
    return f"every {tree.unit.text}" + ("" if tree.tz is None else f" tz={zone(tree.tz)}")
