"""`once per` where `distinct` says the same already: contestable, and remembered for ever, without need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsl.analyze import patterns
from dsl.notation import condition
from dsl.syntax import NO_MODIFIERS, Count
from dsl.trees import walk, whens

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsl.advice.rulebook import Rulebook
    from dsl.check.problems import Problems
    from dsl.syntax import Achievement, Condition


def advise_on_copies(book: Rulebook, problems: Problems) -> None:
    """Report an event with `once per F` that every rule counts by `distinct=F`."""
    for source, event in book.events():
        if event.once is None or event.once.within is not None or len(event.once.fields) != 1:
            continue
        field, uses = event.once.fields[0].text, list(_uses(book, event.name.text))
        if uses and all(_counts(version, node, field) for version, node in uses):
            message = f"every rule counts different values of `{field}`: `once per {field}` leaves out nothing more"
            hint = f"leave it out: {condition(uses[0][1])} is final without it"
            problems.of(source).warn("ACH524", event.once.span, message, hint)


def _uses(book: Rulebook, event: str) -> Iterator[tuple[Achievement, Condition]]:
    for _, version in book.versions():
        for when in whens(version):
            for node in walk(when):
                if any(one.event.text == event for each in patterns(node) for one in each.alternatives):
                    yield version, node


def _counts(version: Achievement, node: Condition, field: str) -> bool:
    """Return whether copies make no difference: a count of values, without filter or span."""
    if not isinstance(node, Count) or [name.text for name in node.distinct] != [field]:
        return False
    filtered = any(one.where is not None for one in node.event.alternatives) or node.event.where is not None
    whole = any(node is when for when in whens(version))
    return (
        whole
        and not filtered
        and len(node.event.alternatives) == 1
        and node.mods == NO_MODIFIERS
        and _is_plain(version)
    )


def _is_plain(version: Achievement) -> bool:
    return version.repeat is None and version.active is None and not version.fresh
