"""Hover: what stands under the cursor, in words.

An operator says what it asks for with its arguments filled in, whether the grant is final, and what progress remembers;
a name says what it was declared as; a keyword what it is for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from lsprotocol.types import Hover, MarkupContent, MarkupKind

from dsl import words
from dsl.lookup.index import Kind
from dsl.lookup.memory import remembered
from dsl.lookup.scan import Kind as Look
from dsl.lookup.scan import scan, token_at
from dsl.syntax import Achievement, Combine, Duration
from worker.lsp.glossary import GLOSSARY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lsprotocol.types import HoverParams

    from dsl.analyze import Verdict
    from dsl.lookup.index import Occurrence, Symbol
    from dsl.lookup.pieces import Piece
    from dsl.lookup.scan import Token
    from dsl.source import Span
    from dsl.syntax import Condition, Name
    from worker.lsp.desk import Desk, View


class Spot(NamedTuple):
    """What the cursor points at: an offset in a piece of a file."""

    view: View
    piece: Piece
    offset: int

    @property
    def achievement(self) -> Achievement | None:
        """The achievement around it."""
        nodes = (node for node in self.piece.file.declarations if isinstance(node, Achievement))
        return next((node for node in nodes if node.span.start <= self.offset <= node.span.end), None)


def hover(desk: Desk, params: HoverParams) -> Hover | None:
    """Return what stands under the cursor, in words."""
    view = desk.view(params.text_document.uri)
    if view is None:
        return None
    start, piece = view.page.at(view.offset(params.position))
    spot = Spot(view, piece, view.offset(params.position) - start)
    found = _name(spot) or _word(spot)
    if found is None:
        return None
    text, place = found
    return Hover(MarkupContent(MarkupKind.Markdown, text), view.range(piece.source, place))


# -- names ------------------------------------------------------------------------------------------------------------


def _name(spot: Spot) -> tuple[str, Span] | None:
    place = spot.view.edition.index.at(spot.piece.source, spot.offset)
    if place is None:
        return None
    texts = [text for symbol in place.symbols[:3] if (text := _meaning(spot.view, symbol, place))]
    return ("\n\n---\n\n".join(texts), place.span) if texts else None


def _meaning(view: View, symbol: Symbol, place: Occurrence) -> str:
    if symbol.kind is Kind.ACHIEVEMENT:
        return _achievement(view, symbol.name, place)
    if symbol.kind is Kind.TIER:
        return _tier(view, symbol)
    if symbol.kind is Kind.SCOPE:
        return f"one subject for each `{symbol.name}`"
    if symbol.kind is Kind.FAMILY:
        return _family(view, symbol.name, place)
    if symbol.kind is Kind.VARIABLE:
        name = symbol.name
        return f"`{name}` stands for each element in turn: `${name}` in filters, `{{{name}}}` in strings"
    declared = view.edition.index.declarations((symbol,))
    shown = [f"```ach\n{_text(each)}\n```" for each in declared]
    comments = [text for each in declared if (text := _comment_above(view, each))]
    return "\n\n".join([*shown, *comments, _used(view, symbol)]) if shown else ""


def _text(place: Occurrence) -> str:
    start, end = place.whole or place.span
    return place.source.text[start:end]


def _comment_above(view: View, place: Occurrence) -> str:
    """Return the comment right above a declaration."""
    page, start = view.edition.home[place.source]
    start += (place.whole or place.span).start
    found: list[str] = []
    for line in reversed(page.text[:start].split("\n")[:-1]):
        if not line.lstrip().startswith("#"):
            break
        found.append(line.strip().lstrip("#").strip())
    return "\n".join(reversed(found))


def _used(view: View, symbol: Symbol) -> str:
    places = view.edition.index.places((symbol,))
    uses = len([each for each in places if each.whole is None])
    owner = f" of `{symbol.owner}`" if symbol.owner else ""
    return f"{symbol.kind}{owner}, named in {words.plural(uses, 'other place')}"


# -- achievements -----------------------------------------------------------------------------------------------------


def _achievement(view: View, name: str, place: Occurrence) -> str:
    versions = view.edition.rules.achievements.get(name)
    if not versions:
        return ""
    here = (node for _, node in view.page.declarations() if isinstance(node, Achievement))
    node = next((each for each in here if each in versions and place.whole == each.span), versions[-1])
    lines = [_title(node), *([] if node.about is None else [str(node.about.value)]), ""]
    lines += [f"- {text}" for text in _asks(node)]
    if renamed := next((version.renamed for version in versions if version.renamed), ()):
        lines.append(f"- {_old_names(renamed)}")
    if len(versions) > 1:
        lines.append(f"- version {node.version} of {len(versions)}")
    return "\n".join([*lines, "", *_verdict(view, node)])


MAX_MEMBERS: Final = 5
"""Members of a family that are named; the first is shown in words."""


def _family(view: View, name: str, place: Occurrence) -> str:
    members = _members(view, name, place.span)
    if not members:
        return ""
    names = ", ".join(f"`{node.name.text}`" for node in members[:MAX_MEMBERS])
    more = ", ..." if len(members) > MAX_MEMBERS else ""
    first = members[0]
    head = f"a family of {words.plural(len(members), 'achievement')}: {names}{more}"
    lines = [head, "", _title(first), *(f"- {text}" for text in _asks(first))]
    return "\n".join([*lines, "", *_verdict(view, first)])


def _members(view: View, name: str, span: Span) -> list[Achievement]:
    """Return what a declaration stands for: the members of a family, or the achievement without its ladder."""
    rules = view.edition.rules.achievements
    return [
        node
        for known, versions in rules.items()
        if known == name or known.startswith(f"{name}_")
        for node in versions
        if node.name.span == span
    ]


def _title(node: Achievement) -> str:
    title = "" if node.title is None or not node.title.texts else f" “{node.title.texts[0][1]}”"
    return f"**{node.name.text}**{title}"


def _asks(node: Achievement) -> Iterator[str]:
    if node.when is not None:
        yield words.condition(node.when)
    for tier in node.tiers:
        yield f"{tier.name.text}: {words.condition(tier.when)}"
    yield from words.clauses(node)
    if node.reveal is not None:
        yield words.reveal(node.reveal)


def _tier(view: View, symbol: Symbol) -> str:
    rules = view.edition.rules.achievements
    members = (versions for name, versions in rules.items() if name.startswith(f"{symbol.owner}_"))
    for node in reversed(rules.get(symbol.owner) or next(members, ())):
        for tier in node.tiers:
            if tier.name.text == symbol.name:
                lines = [f"**{node.name.text}.{symbol.name}**", "", words.condition(tier.when)]
                return "\n".join([*lines, "", *_verdict(view, node)])
    return ""


def _verdict(view: View, node: Achievement) -> list[str]:
    verdict = view.edition.verdicts.get((node.name.text, node.version))
    if verdict is None:
        return ["Whether a grant is final is known once the rules have no errors."]
    if verdict.final:
        return ["**Final**: what was granted stays right, whatever arrives late."]
    return ["**Contestable**: late evidence can take a grant back.", *_reasons(view, node, verdict)]


def _reasons(view: View, node: Achievement, verdict: Verdict) -> Iterator[str]:
    for page in view.edition.pages.values():
        for source, other in page.declarations():
            if isinstance(other, Achievement) and other.span == node.span and _stands_for(node, other):
                for reason in verdict.reasons:
                    line = view.range(source, reason.span).start.line + 1
                    yield f"- {reason.text} (line {line})"


def _stands_for(node: Achievement, declared: Achievement) -> bool:
    """Return whether an achievement was declared so, by itself or as a member of a family."""
    name = declared.name.text if declared.each is None else f"{declared.name.text}_"
    return node.name.text == name or (declared.each is not None and node.name.text.startswith(name))


# -- operators and keywords -------------------------------------------------------------------------------------------


def _word(spot: Spot) -> tuple[str, Span] | None:
    text = spot.piece.source.text
    token = token_at(scan(text, 0, _line_end(text, spot.offset)), spot.offset)
    if token is None:
        return None
    said = _length(token) if token.kind is Look.NUMBER else _operator(spot, token) or _keyword(spot, token)
    return (said, token.span) if said else None


def _line_end(text: str, offset: int) -> int:
    end = text.find("\n", offset)
    return len(text) if end < 0 else end


def _operator(spot: Spot, token: Token) -> str:
    written = spot.achievement
    meant = [] if written is None else _members(spot.view, written.name.text, written.name.span)
    node = meant[0] if meant else written
    parts = () if node is None else (part for when in _whens(node) for part in _parts(when))
    part = next((part for part in parts if part.span.start == token.start), None)
    return "" if node is None or part is None else _condition(spot.view, node, part)


def _whens(node: Achievement) -> Iterator[Condition]:
    if node.when is not None:
        yield node.when
    for tier in node.tiers:
        yield tier.when


def _parts(node: Condition) -> Iterator[Condition]:
    yield node
    if isinstance(node, Combine):
        for part in node.parts:
            yield from _parts(part)


def _condition(view: View, node: Achievement, part: Condition) -> str:
    lines = [f"**{words.condition(part)}**", "", *_verdict(view, node), "", "Progress remembers:"]
    return "\n".join([*lines, *(f"- {text}" for text in remembered(node, part))])


def _keyword(spot: Spot, token: Token) -> str:
    text = spot.piece.source.text
    if token.text in _MODIFIERS and text[token.end :].lstrip().startswith("="):
        return GLOSSARY[f"{token.text}="]
    found = GLOSSARY.get(token.text, "")
    more = "" if spot.achievement is None else _clause(spot.achievement, token.text)
    return f"{found}\n\n{more}" if found and more else found


_MODIFIERS = ("within", "per", "unless", "tz", "event", "distinct", "of", "by", "min", "grace")


def _clause(node: Achievement, keyword: str) -> str:
    match node, keyword:
        case Achievement(settle=Duration() as length), "settle":
            return f"Here: {words.duration(length)}."
        case Achievement(repeat=repeat), "repeat" if repeat is not None:
            return f"Here: {words.repeat(repeat)}."
        case Achievement(where=where), "for" if where is not None:
            return f"Here: users whose {words.predicate(where)}."
        case Achievement(active=active), "active" if active is not None:
            return f"Here: {words.active(active)}."
        case Achievement(renamed=renamed), "renamed" if renamed:
            return f"Here: {_old_names(renamed)}."
        case Achievement(scope=scope), "scope" if scope is not None and scope.name != "user":
            return f"Here: {words.scope(scope)}."
        case _:
            return ""


def _old_names(names: Sequence[Name]) -> str:
    return f"called {', '.join(f'`{name.text}`' for name in names)} before"


def _length(token: Token) -> str:
    unit = token.text[-1:]
    number = token.text[:-1].replace("_", "")
    if not number.isdigit() or unit not in _UNITS:
        return ""
    return f"{words.plural(int(number), _UNITS[unit])}, an exact length (a day has 24 hours)"


_UNITS = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week"}
