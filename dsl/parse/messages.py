"""A syntax error in words: the expected text, the text found, and a guess at the author's intent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.diagnostics import nearest
from dsl.parse.reading import MAX_DEPTH, place
from dsl.parse.slips import hint_for, quoted
from dsl.source import Span

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dsl.diagnostics import Suggestion
    from dsl.parse.reading import Reading

DECLARATIONS: Final = ("event", "traits", "list", "achievement", "example")
CLAUSES: Final = (
    "title about when for after active reveal reward repeat scope family settle renamed tier".split()  # noqa: SIM905 - a list of words
)
_MAX_LISTED: Final = 6

_KINDS: Final = {
    "NAME": "a name",
    "STRING": "a string",
    "NUMBER": "a number",
    "INSTANT": "an instant",
    "DURATION": "a duration",
    "PERCENT": "a percentage",
    "VAR": "`$var`",
    "OP": "a comparison",
    "$END": "the end of the file",
}
_SIGNS: Final = {
    "'": 'write strings in double quotes: "..."',
    "`": 'write strings in double quotes: "..."',
    "&": "write `and`",
    "|": "write `or`",
    "!": "write `not`, or `!=`",
    "@": 'write a user that is no plain name in quotes: "ada@example.com"',
    ";": "leave it out: a line needs no end mark",
    ".": "join the parts of an event name with dots, without spaces: lesson.completed",
    "\\": "a backslash may appear only in a string",
    "%": "there is no remainder: let your product send it; a percentage is a whole number, as in `reveal at 30%`",
    "~": "there are no regular expressions: write contains, starts with or ends with",
    "≥": "write `>=`",
    "≤": "write `<=`",
    "≠": "write `!=`",
    "×": "write `*`",
    "–": "write `-`",
    "—": "write `-`; comments begin with #",
    "…": "write `..`",
    **dict.fromkeys("“”„«»\u2018\u2019", 'write strings in straight double quotes: "..."'),
    "\ufeff": "a byte order mark may appear only at the start of a file",
}
_WORD: Final = re.compile(r"[^\W\d][\w-]*(?:\.[\w-]+)*|[\w-]+")
_USER: Final = re.compile(r"(?:\bat\s+\d[\w:.+-]*|\bexpect)\s+\Z")
"""What stands before a user in an example."""
_REACH: Final = 60
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Unexpected(NamedTuple):
    """An unexpected token and the types that are valid instead; the type of a stray character is ""."""

    type: str
    text: str
    span: Span
    expected: frozenset[str]


def report(reading: Reading, found: Unexpected, words: Mapping[str, str]) -> None:
    """Add the diagnostic for a syntax error; `words` maps the type of each fixed token to its text."""
    if not found.type:
        _report_character(reading, found.span)
    elif found.type == "$END" and reading.open:
        bracket = reading.open[-1]
        hint = f"expected {_expected(found.expected, words)} before the end"
        reading.error("ACH119", place(bracket), f"this `{bracket.value}` is not closed", hint)
    else:
        message = f"expected {_expected(found.expected, words)}, found {_found(found)}"
        reading.error("ACH101", found.span, message, _hint(reading, found, words))


def report_unclosed(reading: Reading) -> None:
    """Add the diagnostic for a bracket that is still open where the next declaration begins."""
    bracket = reading.open[0] if reading.open[0].value == "{" else reading.open[-1]
    hint = "the next declaration begins before its closing bracket"
    reading.error("ACH119", place(bracket), f"this `{bracket.value}` is not closed", hint)


def report_depth(reading: Reading, span: Span) -> None:
    """Add the diagnostic for too many brackets within one another."""
    reading.error("ACH108", span, f"at most {MAX_DEPTH} brackets may be open at once")


def report_nul(reading: Reading) -> None:
    """Add a diagnostic for each U+0000 in a comment: the database cannot store the file's text."""
    text = reading.source.text
    at = text.find("\0")
    while at >= 0:
        if not any(problem.span.start <= at < problem.span.end for problem in reading.problems):
            message = "U+0000 is not allowed in a rule file, not even in a comment: the database cannot store it"
            reading.error("ACH102", Span(at, at + 1), message)
        at = text.find("\0", at + 1)


def _report_character(reading: Reading, span: Span) -> None:
    text = reading.source.text
    word = _WORD.match(text, span.start)
    if word is None or not any(char.isalnum() for char in word[0]):
        char = text[span.start]
        shown = f"`{char}`" if char.isprintable() else f"the character U+{ord(char):04X}"
        from dsl.parse.intents import behind  # noqa: PLC0415 - for faulty files alone

        hint = behind(text, span.start) or hint_for(reading, span.start, clause=False) or _SIGNS.get(char)
        reading.error("ACH102", span, f"{shown} has no meaning here", hint)
        return
    fixed = _CAMEL.sub("_", word[0]).lower().replace("-", "_").strip("_.")
    if _USER.search(text[max(0, span.start - _REACH) : span.start]):
        error = f"`{word[0][:40]}` is no plain name: lower case letters, digits and _"
        reading.error("ACH118", Span(*word.span()), error, f'write such a user in quotes: "{word[0][:40]}"')
        return
    hint = quoted(text, span.start)
    if hint is None and re.fullmatch(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*", fixed, re.ASCII):
        hint = f"did you mean `{fixed}`?"
    message = f"`{word[0][:40]}` is not a valid name: use lower case letters, digits and _, and start with a letter"
    reading.error("ACH118", Span(*word.span()), message, hint)


def _found(found: Unexpected) -> str:
    if found.type == "$END":
        return "the end of the file"
    text = found.text if len(found.text) <= 40 else found.text[:40] + "..."  # noqa: PLR2004 - fits a line
    return text if found.type == "STRING" and text.endswith('"') else f"`{text}`"


def _expected(types: frozenset[str], words: Mapping[str, str]) -> str:
    """Put a set of token types into words: the kinds first, then words, then signs."""
    rest = set(types)
    parts: list[str] = []
    if "NAME" in rest:
        # Where a name may stand every keyword may; to list them would hide what is meant.
        rest = {kind for kind in rest if kind not in words or not words[kind].isalpha() or kind == "NOT"}
        rest -= {"DOTTED", "MADE", "VAR"}
    parts.extend(text for kind, text in _KINDS.items() if kind in rest)
    fixed = {words[kind] for kind in rest if kind in words}
    for group, name in ((CLAUSES, "a clause"), (DECLARATIONS, "a declaration")):
        if fixed.issuperset(group):
            fixed.difference_update(group)
            parts.insert(0, f"{name} ({', '.join(group)})")
    parts.extend(f"`{word}`" for word in sorted(fixed, key=lambda word: (not word.isalpha(), word)))
    if len(parts) > _MAX_LISTED:
        parts = [*parts[:_MAX_LISTED], "..."]
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " or " + parts[-1] if parts else "nothing more"


def _hint(reading: Reading, found: Unexpected, words: Mapping[str, str]) -> str | Suggestion | None:
    expected = {words[kind] for kind in found.expected if kind in words}
    suggestion = _meant(reading, found)
    if suggestion is not None:
        return suggestion
    from dsl.parse.intents import clause_hint  # noqa: PLC0415 - for faulty files alone

    hint = clause_hint(reading.source.text, found.span.start, words.values())
    if hint is not None:
        return hint
    slip = hint_for(reading, found.span.start, clause="title" in expected)
    if slip is not None:
        return slip
    return _hint_on_word(reading, found, expected) or _hint_on_sign(found, expected)


def _meant(reading: Reading, found: Unexpected) -> Suggestion | None:
    """Return what the call in which the reader stumbled may mean, or the one that a `not` stands before."""
    from dsl.parse.arguments import taken  # noqa: PLC0415
    from dsl.parse.intents import behind, meant  # noqa: PLC0415 - for faulty files alone

    text, at = reading.source.text, found.span.start
    if found.text == "not":
        negated = re.compile(r"not\s*\(?\s*[a-z_]+\s*\(").match(text, at)
        if negated is not None:
            return meant(text, negated.end(), taken)
    if reading.open and reading.open[-1].value != "{":
        return meant(text, at, taken)
    return behind(text, at)


def _hint_on_word(reading: Reading, found: Unexpected, expected: set[str]) -> str | None:
    word = found.text
    if word == "not":
        return "`not` is the only keyword that cannot be a name"
    if word in DECLARATIONS and reading.open:
        return f"is the earlier `{reading.open[0].value}` not closed?"
    if word in DECLARATIONS and word not in expected:
        return "the declaration before it is not complete"
    if not re.fullmatch("[a-z_]{1,40}", word) or "NAME" in found.expected:
        return None
    guess = nearest(word, (text for text in expected if text.isalpha()))
    return None if guess is None else f"did you mean `{guess}`?"


def _hint_on_sign(found: Unexpected, expected: set[str]) -> str | None:
    if found.type == "SLASH":
        return "comments begin with #"
    if found.type in ("EQ", "COLON") and found.expected & {"STRING", "NAME"} and "," not in expected:
        return f"leave out the `{found.text}`"
    if found.type == "RBRACE" and expected & {")", "]"}:
        return f"is a `{')' if ')' in expected else ']'}` missing?"
    if found.type == "RPAR" and "}" in expected:
        return "this `)` closes nothing"
    if "," in expected and found.type == "OP":
        return "a comma is missing before the bound"
    if "," in expected and found.type not in ("RPAR", "RSQB", "RBRACE", "$END"):
        return "is a comma missing?"
    return None
