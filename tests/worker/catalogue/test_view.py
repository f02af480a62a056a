"""The page of `ach docs`: what stands on it, and that nothing of a rule file gets out of its place."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, Phase, assume, given, settings

from dsl.ruleset import build
from tests.reference import strategies
from worker.catalogue.page import render
from worker.catalogue.view import Catalogue, Piece, catalogue
from worker.cli import main

if TYPE_CHECKING:
    from pathlib import Path

RULES = r"""
event lesson.completed { lesson_id: string, seconds: int? >= 0 once per lesson_id within 10m }
event answer.wrong {}
event unused {}
traits from user.updated { plan: string }

achievement first {
  title  { en: "First", "pt-BR": "Primeira <script>alert(1)</script>", "\"><i>": "</style>" }
  about  "A & <b>B</b> \"C\""
  when   count(event=lesson.completed, >= 1)
  reward { xp: 10, "a<b": [0.50, "</li>"] }
  family getting_started
}
achievement ladder {
  title "Ladder"
  tier low { title { en: "Low" } when count(event=lesson.completed, >= 10) reward { xp: 50 } }
  tier high { when count(event=lesson.completed, >= 100) reveal secret }
  reward { xp: 1 }
}
achievement careful version 1 {
  title "Careful" when count(event=lesson.completed, >= 2) repeat every week tz="UTC"
}
achievement careful version 2 from 2026-05-01T00:00:00Z fresh {
  title  "Careful"
  when   all(count(event=lesson.completed, >= 3, unless=answer.wrong), any(unlocked(first), unlocked(ladder.high)))
  for    plan = "pro"
  after  first
  active 2026-01-01T00:00:00Z .. 2026-12-01T12:30:00Z
  settle 2h
  reveal at 30%
  repeat every week tz="UTC"
}
achievement hidden { title "Hidden" scope lesson_id reveal secret when count(event=lesson.completed, >= 5, within=1h) }
"""


class Page(HTMLParser):
    """Checks that tags nest, and collects anchors, links, texts and attributes."""

    VOID = frozenset({"meta", "input", "br", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: set[str] = set()
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        found = dict(attrs)
        assert not [name for name in found if name.startswith("on") or name in {"src", "style"}]
        if found.get("id"):
            self.ids.append(found["id"] or "")
        if tag == "a":
            self.links.add(found.get("href") or "")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append(" ".join(data.split()))

    @property
    def text(self) -> str:
        return " ".join(text for text in self.texts if text)


def _catalogue(text: str = RULES) -> Catalogue:
    rules = build([("rules.ach", text.encode())])
    assert not rules.errors, rules.problems
    return catalogue(rules.rules, "Our <achievements>")


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(render(_catalogue()))


def test_the_page_is_sound_and_complete_in_itself(page: Page) -> None:
    assert len(page.ids) == len(set(page.ids))
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    assert not page.tags & {"script", "link", "img", "i", "object", "iframe"}


@pytest.mark.parametrize(
    "text",
    [
        "Our <achievements>",
        "4 achievements · 2 tiers · 4 events",
        "Getting started",
        "Primeira <script>alert(1)</script>",
        'A & <b>B</b> "C"',
        'a<b [0.50,"</li>"]',
        "1 lesson.completed",
        "low Low 10 lesson.completed xp 50",
        "high secret until earned 100 lesson.completed xp 1",
        "contestable hidden until 30% of the way version 2, since 2026-05-01, counted afresh",
        "all of these 3 lesson.completed , with no answer.wrong in between any of these first unlocked",
        "ladder.high unlocked",
        'For users whose plan is "pro"',
        "After first",
        "Active from 2026-01-01 until 2026-12-01 12:30 UTC",
        "Repeats once every week, in UTC",
        "Settles announced 2 hours after it was earned",
        "Version 1, until 2026-05-01 2 lesson.completed Repeats once every week",
        "secret until earned per lesson_id 5 lesson.completed , all within 1 hour",
        "counted once per lesson_id within 10 minutes",
        "seconds int optional, at least 0",
        "Counted by careful , first , hidden , ladder",
        "No achievement counts it.",
        "plan string from user.updated",
    ],
)
def test_what_stands_on_it(page: Page, text: str) -> None:
    assert text in page.text


def test_titles_in_every_language() -> None:
    found = _catalogue()
    assert found.languages == ("en", "pt-BR", '"><i>')
    first, ladder = found.families[0].cards[0], found.families[1].cards[0]
    assert [text.lang for text in first.title] == ["en", "pt-BR", '"><i>']
    assert [text.words for text in ladder.title] == ["Ladder"]


def test_one_language_needs_no_switch() -> None:
    text = 'event a {}\nachievement x { title "X" when count(event=a, >= 1) }\n'
    page = Page(render(_catalogue(text)))
    assert "input" not in page.tags
    assert "Achievements 1" in page.text


def test_an_unlocked_achievement_is_linked() -> None:
    careful = next(card for card in _catalogue().families[1].cards if card.name == "careful")
    below = careful.now.steps[0].when.parts[1].parts
    assert [line.pieces[0] for line in below] == [
        Piece("first", "achievement-first"),
        Piece("ladder.high", "achievement-ladder"),
    ]


def test_the_command_writes_it(tmp_path: Path) -> None:
    (tmp_path / "rules.ach").write_text(RULES)
    asked = ["docs", str(tmp_path / "rules.ach"), "-o", str(tmp_path / "site" / "new"), "--title", "T"]
    ran = CliRunner().invoke(main, asked, catch_exceptions=False)
    assert ran.exit_code == 0
    assert "4 achievements" in ran.stdout
    assert (tmp_path / "site" / "new" / "index.html").read_text("utf-8").startswith("<!doctype html>\n<html")
    (tmp_path / "file").write_text("")
    assert CliRunner().invoke(main, [*asked[:3], str(tmp_path / "file" / "x")]).exit_code == 1


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(strategies.rule_files(strategies.ANCHORS[0]))
def test_every_rule_set_has_a_sound_page(text: str) -> None:
    assume(not build([("drawn.ach", text.encode())]).errors)
    page = Page(render(_catalogue(text)))
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
