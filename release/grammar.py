"""Makes dsl/parse/tables.json of dsl/grammar.lark: `just grammar`, after each change of the grammar.

lark reads the grammar, refuses conflicts and computes the states. What it found is written as plain data, in an order
that depends on the grammar alone: the same grammar gives the same bytes. Nothing else in the project needs lark.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from lark import Lark
from lark.lexer import PatternStr
from lark.parsers.lalr_analysis import Shift

from dsl.parse.lalr import Part, Rule, Tables, checksum

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from lark.grammar import Rule as LarkRule
    from lark.lexer import TerminalDef

ROOT: Final = Path(__file__).resolve().parent.parent
GRAMMAR: Final = ROOT / "dsl" / "grammar.lark"
TABLES: Final = ROOT / "dsl" / "parse" / "tables.json"


class _Numbers:
    """Things by number, in the order in which they are first met."""

    def __init__(self) -> None:
        self.known: dict[Any, int] = {}

    def of(self, thing: Hashable) -> int:
        return self.known.setdefault(thing, len(self.known))


def tables_of(text: str) -> Tables:
    """Return the tables of a grammar's text; lark raises an error where it is wrong or has conflicts."""
    made: Any = Lark(text, parser="lalr", lexer="basic", strict=True)  # what is read of it, lark leaves untyped
    terminals: list[TerminalDef] = made.parser.lexer.terminals
    fixed = {t.name: t.pattern.value for t in terminals if isinstance(t.pattern, PatternStr)}
    rest = [t for t in terminals if not fixed.get(t.name, "").isalpha()]
    table = made.parser.parser._parse_table  # noqa: SLF001 - lark shows it nowhere else
    numbers, symbols, sets, shifts, rules = (_Numbers() for _ in range(5))
    numbers.of(table.start_states["start"])
    states: list[tuple[int, list[tuple[int, int]]]] = []
    while len(states) < len(numbers.known):
        row: Mapping[str, tuple[Any, Any]] = table.states[list(numbers.known)[len(states)]]
        moves, complete = list[tuple[int, int]](), dict[int, list[int]]()
        for name, (action, to) in sorted(row.items()):
            if action is Shift:
                moves.append((symbols.of(name), numbers.of(to)))
            else:
                complete.setdefault(rules.of(to), []).append(symbols.of(name))
        pairs = [(sets.of(tuple(names)), rule) for rule, names in complete.items()]
        states.append((shifts.of(tuple(moves)), pairs))
    return Tables(
        grammar=checksum(text),
        pattern="|".join(f"(?P<{t.name}>{t.pattern.to_regexp()})" for t in rest),
        ignored=sorted(made.ignore_tokens),
        words=dict(sorted(fixed.items())),
        rules=[_rule(rule) for rule in rules.known],
        symbols=[str(name) for name in symbols.known],
        sets=[list(each) for each in sets.known],
        shifts=[list(row) for row in shifts.known],
        states=states,
        end=numbers.of(table.end_states["start"]),
    )


def _rule(rule: LarkRule) -> Rule:
    """Return a rule with what of its values reaches the callback: as lark's own tree builder chooses it."""
    options, names = rule.options, [str(symbol.name) for symbol in rule.expansion]
    blanks = [len(run) for run in "".join("1" if empty else "0" for empty in options.empty_indices).split("0")]
    blanks = blanks if options.empty_indices else [0] * (len(names) + 1)
    parts: list[Part] = []
    nones = 0
    for index, symbol in enumerate(rule.expansion):
        nones += blanks[index]
        if options.keep_all_tokens or not getattr(symbol, "filter_out", False):
            parts.append(Part(index, not symbol.is_term and names[index].startswith("_"), nones))
            nones = 0
    nones += blanks[-1]
    plain = len(parts) == len(names) and not nones and not any(part.spread or part.nones for part in parts)
    origin = str(rule.origin.name)
    return Rule(
        origin=origin,
        size=len(names),
        callback=str(rule.alias or origin),
        alone=options.expand1 and not rule.alias,
        parts=None if plain else parts,
        nones=nones,
    )


def written(made: Tables) -> bytes:
    """Return the content of tables.json."""
    return msgspec.json.encode(made) + b"\n"


def main() -> None:
    """Write the tables."""
    TABLES.write_bytes(written(tables_of(GRAMMAR.read_text(encoding="utf-8"))))
    print(f"wrote {TABLES.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
