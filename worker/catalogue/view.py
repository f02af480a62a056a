"""What stands on the page of a catalogue: a rule set in words, as plain values. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dsl import words
from dsl.analyze import verdicts
from dsl.calendar import format_instant
from dsl.compile import scope_of
from dsl.filters import pattern_types
from dsl.references import tier_conditions
from dsl.trees import counted, walk
from dsl.values import canonical_number
from worker.catalogue.anchors import anchor_of, event_anchor
from worker.catalogue.graphs import graphs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from dsl.analyze import Verdict
    from dsl.schema import EventSchema, Field, Rules
    from dsl.syntax import Achievement, Active, Condition, Reveal, Reward, Target, Title
    from dsl.words import Phrase
    from worker.catalogue.graphs import Graph

_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")
_NAMED: Final = re.compile(r"\b[a-z][a-z0-9_]*(?:(?:\.[a-z][a-z0-9_]*)+\b|(?= unlocked))")
"""What surely is a name: with dots, or said to be unlocked."""


class Piece(NamedTuple):
    """Some text, and the anchor that it leads to, if it does."""

    text: str
    anchor: str | None = None


class Line(NamedTuple):
    """A phrase of a condition, and the phrases of its parts."""

    pieces: tuple[Piece, ...]
    parts: tuple[Line, ...] = ()


class Text(NamedTuple):
    """What is said in one language of the page: the language that it is in (it may be another one), and the words."""

    lang: str
    words: str


class Step(NamedTuple):
    """A `when` with what it brings: a tier, or the whole achievement (then `name` is empty)."""

    name: str
    title: tuple[Text, ...]
    when: Line
    reward: tuple[tuple[str, str], ...]
    reveal: str


class Clause(NamedTuple):
    """Something asked for beside the `when`."""

    name: str
    pieces: tuple[Piece, ...]


class Edition(NamedTuple):
    """One version: the span in which it is in effect, its steps and clauses, and why it may be contested."""

    number: int
    since: str | None
    until: str | None
    fresh: bool
    steps: tuple[Step, ...]
    clauses: tuple[Clause, ...]
    reasons: tuple[str, ...]

    @property
    def final(self) -> bool:
        """Whether its grants stay right whatever arrives late."""
        return not self.reasons


class Card(NamedTuple):
    """One achievement: its latest version in full, and the earlier ones, latest first."""

    name: str
    anchor: str
    title: tuple[Text, ...]
    about: str
    scope: str
    reveal: str
    secret: bool
    now: Edition
    earlier: tuple[Edition, ...]


class Family(NamedTuple):
    """Achievements that belong together; `name` is empty for those without a family."""

    name: str
    heading: str
    anchor: str
    cards: tuple[Card, ...]
    graphs: tuple[Graph, ...]


class Row(NamedTuple):
    """A field of an event, or a trait."""

    name: str
    type: str
    note: str


class Contract(NamedTuple):
    """One event type: its fields, how copies are recognized, and the achievements that count it."""

    name: str
    anchor: str
    rows: tuple[Row, ...]
    once: str
    used_by: tuple[Piece, ...]


class Catalogue(NamedTuple):
    """The whole page."""

    title: str
    languages: tuple[str, ...]
    families: tuple[Family, ...]
    events: tuple[Contract, ...]
    traits: tuple[Row, ...]
    counts: tuple[str, ...]


def catalogue(rules: Rules, title: str) -> Catalogue:
    """Return the catalogue of a rule set."""
    return _Maker(rules).made(title)


class _Maker:
    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.verdicts = verdicts(rules)
        self.languages = _languages(rules)
        self.uses = _uses(rules)

    def made(self, title: str) -> Catalogue:
        families = tuple(self._families())
        tiers = sum(len(versions[-1].tiers) for versions in self.rules.achievements.values())
        counts = [
            words.plural(len(self.rules.achievements), "achievement"),
            *([words.plural(tiers, "tier")] if tiers else []),
            words.plural(len(self.rules.events), "event"),
        ]
        events = tuple(self._contract(schema) for _, schema in sorted(self.rules.events.items()))
        return Catalogue(title, self.languages, families, events, tuple(self._traits()), tuple(counts))

    # -- achievements --

    def _families(self) -> Iterator[Family]:
        grouped: defaultdict[str, list[Card]] = defaultdict(list)
        for name, versions in self.rules.achievements.items():
            family = versions[-1].family
            grouped["" if family is None else family.text].append(self._card(name, versions))
        counts: defaultdict[str, list[str]] = defaultdict(list)
        for event in self.rules.events:
            for name in self.uses.get(event, ()):
                counts[name].append(event)
        # As the author lists them; whatever has no family comes last.
        for name in sorted(grouped, key=lambda name: name == ""):
            heading = _heading(name) if name else ("Other" if len(grouped) > 1 else "Achievements")
            cards = tuple(grouped[name])
            drawn = graphs(self.rules, counts, [card.name for card in cards], heading)
            yield Family(name, heading, f"family-{name}", cards, tuple(drawn))

    def _card(self, name: str, versions: tuple[Achievement, ...]) -> Card:
        last = versions[-1]
        editions = [
            self._edition(version, following)
            for version, following in zip(versions, [*versions[1:], None], strict=True)
        ]
        return Card(
            name=name,
            anchor=anchor_of(name),
            title=self._texts(last.title, _heading(name)),
            about="" if last.about is None else str(last.about.value),
            scope="" if scope_of(last) == "user" else scope_of(last),
            reveal=_reveal(last.reveal),
            secret=last.reveal is not None and last.reveal.kind == "secret",
            now=editions[-1],
            earlier=tuple(reversed(editions[:-1])),
        )

    def _edition(self, version: Achievement, following: Achievement | None) -> Edition:
        verdict: Verdict = self.verdicts[version.name.text, version.version]
        until = None if following is None or following.since is None else _instant(following.since.us)
        return Edition(
            number=version.version,
            since=None if version.since is None else _instant(version.since.us),
            until=until,
            fresh=version.fresh,
            steps=tuple(self._steps(version)),
            clauses=tuple(self._clauses(version)),
            reasons=tuple(dict.fromkeys(reason.text for reason in verdict.reasons)),
        )

    def _steps(self, version: Achievement) -> Iterator[Step]:
        if version.when is not None:
            yield Step("", (), self._line(words.outline(version.when)), _reward(version.reward), "")
        for tier in version.tiers:
            title = self._texts(tier.title, "") if tier.title is not None else ()
            reward = tier.reward or version.reward
            when = self._line(words.outline(tier.when))
            yield Step(tier.name.text, title, when, _reward(reward), _reveal(tier.reveal))

    def _line(self, phrase: Phrase) -> Line:
        return Line(self._linked(phrase.text), tuple(self._line(part) for part in phrase.parts))

    def _clauses(self, version: Achievement) -> Iterator[Clause]:
        if version.where is not None:
            yield Clause("For", self._linked(f"users whose {words.predicate(version.where)}"))
        if version.after:
            yield Clause("After", tuple(_targets(version.after)))
        if version.active is not None:
            yield Clause("Active", (Piece(_active(version.active)),))
        if version.repeat is not None:
            yield Clause("Repeats", (Piece(words.repeat(version.repeat)),))
        if version.settle is not None:
            yield Clause("Settles", (Piece(f"announced {words.duration(version.settle)} after it was earned"),))

    def _linked(self, text: str) -> tuple[Piece, ...]:
        """Return a phrase with links to the events and achievements that it names."""
        pieces: list[Piece] = []
        at = 0
        for match in _NAMED.finditer(text):
            name = match[0]
            anchor = self._anchor(name)
            if anchor is None:
                continue
            pieces.extend([Piece(text[at : match.start()]), Piece(name, anchor)])
            at = match.end()
        return tuple(piece for piece in (*pieces, Piece(text[at:])) if piece.text)

    def _anchor(self, name: str) -> str | None:
        if name in self.rules.events:
            return event_anchor(name)
        achievement = name.partition(".")[0]
        return anchor_of(achievement) if achievement in self.rules.achievements else None

    def _texts(self, title: Title | None, instead: str) -> tuple[Text, ...]:
        """Return a title in every language of the page; where it lacks one, in the first that it has.

        Once, where it is the same in all of them.
        """
        known = {} if title is None else dict(title.texts)
        first = next(iter(known.items()), ("", instead))
        found = tuple(Text(lang, known[lang]) if lang in known else Text(*first) for lang in self.languages)
        return found if len({text.words for text in found}) > 1 else (Text(*first),)

    # -- events --

    def _contract(self, schema: EventSchema) -> Contract:
        users = tuple(Piece(name, anchor_of(name)) for name in sorted(self.uses.get(schema.name, ())))
        rows = tuple(_row(field) for field in schema.fields.values())
        return Contract(schema.name, event_anchor(schema.name), rows, _once(schema), users)

    def _traits(self) -> Iterator[Row]:
        for name, kind in sorted(self.rules.traits.items()):
            sources = sorted(event for event, names in self.rules.trait_events.items() if name in names)
            yield Row(name, kind.value, f"from {words.listed(sources, 'and')}")


# -- small things -----------------------------------------------------------------------------------------------------


def _languages(rules: Rules) -> tuple[str, ...]:
    """Return the languages that titles are in, in the order met; none where all have but one without a name."""
    titles = (
        title
        for versions in rules.achievements.values()
        for title in (versions[-1].title, *(tier.title for tier in versions[-1].tiers))
    )
    met = dict.fromkeys(lang for title in titles if title is not None for lang, _ in title.texts if lang)
    return tuple(met)


def _uses(rules: Rules) -> Mapping[str, set[str]]:
    """Return per event type the achievements whose latest version counts it, or lets it start afresh."""
    uses: defaultdict[str, set[str]] = defaultdict(set)
    for name, versions in rules.achievements.items():
        for _, when in tier_conditions(versions[-1]):
            for event_type in _types(when):
                uses[event_type].add(name)
    return uses


def _types(when: Condition) -> set[str]:
    trees = list(walk(when))
    patterns = [pattern for tree in trees for pattern in counted(tree)]
    stops = [tree.mods.unless for tree in trees if tree.mods.unless is not None]
    return {name for pattern in (*patterns, *stops) for name in pattern_types(pattern)}


def _targets(targets: Iterable[Target]) -> Iterator[Piece]:
    for number, target in enumerate(targets):
        if number:
            yield Piece(" and ")
        yield Piece(words.target_name(target), anchor_of(target.achievement.text))


def _reward(reward: Reward | None) -> tuple[tuple[str, str], ...]:
    if reward is None:
        return ()
    return tuple(
        (key, value if isinstance(value, str) else _ENCODER.encode(value).decode())
        for key, value in reward.values.items()
    )


def _reveal(reveal: Reveal | None) -> str:
    return "" if reveal is None or reveal.kind == "always" else words.reveal(reveal)


def _row(field: Field) -> Row:
    notes = [
        *(["optional"] if field.optional else []),
        *([f"at least {canonical_number(field.low)}"] if field.low is not None else []),
    ]
    return Row(field.name, field.type.value, ", ".join(notes))


def _once(schema: EventSchema) -> str:
    if schema.once is None:
        return ""
    fields, span = schema.once
    within = "" if span is None else f" within {words.length(span)}"
    return f"counted once per {words.listed(fields, 'and')}{within}"


def _heading(name: str) -> str:
    text = name.replace("_", " ")
    return text[:1].upper() + text[1:]


def _active(tree: Active) -> str:
    start = [] if tree.start is None else [f"from {_instant(tree.start.us)}"]
    end = [] if tree.end is None else [f"until {_instant(tree.end.us)}"]
    return " ".join([*start, *end])


def _instant(at: int) -> str:
    """Return an instant for people to read: no seconds where there are none."""
    text = format_instant(at).replace("T", " ").replace(".000000Z", " UTC")
    return text.replace(" 00:00:00 UTC", "").replace(":00 UTC", " UTC")
