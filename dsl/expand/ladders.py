"""Ladders: one `when` whose bound is left out, and tiers that give it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec
from msgspec.structs import replace

from dsl.syntax import Achievement, Cmp, Extreme, Tier

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsl.expand.reported import Reported
    from dsl.source import Source
    from dsl.syntax import Condition, Rung


def climb(node: Achievement, source: Source, found: Reported) -> Achievement | None:
    """Return an achievement with its rungs as tiers; None where they make none, which is reported."""
    if not node.rungs:
        return node
    if node.tiers:
        message = "some tiers have a bound, and some a `when` of their own"
        found.error("ACH445", source, node.tiers[0].name.span, message, "give all a bound, or none")
        return None
    if node.when is None:
        hint = "write it without its bound: when count(event=lesson.completed)"
        found.error("ACH445", source, node.rungs[0].bound.span, "tiers with a bound need a `when` of all of them", hint)
        return None
    left_out = list(_open_bounds(node.when))
    if len(left_out) != 1:
        _refuse(node, left_out, source, found)
        return None
    down = _counts_down(node.when)
    for rung in node.rungs:
        if (rung.bound.op in ("<=", "<")) != down:
            message = f"the bound that `when` leaves out must be {'`<=` or `<`' if down else '`>=` or `>`'}"
            found.error("ACH114", source, rung.bound.span, message)
            return None
    tiers = tuple(_tier(node.when, rung) for rung in node.rungs)
    order = tuple(word for word in node.order if word != "when")
    return replace(node, when=None, rungs=(), tiers=tiers, order=order)


def _refuse(node: Achievement, left_out: list[Cmp], source: Source, found: Reported) -> None:
    if left_out:
        message = "only one operator may leave its bound out for the tiers to give"
        found.error("ACH445", source, left_out[1].span, message, "give this one its bound")
    else:
        message = "`when` has its bounds already, so that this one has no place"
        hint = "leave the bound out of `when`: when count(event=lesson.completed)"
        found.error("ACH445", source, node.rungs[0].bound.span, message, hint)


def _tier(when: Condition, rung: Rung) -> Tier:
    filled = cast("Condition", _filled(when, rung.bound))
    return Tier(name=rung.name, when=filled, title=rung.title, reward=rung.reward, reveal=rung.reveal, span=rung.span)


def _filled(value: object, bound: Cmp) -> object:
    """Return a part of a condition with the bound in its place."""
    if isinstance(value, Cmp):
        return bound if value.kind == "open" else value
    if type(value) is tuple:
        return tuple(_filled(part, bound) for part in cast("tuple[object, ...]", value))
    if not isinstance(value, msgspec.Struct):
        return value
    parts = {name: (part, _filled(part, bound)) for name in value.__struct_fields__ if (part := getattr(value, name))}
    changed = {name: after for name, (before, after) in parts.items() if after != before}
    return replace(value, **changed) if changed else value


def _open_bounds(value: object) -> Iterator[Cmp]:
    for part in _parts(value):
        if isinstance(part, Cmp) and part.kind == "open":
            yield part


def _counts_down(value: object) -> bool:
    """Return whether the bound that is left out is that of a `min`."""
    return any(isinstance(part, Extreme) and part.kind == "min" and part.cmp.kind == "open" for part in _parts(value))


def _parts(value: object) -> Iterator[object]:
    """Yield a part of a tree and everything below it."""
    yield value
    if type(value) is tuple:
        for part in cast("tuple[object, ...]", value):
            yield from _parts(part)
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _parts(getattr(value, name))
