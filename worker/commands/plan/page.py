"""The page of `ach plan`: what would change, as lines for a terminal or a file."""

from __future__ import annotations

import re
from itertools import groupby
from textwrap import wrap
from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.outcome import full_name
from worker.commands.options import microseconds
from worker.engine.preview import Moves, Status
from worker.report.screen import plural

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from worker.engine.preview import AchievementChange, ContractChange, Difference, Effect, Example, Preview

WIDE: Final = 100_000
"""Columns of a page that nothing is cut for."""
LABEL: Final = 40
"""Columns of what a row says, at least."""
NUMBER: Final = 9
"""Columns of a number, with the space in front of it."""
ADDITION: Final = "green"
CHANGE: Final = "yellow"
REMOVAL: Final = "red"
DIM: Final = "dim"
BOLD: Final = "bold"
_SPANS: Final = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_LISTED: Final = "(--list)"
_LABELS: Final = {
    "granted": "gain it",
    "settling": "gain it once it has settled",
    "contested": "no longer qualify, keep it as contested",
    "withdrawn": "no longer qualify, had not settled",
    "restored": "qualify again (restored)",
}
_MOVED: Final = {
    Moves.EARLIER: "earned earlier (amended)",
    Moves.LATER: "earned later (amended)",
    Moves.SAME: "other version or event (amended)",
}
SHORT: Final = {
    "granted": "gained",
    "settling": "gained once settled",
    "restored": "restored",
    "amended": "amended",
    "contested": "contested",
    "withdrawn": "withdrawn",
}
"""Decisions in a word or so."""
_SHORT_MOVED: Final = {Moves.EARLIER: "earned earlier", Moves.LATER: "earned later", Moves.SAME: "amended"}


class Line(NamedTuple):
    """A line of the page, and how it looks on a terminal."""

    text: str
    style: str | None = None


def lines(preview: Preview, *, width: int = WIDE) -> Iterator[Line]:
    """Yield the page. In `width` columns, examples are left out that have no room, and longer lines are wrapped."""
    for line in _lines(preview, width):
        indent = " " * (len(line.text) - len(line.text.lstrip()) + 4)
        parts = wrap(line.text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
        yield from (line._replace(text=part) for part in parts)


def _lines(preview: Preview, width: int) -> Iterator[Line]:
    yield Line(_against(preview), BOLD)
    yield from _notes(preview)
    for one in preview.renamed:
        kept = "1 unlock keeps its id" if one.unlocks == 1 else f"{plural(one.unlocks, 'unlock')} keep their ids"
        yield Line(f"~ {one.before} -> {one.now}   renamed; {kept}, and nothing is announced of it", CHANGE)
    for change in preview.achievements:
        yield from _achievement(change, preview, width)
    for pair in preview.same:
        said = f"{pair.new} means what {pair.retired} meant, and users earn it anew"
        yield Line(f"? {said}: to keep the unlocks, write `renamed from {pair.retired}` into {pair.new}", CHANGE)
    for one in preview.coming:
        name = full_name(one.achievement, one.tier)
        said = f"would earn {name} v{one.version} by what they have today"
        yield Line(f"> at {one.at.replace('.000000Z', 'Z')}   {one.unlocks:,} {said}", ADDITION)
    for contract in preview.contracts:
        yield from _contract(contract, width)
    yield Line(_unchanged(preview), DIM)
    if preview.achievements or preview.contracts:
        yield from _cost(preview)
    yield from _refused(preview)


# -- above ------------------------------------------------------------------------------------------------------------


def _against(preview: Preview) -> str:
    events = f"{'' if preview.events_exact else 'about '}{plural(preview.events, 'event')}"
    snapshot = f"snapshot {preview.taken_at[11:19]}"
    if preview.applied_at is None:
        return f"Against no rules (none are in force), {events}, {snapshot}"
    since = ago(microseconds(preview.taken_at) - microseconds(preview.applied_at))
    by = "" if preview.applied_by is None else f" by {preview.applied_by}"
    return f"Against epoch {preview.epoch} (applied {since} ago{by}), {events}, {snapshot}"


def ago(us: int) -> str:
    """Return a length of time by its largest unit: `3 d`."""
    return span(max(us, 0) // 1_000_000)


def span(seconds: int) -> str:
    """Return a number of seconds by the largest unit that it has: `9 d`, `0 s`."""
    size, unit = next(((size, unit) for size, unit in _SPANS if seconds >= size), _SPANS[-1])
    return f"{(seconds + size // 2) // size} {unit}"


def _notes(preview: Preview) -> Iterator[Line]:
    if preview.sample is not None:
        said = f"{preview.sample.subjects:,} of {plural(preview.sample.of, 'subject')}"
        yield Line(f"Sample of {preview.sample.percent} %: {said}; estimates of all, with 95 % intervals", CHANGE)
    if preview.building:
        yield Line("An earlier change is still being built: what it has left to do is counted here, too", CHANGE)


# -- achievements -----------------------------------------------------------------------------------------------------

_SIGNS: Final = {
    Status.NEW: ("+", ADDITION),
    Status.CHANGED: ("~", CHANGE),
    Status.WORDS: ("=", DIM),
    Status.RETIRED: ("-", REMOVAL),
    Status.UNCHANGED: ("=", CHANGE),
}


def _achievement(change: AchievementChange, preview: Preview, width: int) -> Iterator[Line]:
    sign, style = _SIGNS[change.status]
    effects = list(change.effects)
    if change.status is Status.NEW:
        head = f"{sign} {change.achievement}{_scope(change)}"
        simple = len(effects) == 1 and effects[0].tier is None and effects[0].decision == "granted"
        if simple or not effects:
            number = _number(effects[0]) if effects else "0"
            tail = f" gain{_interval(effects[0]) if effects else ''}"
            announce = f"   announce: {preview.announce or 'all'}" if effects else ""
            yield Line(_row(head, number, tail + announce, LABEL + 4), style)
            effects = []
        else:
            yield Line(head, style)
    elif change.status is Status.RETIRED:
        yield Line(f"{sign} {change.achievement}   retired; {plural(change.kept or 0, 'unlock')} stay granted", style)
    elif change.status is Status.UNCHANGED:
        yield Line(f"{sign} {change.achievement}{_scope(change)}   means the same, and was not up to date", style)
    else:
        for text in _versions(change, sign, width):
            yield Line(text, style)
    yield from _effects(effects, change.consequences, width)


def _scope(change: AchievementChange) -> str:
    return "" if change.scope == "user" else f" (scope {change.scope})"


def _versions(change: AchievementChange, sign: str, width: int) -> Iterator[str]:
    for version in change.versions:
        if version.status is Status.WORDS:
            continue
        starts = "" if version.starts_at is None else f" from {_moment(version.starts_at)}"
        head = f"{sign} {change.achievement}{_scope(change)} v{version.version}{starts}"
        if version.status is Status.RETIRED:
            head += "   retired"
        said = [text for one in version.differences for text in _difference(one, width - 4)]
        said += version.reasons
        if version.status is Status.NEW and not said:
            said = ["the same condition as before"]
        if said and len(head) + 3 + len(said[0]) <= width:
            head = f"{head}   {said.pop(0)}"
        yield head
        yield from (f"    {text}" for text in said)


def _moment(instant: str) -> str:
    """Return an instant as a date where it is midnight in UTC."""
    return instant[:10] if instant[10:19] == "T00:00:00" and not instant[19:26].strip(".0Z") else instant


def _difference(one: Difference, width: int) -> Iterator[str]:
    if one.before is None:
        yield f"+ {one.place} {one.now}"
    elif one.now is None:
        yield f"- {one.place} {one.before}"
    else:
        text = f"{one.place} {one.before} -> {one.now}"
        if len(text) <= width or width >= WIDE - 4:
            yield text
        else:
            yield f"- {one.place} {one.before}"
            yield f"+ {one.place} {one.now}"


# -- effects ----------------------------------------------------------------------------------------------------------


class _Row(NamedTuple):
    label: str
    number: str
    remark: str
    examples: Sequence[Example]
    more: bool


def _effects(own: Sequence[Effect], others: Sequence[Effect], width: int) -> Iterator[Line]:
    rows = [
        *(_row_of(_own_label(group[0]), group) for group in _grouped(own)),
        *(_row_of(_other_label(group[0]), group) for group in _grouped(others)),
    ]
    label = max([LABEL, *(len(row.label) for row in rows)])
    for row in rows:
        yield Line(_shown(row, label, width))


def _grouped(effects: Sequence[Effect]) -> Iterator[list[Effect]]:
    """Put together what differs in its version alone: of no interest on a page."""
    for _, group in groupby(sorted(effects, key=_place), key=_place):
        yield list(group)


def _place(effect: Effect) -> tuple[str, str, int, str]:
    order = list(_LABELS).index(effect.decision) if effect.decision in _LABELS else len(_LABELS)
    return effect.achievement, effect.tier or "", order, effect.moves or ""


def _own_label(effect: Effect) -> str:
    label = _LABELS[effect.decision] if effect.moves is None else _MOVED[effect.moves]
    return label if effect.tier is None else f"{effect.tier}: {label}"


def _other_label(effect: Effect) -> str:
    what = SHORT[effect.decision] if effect.moves is None else _SHORT_MOVED[effect.moves]
    return f"consequence: {full_name(effect.achievement, effect.tier)} {what}"


def _row_of(label: str, group: Sequence[Effect]) -> _Row:
    largest = max(group, key=lambda effect: effect.unlocks)
    examples = [example for effect in group for example in effect.examples]
    number = sum(effect.unlocks for effect in group)
    remarks: list[str] = []
    if largest.estimate is not None:
        number = sum(effect.estimate.unlocks for effect in group if effect.estimate is not None)
        remarks.append(_interval(largest).strip())
    if largest.median_seconds is not None:
        sign = "-" if largest.median_seconds < 0 else "+"
        remarks.append(f"median {sign}{span(abs(largest.median_seconds))}")
    tilde = "" if largest.estimate is None else "~"
    return _Row(label, f"{tilde}{number:,}", ", ".join(remarks), examples, number > len(examples))


def _number(effect: Effect) -> str:
    return f"{effect.unlocks:,}" if effect.estimate is None else f"~{effect.estimate.unlocks:,}"


def _interval(effect: Effect) -> str:
    one = effect.estimate
    return "" if one is None else f" ({one.low:,} to {one.high:,})"


def _row(label: str, number: str, tail: str, columns: int) -> str:
    return f"{label:<{columns}}{number:>{NUMBER}}{tail}"


def _shown(row: _Row, label: int, width: int) -> str:
    text = f"    {_row(row.label, row.number, '', label)}"
    if row.remark:
        return f"{text}   {row.remark}"
    named: list[str] = []
    for example in row.examples:
        ending = f" ... {_LISTED}" if row.more else ""
        one = f"{example.subject} {example.tenant_id}"
        if len(f"{text}   {', '.join([*named, one])}{ending}") > width:
            break
        named.append(one)
    if not named:
        return text
    return f"{text}   {', '.join(named)}" + (f" ... {_LISTED}" if row.more or len(named) < len(row.examples) else "")


# -- declarations -----------------------------------------------------------------------------------------------------


_WITHIN: Final = re.compile(r"(.+) within (\w+)")


def _contract(change: ContractChange, width: int) -> Iterator[Line]:
    if not change.place:
        yield Line(f"! {change.declaration} is {'new' if change.before is None else 'gone'}", DIM)
        return
    place = f"`{change.place}`" if change.place == "once per" else change.place
    before, now = change.before or "none", change.now or "none"
    old, new = _WITHIN.fullmatch(before), _WITHIN.fullmatch(now)
    if change.place == "once per" and old is not None and new is not None and old[1] == new[1]:
        before, now = old[2], new[2]
    said = f"! {change.declaration} {place} {before} -> {now}"
    if not change.achievements:
        yield Line(f"{said}   read by no rule", DIM)
        return
    each = "it" if len(change.achievements) == 1 else "both" if len(change.achievements) == 2 else "each"  # noqa: PLR2004
    touched = f"changes {', '.join(change.achievements)}: give {each} a new version"
    if len(said) + 3 + len(touched) <= width:
        yield Line(f"{said}   {touched}", CHANGE)
    else:
        yield Line(said, CHANGE)
        yield Line(f"    {touched}", CHANGE)


# -- below ------------------------------------------------------------------------------------------------------------


def _unchanged(preview: Preview) -> str:
    words = len(preview.in_words)
    if preview.is_change:
        named = f" ({', '.join(preview.in_words[:3])}{', ...' if words > 3 else ''})" if words else ""  # noqa: PLR2004
        return f"= {preview.unchanged:,} unchanged" + (f", {words:,} in words only{named}" if words else "")
    return f"No change: {plural(preview.unchanged, 'achievement')} as in force (epoch {preview.epoch})"


def _cost(preview: Preview) -> Iterator[Line]:
    build = preview.build
    if build.events:
        reused = f" ({build.reused} reused)" if build.reused else ""
        about = "" if preview.sample is None else "about "
        said = f"Build: {plural(len(build.new), 'new aggregate')}{reused}; reads {about}{plural(build.events, 'event')}"
        if build.rate is not None and build.seconds is not None:
            how = "as read for this plan" if build.measured else "--rate"
            said += f", about {_duration(build.seconds)} at {build.rate:,} events/s ({how})"
        yield Line(said)
    else:
        yield Line("Build: nothing; no event is read")
    if preview.gained:
        yield Line(_announce(preview))


def _duration(seconds: int) -> str:
    return span(seconds) if seconds else "1 s"


def _announce(preview: Preview) -> str:
    gained, announced = plural(_estimated(preview, preview.gained), "new grant"), preview.announced or 0
    about = "" if preview.sample is None else "about "
    if preview.announce is None:
        return f"Announce: all of {about}{gained} <- choose --announce none|since 7d|all"
    return f"Announce: {about}{_estimated(preview, announced):,} of {gained} (--announce {preview.announce})"


def _estimated(preview: Preview, number: int) -> int:
    sample = preview.sample
    return number if sample is None or not sample.subjects else round(number * sample.of / sample.subjects)


def _refused(preview: Preview) -> Iterator[Line]:
    if preview.misnamed:
        yield Line("`ach apply` refuses this: names that cannot be given", REMOVAL)
        yield from (Line(f"    {text}", REMOVAL) for text in preview.misnamed)
    if not preview.refused:
        return
    yield Line("`ach apply` refuses this: versions that were deployed mean something else now", REMOVAL)
    for one in preview.refused:
        mend = "a new version, or --accept-contracts" if one.by_declarations else "give it a new version"
        yield Line(f"    {one.achievement} v{one.version}: {'; '.join(one.reasons)} ({mend})", REMOVAL)
