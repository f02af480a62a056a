"""Planted bugs: the parser's tables, the speed of the tools, and what an author gets to read."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

GRAMMAR: Final = "dsl/test_grammar.py"

BUGS: Final = (
    Bug(
        "stale_tables",
        "tables of another grammar are refused",
        at="dsl.parse.lalr:tables",
        old="if read.grammar != checksum(grammar()):",
        new="if False:",
        tests=(f"{GRAMMAR}::test_tables_of_another_grammar_are_refused",),
    ),
    Bug(
        "torn_tables",
        "tables that a merge has left in pieces say how to mend them",
        at="dsl.parse.lalr:tables",
        old="except msgspec.DecodeError as error:",
        new="except UnicodeDecodeError as error:",
        tests=(f"{GRAMMAR}::test_tables_that_do_not_fit_are_refused",),
    ),
    Bug(
        "absent_parts_dropped",
        "a part of a rule that is left out is None for the builder",
        at="_chosen",
        old="chosen += [None] * before",
        new="chosen += [None] * (before - 1)",
        tests=(f"{GRAMMAR}::test_parts_that_are_left_out_are_none_as_with_lark",),
    ),
    Bug(
        "expected_too_much",
        "a message lists the tokens that could stand there, and no others",
        at="Parser._expected",
        old="if kind.isupper() and self._goes_on(stack, kind)",
        new="if kind.isupper()",
        tests=(f"{GRAMMAR}::test_it_stumbles_where_lark_does",),
    ),
    Bug(
        "rich_in_pipes",
        "commands that run at every save load nothing for terminals",
        at="_console",
        old="return _paper(file) if file.isatty() or any(name in os.environ for name in _FORCED) else Plain(file)",
        new="return _paper(file)",
        tests=("worker/commands/test_lazy_group.py::test_commands_of_every_day_load_nothing_that_takes_long",),
    ),
)
