"""Random programs as lists of tokens from the grammar, and the same tokens with other white space and comments."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

Tokens = SearchStrategy[list[str]]


def seq(*parts: str | Tokens) -> Tokens:
    """Return the tokens of the parts in a row."""
    drawn = [st.just([part]) if isinstance(part, str) else part for part in parts]
    return st.tuples(*drawn).map(lambda lists: [token for each in lists for token in each])


def words(*choices: str) -> Tokens:
    return st.sampled_from(choices).map(str.split)


def maybe(*parts: str | Tokens) -> Tokens:
    return st.just(list[str]()) | seq(*parts)


def commas(part: Tokens, least: int = 1, most: int = 3, *, trailing: bool = True) -> Tokens:
    """Return several parts with commas between them, and perhaps one behind the last."""
    ends = st.booleans() if trailing else st.just(value=False)

    def join(lists: list[list[str]], ends: bool) -> list[str]:
        tokens = [token for each in lists for token in (*each, ",")]
        return tokens if ends else tokens[:-1]

    return st.builds(join, st.lists(part, min_size=least, max_size=most), ends)


NAME = words("a", "b", "event", "at", "when", "tier", "lesson_id", "x1", "null", "in")
EVENT = NAME | words("lesson.completed", "a.b.c", "event.when")
STRING = st.sampled_from(['"x"', '"a \\" # b"', '"\\u00e9\\n"', '""', '"{ ( é"']).map(lambda text: [text])
NUMBER = words("1", "10_000", "-2", "0.50", "1e3", "38")
DURATION = words("90s", "15m", "1_000h", "7d", "2w")
INSTANT = words("2026-04-13T09:00:00Z", "2026-04-13t09:00:00.5+02:00")
LITERAL = NUMBER | STRING | INSTANT | words("true", "false")
REF = NAME | words("at.hour", "at.weekday")

LIST = seq("[", commas(NUMBER | STRING), "]")
_EACH = seq("for", "each", NAME, "in", NAME | LIST)
EACH: Tokens = st.deferred(lambda: _EACH)
_FACTOR = REF | NUMBER | DURATION | words("actor", "$x") | seq(words("length", "lower", "size"), "(", REF, ")")
FACTOR: Tokens = st.deferred(lambda: _FACTOR)
"""What is deferred has a short text: hypothesis refuses strategies that take pages to show."""
_SUM = seq(FACTOR, words("+", "-", "*"), FACTOR) | seq(FACTOR, "*", "(", FACTOR, words("+", "-"), FACTOR, ")")
SUM: Tokens = st.deferred(lambda: _SUM)
TEST = (
    seq(SUM | REF, words("=", "<", ">="), SUM | REF)
    | seq(FACTOR, words("starts with", "ends with", "contains"), FACTOR)
    | seq(SUM | FACTOR, words("in", "not in"), NAME)
    | seq(REF, words("=", "!=", "<", "<=", ">", ">="), LITERAL)
    | seq(REF, words("in", "not in"), "[", commas(LITERAL), "]")
    | seq(REF, words("is present", "is not present"))
    | NAME
)
_FILTER = st.recursive(
    TEST,
    lambda inner: (
        seq("(", inner, ")")
        | seq("not", inner)
        | seq("(", inner, words("and", "or"), inner, ")")
        | seq("(", inner, ")", words("and", "or"), "(", inner, ")", words("and", "or"), inner)
    ),
    max_leaves=4,
)
FILTER: Tokens = st.deferred(lambda: _FILTER)
WHERE = maybe("where", FILTER)
ONE = seq(EVENT, WHERE)
PATTERN = ONE | seq("[", commas(ONE), "]", WHERE)
ZONE = words("user", "event", '"Europe/Berlin"')
MODIFIERS = seq(
    maybe(",", "within", "=", DURATION),
    maybe(",", "per", "=", words("day", "week")),
    maybe(",", "unless", "=", PATTERN),
    maybe(",", "tz", "=", ZONE),
    words("", ","),
)
BOUND = seq(words(">=", ">"), NUMBER) | words(">= all")
ATOM = (
    seq("count", "(", "event", "=", PATTERN, maybe(",", "distinct", "=", NAME), ",", BOUND, MODIFIERS, ")")
    | seq("count", "(", BOUND, ",", "event", "=", PATTERN, ")")
    | seq(words("sum", "max"), "(", "event", "=", PATTERN, ",", "of", "=", NAME, ",", BOUND, MODIFIERS, ")")
    | seq("min", "(", "of", "=", NAME, ",", "event", "=", PATTERN, ",", words("<=", "<"), NUMBER, ")")
    | seq("streak", "(", "event", "=", PATTERN, ",", "per", "=", "day", ",", BOUND, maybe(",", "min", "=", "2"), ")")
    | seq(
        "sequence",
        "(",
        "[",
        commas(PATTERN),
        "]",
        maybe(",", "by", "=", NAME),
        maybe(",", "within", "=", DURATION),
        ")",
    )
    | seq("unlocked", "(", NAME | words("a.b"), ")")
)
CONDITION = st.recursive(
    ATOM,
    lambda inner: (
        seq(words("all", "any"), "(", commas(inner, trailing=False), MODIFIERS, ")")
        | seq("at_least", "(", "1", ",", commas(inner), ")")
    ),
    max_leaves=4,
)
JSON = st.recursive(
    NUMBER | STRING | words("$x") | words("true", "false", "null"),
    lambda inner: (
        seq("[", commas(inner, least=0, trailing=False), "]")
        | seq("{", seq(NAME, ":", inner), maybe(",", '"k"', ":", inner), words("", ","), "}")
    ),
    max_leaves=4,
)
OBJECT = seq("{", "}") | seq("{", "k", ":", JSON, maybe(",", '"l m"', ":", JSON), words("", ","), "}")
TITLE = seq("title", STRING) | seq("title", "{", "en", ":", STRING, maybe(",", '"pt-BR"', ":", STRING), "}")
REVEAL = words("reveal always", "reveal secret", "reveal at 30%", "reveal after a.b")
CLAUSES = (
    TITLE,
    seq("about", STRING),
    seq("for", FILTER),
    seq("after", commas(NAME, trailing=False)),
    words("active ..") | seq("active", INSTANT, "..", maybe(INSTANT)),
    REVEAL,
    seq("reward", OBJECT),
    words("repeat each") | seq("repeat", "every", NAME, maybe("tz", "=", ZONE)),
    seq("scope", NAME),
    seq("family", NAME),
    seq("settle", DURATION),
)
WHEN = seq("when", CONDITION)
OPEN = seq("when", "count", "(", "event", "=", PATTERN, MODIFIERS, ")")
RUNG = seq("tier", NAME, words(">= 1", "> 2"), "{", maybe(TITLE), maybe("reward", OBJECT), maybe(REVEAL), "}")
TIER = seq("tier", NAME, "{", maybe(TITLE), WHEN, maybe("reward", OBJECT), maybe(REVEAL), "}")


def rows(*parts: Tokens) -> Tokens:
    """Return some of the parts in some order."""
    order = st.permutations(parts).flatmap(lambda order: st.integers(0, len(order)).map(lambda n: order[:n]))
    return order.flatmap(lambda chosen: seq(*chosen))


TYPE = seq(words("string", "int", "bool"), words("", "?"), maybe(">=", "0"))
FIELDS = commas(seq(NAME, ":", TYPE)) | st.lists(seq(NAME, ":", TYPE), max_size=3).flatmap(
    lambda all_: seq(*map(st.just, all_))
)
ONCE = seq("once", "per", commas(NAME, trailing=False), maybe("within", DURATION))
LINE = (
    seq("at", INSTANT, NAME | STRING, EVENT, OBJECT, maybe("times", "3", "every", DURATION), maybe("id", STRING))
    | seq("expect", NAME | STRING | words("$x"), words("", "not"), NAME | words("a_$x", "a_$x.gold"))
    | seq("expect", NAME, words("a", "a.b"), maybe("occurrence", STRING), maybe("at", INSTANT))
    | seq("expect", NAME, NAME, "progress", NUMBER, "/", NUMBER)
)
DECLARATION = (
    seq("event", EVENT, "{", FIELDS, maybe(ONCE), "}")
    | seq("traits", "from", EVENT, "{", FIELDS, "}")
    | seq("achievement", NAME, "{", rows(WHEN, *CLAUSES), "}")
    | seq("achievement", NAME, EACH, maybe("version", "3", "from", INSTANT), "{", rows(WHEN, *CLAUSES), "}")
    | seq("achievement", NAME, "{", OPEN, RUNG, rows(RUNG, *CLAUSES), "}")
    | seq("list", NAME, "=", LIST)
    | seq(
        "achievement",
        NAME,
        "version",
        "2",
        maybe("from", INSTANT),
        words("", "fresh"),
        "{",
        rows(TIER, TIER, *CLAUSES),
        "}",
    )
    | seq(
        "example",
        STRING,
        maybe(EACH),
        "{",
        st.lists(LINE, max_size=3).flatmap(lambda lines: seq(*map(st.just, lines))),
        "}",
    )
)
PROGRAM = st.lists(DECLARATION, max_size=4).map(lambda lists: [token for each in lists for token in each])
GAP = st.sampled_from([" ", " ", "  ", "\n", "\n\n\n", "\t", " # why\n", "\n# over\n", "#\n  # two #\n", "\r\n"])


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Draw a program's text: its tokens with white space and comments between them."""
    tokens = draw(PROGRAM)
    gaps = draw(st.lists(GAP, min_size=1, max_size=12))
    plain = draw(st.booleans())
    pieces = [draw(GAP)]
    for i, token in enumerate(tokens):
        pieces += [token, " " if plain and i % 5 else gaps[i % len(gaps)]]
    return "".join(pieces)
