"""Answers as one page: tables and bars, without script, without anything that is loaded; text of others is escaped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import jinja2

from worker.analysis.questions import Kind
from worker.analysis.shown import NONE, as_of, cell, figure, footnotes
from worker.report.escape import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.analysis.answers import Answer, Answers, Cell
    from worker.analysis.questions import Column

MOST_BARS: Final = 40
MOST_ROWS: Final = 500
WIDTH: Final = 1000
"""Units of a bar that is as long as can be."""
_PERCENT: Final = 100


class Bar(NamedTuple):
    """A bar: its label, its length and its interval in units of `WIDTH`, what it says, its tone (0 or 1)."""

    label: str
    length: int
    low: int | None
    high: int | None
    said: str
    tone: int


class Part(NamedTuple):
    """One answer on a page. `columns` are titles and whether they are figures; `left` rows are not shown."""

    name: str
    meaning: str
    notes: list[str]
    bars: list[Bar]
    bars_left: int
    columns: list[tuple[str, bool]]
    rows: list[list[tuple[str, bool]]]
    left: int


def page(answers: Answers) -> str:
    """Return answers as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("worker.analysis", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    values = {"parts": parts(answers), "as_of": visible(as_of(answers)), "width": WIDTH}
    return environment.get_template("report.html.j2").render(values)


def parts(answers: Answers) -> list[Part]:
    """Return what a page shows of answers; all text is visible and on one line."""
    return [_part(answer, answers) for answer in answers.answers]


def _part(answer: Answer, answers: Answers) -> Part:
    question = answer.question
    figures = [column.kind is not Kind.TEXT for column in question.columns]
    bars = _bars(answer)
    return Part(
        question.name,
        question.meaning,
        [visible(note) for note in footnotes(answer, answers)],
        bars[:MOST_BARS],
        len(bars[MOST_BARS:]),
        [(column.title, is_figure) for column, is_figure in zip(question.columns, figures, strict=True)],
        [list(zip(_texts(answer, row), figures, strict=True)) for row in answer.rows[:MOST_ROWS]],
        len(answer.rows[MOST_ROWS:]),
    )


def _texts(answer: Answer, row: Sequence[Cell]) -> list[str]:
    return [visible(cell(answer, column, value)) for column, value in zip(answer.question.columns, row, strict=True)]


def _bars(answer: Answer) -> list[Bar]:
    chart, columns = answer.question.chart, answer.question.columns
    by_name = [dict(zip([column.name for column in columns], row, strict=True)) for row in answer.rows]
    of = {column.name: column for column in columns}
    drawn = [one for name in (chart.value, chart.high) if name for row in by_name if (one := _number(row[name]))]
    most = _PERCENT if of[chart.value].kind is Kind.PERCENT else max(drawn, default=1)
    tones = sorted({str(row[chart.tone]) for row in by_name}) if chart.tone else []
    return [
        Bar(
            " · ".join(text for name in chart.labels if (text := visible(cell(answer, of[name], row[name])))),
            _length(row[chart.value], most) or 0,
            _length(row[chart.low], most) if chart.low else None,
            _length(row[chart.high], most) if chart.high else None,
            _said(of[chart.value], row[chart.value]),
            tones.index(str(row[chart.tone])) % 2 if chart.tone else 0,
        )
        for row in by_name
        if row[chart.value] is not None
    ]


def _said(column: Column, value: Cell) -> str:
    return NONE if value is None else f"{figure(column.kind, value)}{' %' if column.kind is Kind.PERCENT else ''}"


def _number(value: Cell) -> int:
    return 0 if value is None or isinstance(value, str) else max(0, int(value))


def _length(value: Cell, most: int) -> int | None:
    """Return a length in units; what is more than nothing is seen."""
    if value is None or isinstance(value, str):
        return None
    return min(WIDTH, max(3 if value > 0 else 0, int(WIDTH * value / most)))
