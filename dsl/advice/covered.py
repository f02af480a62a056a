"""Rules that no example covers: nothing shows that they work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dsl.syntax import Expect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsl.advice.rulebook import Rulebook
    from dsl.check.problems import Problems
    from dsl.source import Source
    from dsl.syntax import Achievement

MOST: Final = 3
"""Maximum number of achievements without an example that are reported one by one."""


def advise_on_examples(book: Rulebook, problems: Problems) -> None:
    """Report the achievements that no example covers; for a rule set without examples, report that once."""
    rules = book.rules
    if not rules.examples:
        if rules.achievements:
            source, node = next(iter(book.versions()))
            known = len(rules.achievements)
            which = "this achievement" if known == 1 else f"any of the {known} achievements"
            hint = 'write one: example "..." { at 2026-04-13T09:00:00Z ada ... expect ada ... }'
            problems.of(source).warn("ACH510", node.name.span, f"no example covers {which}", hint)
        return
    expected = {
        line.target.achievement.text for each in rules.examples for line in each.lines if isinstance(line, Expect)
    }
    left: dict[str, list[tuple[Source, Achievement]]] = {}  # by file: an editor reads each in pieces
    for source, node in book.versions():
        name = node.name.text
        if name not in expected and node.version == rules.achievements[name][0].version:
            left.setdefault(source.name, []).append((source, node))
    for found in left.values():
        _report(found, problems)


def _report(found: Sequence[tuple[Source, Achievement]], problems: Problems) -> None:
    """Report a few achievements of a file one by one, and many at once."""
    if len(found) > MOST:
        source, first = found[0]
        rest = ", ".join(node.name.text for _, node in found[1 : MOST + 1]) + (", ..." if len(found) > MOST + 1 else "")
        message = f"no example covers `{first.name.text}` and {len(found) - 1} more in this file: {rest}"
        hint = "ach test --coverage shows what the examples cover"
        problems.of(source).warn("ACH510", first.name.span, message, hint)
        return
    for source, node in found:
        hint = f"in an example: expect ada {node.name.text}, or expect ada not {node.name.text}"
        problems.of(source).warn("ACH510", node.name.span, f"no example covers `{node.name.text}`", hint)
