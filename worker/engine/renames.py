"""What achievements are called now. Pure.

Plans, tables and ids of unlocks have each achievement under its first name (`dsl/renames.py`). Whatever shows one to
people or programs asks here for the name that it has now, and whatever takes a name from them for the first one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar, cast

import msgspec

from dsl.outcome import full_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dsl.ruleset import RuleSet

T = TypeVar("T")

_FIELD: Final = "achievement"
"""The field in which a value names an achievement."""
_WITHIN: Final[tuple[type, ...]] = (list, tuple, dict, msgspec.Struct)
"""What has values in it."""


class Renames:
    """The names of achievements that have been renamed.

    `known` has, by first name, the name now and the names between, the latest first.
    """

    def __init__(self, known: Mapping[str, tuple[str, ...]]) -> None:
        self.known: Mapping[str, tuple[str, ...]] = dict(known)
        self._now = {first: names[0] for first, names in self.known.items() if names[0] != first}
        self._first = {name: first for first, names in self.known.items() for name in reversed(names)}

    @property
    def by_first(self) -> Mapping[str, str]:
        """The names of today by first names, where they differ."""
        return self._now

    def with_rules(self, ruleset: RuleSet) -> Renames:
        """Return these and the names of a rule set under first names, which come first."""
        rules = ruleset.rules.achievements
        taken = {names[0] for names in ruleset.renamed.values()} | (rules.keys() - ruleset.renamed.keys())
        kept = {first: names for first, names in self.known.items() if first not in rules and names[0] not in taken}
        return Renames(kept | dict(ruleset.renamed)) if kept or ruleset.renamed else NO_RENAMES

    def now(self, first: str) -> str:
        """Return what an achievement is called now, by its first name."""
        return self._now.get(first, first)

    def first(self, name: str) -> str:
        """Return the first name of an achievement, by any name that it has or had; others as they are."""
        return self._first.get(name, name)

    def named(self, name: str) -> str:
        """Return what an achievement is called now, by any name that it has or had."""
        return self.now(self.first(name))

    def correction(self, name: str) -> str | None:
        """Return in words what an achievement is called that was asked for by an old name; None for any other."""
        now = self.named(name)
        return None if now == name else f"{name} is called {now} now"

    def target(self, first: str, tier: str | None, occurrence: str | None = None) -> str:
        """Return an achievement in words, as `full_name` does, by the name that it has now."""
        return full_name(self.now(first), tier, occurrence)

    def shown_in(self, value: T) -> T:
        """Return a value, or values within one another, with the names that achievements have now."""
        return cast("T", self._shown(value)) if self._now else value

    def _shown(self, value: object) -> object:
        if isinstance(value, msgspec.Struct):
            return msgspec.structs.replace(value, **self._fields(value, value.__struct_fields__))
        if type(value) is list:
            return [self._shown(part) for part in cast("list[object]", value)]
        if type(value) is dict:
            return {key: self._shown(part) for key, part in cast("dict[object, object]", value).items()}
        if not isinstance(value, tuple):
            return value
        names = cast("tuple[str, ...] | None", getattr(cast("object", value), "_fields", None))
        if names is None:
            return tuple(self._shown(part) for part in cast("tuple[object, ...]", value))
        named = cast("NamedTuple", value)
        return named._replace(**self._fields(named, names))

    def _fields(self, value: object, names: tuple[str, ...]) -> dict[str, object]:
        fields = {name: getattr(value, name) for name in names}
        changed = {name: self._shown(part) for name, part in fields.items() if isinstance(part, _WITHIN)}
        if isinstance(named := fields.get(_FIELD), str):
            changed[_FIELD] = self.now(named)
        return changed


NO_RENAMES: Final = Renames({})
