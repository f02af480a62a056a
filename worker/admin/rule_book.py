"""What was deployed when, by whose hand and why; and rule files without one achievement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.expand import expand
from dsl.parse import parse
from dsl.source import Source
from dsl.syntax import Achievement, Example, Expect
from worker.admin.changes import name_and_number
from worker.engine.rule_set import RuleFile
from worker.pipeline.rules_in_force import files_of

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


async def holders(store: Store) -> dict[str, int]:
    """Return per achievement how many subjects hold it."""
    async with store.transaction() as session:
        return dict(await session.rows(name_and_number, "count_holders"))


async def history(store: Store, achievement: str | None = None) -> AsyncGenerator[Moved]:
    """Yield epochs, the latest first; with an achievement only those that have brought or taken a version of it."""
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
    has = _versions(past.sources)
    had = set[tuple[str, int]]() if before is None else _versions(before.sources)
    new, retired = (
        tuple(sorted(one for one in some if achievement in {None, one[0]})) for some in (has - had, had - has)
    )
    return Moved(past, new, retired) if achievement is None or new or retired else None


def _versions(sources: str) -> set[tuple[str, int]]:
    """Return what rule files declare; they may be of an earlier release, which checked them otherwise."""
    return {
        (one.name.text, one.version)
        for file in expand([parse(Source(file.name, file.text))[0] for file in files_of(sources)]).files
        for one in file.declarations
        if isinstance(one, Achievement)
    }


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
