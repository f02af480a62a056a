"""The queries of editors on rule files, without an editor; tests/acceptance/test_lsp.py uses one."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from dsl.check import check
from dsl.lookup import fixes, pieces
from dsl.lookup.index import Index, Kind, Symbol, occurrences
from dsl.lookup.memory import remembered
from dsl.lookup.place import place_at
from dsl.lookup.renaming import Refused, rename
from dsl.lookup.scan import Kind as Look
from dsl.lookup.scan import declaration_start, scan, token_at
from dsl.parse import parse
from dsl.source import Source
from dsl.syntax import Achievement

ROOT = Path(__file__).parent.parent.parent
FILES = sorted([*ROOT.glob("tests/dsl/golden/*.ach"), *ROOT.glob("fixtures/**/*.ach")])
EVENTS = "event a.b { n: int >= 0, s: string, ok: bool }\nevent c.d { n: int, s: string }\n"


# -- pieces -----------------------------------------------------------------------------------------------------------


def whole(text: str) -> tuple[list[tuple[int, str, str]], list[tuple[int, int]]]:
    file, problems = parse(Source("x", text))
    found = sorted((each.span.start, each.code, each.message) for each in problems)
    return found, [(node.span.start, node.span.end) for node in file.declarations]


def pieced(text: str, before: list[pieces.Placed]) -> tuple[object, list[pieces.Placed]]:
    placed = pieces.read("x", text, [each.piece for each in before])
    problems = sorted(
        (problem.span.start + start, problem.code, problem.message)
        for start, piece in placed
        for problem in piece.problems
    )
    nodes = [
        (node.span.start + start, node.span.end + start) for start, piece in placed for node in piece.file.declarations
    ]
    return (problems, nodes), placed


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_in_pieces_has_the_problems_of_the_whole(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    said, _ = pieced(text, [])
    assert said == whole(text)


@pytest.mark.parametrize("seed", range(60))
def test_so_it_does_after_every_keystroke(seed: int) -> None:
    random = Random(seed)  # noqa: S311 - not for secrets
    text = random.choice([path for path in FILES if path.stat().st_size < 9000]).read_text(encoding="utf-8")
    placed: list[pieces.Placed] = []
    for _ in range(15):
        at = random.randrange(len(text) + 1)
        match random.randrange(3):
            case 0:
                text = text[:at] + text[at + 1 :]
            case 1:
                text = text[:at] + random.choice('(){}[]",=>x \n\tevent') + text[at:]
            case _:
                text = text[:at] + text[at + random.randrange(40) :]
        said, placed = pieced(text, placed)
        assert said == whole(text)


@pytest.mark.parametrize("cut", ["event a.b", "traits from u.u", "list x =", "achievement x version 2", 'example "x"'])
def test_what_follows_a_declaration_that_is_cut_short_is_read(cut: str) -> None:
    text = f"{cut}\n{EVENTS}achivement y {{}}\nlist z = [1]\n"
    said, _ = pieced(text, [])
    assert said == whole(text)
    assert len(whole(text)[1]) == 3


def test_only_the_piece_that_changed_is_read_again() -> None:
    before = pieces.read("x", EVENTS)
    after = pieces.read("x", EVENTS.replace("n: int }", "n: decimal }").replace("c.d { n: int", "c.d { n: decimal"))
    kept = pieces.read("x", "# a line more\n" + EVENTS, [each.piece for each in before])
    assert kept[1].piece is before[1].piece
    assert kept[1].start == before[1].start + len("# a line more\n")
    assert after[1].piece is not before[1].piece


def test_a_declaration_word_in_column_one_may_be_a_name() -> None:
    text = 'event achievement {}\nexample "x" {\n  at 2026-04-13T09:00:00Z u\nachievement {}\n}\n'
    said, placed = pieced(text, [])
    assert said == whole(text)
    assert len(placed) == 2


# -- scan -------------------------------------------------------------------------------------------------------------


def test_every_text_can_be_cut_up() -> None:
    text = '# c\nx "open\n2026-05-01T00:00:00Z 30% a.b >= \x00 é'
    assert [(each.kind, each.text) for each in scan(text)] == [
        (Look.COMMENT, "# c"),
        (Look.WORD, "x"),
        (Look.STRING, '"open'),
        (Look.INSTANT, "2026-05-01T00:00:00Z"),
        (Look.NUMBER, "30%"),
        (Look.WORD, "a.b"),
        (Look.SIGN, ">="),
        (Look.SIGN, "\x00"),
        (Look.WORD, "é"),
    ]


def test_where_two_tokens_meet_the_word_is_meant() -> None:
    tokens = scan("count(event=a)")
    assert [getattr(token_at(tokens, at), "text", "") for at in (5, 6, 11, 12, 13)] == [
        "count", "event", "event", "a", "a",
    ]  # fmt: skip
    assert token_at(scan("a  b"), 2) is None


def test_a_declaration_begins_at_its_word() -> None:
    text = "# c\nevent a {\n  event: string\n}\nachievement x {\n"
    assert declaration_start(text, 2) == 0
    assert declaration_start(text, text.index("string")) == text.index("event a")
    assert declaration_start(text, len(text)) == text.index("achievement")


# -- names ------------------------------------------------------------------------------------------------------------


def index_of(text: str) -> tuple[Source, Index]:
    file, problems = parse(Source("x", text))
    assert problems == []
    return file.source, Index([(file.source, occurrences(file))])


def test_a_scope_is_linked_with_the_fields_that_name_it() -> None:
    text = EVENTS + 'achievement x { title "X" when count(event=a.b, >= 1) scope s }\n'
    source, index = index_of(text)
    place = index.at(source, text.index("scope s") + 6)
    assert place is not None
    assert index.linked(place.symbols) == {Symbol(Kind.SCOPE, "s"), Symbol(Kind.FIELD, "s", "a.b")}
    assert isinstance(rename(index, place, "user"), Refused)
    edits = rename(index, place, "team")
    assert not isinstance(edits, Refused)
    assert [source.text[edit.span.start : edit.span.end] for edit in edits] == ["s", "s"]


def test_keys_of_payloads_are_names_and_values_are_not() -> None:
    text = EVENTS + 'example "x" { at 2026-04-13T09:00:00Z u a.b { n: 1, "s": "n: 2", ok: [{ n: 3 }] } }\n'
    source, index = index_of(text)
    found = index.places([Symbol(Kind.FIELD, "n", "a.b"), Symbol(Kind.FIELD, "s", "a.b")])
    assert [(each.text, source.text[each.span.end]) for each in found[1::2]] == [("n", ":"), ("s", '"')]
    assert len(found) == 4


def test_places_of_nothing() -> None:
    _, index = index_of(EVENTS)
    assert index.at(Source("y", ""), 0) is None
    assert index.places([Symbol(Kind.EVENT, "none")]) == []


# -- fixes ------------------------------------------------------------------------------------------------------------


def mended(text: str) -> list[str]:
    """Return the texts that the fixes of all problems make, each alone."""
    file, problems = parse(Source("x", text))
    _, found = check([file])
    texts: list[str] = []
    for fix in (fix for problem in (*problems, *found) for fix in fixes.fixes(problem)):
        changed = text
        for edit in sorted(fix.edits, key=lambda edit: edit.span, reverse=True):
            changed = changed[: edit.span.start] + edit.text + changed[edit.span.end :]
        texts.append(changed)
    return texts


WHENS = [
    ("count(event=a.c, >= 1)", "count(event=a.b, >= 1)"),
    ("count(evnt=a.b, >= 1)", "count(event=a.b, >= 1)"),
    ("count(event=a.b, >= 1, within=week)", "count(event=a.b, >= 1, within=1w)"),
    ("count(event=a.b, >= 1, within=week)", "count(event=a.b, >= 1, per=week)"),
    ("count(event=a.b, >= 1, per=2h)", "count(event=a.b, >= 1, within=2h)"),
    ("count(a.b >= 1)", "count(event=a.b, >= 1)"),
    ("count(event=a.b >= 1)", "count(event=a.b, >= 1)"),
    ("count(event=a.b distinct=s, >= 1)", "count(event=a.b, distinct=s, >= 1)"),
    ("count(a.b, >= 1)", "count(event=a.b, >= 1)"),
    ("count(event=a.b, 3)", "count(event=a.b, >= 3)"),
    ("count(event=a.b, == 3)", "count(event=a.b, >= 3)"),
    ("count(event=a.b, => 3)", "count(event=a.b, >= 3)"),
    ("count(event=a.b where s = x, >= 1)", 'count(event=a.b where s = "x", >= 1)'),
    ("count(event=a.b where s = 5, >= 1)", 'count(event=a.b where s = "5", >= 1)'),
    ('count(event=a.b where n = "5", >= 1)', "count(event=a.b where n = 5, >= 1)"),
    ('count(event=a.b where ok = "true", >= 1)', "count(event=a.b where ok = true, >= 1)"),
    ('count(event="a.b", >= 1)', "count(event=a.b, >= 1)"),
    ('count(event=a.b, >= 1, per="week")', "count(event=a.b, >= 1, per=week)"),
    ("count(event=a.b, >= 1, per=weak)", "count(event=a.b, >= 1, per=week)"),
    ("count(event=a.b, >= 2.5)", "count(event=a.b, >= 3)"),
    ("count(event=a.b, >= 0)", "count(event=a.b, >= 1)"),
    ("cuont(event=a.b, >= 1)", "count(event=a.b, >= 1)"),
    ('count(event=a.b where s == "x", >= 1)', 'count(event=a.b where s = "x", >= 1)'),
]


@pytest.mark.parametrize(("wrong", "right"), WHENS)
def test_a_hint_can_be_followed(wrong: str, right: str) -> None:
    rules = f'{EVENTS}achievement x {{ title "X" when WHEN }}\n'
    assert rules.replace("WHEN", right) in mended(rules.replace("WHEN", wrong))


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("achievement x.y {", "achievement x_y {"),
        ("achivement x_y {", "achievement x_y {"),
        ('title "X\n', 'title "X"\n'),
        ("reveal at 30 ", "reveal at 30% "),
    ],
)
def test_so_can_hints_outside_conditions(wrong: str, right: str) -> None:
    rules = EVENTS + 'achievement x_y {\n  title "X"\n  reveal at 30% when count(event=a.b, >= 1) }\n'
    assert right in rules
    assert rules in mended(rules.replace(right, wrong))


# -- places -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_place_of_every_file_can_be_asked_about(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for offset in range(0, len(text) + 1, 7):
        place = place_at(text, offset)
        assert place is None or place.typed.end == offset


# -- memory -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("count(event=a.b, >= 3)", "one number, the count of a.b"),
        ("count(event=a.b, >= 3, per=week)", "in the latest week, and the most of any"),
        ("count(event=a.b, >= 3, per=week, tz=user)", "the moments of the latest a.b"),
        ("count(event=a.b, >= 3, unless=c.d)", "since the last c.d"),
        ("count(event=a.b, >= 3, within=1d)", "the moments of the latest a.b"),
        ("count(event=a.b, distinct=s, >= 3)", "the different values of s in a.b"),
        ("count(event=a.b, distinct=s, >= 3, within=1d)", "the latest moment of each s of a.b"),
        ("sum(event=a.b, of=n, >= 3)", "one number, the total n of a.b"),
        ("sum(event=a.b, of=n, >= 3, within=1d)", "the latest a.b with their n"),
        ("max(event=a.b, of=n, >= 3)", "one number, the maximum of n"),
        ("min(event=a.b, of=n, <= 3, within=1d)", "the minimum of n among recent a.b"),
        ("streak(event=a.b, per=day, >= 3)", "the runs of active days with a.b"),
        ("sequence([a.b, c.d], by=s)", "the progress of the 2 steps for each s"),
        ("unlocked(y)", "the grant of y is stored anyway"),
    ],
)
def test_the_stored_state_is_described(when: str, said: str) -> None:
    (node,) = parse(Source("x", f'achievement x {{ title "X" when all({when}) }}'))[0].declarations
    assert isinstance(node, Achievement)
    assert node.when is not None
    assert said in remembered(node, node.when)[0]


def test_under_a_repeat_less_is_remembered() -> None:
    text = 'achievement x { title "X" when count(event=a.b, >= 3) repeat REPEAT }'
    for repeat, said in (("every week", "in the latest week"), ("each", "this achievement's own")):
        (node,) = parse(Source("x", text.replace("REPEAT", repeat)))[0].declarations
        assert isinstance(node, Achievement)
        assert node.when is not None
        assert said in remembered(node, node.when)[0]
