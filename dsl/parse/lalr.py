"""The parser's machine: tables that were made of dsl/grammar.lark, and the loop that follows them.

To build the tables takes a hundred times longer than to read a rule file, so they are part of the package:
dsl/parse/tables.json, which `just grammar` writes (release/grammar.py). They are data and nothing else: no pickle, no
code, no cache beside the package (docs/decisions/0053-speed-of-the-tools.md). A test proves that they say what the
grammar says. The loop is that of lark: the same actions, the same values for the same callbacks.
"""

from __future__ import annotations

import pkgutil
import re
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple, cast
from zlib import crc32

import msgspec

from dsl.parse.reading import Stray, Token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Handler = Callable[[list[object]], object]

END: Final = "$END"
"""The kind of the token behind the last one."""

_PACKAGE: Final = __name__.removesuffix(".parse.lalr")
_MEND: Final = "dsl/parse/tables.json does not fit dsl/grammar.lark; write it anew: just grammar"


class Part(NamedTuple):
    """One value that a rule hands to its callback: where it stands, whether it is spread, and the Nones before it."""

    at: int
    spread: bool
    nones: int


class Rule(msgspec.Struct, array_like=True):
    """A rule of the grammar: what it makes of how many values, and what its callback gets of them."""

    origin: str
    size: int
    callback: str
    alone: bool
    """A single value stands for the rule: the callback is not asked."""
    parts: list[Part] | None
    """None: all values as they are."""
    nones: int
    """Behind the last part."""


class Tables(msgspec.Struct):
    """What tables.json holds. Symbols and rows are numbers: indices into the lists."""

    grammar: int
    """The checksum of the grammar's text."""
    pattern: str
    ignored: list[str]
    words: dict[str, str]
    """The text of each token that has only one."""
    rules: list[Rule]
    symbols: list[str]
    sets: list[list[int]]
    """Sets of symbols before which the same rule is complete."""
    shifts: list[list[tuple[int, int]]]
    """Rows of (symbol, next state)."""
    states: list[tuple[int, list[tuple[int, int]]]]
    """Each state: its row of shifts, and its pairs of (set of symbols, complete rule)."""
    end: int
    """The state in which a whole file was read; the first state is 0."""


class Stumble(Exception):  # noqa: N818 - a signal to the recovery, never seen outside
    """No rule goes on with this token."""

    def __init__(self, token: Token, expected: frozenset[str]) -> None:
        super().__init__()
        self.token = token
        self.expected = expected
        """The kinds of all tokens that could stand here."""


def grammar() -> str:
    """Return the text of the grammar."""
    return _data("grammar.lark").decode()


def checksum(text: str) -> int:
    """Return what tells the tables of one grammar from those of another."""
    return crc32(text.encode())


@cache
def tables() -> Tables:
    """Return the tables.

    Raises:
        RuntimeError: they were made of another grammar.
    """
    try:
        read = msgspec.json.decode(_data("parse/tables.json"), type=Tables)
    except msgspec.DecodeError as error:
        raise RuntimeError(_MEND) from error
    if read.grammar != checksum(grammar()):
        raise RuntimeError(_MEND)
    return read


def _data(name: str) -> bytes:
    data = pkgutil.get_data(_PACKAGE, name)
    if data is None:
        raise FileNotFoundError(f"dsl/{name}")
    return data


# -- tokens ----------------------------------------------------------------------------------------------------------


class Lexer:
    """Text to tokens. A word that is spelt like a keyword becomes that keyword."""

    def __init__(self, made: Tables) -> None:
        self._keywords = {text: kind for kind, text in made.words.items() if text.isalpha()}
        self._ignored = frozenset(made.ignored)
        self._pattern = re.compile(made.pattern)
        # The rows of the parser have these very strings; equal ones would be compared letter by letter.
        known = {symbol: symbol for symbol in made.symbols}
        self._kinds = {name: known.get(name, name) for name in self._pattern.groupindex}
        self._keywords = {text: known[kind] for text, kind in self._keywords.items()}

    def tokens(self, text: str, at: int, end: int) -> Iterator[Token]:
        """Yield the tokens between two offsets, and then the end.

        Raises:
            Stray: no token begins with a character.
        """
        match, keywords, kinds, ignored = self._pattern.match, self._keywords, self._kinds, self._ignored
        while at < end:
            found = match(text, at, end)
            if found is None:
                raise Stray(at)
            kind, start, at = kinds[str(found.lastgroup)], at, found.end()
            if kind in ignored:
                continue
            value = found[0]
            if kind == "NAME":
                kind = keywords.get(value, kind)
            yield Token(kind, value, start, at)
        yield Token(END, "", end, end)


# -- rules -----------------------------------------------------------------------------------------------------------


def _handler(rule: Rule, method: Callable[..., object] | None) -> Handler:
    """Return what turns a rule's values into its own: by the builder's method, or the list of them without one."""
    make: Handler = _list if method is None else _spread(method)
    if rule.alone:
        make = _alone(make)
    if rule.parts is None:
        return make
    if any(part.spread or part.nones for part in rule.parts) or rule.nones:
        return _chosen(rule.parts, rule.nones, make)
    return _picked([part.at for part in rule.parts], make)


def _list(values: list[object]) -> object:
    return values


def _spread(method: Callable[..., object]) -> Handler:
    def make(values: list[object]) -> object:
        return method(*values)

    return make


def _alone(make: Handler) -> Handler:
    def one_or(values: list[object]) -> object:
        return values[0] if len(values) == 1 else make(values)

    return one_or


def _picked(places: list[int], make: Handler) -> Handler:
    def pick(values: list[object]) -> object:
        return make([values[at] for at in places])

    return pick


def _chosen(parts: list[Part], nones: int, make: Handler) -> Handler:
    def choose(values: list[object]) -> object:
        chosen: list[object] = []
        for at, spread, before in parts:
            if before:
                chosen += [None] * before
            value = values[at]
            if not spread:
                chosen.append(value)
            elif chosen:
                chosen += cast("list[object]", value)
            else:
                chosen = cast("list[object]", value)  # it grows at its end, without a copy of what it has
        if nones:
            chosen += [None] * nones
        return make(chosen)

    return choose


class _Handlers(dict[int, tuple[str, int, "Handler"]]):
    """Rules by number: what each makes, of how many values, and how. A small file needs few of them."""

    def __init__(self, made: Tables, builder: object) -> None:
        super().__init__()
        self._made = made.rules
        self._builder = builder

    def __missing__(self, number: int) -> tuple[str, int, Handler]:
        rule = self._made[number]
        self[number] = found = (
            rule.origin,
            rule.size,
            _handler(rule, getattr(self._builder, rule.callback, None)),
        )
        return found


class _Rows(dict[int, "Mapping[str, int]"]):
    """States by number: what each symbol leads to, the next state or `~rule`. A small file needs few of them."""

    def __init__(self, made: Tables) -> None:
        super().__init__()
        self._made = made

    def __missing__(self, state: int) -> Mapping[str, int]:
        made, symbols = self._made, self._made.symbols
        shifts, reductions = made.states[state]
        row = {symbols[symbol]: to for symbol, to in made.shifts[shifts]}
        for each, rule in reductions:
            row.update(dict.fromkeys([symbols[symbol] for symbol in made.sets[each]], ~rule))
        self[state] = row
        return row


# -- the loop --------------------------------------------------------------------------------------------------------


class Parser:
    """Reads text by the tables, and hands what it reads to the methods of a builder.

    A method with the name of a token's kind gets each such token; one with the name of a rule gets the rule's values.
    """

    def __init__(self, made: Tables, builder: object) -> None:
        self._lexer = Lexer(made)
        self._end = made.end
        self._states = _Rows(made)
        self._rules = _Handlers(made, builder)
        named = {symbol: getattr(builder, symbol, None) for symbol in made.symbols if symbol.isupper()}
        self._tokens: dict[str, Callable[[Token], object]] = {
            kind: method for kind, method in named.items() if method is not None
        }

    def parse(self, text: str, start: int, stop: int) -> None:
        """Read from an offset to another.

        Raises:
            Stumble: a token that no rule goes on with.
            Stray: no token begins with a character.
        """
        states, rules, made, end = self._states, self._rules, self._tokens, self._end
        stack: list[int] = [0]
        values: list[object] = []
        for token in self._lexer.tokens(text, start, stop):
            kind = token.type
            while True:
                action = states[stack[-1]].get(kind)
                if action is None:
                    raise Stumble(token, self._expected(stack))
                if action >= 0:
                    stack.append(action)
                    values.append(made[kind](token) if kind in made else token)
                    break
                origin, size, handle = rules[~action]
                if size:
                    whole = values[-size:]
                    del stack[-size:], values[-size:]
                else:
                    whole = []
                values.append(handle(whole))
                stack.append(states[stack[-1]][origin])
                if stack[-1] == end and kind == END:
                    return

    def _expected(self, stack: list[int]) -> frozenset[str]:
        return frozenset(kind for kind in self._states[stack[-1]] if kind.isupper() and self._goes_on(stack, kind))

    def _goes_on(self, stack: list[int], kind: str) -> bool:
        """Tell whether a token would be taken after all rules that it completes."""
        stack = list(stack)
        while True:
            action = self._states[stack[-1]].get(kind)
            if action is None or action >= 0:
                return action is not None
            origin, size, _ = self._rules[~action]
            if size:
                del stack[-size:]
            stack.append(self._states[stack[-1]][origin])
            if stack[-1] == self._end and kind == END:
                return True
