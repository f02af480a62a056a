"""A plan as Markdown: the comment on a proposed change of rules.

A comment is read by more people than the books are. So it names no user, no tenant and no operator, and what rules and
producers say stands in a block of code: there it is neither a link, nor a mention, nor HTML.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from worker.commands.plan.page import SHORT, lines
from worker.engine.preview import Status
from worker.report.escape import visible
from worker.report.screen import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from worker.engine.preview import Effect, Preview

LARGEST: Final = 60_000
"""Bytes of the page in a comment; GitHub takes 65,536 characters, with the rest."""
LONGEST: Final = 1_000
"""Characters of a line."""
_STATUSES: Final = {Status.NEW: "new", Status.CHANGED: "changed", Status.RETIRED: "retired"}


def markdown(preview: Preview) -> str:
    """Return the plan as GitHub and GitLab render it: what changes, in a sentence, and the page in a block of code."""
    page = [_shortened(visible(line.text)) for line in lines(_without_names(preview))]
    kept = list(_within(page, LARGEST))
    fence = _fence(kept)
    parts = ["### Plan of the rules", _headline(preview), "\n".join([f"{fence}diff", *kept, fence])]
    if preview.refused:
        refused = plural(len(preview.refused), "deployed version")
        parts.insert(2, f"**`ach apply` refuses this**: {refused} would mean something else.")
    if len(kept) < len(page):
        parts.append(f"{plural(len(page) - len(kept), 'line')} more: run `ach plan`.")
    return "\n\n".join(parts) + "\n"


def _without_names(preview: Preview) -> Preview:
    def bare(effects: Iterable[Effect]) -> list[Effect]:
        return [replace(effect, examples=[]) for effect in effects]

    achievements = [
        replace(one, effects=bare(one.effects), consequences=bare(one.consequences)) for one in preview.achievements
    ]
    return replace(preview, applied_by=None, achievements=achievements)


def _headline(preview: Preview) -> str:
    if not preview.is_change:
        return "**No change.**"
    statuses = Counter(one.status for one in preview.achievements)
    rules = [f"{statuses[status]:,} {word}" for status, word in _STATUSES.items() if statuses[status]]
    if preview.in_words:
        rules.append(f"{len(preview.in_words):,} in words only")
    if preview.contracts:
        rules.append(plural(len({one.declaration for one in preview.contracts}), "declaration"))
    unlocks = Counter[str]()
    for one in preview.achievements:
        for effect in (*one.effects, *one.consequences):
            unlocks[effect.decision] += effect.unlocks if effect.estimate is None else effect.estimate.unlocks
    about = "" if preview.sample is None else "about "
    decided = [f"{about}{unlocks[name]:,} {word}" for name, word in SHORT.items() if unlocks[name]]
    return f"**Rules: {', '.join(rules) or 'as before'}.** Unlocks: {', '.join(decided) or 'as before'}."


def _shortened(line: str) -> str:
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} ..."


def _within(page: Sequence[str], size: int) -> Iterator[str]:
    """Yield lines from the first one on, as many as have room."""
    for line in page:
        size -= len(line.encode()) + 1
        if size < 0:
            return
        yield line


def _fence(page: Sequence[str]) -> str:
    """Return a fence that no line of the page can end."""
    longest = max((len(run) for line in page for run in re.findall("`+", line)), default=0)
    return "`" * max(3, longest + 1)
