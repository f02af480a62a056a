"""Old names of achievements: each is that of one achievement, and no achievement has it now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsl.check.achievements import MAX_NAME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsl.check.names import Declared, Names
    from dsl.check.problems import Problems, Report
    from dsl.syntax import Name


def check_renames(names: Names, problems: Problems) -> None:
    """Check the clauses `renamed from`, and give `names` what they say."""
    for name, versions in names.achievements.items():
        written = [each for each in versions if each.node.renamed]
        if not written:
            continue
        _alike(name, written, problems)
        source, node = written[0]
        report = problems.of(source)
        for place, old in enumerate(node.renamed):
            back = place > 0 and place == len(node.renamed) - 1 and old.text == name
            if not back:
                _old_name(name, old, names, report)


def _old_name(name: str, old: Name, names: Names, report: Report) -> None:
    """Check one old name of an achievement. Where it is the achievement's own, that has come back to it."""
    other = names.renamed.get(old.text)
    if len(old.text) > MAX_NAME:
        report.error("ACH118", old.span, f"a name has at most {MAX_NAME} characters; this one has {len(old.text):,}")
    elif old.text == name:
        hint = "leave it out; an achievement that has its first name again names it last, behind those between"
        report.error("ACH231", old.span, f"`{name}` has this name", hint)
    elif old.text in names.achievements or old.text in names.lost_achievements:
        hint = f"its unlocks are those of `{name}`: give the other achievement a new name, or leave the clause out"
        report.error("ACH231", old.span, f"there is an achievement `{old.text}` beside `{name}`", hint)
    elif other == name:
        report.error("ACH232", old.span, f"`{old.text}` is named twice")
    elif other is not None:
        hint = "its unlocks can go on as those of one achievement alone"
        report.error("ACH232", old.span, f"`{other}` was renamed from `{old.text}` too", hint)
    else:
        names.renamed[old.text] = name


def _alike(name: str, written: Sequence[Declared], problems: Problems) -> None:
    """Check that all versions with the clause say the same."""
    first = [old.text for old in written[0].node.renamed]
    for source, node in written[1:]:
        if [old.text for old in node.renamed] != first:
            message = f"version {written[0].node.version} of `{name}` was renamed from {', '.join(first)}"
            hint = "a name belongs to all versions: write the same in each, or in one of them alone"
            problems.of(source).error("ACH233", node.renamed[0].span, message, hint)
