"""`ach explain --html`: a page that is complete in itself, whatever producers have sent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from dsl.explain.shape import Explanation, Happened, Part, Progress
from tests.worker.catalogue.test_view import Page
from tests.worker.report.test_screen import obeyed
from worker.cli import main
from worker.report.explain_page import page
from worker.report.timeline_svg import MOST

if TYPE_CHECKING:
    from pathlib import Path

EVIL = "\"'><script>alert(1)</script></style></svg></title><img src=x onerror=alert(1)>&amp;\x1b[2J\u202e\x01]]>\uffff"
RULES = """
event a { n: int, word: string? }
achievement total { title "</title><b>" when sum(event=a, of=n, >= 10) }
achievement word { title "W" when count(event=a where word = "<i>", >= 3, unless=stop) }
achievement apart { title "A" when all(count(event=a, >= 2), count(event=stop, >= 1), within=1h) settle 2h }
event stop {}
"""


def line(number: int, **other: Any) -> str:  # noqa: ANN401 - any JSON
    said = {
        "event_id": f"e{number}",
        "event_type": "a",
        "user_id": EVIL,
        "tenant_id": "t",
        "occurred_at": f"2026-04-13T09:{number:02d}:00Z",
        "payload": {"n": 4, "word": "<i>"},
    }
    return json.dumps({**said, **other})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rules.ach").write_text(RULES)
    lines = [line(1), line(2, event_type="stop", payload={}), line(3, event_id=EVIL), line(4)]
    (tmp_path / "stream.jsonl").write_text("\n".join(lines))
    return tmp_path


def explain(folder: Path, achievement: str, *args: str, file: str = "why.html") -> Result:
    asked = ["explain", str(folder / "stream.jsonl"), "-r", str(folder / "rules.ach"), "-u", EVIL, "-a", achievement]
    return CliRunner().invoke(main, [*asked, "--html", str(folder / file), *args], catch_exceptions=False)


@pytest.mark.parametrize("achievement", ["total", "word", "apart"])
def test_nothing_received_gets_out_of_its_place(folder: Path, achievement: str) -> None:
    assert explain(folder, achievement).stdout == f"{folder / 'why.html'}: 1 explanation\n"
    text = (folder / "why.html").read_text("utf-8")
    found = Page(text)
    assert not found.tags & {"script", "img", "i", "b", "link", "iframe", "object", "a"}
    assert len(found.ids) == len(set(found.ids)) == 2
    assert not obeyed(text)
    assert "\uffff" not in text
    assert "alert(1)" in found.text
    assert "default-src 'none'" in text


def test_what_it_shows(folder: Path) -> None:
    explain(folder, "total")
    text = (folder / "why.html").read_text("utf-8")
    assert 'class="did counts"' in text
    assert 'class="bound"' in text
    assert "earned 2026-04-13 09:04</text>" in text
    assert "n 4: 8 of 10" in Page(text).text
    # Two of five, four of five and the bound: 18, 36 and 46 pixels above the foot.
    assert [f'cy="-{high}"' in text for high in (18, 36, 46)] == [True, True, True]


def test_a_reset_and_what_is_missing(folder: Path) -> None:
    explain(folder, "word")
    text = (folder / "why.html").read_text("utf-8")
    assert 'class="did starts-afresh"' in text
    assert 'class="earned' not in text
    assert "Missing" in Page(text).text


def test_a_lane_for_each_part_and_when_it_settles(folder: Path) -> None:
    explain(folder, "apart")
    text = (folder / "why.html").read_text("utf-8")
    assert [part in text for part in ("when.1: 2 a<", "when.2: 1 stop<")] == [True, True]
    assert "announced 2026-04-13 11:03</text>" in text


def test_as_json_it_names_the_file(folder: Path) -> None:
    assert json.loads(explain(folder, "total", "--json").stdout) == {
        "file": str(folder / "why.html"),
        "explanations": 1,
    }


def test_a_page_that_cannot_be_written(folder: Path) -> None:
    ran = explain(folder, "total", file="none/why.html")
    assert ran.exit_code == 1
    assert f"{folder / 'none' / 'why.html'}: No such file or directory" in ran.stderr


def story(events: list[Happened]) -> Explanation:
    at = "2026-04-13T09:00:00.000000Z"
    when = Part("when", "w", False, None, None, None, Progress("0", 0, 1), [], [])
    past = (None, None, False, None)
    return Explanation("t", "user", "u", "a", None, None, 1, at, "not yet", *past, when, [], [], events, [], [])


def test_a_page_is_bounded() -> None:
    events = [Happened(f"2026-04-13T09:00:00.{at:06d}Z", f"e{at}", "a", "u", []) for at in range(10 * MOST)]
    found = Page(page([story(events)]))
    assert f"{9 * MOST:,} events between the first and the last of these are left out." in found.text
    assert len([text for text in found.texts if text.startswith("e")]) == MOST


def test_no_event_at_all() -> None:
    assert "No event concerns it yet." in Page(page([story([])])).text
