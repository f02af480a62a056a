"""Answers as text: cells for people, and values for JSON. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.analysis.questions import Kind

if TYPE_CHECKING:
    from worker.analysis.answers import Answer, Answers, Cell
    from worker.analysis.questions import Column

NONE: Final = "-"
_UNITS: Final = ((86_400, "d"), (3600, "h"), (60, "min"))
_SECOND: Final = 1000
_MINUTE: Final = 60 * _SECOND
_ALL: Final = {("time", "achievement"): "(any)", ("retention", "stratum"): "(all)", ("latency", "region"): "(none)"}
"""What null says in a column of text where it is not just absent."""
_OTHERS: Final = "others"
"""The cohort without an unlock, as the query names it."""
_NO_OTHERS: Final = (
    "There are no others: all who were alive had an unlock by then. "
    "Compare by one of them: `ach analyze retention --achievement NAME`."
)


def cell(answer: Answer, column: Column, value: Cell) -> str:
    """Return a cell as people read it."""
    if value is None:
        return _ALL.get((answer.question.name, column.name), "" if column.kind is Kind.TEXT else NONE)
    return str(value) if column.kind is Kind.TEXT else figure(column.kind, value)


def figure(kind: Kind, value: Cell) -> str:
    """Return a figure as people read it: `1,234`, `12.5`, `3.4 d`, `250 ms`."""
    if not isinstance(value, int):
        return str(value)
    if kind is Kind.SECONDS:
        return span(value)
    if kind is Kind.MILLIS:
        if abs(value) < _SECOND:
            return f"{value:,} ms"
        return _tenths(value, _SECOND, "s") if abs(value) < _MINUTE else span(value // _SECOND)
    return f"{value:,}"


def span(seconds: int) -> str:
    """Return a span in the largest unit that it fills, with one decimal."""
    for size, unit in _UNITS:
        if abs(seconds) >= size:
            return _tenths(seconds, size, unit)
    return f"{seconds} s"


def _tenths(value: int, size: int, unit: str) -> str:
    sign, tenths = "-" if value < 0 else "", (20 * abs(value) + size) // (2 * size)
    return f"{sign}{tenths // 10:,}.{tenths % 10} {unit}"


def footnotes(answer: Answer, answers: Answers) -> list[str]:
    """Return what is to be read with an answer."""
    notes = [answer.question.remark]
    if answer.question.name == "retention" and answer.rows and not any(_OTHERS in row for row in answer.rows):
        notes.append(_NO_OTHERS)
    if answer.more:
        notes.append(f"There are more rows than these {len(answer.rows):,}: ask for one tenant or achievement.")
    if any(value is None for row in answer.rows for value in _figures(answer, row)):
        notes.append(f"{NONE}: not known, or about fewer than {answers.asked.fewest:,}.")
    return notes


def _figures(answer: Answer, row: tuple[Cell, ...]) -> list[Cell]:
    return [value for column, value in zip(answer.question.columns, row, strict=True) if column.kind is not Kind.TEXT]


def as_of(answers: Answers) -> str:
    """Return which run of the mirror answers come of."""
    tenant = "" if answers.asked.tenants is None else f", of {', '.join(answers.asked.tenants)}"
    return f"as of {answers.age.at[:19]}Z (run {answers.age.run} of the mirror{tenant})"


def json_value(answers: Answers) -> dict[str, object]:
    """Return answers for machines."""
    return {
        "as_of": answers.age.at,
        "run": answers.age.run,
        "asked": answers.asked._asdict(),
        "analyses": [
            {
                "name": one.question.name,
                "meaning": one.question.meaning,
                "remark": one.question.remark,
                "more": one.more,
                "rows": [
                    dict(zip([column.name for column in one.question.columns], row, strict=True)) for row in one.rows
                ],
            }
            for one in answers.answers
        ],
    }
