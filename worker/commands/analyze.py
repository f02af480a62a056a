"""`ach analyze`: answers for product and operations, from a mirror."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from dsl.diagnostics import nearest
from worker.commands.options import NAMED, PLACE, memory_of, seconds_of
from worker.commands.places import readable
from worker.commands.servers import CommandError, on_servers, with_store
from worker.distribution import install
from worker.report import screen

try:
    from worker.analysis.answers import FEWEST, Asked, SlowError, UnknownNameError, ask
    from worker.analysis.page import page
    from worker.analysis.questions import BY_NAME, QUESTIONS, Kind
    from worker.analysis.shown import as_of, cell, footnotes, json_value
    from worker.analysis.small import LargeError, ask_database
    from worker.mirror.duck import Bounds, DuckError
    from worker.mirror.folder import DiskError
    from worker.mirror.manifest import ManifestError
    from worker.mirror.stores import StoreError
except ModuleNotFoundError as missing:
    if missing.name is None or missing.name.partition(".")[0] not in {"duckdb", "jinja2", "markupsafe"}:
        raise
    screen.fail(f"`ach analyze` needs {missing.name}, which is not installed", install("analytics"))
    sys.exit(1)

if TYPE_CHECKING:
    from worker.analysis.answers import Answer, Answers
    from worker.analysis.questions import Question
    from worker.mirror.copied import Copied
    from worker.mirror.place import Place
    from worker.settings import Settings
    from worker.store import Store

ALL: Final = "all"
SHOWN: Final = 200
"""Rows of a table on a terminal."""


class _How(NamedTuple):
    """How answers are printed."""

    as_json: bool
    html: Path | None


@click.command("analyze")
@click.argument("name", required=False)
@click.option("--from", "place", type=PLACE, metavar="PLACE", help="The mirror: a folder, or s3://BUCKET/PREFIX.")
@click.option("--tenant", "-t", type=NAMED, metavar="TENANT", help="Of one tenant alone.")
@click.option("--achievement", type=NAMED, metavar="NAME", help="Of one achievement alone.")
@click.option("--by", "trait", metavar="TRAIT", help="segments, retention: by this trait.")
@click.option("--landmark", default=7, show_default=True, type=click.IntRange(1, 365), help="retention: the day.")
@click.option("--late", default="1h", show_default=True, metavar="SPAN", help="quality: from when on it is late.")
@click.option("--times", default=10, show_default=True, type=click.IntRange(2, 1000), help="rules: gaps until silent.")
@click.option("--near", default=80, show_default=True, type=click.IntRange(1, 99), help="near-miss: percent.")
@click.option("--fewest", default=FEWEST, show_default=True, type=click.IntRange(1, 1_000_000),
              help="Of fewer subjects, no figure.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write a page.")
@click.option("--memory", default="512MB", show_default=True, metavar="SIZE", help="What DuckDB may take.")
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1, 64), help="What DuckDB may run.")
def command(  # noqa: PLR0913 - its options
    *,
    name: str | None,
    place: Place | None,
    tenant: str | None,
    achievement: str | None,
    trait: str | None,
    landmark: int,
    late: str,
    times: int,
    near: int,
    fewest: int,
    as_json: bool,
    html: Path | None,
    memory: str,
    threads: int,
) -> None:
    """Answer a question of product or operations from a mirror (docs/analyze.md); without a NAME, list them.

    NAME may be `all`. Without --from it asks DATABASE_URL, where that is small.
    """
    if name is None:
        _list()
        return
    if as_json and html is not None:
        raise screen.usage("--json or --html, not both")
    questions = _questions(name)
    bounds = Bounds(memory_of(memory), threads)
    asked = Asked(
        None if tenant is None else (tenant,),
        fewest,
        landmark,
        times,
        seconds_of("--late", late),
        near,
        achievement,
        trait,
    )
    how = _How(as_json, html)
    if place is None:
        on_servers(partial(_from_database, questions=questions, asked=asked, bounds=bounds, how=how))
        return
    try:
        _print(_from_mirror(readable(place), questions, asked, bounds), how)
    except CommandError as error:
        screen.fail(str(error), error.hint)
        sys.exit(1)


def _from_mirror(mirror: Path | Copied, questions: list[Question], asked: Asked, bounds: Bounds) -> Answers:
    try:
        return ask(mirror, questions, asked, bounds)
    except UnknownNameError as error:
        raise screen.usage(str(error)) from error
    except ManifestError as error:
        raise CommandError(str(error)) from error
    except StoreError as error:
        raise CommandError(str(error), error.hint) from error
    except OSError as error:
        raise CommandError(f"{mirror}: {error.strerror or error}") from error
    except (DuckError, SlowError) as error:
        raise CommandError(f"{mirror}: {error}", _hint(error)) from error


async def _from_database(
    settings: Settings, questions: list[Question], asked: Asked, bounds: Bounds, how: _How
) -> None:
    async def work(store: Store) -> Answers:
        return await ask_database(store, settings, questions, asked, bounds)

    try:
        answers = await with_store(settings, work)
    except LargeError as error:
        hint = "run `ach mirror --to DIR`, then `ach analyze ... --from DIR`"
        raise CommandError(f"{error}: too many to be read each time", hint) from error
    except UnknownNameError as error:
        raise screen.usage(str(error)) from error
    except ManifestError as error:
        raise CommandError(str(error)) from error
    except DuckError as error:
        raise CommandError(str(error), _hint(error)) from error
    except DiskError as error:
        raise CommandError(str(error), "is there room for temporary files?") from error
    _print(answers, how)


def _hint(error: Exception) -> str | None:
    if not isinstance(error, DuckError):
        return None
    if error.full:
        return "make room for temporary files"
    return "give it more with --memory" if error.memory else "is a file missing or damaged? run `ach mirror` again"


def _list() -> None:
    rows = [(question.name, question.meaning) for question in QUESTIONS]
    screen.table("", ("analysis", "what it says"), [*rows, (ALL, "All of these.")], ids=(0,))
    screen.out().say("ach analyze NAME --from DIR, where `ach mirror --to DIR` has written (docs/analyze.md)")


def _questions(name: str) -> list[Question]:
    if name == ALL:
        return list(QUESTIONS)
    if name in BY_NAME:
        return [BY_NAME[name]]
    meant = nearest(name, [*BY_NAME, ALL])
    raise screen.usage(f"there is no analysis {name!r}{f': did you mean {meant}?' if meant else ''} "
                       f"(`ach analyze` lists them)")  # fmt: skip


def _print(answers: Answers, how: _How) -> None:
    if how.as_json:
        screen.say_json(json_value(answers), decimal_format="number")
    elif how.html is not None:
        try:
            how.html.write_text(page(answers), encoding="utf-8")
        except OSError as error:
            raise CommandError(f"{how.html}: {error.strerror or error}") from error
        screen.out().say(f"{how.html}: {screen.plural(len(answers.answers), 'analysis').replace('siss', 'ses')}, "
                         f"{as_of(answers)}")  # fmt: skip
    else:
        for one in answers.answers:
            _table(one, answers)
        screen.out().say(as_of(answers))


def _table(answer: Answer, answers: Answers) -> None:
    columns = answer.question.columns
    screen.out().say(f"{answer.question.name}: {answer.question.meaning}", style="bold")
    if answer.rows:
        rows = [
            [cell(answer, column, value) for column, value in zip(columns, row, strict=True)]
            for row in answer.rows[:SHOWN]
        ]
        right = [at for at, column in enumerate(columns) if column.kind is not Kind.TEXT]
        screen.table("", [column.title for column in columns], rows, right=right)
    else:
        screen.out().say(f"  {answer.question.empty}")
    if len(answer.rows) > SHOWN:
        screen.out().say(f"  {len(answer.rows) - SHOWN:,} more rows: --json has them, or ask for one achievement")
    for note in footnotes(answer, answers):
        screen.out().say(f"  {note}", style="dim")
    screen.out().say("")
