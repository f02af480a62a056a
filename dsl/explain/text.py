"""An explanation as lines of text."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Final

from dsl.explain.effects import ratio
from dsl.explain.shape import Happened
from dsl.nodes.node import Measure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dsl.explain.shape import Explanation, Part, Progress

EVENTS: Final = 20
"""Events that are shown at most, those around the beginning and the end."""
_HEAD: Final = 5


def render(story: Explanation, *, events: int = EVENTS) -> Iterator[str]:
    """Yield an explanation, line by line; `events` is how many are shown at most."""
    yield headline(story)
    yield ""
    yield from _parts(story.when, 0)
    for fact in story.requirements:
        detail = fact.detail if fact.clause in {"for", "after"} else ""
        text = f"{fact.text}: {detail}" if fact.clause == "for" else detail.removeprefix("after ") or fact.text
        yield f"  {_box(holds=fact.holds)} {fact.clause:<7} {text}"
    if story.missing:
        yield ""
        yield "  missing"
        yield from (f"    - {step}" for step in story.missing)
    if story.events:
        yield ""
        yield f"  {_caption(story)}"
        yield from _events(story.events, events, named=bool(story.when.parts))
    if story.ties:
        yield ""
        yield "  a tie decided"
        yield from (f"    {_instant(tie.occurred_at)}  {tie.text}" for tie in story.ties)
    if story.had and (story.occurrence is not None or len(story.had) > 1):
        yield ""
        yield f"  earned so far: {', '.join(f'{one.occurrence} ({_instant(one.earned_at)})' for one in story.had)}"


def headline(story: Explanation) -> str:
    """Return a line with the subject, the achievement, and the time when it was earned or the progress."""
    who = story.subject if story.scope == "user" else f"{story.scope} {story.subject}"
    what = story.name if story.occurrence is None else f"{story.name} [{story.occurrence}]"
    if story.earned_at is None:
        far = (
            "its condition holds, but another requirement is missing" if story.when.holds else _far(story.when.progress)
        )
        return f"{who} has not earned {what} yet, as of {_instant(story.now)}: {far}"
    settles = "" if story.settles_at is None else f", announced from {_instant(story.settles_at)} on"
    word = "has" if story.outcome == "earned" else "will have"
    begin = f", at the beginning of version {story.version}" if story.at_begin else ""
    return f"{who} {word} {what} (version {story.version}), earned at {_instant(story.earned_at)}{begin}{settles}"


def _far(progress: Progress) -> str:
    return ratio(Measure(Fraction(progress.fraction), progress.current, progress.target))


def _parts(part: Part, depth: int) -> Iterator[str]:
    name = part.path if depth else "when"
    yield f"  {_box(holds=part.holds)} {'  ' * depth}{name:<7} {part.text}"
    indent = " " * (14 + 2 * depth)
    if part.since is not None:
        first = "" if part.held_at is None else f"first held at {_instant(part.held_at)}, "
        yield f"{indent}{first}latest start {_instant(part.since)} ({_span(part)})"
    elif part.holds and part.held_at is not None:
        yield f"{indent}first held at {_instant(part.held_at)}"
    elif not part.holds:
        yield f"{indent}{_far(part.progress)}"
    for below in part.parts:
        yield from _parts(below, depth + 1)


def _span(part: Part) -> str:
    seconds = part.span_seconds or 0
    days, rest = divmod(int(seconds), 86400)
    hours, rest = divmod(rest, 3600)
    minutes, left = divmod(rest, 60)
    pairs = ((days, "d"), (hours, "h"), (minutes, "min"), (left, "s"))
    return " ".join(f"{number} {unit}" for number, unit in pairs if number) or "one moment"


def _caption(story: Explanation) -> str:
    return "events that earned it" if story.earned_at is not None else "relevant events"


def _events(events: Sequence[Happened], limit: int, *, named: bool) -> Iterator[str]:
    head, tail = list(events), list[Happened]()
    if len(events) > limit:
        head = list(events[: min(_HEAD, limit)])
        tail = list(events[len(events) - (limit - len(head)) :])
    width = max(len(each.event_type) for each in (*head, *tail)) if head or tail else 0
    yield from (_event(each, width, named=named) for each in head)
    if len(events) > limit:
        yield f"    ... {len(events) - len(head) - len(tail):,} more"
    yield from (_event(each, width, named=named) for each in tail)


def _event(event: Happened, width: int, *, named: bool) -> str:
    texts = [f"{did.part}: {did.text}" if named and did.part else did.text for did in event.did]
    return f"    {_instant(event.occurred_at)}  {event.event_type:<{width}}  {event.event_id}  {'; '.join(texts)}"


def _box(*, holds: bool) -> str:
    return "[x]" if holds else "[ ]"


def _instant(text: str) -> str:
    """Return an instant without a zero fraction."""
    return text.replace(".000000Z", "Z")
