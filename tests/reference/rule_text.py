"""Rule text to the reference's rule set: only the parser, without the checker or compiler."""

from __future__ import annotations

from functools import lru_cache

from dsl.diagnostics import render
from dsl.parse import parse
from dsl.source import Source
from tests.reference.ruleset import Ruleset, ruleset
from tests.reference.written_out import written_out


@lru_cache(maxsize=64)
def read(text: str) -> Ruleset:
    """Parse rules that have no syntax error, with lists and families written out."""
    file, problems = parse(Source("rules.ach", written_out(text)))
    assert not problems, "\n".join(render(problem) for problem in problems)
    return ruleset(file.declarations)
