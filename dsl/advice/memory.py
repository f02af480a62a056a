"""Memory without bound: conditions whose state of one subject keeps growing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dsl.prove.conditions import at_least
from dsl.remembers import MEBIBYTE, size_of
from dsl.syntax import Count, Nested, Sequence, Sum
from dsl.trees import key_of, walk, whens

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsl.advice.rulebook import Rulebook
    from dsl.check.problems import Problems
    from dsl.remembers import Remembered
    from dsl.source import Span
    from dsl.syntax import Achievement, Condition

MOST: Final = MEBIBYTE
"""Size of one aggregate in bytes; a larger one is reported as if it had no bound."""


def advise_on_memory(book: Rulebook, problems: Problems) -> None:
    """Report each aggregate that may grow without limit or too far, at the condition that asks most of it."""
    for each in book.inventory.aggregates:
        if each.kind == "once" or not _grows(each):
            continue
        version, span = _culprit(book, each)
        size = each.size
        if size.bytes is None:
            message = f"for every {each.scope} this stores {size.by}"
            hint = "limit it with a span: `within=30d`"
            if each.kind == "groups":
                hint = None
        else:
            message = f"for every {each.scope} this may store {size_of(size.bytes)} ({size.by})"
            hint = "lower the bound; a count without a span stores only a number"
        problems.of(book.source(version)).warn("ACH509", span, message, hint)
    _fingerprints(book, problems)


def _grows(each: Remembered) -> bool:
    """Return whether to report it. A maximum without a span keeps only falling values, which are few."""
    if each.size.bytes is None:
        return not each.size.bounded and each.kind != "extreme"
    return each.size.bytes > MOST


def _fingerprints(book: Rulebook, problems: Problems) -> None:
    """Report `once per` without `within`: the engine remembers each fingerprint for ever."""
    for source, event in book.events():
        if event.once is not None and event.once.within is None:
            fields = ", ".join(f"`{field.text}`" for field in event.once.fields)
            message = f"for every user this stores every {fields} that has ever occurred"
            hint = "limit it to the time in which copies may arrive: `within 1d`"
            problems.of(source).warn("ACH509", event.once.span, message, hint)


def _culprit(book: Rulebook, each: Remembered) -> tuple[Achievement, Span]:
    """Return the condition that asks most of an aggregate, and the version that it stands in."""
    found: list[tuple[int, int, Achievement, Span]] = []
    for number, user in enumerate(each.users):
        version = next(v for v in book.rules.achievements[user.achievement] if v.version == user.version)
        found.append((0, -number, version, version.name.span))
        for part in (part for when in _asking(version, user.tier) for part in walk(when)):
            match part:
                case _ if each.kind == "groups" and (key_of(part) or isinstance(part, Nested)):
                    found.append((1, -number, version, part.span))
                case Sequence(by=by) if each.kind == "sequence" and by is not None:
                    found.append((1, -number, version, part.span))
                case Sum() if each.kind == "sum":
                    found.append((1, -number, version, part.span))
                case Count() if each.kind == "count" and bool(part.distinct) == (each.what == "values"):
                    found.append((at_least(part.cmp), -number, version, part.span))
                case _:
                    pass
    _, _, version, span = max(found, key=lambda one: one[:2])
    return version, span


def _asking(version: Achievement, tier: str | None) -> Iterator[Condition]:
    named = [each.when for each in version.tiers if each.name.text == tier]
    yield from named or whens(version)
