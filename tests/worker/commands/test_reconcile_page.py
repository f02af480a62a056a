"""A reconciliation as an HTML page: nothing that it shows can leave its place."""

from __future__ import annotations

from html.parser import HTMLParser

import msgspec

from worker.commands.reconcile.page import html_of
from worker.engine.reconciliation import Decided, Reconciliation, Row

EVIL = '<script>alert("x")</script>\x1b[31m&amp;'
FOUND = Reconciliation(
    change_id=7,
    state="building",
    epoch=4,
    epoch_before=3,
    applied_at="2026-05-01T00:00:00.000000Z",
    applied_by=EVIL,
    message=EVIL,
    rows=[Row(EVIL, "gold", 2, {"granted": 1200, "granted_by_hand": 1}, {"granted": 1200}, 31)],
    total={"granted": 1200, "granted_by_hand": 1},
    unchanged=31,
)
LINE = Decided(7, EVIL, "team", EVIL, "ten", None, "2026-W15", 1, "granted", "2026-05-01T00:00:00.000000Z", "e", "")


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        self.opened.append(tag)


def test_what_it_shows_is_text() -> None:
    page = html_of(FOUND, [LINE], more=True)
    tags = Tags()
    tags.feed(page)
    assert set(tags.opened) <= {
        *("html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "code", "table", "tr", "th", "td"),
    }
    assert "\x1b" not in page
    assert "<script" not in page
    assert "default-src 'none'" in page
    for said in ("1,200", "granted by hand", "it is not finished", "team=", "ten [2026-W15]", "The first 1 are listed"):
        assert said in page


def test_nothing_was_decided() -> None:
    page = html_of(msgspec.structs.replace(FOUND, rows=[], total={}), [], more=False)
    assert "By subject" not in page
    assert "31 unlocks of all achievements are unchanged" in page
