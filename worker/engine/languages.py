"""Which of several texts a reader gets, by the languages that it asks for. Pure.

Languages are tags of BCP 47, compared without case; `_` counts as `-`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from worker.engine.announcement import PLAIN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ANY: Final = "*"
"""Asks for whatever there is."""


class Spoken(NamedTuple):
    """A text, its language (`und` where it has none), and whether that is another language than was asked for."""

    text: str
    language: str
    fallback: bool


def spoken(texts: Mapping[str, str], asked: Sequence[str]) -> Spoken | None:
    """Return the text for a reader who asks for some languages, the best first; None where there is no text.

    A language is matched exactly, then as its more general form (`pt-BR` gets `pt`), then as a more special one (`pt`
    gets `pt-BR`). Where none matches it is the text without a language, or else the first one that is written, and
    `fallback` says so. Who asks for nothing gets that without it being called a fallback.
    """
    if not texts:
        return None
    known = {_normal(language): language for language in reversed([*texts])}
    for wanted in asked:
        found = _instead(texts) if wanted == ANY else _found(known, _normal(wanted))
        if found is not None:
            return Spoken(texts[found], found, fallback=False)
    language = _instead(texts)
    return Spoken(texts[language], language, fallback=bool(asked))


def _instead(texts: Mapping[str, str]) -> str:
    return PLAIN if PLAIN in texts else next(iter(texts))


def _found(known: Mapping[str, str], wanted: str) -> str | None:
    parts = wanted.split("-")
    for end in range(len(parts), 0, -1):
        found = known.get("-".join(parts[:end]))
        if found is not None:
            return found
    return known.get(_special(known, wanted))


def _special(known: Iterable[str], wanted: str) -> str:
    return next((tag for tag in sorted(known) if tag.startswith(f"{wanted}-")), "")


def _normal(language: str) -> str:
    return language.replace("_", "-").lower()
