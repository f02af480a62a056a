"""`ach lsp` as an editor meets it: a process, and the protocol over its standard input and output.

One server serves all tests of a process; each test has a workspace folder, and so a rule set, of its own.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from dsl.advice import examine
from dsl.ruleset import build
from tests.acceptance.conftest import ACH
from tests.acceptance.editor import Document, Editor, Json, RefusedError
from worker.distribution import install

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

RULES = """\
# A lesson was finished.
event lesson.completed {
  lesson_id:        string
  course_id:        string?
  duration_seconds: int >= 0
  passed:           bool?
  once per lesson_id within 10m
}

event quiz.passed { lesson_id: string }
event purchase.placed { amount: decimal >= 0, currency: string }
event answer.wrong {}

traits from user.updated { plan: string, timezone: string }

achievement first_lesson {
  title "First lesson"
  when  count(event=lesson.completed, >= 1)
}

achievement ten_lessons {
  title "Ten lessons"
  when  count(event=lesson.completed, distinct=lesson_id, >= 10)
  for   plan in ["pro", "team"]
  after first_lesson
}

achievement learner {
  title "Learner"
  when  count(event=[lesson.completed, quiz.passed], distinct=lesson_id, >= 3, within=7d)
}

achievement careful {
  title "Careful"
  when  count(event=quiz.passed, >= 5, unless=answer.wrong)
}

achievement spender {
  title "Spender"
  tier bronze { when sum(event=purchase.placed, of=amount, >= 10) }
  tier gold   { when sum(event=purchase.placed, of=amount, >= 1000) }
}

example "ten different lessons" {
  at 2026-04-13T08:00:00Z u1 user.updated { plan: "pro" }
  at 2026-04-13T09:00:00Z u1 lesson.completed { lesson_id: "l{n}", duration_seconds: 600 } times 10 every 1h
  expect u1 ten_lessons at 2026-04-13T18:00:00Z
  expect u1 not spender.gold
}
"""


BESIDE = frozenset({"ACH505", "ACH510"})
"""Advice on rules that are short for the sake of a test."""


class Desk:
    """An editor and a workspace folder in it."""

    def __init__(self, editor: Editor, folder: Path) -> None:
        self.editor = editor
        self.folder = folder

    def open(self, text: str, name: str = "rules.ach") -> Document:
        return Document(self.editor, self.folder / name, text)

    def folders(self, *, added: bool) -> None:
        here = [{"uri": self.folder.as_uri(), "name": "here"}]
        event = {"added": here if added else [], "removed": [] if added else here}
        self.editor.notify("workspace/didChangeWorkspaceFolders", {"event": event})


@pytest.fixture(scope="module")
def editor(tmp_path_factory: pytest.TempPathFactory) -> Generator[Editor]:
    with Editor([str(ACH), "lsp"], tmp_path_factory.mktemp("editor")) as editor:
        yield editor
        assert editor.end() == 0


@pytest.fixture
def desk(editor: Editor, tmp_path: Path) -> Generator[Desk]:
    desk = Desk(editor, tmp_path)
    desk.folders(added=True)
    yield desk
    desk.folders(added=False)


def codes(document: Document) -> list[tuple[str, str]]:
    """Return the code of each problem, but of advice that has had time to come, with the text that it underlines."""
    return [each for each in problems_of(document) if each[0] not in BESIDE]


def problems_of(document: Document) -> list[tuple[str, str]]:
    """Return the code of everything said at once, with the text that it underlines."""
    return [(problem["code"], document.text_of(problem["range"])) for problem in document.problems()]


def labels(document: Document, marked: str) -> list[str]:
    answer = document.ask("completion", marked)
    return [] if answer is None else [item["label"] for item in answer["items"]]


def completed(text: str) -> tuple[str, str]:
    """Return the rules with an unfinished achievement, and it with its mark for `labels`."""
    return RULES + text.replace("|", ""), text


def hovered(document: Document, marked: str) -> str:
    answer = document.ask("hover", marked)
    return "" if answer is None else answer["contents"]["value"]


FAMILIES = """# The pets that everyone has.
list base_pets = ["wolf", "tiger"]
list colors = ["red", "Ocean Blue"]

event pet.hatched { pet: string, color: string, tags: [string] }

achievement pets for each color in colors {
  title "All the {color} pets"
  when count(event=pet.hatched where color = $color and pet in base_pets and "x" in tags, distinct=pet, >= all)
}

achievement grown for each color in colors {
  title "Grown"
  when count(event=pet.hatched where color = $color)
  after pets_$color
  tier bronze >= 10 {}
  tier silver >= 20 {}
}

example "pets" for each hue in colors {
  at 2026-04-13T09:00:00Z ada pet.hatched { pet: "wolf", color: $hue, tags: [] }
  expect ada not pets_$hue
  expect ada not pets_red
}
"""


# -- diagnostics ------------------------------------------------------------------------------------------------------


def test_problems_follow_what_is_typed(desk: Desk) -> None:
    document = desk.open(RULES)
    assert codes(document) == []
    document.change(RULES.replace("distinct=lesson_id, >= 10", "distinct=lesson, >= 10"))
    assert codes(document) == [("ACH202", "lesson")]
    document.change(RULES.replace("after first_lesson\n}", "after first_lesson\n"))
    assert ("ACH119", "{") in codes(document)
    document.change(RULES)
    assert codes(document) == []


def test_a_problem_carries_severity_hint_and_source(desk: Desk) -> None:
    document = desk.open(RULES.replace("unless=answer.wrong", "unless=answer.wrogn"))
    problem = document.problems()[0]
    assert problem["severity"] == 1
    assert problem["source"] == "ach"
    assert problem["message"].endswith("hint: did you mean `answer.wrong`?")


def test_columns_count_utf16_units(desk: Desk) -> None:
    document = desk.open('event a {}\nachievement x { title "🎉é🎉" when count(event=b, >= 1) }\n')
    problems = document.problems()
    assert [document.text_of(each["range"]) for each in problems if each["code"] == "ACH201"] == ["b"]
    assert problems[-1]["range"]["start"]["character"] == 47


def test_names_come_from_all_files_of_the_folder_but_those_of_packages(desk: Desk) -> None:
    desk.folders(added=False)
    for name in ("events", "node_modules", ".hidden"):
        (desk.folder / name).mkdir()
        (desk.folder / name / "events.ach").write_text("event far.away { n: int >= 0 }\n")
    desk.folders(added=True)
    document = desk.open('achievement x { title "X" when count(event=far.away, >= 1) }\n')
    assert codes(document) == []


def watched(desk: Desk, *names: str, kind: int) -> None:
    changes = [{"uri": (desk.folder / name).as_uri(), "type": kind} for name in names]
    desk.editor.notify("workspace/didChangeWatchedFiles", {"changes": changes})


def test_files_that_change_on_disk_are_read_again_and_open_ones_hide_them(desk: Desk) -> None:
    document = desk.open('achievement x { title "X" when count(event=far.away, >= 1) }\n')
    assert codes(document) == [("ACH201", "far.away")]
    (desk.folder / "events.ach").write_text("event far.away {}\n")
    watched(desk, "events.ach", kind=1)
    document.change(document.text)
    assert codes(document) == []
    other = desk.open("event near.by {}\n", "events.ach")
    document.change(document.text)
    assert codes(document) == [("ACH201", "far.away")]
    other.close()
    document.change(document.text)
    assert codes(document) == []
    (desk.folder / "events.ach").unlink()
    watched(desk, "events.ach", kind=3)
    document.change(document.text)
    assert codes(document) == [("ACH201", "far.away")]


def test_problems_of_a_closed_file_are_published_and_cleared(desk: Desk) -> None:
    (desk.folder / "lonely.ach").write_text("event no.reader {}\n")
    uri = (desk.folder / "lonely.ach").as_uri()
    watched(desk, "lonely.ach", kind=1)

    def is_published(message: Json) -> bool:
        return message.get("method") == "textDocument/publishDiagnostics" and message["params"]["uri"] == uri

    assert [each["code"] for each in desk.editor.wait(is_published)["params"]["diagnostics"]] == ["ACH501"]
    (desk.folder / "lonely.ach").unlink()
    watched(desk, "lonely.ach", kind=3)
    assert desk.editor.wait(is_published)["params"]["diagnostics"] == []


ADVISED = """\
event a {}
event b {}

# ach: allow ACH505 reverts are rare
achievement x {
  title "X"
  when  count(event=a, >= 2, unless=b)  # ach: allow ACH505
}

achievement y { title "Y" when count(event=a, >= 3, unless=b) }
achievement z { title "Z" when count(event=a, >= 4) }

example "x" {
  at 2026-04-13T09:00:00Z ann a {} times 2 every 1h
  expect ann x
  expect ann not y
}
"""


def test_advice_follows_in_a_pause_and_is_that_of_ach_check(desk: Desk) -> None:
    document = desk.open(ADVISED)
    assert problems_of(document) == []
    advice = [("ACH511", "ACH505"), ("ACH505", "b"), ("ACH510", "z")]
    assert sorted(problems_of(document)) == sorted(advice)
    rules = build([("rules.ach", ADVISED.encode())])
    checked = examine(rules.files, rules.rules, rules.problems)
    assert sorted((each.code, ADVISED[slice(*each.span)]) for each in checked) == sorted(advice)


def test_advice_stays_on_what_is_not_being_typed(desk: Desk) -> None:
    document = desk.open(ADVISED)
    problems_of(document)
    problems_of(document)
    document.change(ADVISED.replace('"Z" when', '"Z when'))
    assert ("ACH505", "b") in problems_of(document)
    document.change(ADVISED.replace("count(event=a, >= 3, unless=b)", "count(event=a, >= 3)"))
    assert ("ACH505", "b") not in problems_of(document)


# -- hover ------------------------------------------------------------------------------------------------------------


def test_hover_of_an_operator_shows_its_condition_and_state(desk: Desk) -> None:
    document = desk.open(RULES)
    text = hovered(document, "co|unt(event=lesson.completed, distinct=lesson_id")
    assert "10 different lesson_id of lesson.completed" in text
    assert "Contestable" in text
    assert "`for` reads traits" in text
    assert "different values of lesson_id" in text


def test_a_verdict_is_final_or_says_why_not(desk: Desk) -> None:
    document = desk.open(RULES)
    assert "**Final**" in hovered(document, "spe|nder {")
    careful = hovered(document, "care|ful {")
    assert "**Contestable**" in careful
    line = RULES[: RULES.index("unless=answer.wrong")].count("\n") + 1
    assert f"(line {line})" in careful


@pytest.mark.parametrize(
    ("marked", "said"),
    [
        ("event=les|son.completed, >= 1)", "once per lesson_id within 10m"),
        ("event=les|son.completed, >= 1)", "A lesson was finished."),
        ("of=amo|unt, >= 10)", "amount: decimal >= 0"),
        ("for   pl|an in", "plan: string"),
        ("after first_|lesson", "“First lesson”"),
        ("tier go|ld", "adding up to 1000 or more"),
        ("wit|hin=7d", "shorter than this exact length"),
        ("within=7|d", "7 days"),
        ("unle|ss=answer", "contestable"),
        ("af|ter first_lesson", "Earned only once these others are"),
        ("fo|r   plan", 'plan is "pro" or "team"'),
        ("exp|ect u1 ten", "what must come of it"),
    ],
)
def test_everything_else_says_what_it_is(desk: Desk, marked: str, said: str) -> None:
    assert said in hovered(desk.open(RULES), marked)


@pytest.mark.parametrize(
    ("marked", "said"),
    [
        ("pet in base_|pets", 'list base_pets = ["wolf", "tiger"]'),
        ("pet in base_|pets", "The pets that everyone has."),
        ("achievement pe|ts", "a family of 2 achievements: `pets_red`, `pets_ocean_blue`"),
        ("achievement pe|ts", "All the red pets"),
        ("cou|nt(event=pet.hatched where color = $color and", "2 different pet of pet.hatched"),
        ("tier bro|nze", "10 pet.hatched where color is"),
        ('for each co|lor in colors {\n  title "All', "stands for each element in turn"),
        ("color = $co|lor and", "stands for each element in turn"),
        ('"x" in ta|gs', "tags: [string]"),
        ("li|st base_pets", "values with a name"),
    ],
)
def test_lists_families_and_ladders_say_what_they_stand_for(desk: Desk, marked: str, said: str) -> None:
    assert said in hovered(desk.open(FAMILIES), marked)


def test_nothing_is_said_of_space_and_of_files_that_are_not_there(desk: Desk) -> None:
    document = desk.open(RULES)
    assert hovered(document, "\n|\nevent quiz") == ""
    nowhere = {"textDocument": {"uri": "untitled:nowhere"}, "position": {"line": 9_999, "character": 9}}
    assert desk.editor.request("textDocument/hover", nowhere) is None
    beyond = {"textDocument": {"uri": document.uri}, "position": {"line": 9_999, "character": 9}}
    assert desk.editor.request("textDocument/hover", beyond) is None


# -- completion -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "offered", "not_offered"),
    [
        ("ach|", ["achievement", "event", "traits", "example"], ["title"]),
        ("achievement x { ti|", ["title", "when", "reward", "tier"], ["count"]),
        ('achievement x { title "X" |', ["when", "about"], ["title"]),
        ("achievement x { when |", ["count", "sequence", "unlocked"], ["title"]),
        ("achievement x { when count(|", ["event=", "distinct=", "within=", ">= "], ["of=", "count"]),
        ("achievement x { when count(event=quiz.passed, |", ["distinct=", "tz="], ["event="]),
        ("achievement x { when count(event=lesson.c|", ["lesson.completed", "quiz.passed"], ["first_lesson"]),
        ("achievement x { when count(event=[quiz.passed, |", ["lesson.completed"], []),
        ("achievement x { when count(event=lesson.completed, distinct=|", ["lesson_id", "course_id"], ["amount"]),
        ("achievement x { when count(distinct=|, event=quiz.passed)", ["lesson_id"], ["course_id"]),
        ("achievement x { when sum(event=purchase.placed, of=|", ["amount"], ["currency"]),
        ("achievement x { when count(event=quiz.passed |", ["where"], []),
        ("achievement x { when count(event=quiz.passed where |", ["lesson_id", "at.hour", "not"], ["amount"]),
        ("achievement x { when count(event=quiz.passed where lesson_id |", ["=", "in", "is present"], []),
        ("achievement x { when count(event=quiz.passed where at.weekday = |", ['"mon"'], []),
        ("achievement x { when count(event=lesson.completed where (passed = |", ["true", "false"], []),
        ("achievement x { when count(event=quiz.passed where at.weekday in [|", ['"sun"'], []),
        ("achievement x { when streak(event=quiz.passed, per=|", ["day", "week"], []),
        ("achievement x { when count(event=quiz.passed, tz=|", ["user", "event", '"Europe/Berlin"'], []),
        ('achievement x { when count(event=quiz.passed, tz="Eur|', ['"Europe/Berlin"'], ["user"]),
        ("achievement x { when count(event=quiz.passed, within=|", ["7d", "1h"], []),
        ("achievement x { when all(count(event=quiz.passed, >= 1), |", ["count", "within="], []),
        ("achievement x { when sequence([quiz.passed, |", ["lesson.completed"], []),
        ("achievement x { when unlocked(|", ["first_lesson", "spender.gold"], ["lesson.completed"]),
        ("achievement x { after |", ["first_lesson", "spender.bronze"], []),
        ("achievement x { for |", ["plan", "timezone"], ["amount"]),
        ("achievement x { for plan |", ["=", "in"], []),
        ("achievement x { reveal |", ["always", "secret", "at", "after"], []),
        ("achievement x { repeat |", ["each", "every"], []),
        ("achievement x { repeat every |", ["week"], []),
        ("achievement x { scope |", ["user", "tenant", "course_id"], []),
        ("achievement x { tier a { |", ["when", "title"], ["repeat"]),
        ("achievement x { reward { |", ["xp"], []),
        ("event e { a: |", ["string", "decimal", "user", "[string]"], []),
        ("achievement x |", ["version", "for each"], []),
        ("list l = [1]\nachievement x for each y in |", ["l", "[]"], []),
        ("list l = [1]\nachievement x { when count(event=quiz.passed where lesson_id in |", ["l", "[]"], []),
        ("achievement x { when count(event=quiz.passed where lesson_id + |", ["lesson_id", "at", "actor"], []),
        ("achievement x { when count(event=quiz.passed where |", ["length", "at.minute", "at.week"], []),
        ("achievement x { when count(event=quiz.passed, distinct=|", ["at.date", "actor"], ["at"]),
        ("event e { a: string once per |", ["a"], []),
        ("event e { a: user, b: [user], c: string }\nachievement x { when count(event=e |", ["where", "as"], []),
        ("event e { a: user, b: [user], c: string }\nachievement x { when count(event=e as |", ["a", "b"], ["c"]),
        ("event e { a: user }\nachievement x { when count(event=[e, e] as |", ["a"], ["where"]),
        ("event e { a: user }\nachievement x { when sequence([e as |", ["a"], ["e"]),
        ("event e { a: user }\nachievement x { when count(event=e as a |", ["where"], ["as"]),
        ("event e { a: user }\nachievement x { when count(event=e as a where |", ["a", "actor"], []),
        ("event e { a: user }\ntraits from e as |", ["a"], []),
        ("achievement x { when count(event=quiz.passed |", ["where"], ["as"]),
        ("achievement x { when count(event=quiz.passed, by=|", ["lesson_id", "actor"], ["at.date"]),
        ("achievement x { when count(event=quiz.passed, by=[lesson_id, |", ["actor"], ["lesson_id", "quiz.passed"]),
        ("achievement x { when count(event=quiz.passed, distinct=[|", ["lesson_id", "at.date"], ["quiz.passed"]),
        ("achievement x { repeat by |", ["lesson_id", "actor"], ["at.date"]),
        ("traits from |", ["user.updated"], []),
        ('example "x" { |', ["at", "expect"], []),
        ('example "x" { at 2026-04-13T08:00:00Z u1 |', ["quiz.passed"], []),
        ('example "x" { at 2026-04-13T08:00:00Z u1 purchase.placed { |', ["amount", "currency"], ["plan"]),
        ('example "x" { expect u1 |', ["first_lesson", "spender.gold", "not"], []),
        ('example "x" { expect u1 first_lesson |', ["progress", "at", "occurrence"], []),
        ('example "x" { at 2026-04-13T08:00:00Z u1 answer.wrong {} |', ["times", "at", "expect"], []),
    ],
)
def test_completion_offers_the_valid_text(desk: Desk, text: str, offered: list[str], not_offered: list[str]) -> None:
    rules, marked = completed(text)
    found = labels(desk.open(rules), marked)
    assert set(offered) <= set(found)
    assert not set(not_offered) & set(found)


def test_the_fields_of_an_event_are_offered_while_its_declaration_is_unfinished(desk: Desk) -> None:
    unfinished = "achievement x { when count(event=lesson.completed, distinct="
    document = desk.open(RULES + unfinished)
    document.problems()
    document.change(document.text.replace("duration_seconds: int >= 0", "duration_seconds:"))
    assert "course_id" in labels(document, unfinished + "|")


def test_nothing_is_offered_in_comments_and_texts(desk: Desk) -> None:
    document = desk.open(RULES + '# coun\nachievement y { title "wh" }\n')
    assert labels(document, "# coun|") == []
    assert labels(document, '"wh|"') == []


def test_an_offer_replaces_the_whole_dotted_word(desk: Desk) -> None:
    document = desk.open(RULES + "achievement x { when count(event=lesson.co")
    items = document.ask("completion", "achievement x { when count(event=lesson.co|")["items"]
    item = next(each for each in items if each["label"] == "lesson.completed")
    assert document.applied([item["textEdit"]]).endswith("count(event=lesson.completed")


def test_an_operator_comes_with_stops_to_fill_in(desk: Desk) -> None:
    document = desk.open(RULES + "achievement x { when ")
    items = document.ask("completion", "achievement x { when |")["items"]
    item = next(each for each in items if each["label"] == "count")
    assert item["insertTextFormat"] == 2
    assert item["textEdit"]["newText"] == "count(event=${1:event}, >= ${2:10})"
    assert "that many events" in item["documentation"]["value"]


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("marked", "line"),
    [
        ("unless=answer.wr|ong", "event answer.wrong {}"),
        ("of=am|ount, >= 10)", "event purchase.placed { amount: decimal >= 0, currency: string }"),
        ("for   pl|an", "traits from user.updated { plan: string, timezone: string }"),
        ("after first_less|on", "achievement first_lesson {"),
        ("spender.go|ld", "  tier gold   { when sum(event=purchase.placed, of=amount, >= 1000) }"),
        ("user.updated { pl|an: ", "traits from user.updated { plan: string, timezone: string }"),
    ],
)
def test_a_name_leads_to_its_declaration(desk: Desk, marked: str, line: str) -> None:
    document = desk.open(RULES)
    found = document.ask("definition", marked)
    assert [RULES.splitlines()[each["range"]["start"]["line"]] for each in found] == [line]


def test_a_field_of_several_events_leads_to_each(desk: Desk) -> None:
    document = desk.open(RULES)
    assert len(document.ask("definition", "passed], distinct=lesson|_id")) == 2


def test_references_are_found_across_files(desk: Desk) -> None:
    document = desk.open(RULES)
    other = desk.open('achievement more { title "More" when count(event=answer.wrong, >= 2) }\n', "more.ach")
    found = document.ask("references", "unless=answer.wr|ong", context={"includeDeclaration": True})
    assert {each["uri"] for each in found} == {document.uri, other.uri}
    assert len(found) == 3
    found = document.ask("references", "unless=answer.wr|ong", context={"includeDeclaration": False})
    assert len(found) == 2
    assert len(document.ask("documentHighlight", "unless=answer.wr|ong")) == 2


def renamed(documents: list[Document], marked: str, new: str) -> list[str]:
    edit = documents[0].ask("rename", marked, newName=new)
    return [document.applied(edit["changes"].get(document.uri, [])) for document in documents]


@pytest.mark.parametrize(
    ("marked", "old", "new"),
    [
        ("event answer.|wrong", "answer.wrong", "answer.failed"),
        ("{ amo|unt: decimal", "amount", "total"),
        ("{ pl|an: string, timezone", "plan", "tier_of_plan"),
        ("after first_|lesson", "first_lesson", "very_first"),
        ("tier go|ld", "gold", "golden"),
    ],
)
def test_renaming_goes_through_all_files(desk: Desk, marked: str, old: str, new: str) -> None:
    document = desk.open(RULES)
    more = (
        'example "more" {\n'
        '  at 2026-04-13T08:00:00Z u1 purchase.placed { "amount": 1, currency: "plan amount" }\n'
        '  at 2026-04-13T08:00:00Z u1 user.updated { plan: "gold" }\n'
        "  at 2026-04-13T08:00:00Z u1 answer.wrong {}\n"
        "  expect u1 not spender.gold\n  expect u1 not first_lesson\n}\n"
    )
    other = desk.open(more, "more.ach")
    assert document.ask("prepareRename", marked)["placeholder"] == old
    first, second = renamed([document, other], marked, new)
    document.change(first)
    other.change(second)
    assert codes(document) == []
    assert codes(other) == []
    assert second.count(new) == (2 if old == "first_lesson" else 1) - (old == "first_lesson")


@pytest.mark.parametrize(
    ("marked", "new", "written"),
    [
        ("list base_|pets", "first_pets", ["list first_pets =", "pet in first_pets and"]),
        ("achievement pe|ts", "zoo", ["achievement zoo for", "after zoo_$color", "not zoo_$hue", "not zoo_red"]),
        ('each co|lor in colors {\n  title "All', "hue", ['"All the {hue} pets"', "color = $hue and pet"]),
        ("where col|or = $color and", "paint", ["{ pet: string, paint: string", "paint = $color", "paint: $hue"]),
        ('"x" in ta|gs', "labels", ["labels: [string]", '"x" in labels', "labels: []"]),
    ],
)
def test_lists_families_and_their_variables_are_renamed(desk: Desk, marked: str, new: str, written: list[str]) -> None:
    document = desk.open(FAMILIES)
    (text,) = renamed([document], marked, new)
    assert [part for part in written if part not in text] == []
    document.change(text)
    assert codes(document) == []


def test_a_field_that_events_share_is_renamed_in_all_of_them(desk: Desk) -> None:
    document = desk.open(RULES)
    (text,) = renamed([document], "once per lesson|_id", "lesson")
    assert "lesson_id" not in text
    document.change(text)
    assert codes(document) == []


@pytest.mark.parametrize(
    ("marked", "new", "why"),
    [
        ("event answer.|wrong", "quiz.passed", "declared already"),
        ("event answer.|wrong", "Answer.Wrong", "is no name"),
        ("event answer.|wrong", "not.good", "`not` cannot be a name"),
        ("{ amo|unt: decimal", "currency", "declared already"),
        ("{ amo|unt: decimal", "two.words", "is no name"),
        ("after first_|lesson", "learner", "declared already"),
        ("tier go|ld", "bronze", "declared already"),
        ("plan: string, time|zone", "zone", "tz=user"),
    ],
)
def test_a_name_that_cannot_be_given_is_refused(desk: Desk, marked: str, new: str, why: str) -> None:
    document = desk.open(RULES)
    with pytest.raises(RefusedError, match=why):
        document.ask("rename", marked, newName=new)


def test_no_rename_with_syntax_errors(desk: Desk) -> None:
    document = desk.open(RULES + "achievement broken {")
    with pytest.raises(RefusedError, match="syntax errors"):
        document.ask("rename", "event answer.|wrong", newName="answer.failed")


# -- the file ---------------------------------------------------------------------------------------------------------


def test_the_outline_has_declarations_with_their_parts(desk: Desk) -> None:
    symbols = desk.open(RULES).ask_whole("documentSymbol")
    names = {symbol["name"]: [child["name"] for child in symbol.get("children") or ()] for symbol in symbols}
    assert names["purchase.placed"] == ["amount", "currency"]
    assert names["traits from user.updated"] == ["plan", "timezone"]
    assert names["spender"] == ["bronze", "gold"]
    assert 'example "ten different lessons"' in names


def test_declarations_are_found_by_some_of_their_letters(desk: Desk) -> None:
    document = desk.open(RULES)
    document.problems()
    found = desk.editor.request("workspace/symbol", {"query": "tenless"})
    assert [each["name"] for each in found if each["location"]["uri"] == document.uri] == ["ten_lessons"]


def test_formatting_is_that_of_ach_fmt(desk: Desk) -> None:
    document = desk.open('event  a.b { }\nachievement x{title "X"   when count( event = a.b , >= 1 )}\n')
    options = {"tabSize": 4, "insertSpaces": False}
    text = document.applied(document.ask_whole("formatting", options=options))
    formatted = subprocess.run(
        [ACH, "fmt", "-"], input=document.text.encode(), capture_output=True, check=True, timeout=60
    )
    assert text == formatted.stdout.decode()
    document.change(text)
    assert document.ask_whole("formatting", options=options) == []
    document.change("event {")
    assert document.ask_whole("formatting", options=options) is None


def test_each_name_is_coloured_by_what_it_is(desk: Desk) -> None:
    document = desk.open('event a.b { n: int }\nachievement x { title "X" when max(event=a.b, of=n, >= 1) }\n')
    legend = desk.editor.capabilities["semanticTokensProvider"]["legend"]["tokenTypes"]
    data = document.ask_whole("semanticTokens/full")["data"]
    found: list[tuple[str, str]] = []
    line = column = 0
    for at in range(0, len(data), 5):
        down, across, length, kind, _ = data[at : at + 5]
        line, column = line + down, across + (0 if down else column)
        start = document.offset({"line": line, "character": column})
        found.append((document.text[start : start + length], legend[kind]))
    expected = [("a.b", "event"), ("n", "property"), ("x", "class"), ("a.b", "event"), ("n", "property")]
    assert found == expected


# -- code actions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("count(event=quiz.pased, >= 1)", "count(event=quiz.passed, >= 1)"),
        ("count(event=quiz.passed, distinct=leson_id, >= 1)", "count(event=quiz.passed, distinct=lesson_id, >= 1)"),
        ("cuont(event=quiz.passed, >= 1)", "count(event=quiz.passed, >= 1)"),
        ("count(event=quiz.passed >= 1)", "count(event=quiz.passed, >= 1)"),
        ("count(quiz.passed >= 1)", "count(event=quiz.passed, >= 1)"),
        ("count(event=quiz.passed, >= 1, within=day)", "count(event=quiz.passed, >= 1, within=1d)"),
        ("count(event=quiz.passed, >= 1, within=day)", "count(event=quiz.passed, >= 1, per=day)"),
        ("count(event=quiz.passed, >= 1, per=1d)", "count(event=quiz.passed, >= 1, per=day)"),
        ("count(event=quiz.passed where lesson_id = a, >= 1)", 'count(event=quiz.passed where lesson_id = "a", >= 1)'),
        ("count(event=quiz.passed, => 1)", "count(event=quiz.passed, >= 1)"),
        ("unlocked(first_leson)", "unlocked(first_lesson)"),
    ],
)
def test_a_hint_becomes_a_quick_fix(desk: Desk, wrong: str, right: str) -> None:
    rules = f'{RULES}\nachievement x {{ title "X" when WHEN }}\n'
    document = desk.open(rules.replace("WHEN", wrong))
    (problem,) = document.problems()
    actions = document.ask_whole("codeAction", range=problem["range"], context={"diagnostics": [problem]})
    texts = [document.applied(action["edit"]["changes"][document.uri]) for action in actions]
    assert rules.replace("WHEN", right) in texts
    assert {action["kind"] for action in actions} == {"quickfix"}
    document.change(rules.replace("WHEN", right))
    assert codes(document) == []


def test_an_unknown_event_can_be_declared(desk: Desk) -> None:
    document = desk.open('achievement x { title "X" when count(event=brand.new, >= 1) }\n')
    (problem,) = document.problems()
    (action,) = document.ask_whole("codeAction", range=problem["range"], context={"diagnostics": []})
    document.change(document.applied(action["edit"]["changes"][document.uri]))
    assert document.text.startswith("event brand.new {}\n\nachievement x")
    assert codes(document) == []


# -- examples ---------------------------------------------------------------------------------------------------------


def run(desk: Desk, lens: Json) -> Json:
    command = lens["command"]
    asked = {"command": command["command"], "arguments": command["arguments"]}
    return desk.editor.request("workspace/executeCommand", asked)


def test_an_example_is_run_from_its_lens(desk: Desk) -> None:
    document = desk.open(RULES)
    (lens,) = document.ask_whole("codeLens")
    assert lens["command"]["title"] == "run example"
    assert document.text_of(lens["range"]) == "example"
    assert run(desk, lens) == {"passed": True, "failures": []}
    desk.editor.wait_for("workspace/codeLens/refresh")
    assert document.ask_whole("codeLens")[0]["command"]["title"] == "passed (run again)"


def test_a_failed_expectation_is_shown_at_its_line(desk: Desk) -> None:
    document = desk.open(
        RULES.replace("expect u1 ten_lessons at 2026-04-13T18", "expect u1 ten_lessons at 2026-04-13T19")
    )
    assert codes(document) == []
    said = run(desk, document.ask_whole("codeLens")[0])
    assert said["passed"] is False
    assert "2026-04-13T18:00:00" in said["failures"][0]
    assert document.ask_whole("codeLens")[0]["command"]["title"] == "failed: 1 expectation (run again)"

    def is_published(message: Json) -> bool:
        if message.get("method") != "textDocument/publishDiagnostics" or message["params"]["uri"] != document.uri:
            return False
        return [each["code"] for each in message["params"]["diagnostics"]] == ["example"]

    (problem,) = desk.editor.wait(is_published)["params"]["diagnostics"]
    assert document.text_of(problem["range"]).startswith("expect u1 ten_lessons")
    document.change(document.text + "\n")
    assert codes(document) == []
    assert document.ask_whole("codeLens")[0]["command"]["title"] == "run example"


def test_an_example_of_rules_with_errors_says_so(desk: Desk) -> None:
    document = desk.open(RULES.replace("unless=answer.wrong", "unless=answer.wrogn"))
    said = run(desk, document.ask_whole("codeLens")[0])
    assert said["passed"] is False
    assert "errors" in said["failures"][0]
    assert "errors" in desk.editor.wait_for("window/showMessage")["message"]


# -- the server -------------------------------------------------------------------------------------------------------


def test_a_feature_that_fails_is_logged_and_the_server_goes_on(desk: Desk) -> None:
    nowhere = {"textDocument": {"uri": "file://[no-address/x.ach"}, "position": {"line": 0, "character": 0}}
    for method in ("hover", "completion", "rename"):
        assert desk.editor.request(f"textDocument/{method}", {**nowhere, "newName": "x"}) is None
        assert desk.editor.wait_for("window/logMessage")["message"].startswith(f"textDocument/{method}: ")
    with pytest.raises(RefusedError):
        desk.editor.request("workspace/executeCommand", {"command": "ach.nothing", "arguments": []})
    desk.editor.notify("textDocument/didOpen", {"wrong": 1})
    assert codes(desk.open(RULES)) == []


def test_an_example_that_is_gone_is_not_run(desk: Desk) -> None:
    asked = {"command": "ach.runExample", "arguments": [(desk.folder / "nowhere.ach").as_uri(), 3]}
    assert desk.editor.request("workspace/executeCommand", asked)["passed"] is False
    desk.editor.wait(
        lambda message: (
            message.get("method") == "window/showMessage" and "no such example" in message["params"]["message"]
        )
    )


def test_hostile_text_is_survived(desk: Desk) -> None:
    document = desk.open(RULES)
    for text in (
        "\x00",
        "((((" * 500,
        '"' * 99,
        "event a {}\r\nevent\rb {}",
        "\u2028 event a {}",
        "\U0001d4b3" * 50,
        "",
    ):
        document.change(text)
        document.problems()
        place = {"textDocument": {"uri": document.uri}, "position": {"line": 0, "character": 2}}
        for method in ("hover", "completion", "definition"):
            desk.editor.request(f"textDocument/{method}", place)
    document.change(RULES)
    assert codes(document) == []


def test_rule_sets_can_be_named_and_share_nothing(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "events.ach").write_text("event a {}\n")
    folders = [{"uri": tmp_path.as_uri(), "name": "both"}]
    options = {"ruleSets": ["one", "two"]}
    with Editor([str(ACH), "lsp"], tmp_path, workspaceFolders=folders, initializationOptions=options) as editor:
        rules = 'achievement x { title "X" when count(event=a, >= 1) }\n'
        assert codes(Document(editor, tmp_path / "one" / "x.ach", rules)) == []
        outside = Document(editor, tmp_path / "three.ach", "event a {}\n")
        assert codes(outside) == [("ACH501", "a")]
        assert editor.end() == 0


def test_without_pygls_it_says_what_to_install(tmp_path: Path) -> None:
    program = "import sys; sys.modules['pygls'] = None; from worker.cli import main; main(['lsp'])"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        cwd=tmp_path,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 1
    assert install("lsp").encode() in done.stderr
