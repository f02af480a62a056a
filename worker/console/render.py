"""Pages from templates: everything that others have named is escaped, made visible, and kept from turning its line.

The only module that knows jinja2. Values go into a template as they are; the filters here say how they are written.
"""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import jinja2
import msgspec
from markupsafe import Markup, escape

from dsl.calendar import format_instant

if TYPE_CHECKING:
    from collections.abc import Mapping

_NUMBER: Final = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?")
SHORT: Final = 48
"""Characters of a name in a table."""
_UNSEEN: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff\ud800-\udfff]"
)
"""What shows nothing, or turns what stands beside it."""


class Pages:
    """Renders the templates of the console."""

    def __init__(self) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        filters: dict[str, Any] = {
            "when": when,
            "instant": when_text,
            "ago": ago,
            "name": name,
            "short": short,
            "seen": seen,
            "num": number,
            "bound": bound,
            "share": share,
            "plural": plural,
            "json": as_json,
        }
        self._environment.filters.update(filters)

    def render(self, template: str, values: Mapping[str, object]) -> str:
        """Return a template with values."""
        return self._environment.get_template(f"{template}.html.j2").render(values)


def seen(text: str) -> Markup:
    r"""Return text in which every character is seen: what shows nothing is written as `\u202e`, and marked."""
    parts: list[Markup] = []
    at = 0
    for match in _UNSEEN.finditer(text):
        parts.append(escape(text[at : match.start()]))
        code = match[0].encode("unicode_escape", "surrogatepass").decode()
        parts.append(Markup('<span class="unseen">{}</span>').format(code))
        at = match.end()
    parts.append(escape(text[at:]))
    return Markup("").join(parts)


def _plain(text: str) -> str:
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)


def name(text: str | None) -> Markup:
    """Return what others have named, whole, isolated from the direction of what stands around it."""
    return Markup('<bdi class="name">{}</bdi>').format(seen(text or ""))


def short(text: str | None) -> Markup:
    """Return a name as a table has room for it; the whole is its title."""
    whole = text or ""
    if len(whole) <= SHORT:
        return name(whole)
    cut = f"{whole[: SHORT - 10]}…{whole[-8:]}"
    return Markup('<bdi class="name" title="{}">{}</bdi>').format(_plain(whole), seen(cut))


def when(at: int | str | None, *, seconds: bool = True) -> Markup:
    """Return an instant (microseconds, or RFC 3339 in UTC) in UTC; a script adds the time of the viewer's clock."""
    if at is None or at == "":
        return Markup('<span class="none">–</span>')
    text = at if isinstance(at, str) else format_instant(at)
    shown = text[:19] if seconds else text[:16]
    date, _, time = shown.partition("T")
    return Markup('<time datetime="{}">{}&nbsp;{}&nbsp;UTC</time>').format(text, date, time)


def when_text(at: int | str | None) -> str:
    """Return an instant as plain text, in UTC."""
    if at is None or at == "":
        return "never"
    text = at if isinstance(at, str) else format_instant(at)
    return f"{text[:19].replace('T', ' ')} UTC"


_SPANS: Final = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def ago(microseconds: int) -> str:
    """Return a length of time, in the largest unit that fits."""
    seconds = max(0, microseconds) // 1_000_000
    for size, unit in _SPANS:
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return "0 s"


def number(value: int | str | None) -> str:
    """Return a number with its thousands apart; a text that is none stays as it is."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return f"{Decimal(value):,}" if _NUMBER.fullmatch(value) else value
    return f"{value:,}"


def bound(seconds: float | None) -> str:
    """Return the upper bound of a bucket of latencies, in the unit that people read."""
    if seconds is None:
        return "–"
    if seconds == float("inf"):
        return "> 5 min"
    return f"≤ {round(seconds * 1000):,} ms" if seconds < 1 else f"≤ {round(seconds):,} s"


def share(part: int, whole: int) -> str:
    """Return a share in percent, with one decimal; `–` of nothing."""
    if not whole:
        return "–"
    tenths = (part * 1000 + whole // 2) // whole
    if not tenths and part:
        return "< 0.1 %"
    return f"{tenths // 10}.{tenths % 10} %"


def plural(count: int, what: str) -> str:
    """Return a count with its noun."""
    if count == 1:
        return f"1 {what}"
    return f"{count:,} {what[:-1]}ies" if what.endswith("y") else f"{count:,} {what}s"


def as_json(value: object) -> str:
    """Return JSON for an attribute; the template escapes it."""
    return msgspec.json.encode(value).decode()
