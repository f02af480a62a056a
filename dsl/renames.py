"""Achievements under their first names: what is stored of them, and the ids of their unlocks, go by these for ever.

`renamed from b, a` says that an achievement was called `b` before, and `a` before that. The last name is its *first*
name. The engine compiles, compares and stores rules under first names, so a new name changes nothing of all that; what
people and programs see has the name that the rules have now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec
from msgspec.structs import replace

from dsl.compile import compile_rules
from dsl.syntax import Achievement, Target, Unlocked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dsl.ruleset import RuleSet
    from dsl.schema import Rules
    from dsl.syntax import Declaration, File


def old_names(versions: Sequence[Achievement]) -> tuple[str, ...]:
    """Return what an achievement was called before, the latest name first; nothing where it has its first name."""
    written = next((version.renamed for version in versions if version.renamed), ())
    return tuple(name.text for name in written)


def all_old_names(rules: Rules) -> dict[str, tuple[str, ...]]:
    """Return the old names of each achievement that has some, the latest first."""
    found = {name: old_names(versions) for name, versions in rules.achievements.items()}
    return {name: old for name, old in found.items() if old}


def under_first_names(ruleset: RuleSet) -> RuleSet:
    """Return a rule set with each achievement under its first name; `renamed` says what they are called."""
    old = all_old_names(ruleset.rules)
    if not old:
        return ruleset
    first = {name: names[-1] for name, names in old.items()}
    rules = replace(
        ruleset.rules,
        achievements={
            first.get(name, name): tuple(_under(version, first) for version in versions)
            for name, versions in ruleset.rules.achievements.items()
        },
        examples=cast("tuple[msgspec.Struct, ...]", _walk(ruleset.rules.examples, first)),
    )
    return ruleset._replace(
        rules=rules,
        program=None if ruleset.program is None else compile_rules(rules),
        written_out=tuple(_file(file, first) for file in ruleset.written_out),
        renamed={first[name]: (name, *names[:-1]) for name, names in old.items()},
        written=ruleset.rules,
    )


def called(tree: Achievement, names: Mapping[str, str]) -> Achievement:
    """Return a version with other names for itself and the achievements that it names, as `names` has them."""
    return _under(tree, names)


def _file(file: File, first: Mapping[str, str]) -> File:
    def under(node: Declaration) -> Declaration:
        return _under(node, first) if isinstance(node, Achievement) else node

    return replace(file, declarations=tuple(map(under, file.declarations)))


def _under(node: Achievement, first: Mapping[str, str]) -> Achievement:
    name = replace(node.name, text=first.get(node.name.text, node.name.text))
    return replace(cast("Achievement", _walk(node, first)), name=name, renamed=())


def _walk(value: object, first: Mapping[str, str]) -> object:
    """Return a part of a tree that names achievements by their first names; the same object where nothing changes."""
    if type(value) is tuple:
        items = cast("tuple[object, ...]", value)
        parts = tuple(_walk(item, first) for item in items)
        return parts if any(one is not two for one, two in zip(parts, items, strict=True)) else items
    if not isinstance(value, msgspec.Struct):
        return value
    if isinstance(value, Target | Unlocked):
        name = value.achievement
        return replace(value, achievement=replace(name, text=first[name.text])) if name.text in first else value
    fields = {name: (part, _walk(part, first)) for name in value.__struct_fields__ if (part := getattr(value, name))}
    changed = {name: after for name, (before, after) in fields.items() if after is not before}
    return replace(value, **changed) if changed else value
