"""A reconciliation as one HTML page, without anything from elsewhere. Pure."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from dsl.outcome import full_name, subject_name
from worker.admin.changes import UNFINISHED
from worker.engine.reconciliation import DECISIONS
from worker.report.escape import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from worker.engine.reconciliation import Decided, Reconciliation, Row

LISTED: Final = 1000
"""Decisions that the page lists; `--list` prints all."""

_HEAD: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1rem/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }}
table {{ border-collapse: collapse; margin: 1rem 0; width: 100%; }}
th, td {{ border-bottom: 1px solid #8886; padding: .25rem .75rem .25rem 0; text-align: left; }}
th.n, td.n {{ font-variant-numeric: tabular-nums; text-align: right; }}
td {{ overflow-wrap: anywhere; }}
</style>
</head>
<body>
<h1>{title}</h1>
"""


def html_of(found: Reconciliation, listed: Sequence[Decided], *, more: bool) -> str:
    """Return the page; `listed` are the first decisions, `more` says that there are others."""
    return "".join(_parts(found, listed, more=more))


def _parts(found: Reconciliation, listed: Sequence[Decided], *, more: bool) -> Iterator[str]:
    yield _HEAD.format(title=f"Change {found.change_id}: what it has decided")
    yield f"<p>{_safe(about(found))}</p>\n"
    kinds = [kind for kind in DECISIONS if kind in found.total]
    rows = [cells_of(row, kinds) for row in found.rows]
    yield _table("By rule version", ["achievement", "version", *map(words, kinds), "unchanged"], rows, numbers=1)
    yield f"<p>{found.unchanged:,} unlocks of all achievements are unchanged.</p>\n"
    if listed:
        columns = ["achievement", "version", "decision", "tenant", "subject", "earned at"]
        yield _table("By subject", columns, map(_cells, listed), numbers=len(columns))
    if more:
        yield f"<p>The first {len(listed):,} are listed; <code>ach reconcile --list</code> prints all.</p>\n"
    yield "</body>\n</html>\n"


def cells_of(row: Row, kinds: Sequence[str]) -> list[str]:
    """Return a row of the table of rule versions: name, version, decisions of some kinds, and what is unchanged."""
    decisions = (f"{row.decisions.get(kind, 0):,}" for kind in kinds)
    return [full_name(row.achievement, row.tier), f"{row.version}", *decisions, f"{row.unchanged:,}"]


def _cells(one: Decided) -> list[str]:
    name = full_name(one.achievement, one.tier, one.occurrence)
    return [name, f"{one.version}", words(one.decision), one.tenant_id, who(one), one.earned_at]


def about(found: Reconciliation) -> str:
    """Return which change it is, in a sentence."""
    epoch = f"epoch {found.epoch} in place of {found.epoch_before}" if found.epoch is not None else "not in force"
    at = "" if found.applied_at is None else f", applied {found.applied_at[:19]}"
    message = f": {found.message}" if found.message else ""
    unfinished = "; it is not finished" if found.state in UNFINISHED else ""
    return f"Change {found.change_id} ({found.state}), {epoch}{at} by {found.applied_by}{message}{unfinished}"


def words(kind: str) -> str:
    """Return a kind of decision as a heading."""
    return kind.replace("_", " ")


def who(one: Decided) -> str:
    """Return a subject; of another scope than users with its scope."""
    return subject_name(one.scope, one.subject)


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: int) -> str:
    """Return a table; its columns from `numbers` on are numbers."""

    def cells(tag: str, row: Sequence[str]) -> str:
        right = [' class="n"' if at >= numbers else "" for at in range(len(row))]
        return "".join(f"<{tag}{how}>{_safe(cell)}</{tag}>" for how, cell in zip(right, row, strict=True))

    body = "".join(f"<tr>{cells('td', row)}</tr>\n" for row in rows)
    return f"<h2>{title}</h2>\n<table>\n<tr>{cells('th', columns)}</tr>\n{body}</table>\n"


def _safe(text: str) -> str:
    return escape(visible(text))
