"""The pictures on the page of `ach docs`, and `ach check --graph svg`."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree.ElementTree import fromstring

from click.testing import CliRunner

from dsl.graph import Arrow, Box, Picture
from dsl.ruleset import build
from tests.worker.catalogue.test_view import Page
from worker.catalogue.graphs import MOST, Graph
from worker.catalogue.page import render
from worker.catalogue.view import Catalogue, catalogue
from worker.cli import main
from worker.report.graph_svg import LONGEST, Words, graph, style

if TYPE_CHECKING:
    from pathlib import Path

RULES = """
event a.done { n: int? }
event b.done {}
achievement one { title "1" when count(event=a.done, >= 1) family first }
achievement two { title "2" when any(count(event=b.done, >= 1), unlocked(one)) after one family second }
"""
EVIL = '"><script>alert(1)</script></svg>\x1b\u202e\uffff]]>&amp;'
SVG = "{http://www.w3.org/2000/svg}"


def made(text: str) -> Catalogue:
    rules = build([("rules.ach", text.encode())])
    assert not rules.errors, rules.problems
    return catalogue(rules.rules, "T")


def edges(one: Graph) -> list[tuple[str, str, str]]:
    return [(arrow.start, arrow.end, arrow.label) for arrow in one.picture.arrows]


def test_a_family_with_what_it_counts_and_asks_for() -> None:
    first, second = (family.graphs[0] for family in made(RULES).families)
    assert edges(first) == [("event-a.done", "achievement-one", "")]
    assert edges(second) == [
        ("event-b.done", "achievement-two", ""),
        ("achievement-one", "achievement-two", "after"),
        ("achievement-one", "achievement-two", "unlocked"),
    ]
    assert (first.asks, second.asks) == (False, True)


def test_boxes_lead_to_what_they_stand_for() -> None:
    found = Page(render(made(RULES)))
    assert len(found.ids) == len(set(found.ids))
    assert {link.removeprefix("#") for link in found.links} <= set(found.ids)
    assert "a.done leads to one." in found.text


def test_hundreds_of_achievements() -> None:
    chain = (
        f'achievement c{at} {{ title "C" when count(event=a.done, >= 1){f" after c{at - 1}" if at else ""} }}'
        for at in range(5 * MOST + 1)
    )
    found = made("\n".join(("event a.done {}", *chain)))
    drawn = found.families[0].graphs
    assert len(drawn) == 6
    assert drawn[1].title == f"Achievements, {MOST + 1} to {2 * MOST}: what counts towards what"
    # The one before the first is asked for, and stands there too.
    assert len(drawn[1].picture.boxes) == MOST + 2
    assert render(found) == render(found)


def test_a_hostile_label_stays_a_label() -> None:
    boxes = (Box("x", "event", EVIL), Box("y", "aggregate", EVIL * 20), Box("z", "achievement", "z"))
    picture = Picture(boxes, (Arrow("x", "y"), Arrow("y", "z", EVIL)))
    text = graph(picture, Words("g", EVIL), {"x": f"#{EVIL}"}, alone=True)
    root = fromstring(text)  # noqa: S314 - it is what is tested
    assert {each.tag.removeprefix(SVG) for each in root.iter()} == {
        *("svg", "title", "desc", "style", "g", "a", "rect", "text", "path"),
    }
    labels = [each.text or "" for each in root.iter(f"{SVG}text")]
    assert labels[1].endswith("…")
    assert len(labels[1]) <= LONGEST
    assert not {"\x1b", "\u202e", "\uffff"} & set(text)


def test_the_drawing_of_a_check(tmp_path: Path) -> None:
    (tmp_path / "rules.ach").write_text(RULES)
    ran = CliRunner().invoke(main, ["check", str(tmp_path), "--graph", "svg"], catch_exceptions=False)
    root = fromstring(ran.stdout)  # noqa: S314 - it is what is tested
    assert root.get("aria-labelledby") == "rules-title"
    assert [each.text for each in root.findall(f"{SVG}title")] == ["What counts towards what"]
    assert {each.text for each in root.iter(f"{SVG}text")} >= {"a.done", "b.done", "one", "two"}
    assert [each.text for each in root.iter(f"{SVG}style")] == [style()]
    assert "prefers-color-scheme: dark" in style()
