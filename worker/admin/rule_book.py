"""What was deployed when, by whose hand and why; and rule files without one achievement."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.expand import expand
from dsl.parse import parse
from dsl.renames import old_names
from dsl.source import Source
from dsl.syntax import Achievement, Example, Expect
from worker.admin.changes import name_and_number
from worker.engine.rule_set import RuleFile
from worker.pipeline.rules_in_force import RuleSetRow, files_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Iterator, Sequence

    from dsl.source import Span
    from dsl.syntax import File
    from worker.store import Store

PAGE: Final = 20
"""Epochs that are read at once."""


class Past(NamedTuple):
    """One epoch: its rule files, and who applied them; the instant in microseconds."""

    epoch: int
    sources: str
    hash: str
    applied_at: int
    applied_by: str
    change_id: int | None
    message: str
    state: str | None
    """Of its change; None where an earlier release has applied it."""


class Moved(NamedTuple):
    """An epoch, and which versions it has brought and taken, by (achievement, version)."""

    past: Past
    new: tuple[tuple[str, int], ...]
    retired: tuple[tuple[str, int], ...]
    renamed: tuple[tuple[str, str], ...] = ()
    """(name before, name since) of achievements that go on under another name."""


async def rule_set_of(store: Store, epoch: int) -> RuleSetRow | None:
    """Return the rule set of an epoch, or None where there was none."""
    async with store.transaction() as session:
        return await session.row(RuleSetRow, "rule_sets_of_epochs", epochs=[epoch])


async def holders(store: Store) -> dict[str, int]:
    """Return per achievement how many subjects hold it."""
    async with store.transaction() as session:
        return dict(await session.rows(name_and_number, "count_holders"))


async def history(store: Store, achievement: str | None = None) -> AsyncGenerator[Moved]:
    """Yield epochs, the latest first.

    With the first name of an achievement only those that have brought or taken a version of it, or renamed it.
    """
    later: Past | None = None
    async for past in _epochs(store):
        if later is not None and (moved := _step_of(later, past, achievement)) is not None:
            yield moved
        later = past
    if later is not None and (moved := _step_of(later, None, achievement)) is not None:
        yield moved


async def _epochs(store: Store) -> AsyncGenerator[Past]:
    skipped, more = 0, True
    while more:
        async with store.transaction() as session:
            page = await session.rows(Past, "rule_set_history", limit=PAGE, skipped=skipped)
        for past in page:
            yield past
        skipped, more = skipped + len(page), len(page) == PAGE


def _step_of(past: Past, before: Past | None, achievement: str | None) -> Moved | None:
    has, called = _versions(past.sources)
    had, were = (set[tuple[str, int]](), dict[str, str]()) if before is None else _versions(before.sources)
    concerned = (has | had) if achievement is None else {one for one in has | had if one[0] == achievement}
    new = tuple(sorted((called[first], version) for first, version in (has - had) & concerned))
    retired = tuple(sorted((were[first], version) for first, version in (had - has) & concerned))
    stay = {first for first, _ in concerned} & called.keys() & were.keys()
    renamed = tuple((were[first], called[first]) for first in sorted(stay) if were[first] != called[first])
    return Moved(past, new, retired, renamed) if achievement is None or new or retired or renamed else None


def _versions(sources: str) -> tuple[set[tuple[str, int]], dict[str, str]]:
    """Return what rule files declare, by first names, and what these are called there.

    They may be of an earlier release, which checked them otherwise.
    """
    found: defaultdict[str, list[Achievement]] = defaultdict(list)
    for file in expand([parse(Source(file.name, file.text))[0] for file in files_of(sources)]).files:
        for one in file.declarations:
            if isinstance(one, Achievement):
                found[one.name.text].append(one)
    first = {name: (name, *old_names(versions))[-1] for name, versions in found.items()}
    versions = {(first[name], one.version) for name, some in found.items() for one in some}
    return versions, {first[name]: name for name in found}


def without(files: Sequence[RuleFile], achievement: str) -> list[RuleFile]:
    """Return rule files without an achievement, and without what examples expect of it.

    An example that expects nothing else goes as a whole.
    """
    left: list[RuleFile] = []
    for file in files:
        parsed, _ = parse(Source(file.name, file.text))
        left.append(RuleFile(file.name, _cut(parsed.source.text, list(_spans(parsed, achievement)))))
    return left


def _spans(file: File, achievement: str) -> Iterator[Span]:
    for one in file.declarations:
        if isinstance(one, Achievement) and one.name.text == achievement:
            yield one.span
        elif isinstance(one, Example):
            expected = [line for line in one.lines if isinstance(line, Expect)]
            names = [line for line in expected if line.target.achievement.text == achievement]
            if names:
                yield from [one.span] if len(names) == len(expected) else [line.span for line in names]


def _cut(text: str, spans: Collection[Span]) -> str:
    """Return a text without spans, and without the lines that are empty then."""
    for span in sorted(spans, reverse=True):
        before, behind = text[: span.start], text[span.end :]
        line, rest = before.rpartition("\n")[2], behind.partition("\n")
        if not line.strip() and not rest[0].strip():
            before, behind = before[: len(before) - len(line)], rest[2]
        text = before + behind
    return text
