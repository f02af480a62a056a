"""Rules that no example covers: nothing shows that they do what they should."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dsl.syntax import Expect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsl.advice.rulebook import Rulebook
    from dsl.check.problems import Problems, Report
    from dsl.source import Source
    from dsl.syntax import Achievement

MOST: Final = 3
"""Achievements without an example that are told one by one."""


def advise_on_examples(book: Rulebook, problems: Problems) -> None:
    """Tell the achievements that no example expects anything of; of a rule set without examples, only that."""
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
    left: dict[Source, list[Achievement]] = {}
    for source, node in book.versions():
        name = node.name.text
        if name not in expected and node is rules.achievements[name][0]:
            left.setdefault(source, []).append(node)
    for source, nodes in left.items():
        _tell(nodes, problems.of(source))


def _tell(nodes: Sequence[Achievement], report: Report) -> None:
    """Tell a few one by one, and many at once."""
    if len(nodes) > MOST:
        rest = ", ".join(node.name.text for node in nodes[1 : MOST + 1]) + (", ..." if len(nodes) > MOST + 1 else "")
        message = f"no example covers `{nodes[0].name.text}` and {len(nodes) - 1} more in this file: {rest}"
        report.warn("ACH510", nodes[0].name.span, message, "ach test --coverage tells what examples have decided")
        return
    for node in nodes:
        hint = f"in an example: expect ada {node.name.text}, or expect ada not {node.name.text}"
        report.warn("ACH510", node.name.span, f"no example covers `{node.name.text}`", hint)
