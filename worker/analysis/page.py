"""Answers as one page: tables and bars, without script, without anything that is loaded; text of others is escaped."""

from __future__ import annotations

from pathlib import Path
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
    counted: str
    """How many it is about, "" where it does not say."""
    tone: int


class Part(NamedTuple):
    """One answer on a page. `columns` are titles and whether they are figures; `left` rows are not shown.

    `axis` says what a bar means, `ticks` what it is at its beginning, middle and end, `line` what is drawn over it, and
    `tones` the names of the two tones.
    """

    name: str
    meaning: str
    notes: list[str]
    bars: list[Bar]
    bars_left: int
    axis: str
    ticks: list[str]
    line: str
    tones: list[str]
    columns: list[tuple[str, bool]]
    rows: list[list[tuple[str, bool]]]
    left: int
    empty: str


def page(answers: Answers) -> str:
    """Return answers as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
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
        question.chart.axis,
        _ticks(answer),
        question.chart.line,
        [visible(one) for one in _tones(answer)],
        [(column.title, is_figure) for column, is_figure in zip(question.columns, figures, strict=True)],
        [list(zip(_texts(answer, row), figures, strict=True)) for row in answer.rows[:MOST_ROWS]],
        len(answer.rows[MOST_ROWS:]),
        question.empty,
    )


def _texts(answer: Answer, row: Sequence[Cell]) -> list[str]:
    return [visible(cell(answer, column, value)) for column, value in zip(answer.question.columns, row, strict=True)]


def _bars(answer: Answer) -> list[Bar]:
    chart, by_name, of = answer.question.chart, _by_name(answer), _columns(answer)
    most, tones = _most(answer), _tones(answer)
    return [
        Bar(
            " · ".join(text for name in chart.labels if (text := _label(answer, of[name], row[name]))),
            _length(row[chart.value], most) or 0,
            _length(row[chart.low], most) if chart.low else None,
            _length(row[chart.high], most) if chart.high else None,
            _said(answer, row),
            " of ".join(_figure(of[name], row[name]) for name in chart.counts),
            tones.index(str(row[chart.tone])) % 2 if chart.tone else 0,
        )
        for row in by_name
        if row[chart.value] is not None
    ]


def _label(answer: Answer, column: Column, value: Cell) -> str:
    text = visible(cell(answer, column, value))
    return text if column.kind is Kind.TEXT else f"{column.title} {text}"


def _by_name(answer: Answer) -> list[dict[str, Cell]]:
    names = [column.name for column in answer.question.columns]
    return [dict(zip(names, row, strict=True)) for row in answer.rows]


def _columns(answer: Answer) -> dict[str, Column]:
    return {column.name: column for column in answer.question.columns}


def _most(answer: Answer) -> int:
    """Return the value of the longest bar that there can be."""
    chart = answer.question.chart
    if _columns(answer)[chart.value].kind is Kind.PERCENT:
        return _PERCENT
    drawn = [_number(row[name]) for name in (chart.value, chart.high) if name for row in _by_name(answer)]
    return max(1, *drawn) if drawn else 1


def _tones(answer: Answer) -> list[str]:
    tone = answer.question.chart.tone
    return sorted({str(row[tone]) for row in _by_name(answer)}) if tone else []


def _ticks(answer: Answer) -> list[str]:
    column, most = _columns(answer)[answer.question.chart.value], _most(answer)
    return [_figure(column, value) for value in (0, most // 2, most)] if most > 1 else []


def _said(answer: Answer, row: dict[str, Cell]) -> str:
    """Return the value of a bar, with where its interval begins and ends."""
    chart, of = answer.question.chart, _columns(answer)
    ends = [_figure(of[name], row[name]) for name in (chart.low, chart.high) if name and row[name] is not None]
    value = _figure(of[chart.value], row[chart.value])
    return (
        f"{value} ({chart.line.removeprefix('to ') + ' ' if len(ends) == 1 else ''}{' to '.join(ends)})"
        if ends
        else value
    )


def _figure(column: Column, value: Cell) -> str:
    return NONE if value is None else f"{figure(column.kind, value)}{' %' if column.kind is Kind.PERCENT else ''}"


def _number(value: Cell) -> int:
    return 0 if value is None or isinstance(value, str) else max(0, int(value))


def _length(value: Cell, most: int) -> int | None:
    """Return a length in units; what is more than nothing is seen."""
    if value is None or isinstance(value, str):
        return None
    return min(WIDTH, max(3 if value > 0 else 0, int(WIDTH * value / most)))
