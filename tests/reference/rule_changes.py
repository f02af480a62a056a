"""Changing rules: rule files with other contracts, and with more or fewer achievements and versions than before."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple

from hypothesis import strategies as st

from dsl.calendar import format_instant
from dsl.event import Event
from dsl.ruleset import build
from tests.reference.strategies import ANCHORS, achievements, streams
from worker.contract.strict_reader import Contract

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hypothesis.strategies import DrawFn

    from dsl.ruleset import RuleSet
    from dsl.schema import Rules

CONTRACTS: Final = """
event a {{
  n: {n}, x: decimal? {x}, s: string?, f: bool?, t: timestamp?, team: string?, tags: [string]?, owner: user?,
  peer: {peer}, crew: [user]? {a_once}
}}
event b {{ n: int >= {b_low}, s: string?, f: bool{f}, team: string {b_once} }}
event c.d {{ m: int {m}, x: decimal?, s: string?, team: string? }}
event e {{ n: int? >= 0, s: string?, f: bool?, peer: user? {team} {e_once} }}
traits from user.updated {{ plan: string, timezone: string, level: int {level} }}
{more}
"""
VARIANTS: Final[dict[str, tuple[str, ...]]] = {
    "n": ("int? >= 0", "int? >= 1", "int? >= 2", "decimal? >= 0", "int >= 0"),
    "x": (">= 0", ">= 0", ">= 0.5", ">= 0.0"),
    "a_once": ("", "", "once per s within 1h", "once per n"),
    "peer": ("user?", "user?", "string?"),
    "b_low": ("0", "1", "2", "3"),
    "f": ("", "", "?"),
    "b_once": ("once per s within 10m", "once per s within 12h", "once per s, n", ""),
    "m": ("", "", ">= -1", ">= 0"),
    "team": ("", "", ", team: string?"),
    "e_once": ("once per s, n", "once per n, s", "once per s", ""),
    "level": ("", "", ">= 1"),
    "more": ("", "", "traits from c.d { level: int }", "traits from e { plan: string }", "event undeclared {}"),
}
"""What a contract says here and there; the usual first, and more often than others."""
SPOILT: Final[dict[str, tuple[object, ...]]] = {"n": (1.5, "2"), "m": (0.5, "no"), "level": ("1",), "x": (-1, True)}
"""What an earlier contract may have taken in, and this one does not."""


class Book(NamedTuple):
    """A state of the rules: the declarations, and the versions of each achievement in the files."""

    contract: dict[str, str]
    versions: tuple[tuple[int, int], ...]
    """(achievement, version), as places in what was drawn."""


class Chain(NamedTuple):
    """Rule files that follow each other, and events for all of them, in no particular order."""

    texts: list[str]
    events: list[Event]
    payloads: dict[str, str]
    """Id of an event to its payload, as JSON: not every contract takes it as it is."""


def compiled(text: str) -> RuleSet | None:
    """Return a rule set without errors; None where the text has some."""
    rules = build([("rules.ach", text.encode())])
    return None if rules.program is None else rules


def seen_by(rules: Rules, chain: Chain) -> list[Event]:
    """Return the events of a ledger as rules see them."""
    contract = Contract(rules.events, prefix="events", skew=0)
    return [
        Event(each.tenant, each.id, each.type, each.user, each.at, each.offset, fields)
        for each in chain.events
        for fields in [contract.fields(each.type, chain.payloads[each.id])]
    ]


@st.composite
def chains(draw: DrawFn, most: int, *, spoilt: bool = True) -> Chain:
    """Draw rule files that follow each other, up to so many; each differs from the one before in little.

    What is `spoilt` of the events no contract would take in, or only another one.
    """
    anchor = draw(st.sampled_from(ANCHORS))
    drawn = draw(achievements(anchor))
    every = tuple((one, version) for one, versions in enumerate(drawn) for version in range(len(versions)))
    book = Book({place: variants[0] for place, variants in VARIANTS.items()}, every)
    texts = [_text(book, drawn)]
    for _ in range(draw(st.integers(1, most - 1))):
        book = draw(_next(book, every))
        text = _text(book, drawn)
        if compiled(text) is not None:
            texts.append(text)
    events = draw(streams(anchor))
    return Chain(texts, events, {each.id: draw(_payload(each, spoilt=spoilt)) for each in events})


@st.composite
def alternatives(draw: DrawFn, most: int) -> Chain:
    """Draw a rule file and, behind it, up to so many others that differ from it in one place of the contract each."""
    anchor = draw(st.sampled_from(ANCHORS))
    drawn = draw(achievements(anchor))
    every = tuple((one, version) for one, versions in enumerate(drawn) for version in range(len(versions)))
    usual = {place: variants[0] for place, variants in VARIANTS.items()}
    others = [(place, said) for place, variants in VARIANTS.items() for said in variants if said != variants[0]]
    some = draw(st.lists(st.sampled_from(others), min_size=most, max_size=most, unique=True))
    texts = [
        _text(Book(contract, every), drawn) for contract in (usual, *(usual | {place: said} for place, said in some))
    ]
    events = draw(streams(anchor))
    payloads = {each.id: draw(_payload(each, spoilt=True)) for each in events}
    return Chain([text for text in texts if compiled(text) is not None], events, payloads)


@st.composite
def _next(draw: DrawFn, book: Book, every: tuple[tuple[int, int], ...]) -> Book:
    contract, versions = dict(book.contract), set(book.versions)
    for place in draw(st.lists(st.sampled_from(sorted(VARIANTS)), min_size=1, max_size=4)):
        contract[place] = draw(st.sampled_from(VARIANTS[place]))
    for one in draw(st.lists(st.sampled_from(every), max_size=2)):
        versions ^= {one}
    return Book(contract, tuple(sorted(versions)))


def _text(book: Book, drawn: list[list[str]]) -> str:
    said = "\n".join(drawn[one][version] for one, version in book.versions)
    return f"{CONTRACTS.format_map(book.contract)}{said}\n"


@st.composite
def _payload(draw: DrawFn, event: Event, *, spoilt: bool) -> str:
    fields: dict[str, object] = dict(event.fields)
    for name in sorted(SPOILT.keys() & fields.keys()):
        if spoilt and not draw(st.integers(0, 4)):
            fields[name] = draw(st.sampled_from(SPOILT[name]))
    if "t" in fields and isinstance(fields["t"], int):
        fields["t"] = format_instant(fields["t"])
    return json.dumps(fields, default=str)


def achievements_with_versions(rules: Rules) -> Mapping[str, Iterable[int]]:
    """Return the versions of each achievement."""
    return {name: tuple(each.version for each in versions) for name, versions in rules.achievements.items()}
