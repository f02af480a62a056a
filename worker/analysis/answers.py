"""Asking a mirror: its views within one tenant or all, the query of an analysis, and the answer with its age."""

from __future__ import annotations

from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Timer
from typing import TYPE_CHECKING, Final, NamedTuple

import sql
from dsl.diagnostics import nearest
from worker.analysis.questions import Kind
from worker.mirror.copied import Copied
from worker.mirror.duck import Bounds, DuckError, open_duck
from worker.mirror.manifest import ManifestError, read_manifest
from worker.mirror.reading import make_views
from worker.mirror.stores import GoneError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from worker.analysis.questions import Column, Question
    from worker.mirror.duck import Duck
    from worker.mirror.manifest import Manifest

MOST_ROWS: Final = 10_000
"""Rows of an answer; it says so where there are more."""
FEWEST: Final = 50
"""Subjects, as for the rarity that users see: of fewer nothing is said."""
_TENTH: Final = Decimal("0.1")
_TRIES: Final = 3
_NAMED: Final = 10
"""Names that a message lists."""

Cell = str | int | Decimal | None


class SlowError(Exception):
    """An analysis took longer than it may."""


class UnknownNameError(Exception):
    """What is asked for by name is not in the mirror; the message says what is."""


class Asked(NamedTuple):
    """What is asked: the row of the table `asked` (sql/analytics/views.sql), and the tenants (None: all)."""

    tenants: tuple[str, ...] | None = None
    fewest: int = FEWEST
    landmark_day: int = 7
    gap_times: int = 10
    late_seconds: int = 3600
    near_percent: int = 80
    achievement: str | None = None
    trait: str | None = None


class Answer(NamedTuple):
    """The rows of an analysis, in its order; `more` says that there are more than `MOST_ROWS`."""

    question: Question
    rows: list[tuple[Cell, ...]]
    more: bool


class Age(NamedTuple):
    """Which run of the mirror an answer comes of; `at` is its moment, RFC 3339 in UTC."""

    run: int
    at: str


class Answers(NamedTuple):
    """Answers of one run of a mirror."""

    age: Age
    asked: Asked
    answers: list[Answer]


def ask(
    mirror: Path | Copied, questions: Sequence[Question], asked: Asked, bounds: Bounds, *, seconds: int | None = None
) -> Answers:
    """Answer questions by a mirror, in a folder or copied from a bucket. Blocks; `seconds` bounds each of them.

    A run of the mirror deletes files that it has merged: where it does in the meantime, all is asked again.

    Raises:
        ManifestError: the folder is no mirror, or not of these tenants; the message says what to do.
        DuckError: a file cannot be read, or the bounds are too narrow.
        SlowError: one took too long.
        UnknownNameError: no such achievement was ever deployed, or no user has such a trait.
        StoreError: the store of the bucket does not give it.
        OSError: the folder cannot be read, or the disk cannot take the copy.
    """
    for attempt in range(_TRIES):
        manifest = manifest_of(mirror, asked.tenants)
        try:
            with _opened(mirror, manifest, asked, bounds) as duck:
                _check(duck, "achievement", asked.achievement, "rule_version")
                _check(duck, "trait", asked.trait, "trait_span")
                answers = [_answer(duck, question, seconds) for question in questions]
        except (DuckError, GoneError):
            if attempt + 1 < _TRIES and manifest_of(mirror, asked.tenants).run != manifest.run:
                continue
            raise
        return Answers(Age(manifest.run, manifest.at), asked, answers)
    raise AssertionError(mirror)


def manifest_of(mirror: Path | Copied, tenants: Sequence[str] | None) -> Manifest:
    """Return the manifest of a mirror that can answer about tenants, or about all.

    Raises:
        ManifestError: there is none; the message says what to do.
        StoreError: the store of the bucket does not say.
        OSError: it cannot be read.
    """
    try:
        manifest = mirror.look() if isinstance(mirror, Copied) else read_manifest(mirror)
    except NotADirectoryError:
        manifest = None
    except ManifestError as error:
        said = str(error).replace("name an empty folder", "it is no mirror")
        raise ManifestError(said.replace("name an empty prefix", "it is no mirror")) from None
    if manifest is None:
        raise ManifestError(f"{mirror} is no mirror: run `ach mirror --to {mirror}` first")
    if not manifest.run:
        raise ManifestError(f"{mirror} is a mirror without a finished run: run `ach mirror --to {mirror}` again")
    if tenants is not None and manifest.tenant is not None and manifest.tenant not in tenants:
        raise ManifestError(
            f"{mirror} is a mirror of tenant {manifest.tenant!r} alone: name that one, or another folder"
        )
    return manifest


@contextmanager
def _opened(mirror: Path | Copied, manifest: Manifest, asked: Asked, bounds: Bounds) -> Generator[Duck]:
    folder = mirror.bring(manifest) if isinstance(mirror, Copied) else mirror
    # Elsewhere than in the mirror: who reads it need not be able to write there.
    with TemporaryDirectory(prefix="ach-analyze-") as spill, open_duck(bounds, Path(spill)) as duck:
        make_views(duck, folder, manifest, tenants=asked.tenants)
        prepare(duck, asked, manifest.at)
        yield duck


def _check(duck: Duck, column: str, name: str | None, view: str) -> None:
    """Refuse a name that occurs nowhere: an answer without rows would pass for one about it."""
    if name is None:
        return
    known = [str(one) for (one,) in duck.rows(f"SELECT DISTINCT {column} FROM {view} ORDER BY 1")]  # noqa: S608
    if name not in known:
        meant = nearest(name, known)
        there = ", ".join(known[:_NAMED]) + (", ..." if len(known) > _NAMED else "")
        hint = f"did you mean {meant}?" if meant else f"there is {there or 'none'}"
        raise UnknownNameError(f"no {column} {name!r} is in this mirror: {hint}")


def prepare(duck: Duck, asked: Asked, at: str) -> None:
    """Make what the queries share over the views of a mirror. `at` is the moment of its run.

    Raises:
        DuckError: it cannot be made.
    """
    for statement in sql.analysis("views").split(";\n"):
        duck.run(statement.replace("CREATE VIEW", "CREATE TEMP VIEW").replace("CREATE TABLE", "CREATE TEMP TABLE"))
    duck.run("INSERT INTO asked VALUES (CAST(? AS TIMESTAMP WITH TIME ZONE), ?, ?, ?, ?, ?, ?, ?)", at, *asked[1:])


def _answer(duck: Duck, question: Question, seconds: int | None) -> Answer:
    late: list[bool] = []

    def stop() -> None:
        late.append(True)
        duck.interrupt()

    timer = None if seconds is None else Timer(seconds, stop)
    if timer is not None:
        timer.daemon = True
        timer.start()
    try:
        return answer(duck, question)
    except DuckError as error:
        if late:
            raise SlowError(f"{question.name} took longer than {seconds} s") from error
        raise
    finally:
        if timer is not None:
            timer.cancel()


def answer(duck: Duck, question: Question) -> Answer:
    """Answer a question where all is prepared.

    Raises:
        DuckError: it cannot be answered.
    """
    pages = duck.pages(sql.analysis(question.query), MOST_ROWS + 1)
    rows = next(pages, None) or []
    pages.close()
    cells = [
        tuple(_cell(column, value) for column, value in zip(question.columns, row, strict=True))
        for row in rows[:MOST_ROWS]
    ]
    return Answer(question, cells, len(rows) > MOST_ROWS)


def _cell(column: Column, value: object) -> Cell:
    if value is None:
        return None
    if column.kind is Kind.TEXT:
        return str(value)
    if column.kind is Kind.PERCENT:
        return Decimal(str(value)).quantize(_TENTH)
    return int(Decimal(str(value)))
