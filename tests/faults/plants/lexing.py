"""Tokens of Python and SQL, for fragments of source as well as whole files.

The standard tokenize module reads whole programs only: from Python 3.12 on it refuses a fragment such as `x) + 1`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from keyword import iskeyword
from typing import Final, NamedTuple

_PYTHON: Final = re.compile(
    r"""
    (?P<skip> \#[^\n]* | \\\n | [^\S\n]+ )
  | (?P<newline> \n )
  | (?P<token>
        (?i:[bfru]|br|rb|fr|rf)? (?: \"{3}(?:\\.|[^\\])*?\"{3} | '{3}(?:\\.|[^\\])*?'{3} )
      | (?i:[bfru]|br|rb|fr|rf)? (?: "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' )
      | \d[\w.]* | \w+
      | \*\*=? | //=? | >>=? | <<=? | -> | := | [!=<>+\-*/%&|^@]= | \.\.\. | \S
    )
    """,
    re.VERBOSE | re.DOTALL,
)
# A line `-- use other_query from $N` is no comment: it stands for the text of that query.
_SQL: Final = re.compile(
    r"""
    (?P<skip> --(?!\ use\ )[^\n]* | [^\S\n]+ )
  | (?P<newline> \n )
  | (?P<token> --\ use\ [^\n]* | '(?:''|[^'])*' | "[^"]*" | \$?\w+ | :: | [<>!=|~@\#-]+ | \S )
    """,
    re.VERBOSE | re.DOTALL,
)
_OPENING: Final = frozenset("([{")
_CLOSING: Final = frozenset(")]}")
_ENDS_OPERAND: Final = frozenset(")]}'\"")
# A parenthesis after one of these holds a whole operand if one of _AFTER follows it.
_BEFORE: Final = _OPENING | {"=", "+=", "-=", "|=", "return", "if", "elif", "while", "else", "assert", ":", ","}
_AFTER: Final = frozenset({",", ":"}) | _CLOSING
# The same if the end of the statement follows, and commas are within.
_BEFORE_TUPLE: Final = frozenset({"=", "return"})
# Directly within a parenthesis, these need it.
_BOUND: Final = frozenset({":=", "for", "yield"})


class Token(NamedTuple):
    """A token and its place, in characters; `fresh` if it begins a statement's first line."""

    text: str
    start: int
    end: int
    fresh: bool


def tokens(text: str, *, sql: bool = False) -> list[Token]:
    """Return the tokens of a text, without comments, and without commas that trail in brackets."""
    found: list[Token] = []
    brackets: list[_Bracket] = []
    depth, fresh = 0, True
    for match in (_SQL if sql else _PYTHON).finditer(text):
        word = match[0]
        if match.lastgroup == "newline":
            fresh |= depth <= 0
        if match.lastgroup != "token":
            continue
        depth += (word in _OPENING) - (word in _CLOSING)
        if word in _OPENING:
            brackets.append(_Bracket(makes_tuple=word == "(" and not (found and _is_operand(found[-1].text))))
        elif word == "," and brackets:
            brackets[-1].commas += 1
        elif word in _CLOSING and brackets and brackets.pop().lets_go(found[-1].text) and not sql:
            found.pop()
        found.append(Token(word, *match.span(), fresh))
        fresh = False
    return found


@dataclass(slots=True)
class _Bracket:
    """A bracket that is open; `makes_tuple` if its first comma makes it a tuple."""

    makes_tuple: bool
    commas: int = 0

    def lets_go(self, last: str) -> bool:
        """Return whether the last token within is a comma without a meaning."""
        return last == "," and self.commas > self.makes_tuple


def _is_operand(word: str) -> bool:
    return word[-1] in _ENDS_OPERAND or (word.isidentifier() and not iskeyword(word))


def redundant(found: list[Token]) -> dict[int, int]:
    """Return the pairs of parentheses, opening index to closing index, that only allow a line break."""
    pairs: dict[int, int] = {}
    stack: list[_Group] = []
    for index, token in enumerate(found):
        if token.text in _OPENING:
            before = found[index - 1].text if token.text == "(" and index > 0 and not token.fresh else ""
            stack.append(_Group(index, before))
        elif token.text in _CLOSING and stack:
            group = stack.pop()
            if index > group.opening + 1 and group.may_go(found[index + 1] if index + 1 < len(found) else None):
                pairs[group.opening] = index
        elif stack:
            stack[-1].take(token.text)
    return pairs


@dataclass(slots=True)
class _Group:
    """What is in a bracket, directly; `before` is the token before it, or empty."""

    opening: int
    before: str
    comma: bool = False
    bound: bool = False
    in_lambda: bool = False

    def take(self, word: str) -> None:
        self.in_lambda = word == "lambda" or (self.in_lambda and word != ":")
        self.comma |= word == "," and not self.in_lambda
        self.bound |= word in _BOUND

    def may_go(self, after: Token | None) -> bool:
        """Return whether the text means the same without the brackets, given the token after them."""
        if self.bound or self.before not in _BEFORE:
            return False
        if after is None or after.fresh:
            return not self.comma or self.before in _BEFORE_TUPLE
        return not self.comma and after.text in _AFTER
