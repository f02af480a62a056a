"""Explanations as one page without script or assets: timelines, and each event that mattered. Pure but for its style.

Every text goes through `element`, which escapes it: event ids, types and subjects are what producers have sent.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import Element

from dsl.explain.text import headline
from worker.report.svg import element, page_of
from worker.report.timeline_svg import shown, timeline

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dsl.explain.shape import Explanation, Happened, Part

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
_KEY: Final = (
    "● counts, as high as the progress with it",
    "○ does not count, or adds nothing",
    "✕ resets the progress",
    "◇ met something else that it needs",
    "┄ the bound",
)


def page(stories: Sequence[Explanation], kept: Iterable[str] = ()) -> str:
    """Return a page of explanations; `kept` are lines about contested unlocks."""
    root = Element("html", lang="en")
    subject = stories[0].subject if stories else ""
    _head(root, f"{subject}: {', '.join(dict.fromkeys(story.achievement for story in stories))}")
    body = element(root, "body")
    element(body, "h1", f"Why, and why not yet: {subject}")
    for number, story in enumerate(stories):
        _story(element(body, "article"), story, number)
    for line in kept:
        element(body, "p", line, class_="kept")
    element(body, "footer", "Times are in UTC. The verdict is that of the events; a grant that is contested is kept.")
    return f"<!doctype html>\n{page_of(root)}\n"


def _head(root: Element, title: str) -> None:
    head = element(root, "head")
    element(head, "meta", charset="utf-8")
    element(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
    element(head, "meta", name="color-scheme", content="light dark")
    element(head, "meta", http_equiv="Content-Security-Policy", content=POLICY)
    element(head, "title", title)
    style = element(head, "style")
    style.text = (Path(__file__).parent / "timeline.css").read_text(encoding="utf-8")


def _story(parent: Element, story: Explanation, number: int) -> None:
    element(parent, "h2", headline(story))
    parts = element(parent, "ul", class_="parts")
    _part(parts, story.when)
    for fact in story.requirements:
        said = fact.text if fact.clause != "for" else f"{fact.text}: {fact.detail}"
        element(parts, "li", f"{fact.clause} {said}", class_=_held(holds=fact.holds))
    if story.missing:
        element(parent, "h3", "Missing")
        missing = element(parent, "ul")
        for step in story.missing:
            element(missing, "li", step)
    if not story.events:
        element(parent, "p", "No event concerns it yet.", class_="soft")
        return
    parent.append(timeline(story, f"time-{number}", headline(story)))
    key = element(parent, "p", class_="key")
    for one in _KEY:
        element(key, "span", one)
    _table(parent, story)


def _part(parent: Element, part: Part) -> None:
    item = element(parent, "li", part.text, class_=_held(holds=part.holds))
    if part.parts:
        below = element(item, "ul")
        for each in part.parts:
            _part(below, each)


def _held(*, holds: bool) -> str:
    return "yes" if holds else "no"


def _table(parent: Element, story: Explanation) -> None:
    events = shown(story)
    if len(events) < len(story.events):
        said = f"{len(story.events) - len(events):,} events between the first and the last of these are left out."
        element(parent, "p", said, class_="soft")
    rows = element(parent, "div", class_="rows")
    table = element(rows, "table")
    head = element(element(table, "thead"), "tr")
    for column in ("Time", "Event", "Id", "What it did"):
        element(head, "th", column, scope="col")
    body = element(table, "tbody")
    for event in events:
        _row(element(body, "tr"), event, named=bool(story.when.parts))


def _row(row: Element, event: Happened, *, named: bool) -> None:
    element(row, "td", event.occurred_at.replace(".000000Z", "Z"))
    element(element(row, "td"), "code", event.event_type)
    element(element(row, "td"), "code", event.event_id)
    did = [f"{one.part}: {one.text}" if named and one.part else one.text for one in event.did]
    element(row, "td", "; ".join(did))
