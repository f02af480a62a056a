"""The meaning of a deployed version: its own text, and the declarations that decide how it reads events. Pure.

The two are kept apart. The text of a version never changes. Declarations belong to all versions at once, so an operator
may accept a change of one, and is shown the versions that it affects.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple, cast

import msgspec

from dsl.compile import scope_of
from dsl.reads import declared, reads_of
from dsl.references import in_order, references
from dsl.syntax import Name, Node

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dsl.schema import Rules
    from dsl.syntax import Achievement

SCHEME: Final = 2
"""Version of all that is hashed and recorded here; raise it whenever the same files would give another result. What is
recorded under another scheme is computed again, from the files that were in force then."""

_PLACES: Final = frozenset({"span", "source", "seen", "counts"})
_LATER: Final = {"by": (), "role": None, "renamed": ()}
"""Fields that trees got later, with what they have where none is written: the text is what it was before."""


class Meaning(NamedTuple):
    """The meaning of one version."""

    own: bytes
    """SHA-256 of its own text in canonical form, without its words."""
    starts_at: int | None
    """Instant (microseconds) from which it is in effect."""
    declared: Mapping[str, str] | None
    """The declarations of all that it reads: place (`event a.done: n`) to declaration (`int >= 0`); None if they are no
    longer known."""
    tiers: Mapping[str, str] | None = None
    """SHA-256 (hexadecimal) of the text of each tier, and under "" of all but its tiers; None if that is not known."""


class Changed(NamedTuple):
    """A version whose meaning differs from when it was deployed."""

    achievement: str
    version: int
    reasons: tuple[str, ...]
    own: bool
    """Whether its own text has changed, and not only declarations that it depends on."""

    def __str__(self) -> str:
        """Return it as one line."""
        return f"{self.achievement} version {self.version} ({'; '.join(self.reasons)})"


class Recorded(msgspec.Struct, frozen=True):
    """The column `declarations` of the table `rule_version`."""

    scheme: int
    declared: dict[str, str]
    tiers: dict[str, str] = {}
    names: list[str] | msgspec.UnsetType = msgspec.UNSET
    """Where the achievement has another name than its first one: that, and those between, the latest first."""


_encoder: Final = msgspec.json.Encoder(order="deterministic")
_decoder: Final = msgspec.json.Decoder(Recorded)


def recorded(meaning: Meaning, names: Sequence[str] = ()) -> str:
    """Return the declarations as they are recorded, as JSON text; `names` if the achievement was renamed."""
    declared, tiers = dict(meaning.declared or {}), dict(meaning.tiers or {})
    return _encoder.encode(Recorded(SCHEME, declared, tiers, list(names) or msgspec.UNSET)).decode()


def recalled(own: bytes, starts_at: int | None, declarations: str | None) -> Meaning | None:
    """Return the recorded meaning; None if it was recorded without declarations, or under another scheme."""
    if declarations is None:
        return None
    known = _decoder.decode(declarations)
    return Meaning(own, starts_at, known.declared, known.tiers) if known.scheme == SCHEME else None


def meanings_of(rules: Rules) -> dict[tuple[str, int], Meaning]:
    """Return the meaning of every version of a rule set, by achievement and version."""
    found: dict[tuple[str, int], Meaning] = {}
    for name in in_order(rules.achievements):
        for version in rules.achievements[name]:
            since = None if version.since is None else version.since.us
            declared = dict(sorted(_declared(rules, version, found)))
            found[name, version.version] = Meaning(meaning_of(version), since, declared, _texts_of(version))
    return found


def change_of(achievement: str, version: int, before: Meaning, now: Meaning) -> Changed | None:
    """Return how the meaning of a version has changed; None if it has not. A further tier changes nothing of it."""
    more_tiers = before.own != now.own and _has_more_tiers(before, now)
    if before.starts_at != now.starts_at or (before.own != now.own and not more_tiers):
        return Changed(achievement, version, ("its own text has changed",), own=True)
    if before.declared is None or now.declared is None:
        return None
    after = {place: said for place, said in now.declared.items() if not more_tiers or place in before.declared}
    if before.declared == after:
        return None
    return Changed(achievement, version, tuple(_reasons(before.declared, after)), own=False)


def _has_more_tiers(before: Meaning, now: Meaning) -> bool:
    """Tell whether one meaning is another with further tiers; the meaning of a tier is its own."""
    old, new = before.tiers or {}, now.tiers or {}
    return bool(old) and old.items() < new.items()


# -- its own text -----------------------------------------------------------------------------------------------------


def meaning_of(achievement: Achievement) -> bytes:
    """Return a hash (SHA-256) of what the text of a version says: all of it, but places in the file and words.

    Words are title, about, reveal, family and reward: they change what is shown or given, never who has earned it.
    """
    return sha256(_canonical(_bare(achievement)).encode()).digest()


def nameless(versions: Iterable[Achievement]) -> bytes:
    """Return a hash of what an achievement means over all its versions, whatever its name is."""
    bare = [msgspec.structs.replace(_bare(version), name=Name(text="")) for version in versions]
    return sha256("\n".join(map(_canonical, bare)).encode()).digest()


def _bare(achievement: Achievement) -> Achievement:
    return msgspec.structs.replace(
        achievement,
        title=None,
        about=None,
        reveal=None,
        family=None,
        reward=None,
        order=(),
        tiers=tuple(msgspec.structs.replace(tier, title=None, reward=None, reveal=None) for tier in achievement.tiers),
    )


def _texts_of(achievement: Achievement) -> dict[str, str]:
    """Return hashes of each tier, and of the rest under ""; nothing where there are no tiers."""
    bare = _bare(achievement)
    if not bare.tiers:
        return {}
    parts = {"": msgspec.structs.replace(bare, tiers=()), **{tier.name.text: tier for tier in bare.tiers}}
    return {name: sha256(_canonical(part).encode()).hexdigest() for name, part in parts.items()}


def _canonical(value: object) -> str:
    """Return a tree as text, without spans, and with numbers and instants by value."""
    if isinstance(value, Node | msgspec.Struct):
        fields = (
            f"{name}={_canonical(getattr(value, name))}"
            for name in value.__struct_fields__
            if name not in _PLACES and not (name == "text" and hasattr(value, "us"))
            if name not in _LATER or getattr(value, name) != _LATER[name]
        )
        return f"{type(value).__name__}({','.join(fields)})"
    if isinstance(value, tuple):
        return f"[{','.join(_canonical(part) for part in cast('tuple[object, ...]', value))}]"
    return repr(value)


# -- what it depends on -----------------------------------------------------------------------------------------------


def _declared(
    rules: Rules, version: Achievement, known: Mapping[tuple[str, int], Meaning]
) -> Iterator[tuple[str, str]]:
    """Yield place and text of every declaration that may decide who earns a version, and when."""
    yield from declared(rules, scope_of(version), reads_of(version), by_view=False)
    yield from _named(rules, version, known)


def _named(rules: Rules, version: Achievement, known: Mapping[tuple[str, int], Meaning]) -> Iterator[tuple[str, str]]:
    """Yield each version of the achievements that a version names, with a hash of what it means."""
    for name in references(version):
        for other in rules.achievements.get(name, ()):
            own, starts_at, declared, _ = known[name, other.version]
            text = _encoder.encode([own.hex(), starts_at, declared])
            yield f"{_ACHIEVEMENT}{name} version {other.version}", sha256(text).hexdigest()


_ACHIEVEMENT: Final = "achievement "


# -- how two differ ---------------------------------------------------------------------------------------------------


def _reasons(before: Mapping[str, str], now: Mapping[str, str]) -> Sequence[str]:
    """Return what has changed, one thing a line; what only comes along with that is left out."""
    found = [_reason(place, before.get(place), now.get(place)) for place in sorted(before.keys() | now.keys())]
    said = [reason for reason in found if reason is not None]
    return said or ["it reads other declarations"]


def _reason(place: str, before: str | None, now: str | None) -> str | None:
    if before == now:
        return None
    if place.startswith(_ACHIEVEMENT):
        if before is None:
            return f"{place} is new, and it names that achievement"
        return f"{place}, which it names, {'is gone' if now is None else 'means something else'}"
    if before is None or now is None:
        # Of an event that is heard for the first time, or no more: there is a reason for that, too.
        return None
    return f"{place} was `{before}`, is `{now}`"
