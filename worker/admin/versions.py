"""Versions of achievements when rules change: which are new, which mean something else, and which begin too early."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.syntax import Achievement
from worker.engine.columns import columns
from worker.engine.meaning import Changed, Meaning, change_of, meanings_of, recalled, recorded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dsl.ruleset import RuleSet
    from worker.engine.renames import Renames
    from worker.store import Session


class MeaningChangedError(ValueError):
    """Versions say something else than they did when they were deployed; `changed` has all of them, with reasons."""

    def __init__(self, changed: Sequence[Changed]) -> None:
        what = "deploy it as a new version"
        if not any(one.own for one in changed):
            what += ", or accept the change (`ach apply --accept-contracts`)"
        super().__init__(f"changed meaning under an unchanged version: {', '.join(map(str, changed))}; {what}")
        self.changed = tuple(changed)


class Early(NamedTuple):
    """A new version that begins before one that is in force."""

    achievement: str
    version: int
    applied: int
    """The version in force that begins last."""


class BeginsEarlierError(ValueError):
    """New versions begin before versions that are in force, and would rewrite what those have decided."""

    def __init__(self, early: Sequence[Early]) -> None:
        said = [f"{one.achievement} version {one.version} begins before version {one.applied}" for one in early]
        super().__init__(f"{', '.join(said)}, which is in force; let a new version begin later")


class RuleVersion(NamedTuple):
    """A row of the table `rule_version`; instants in microseconds."""

    achievement: str
    version: int
    source: str
    meaning: bytes
    starts_at: int | None
    ends_at: int | None
    epoch: int
    applied_at: int
    applied_by: str
    retired_at: int | None
    declarations: str | None
    """JSON, as in `worker.meaning`; None where it was deployed before that was recorded."""


class NewVersion(NamedTuple):
    """A version as rule files have it now; its span ends where the next one begins."""

    achievement: str
    version: int
    source: str
    meaning: Meaning
    ends_at: int | None
    names: tuple[str, ...] = ()
    """As in `Renames`, if the achievement was renamed."""


def versions_of(ruleset: RuleSet) -> list[NewVersion]:
    """Return the versions of a rule set."""
    texts = {source.name: source.text for source in ruleset.sources}
    where = {
        (declaration.name.text, declaration.version): texts[file.source.name][slice(*declaration.span)]
        for file in ruleset.written_out
        for declaration in file.declarations
        if isinstance(declaration, Achievement)
    }
    meanings = meanings_of(ruleset.rules)
    rows: list[NewVersion] = []
    for name, versions in ruleset.rules.achievements.items():
        for i, version in enumerate(versions):
            later = versions[i + 1].since if i + 1 < len(versions) else None
            key = name, version.version
            ends_at, names = None if later is None else later.us, ruleset.renamed.get(name, ())
            rows.append(NewVersion(*key, where[key], meanings[key], ends_at, names))
    return rows


def changed_meaning(
    known: Sequence[RuleVersion], versions: Sequence[NewVersion], past: Mapping[tuple[str, int], Meaning]
) -> list[Changed]:
    """Return the versions that mean something else than when they were deployed.

    `past` has the meanings that are not on record, by achievement and version.
    """
    before = {(row.achievement, row.version): row for row in known}
    changed: list[Changed] = []
    for version in versions:
        key = version.achievement, version.version
        row = before.get(key)
        meant = None if row is None else _meant(row, past)
        if meant is not None and (one := change_of(*key, meant, version.meaning)) is not None:
            changed.append(one)
    return changed


def too_early(known: Sequence[RuleVersion], versions: Sequence[NewVersion]) -> list[Early]:
    """Return new versions that begin before one of theirs that is in force."""
    latest: dict[str, RuleVersion] = {}
    for row in known:
        last = latest.get(row.achievement)
        if row.retired_at is not None or row.starts_at is None:
            continue
        if last is None or last.starts_at is None or row.starts_at > last.starts_at:
            latest[row.achievement] = row
    applied = {(row.achievement, row.version) for row in known}
    early: list[Early] = []
    for one in versions:
        last, starts_at = latest.get(one.achievement), one.meaning.starts_at
        if last is None or last.starts_at is None or (one.achievement, one.version) in applied:
            continue
        if starts_at is None or starts_at < last.starts_at:
            early.append(Early(one.achievement, one.version, last.version))
    return early


class Compared(NamedTuple):
    """How the versions in force change, by the names that achievements have before and behind the change."""

    new: tuple[tuple[str, int], ...]
    """(achievement, version) that were never deployed before."""
    retired: tuple[tuple[str, int], ...]
    renamed: tuple[tuple[str, str], ...]
    """(name before, name now) of the achievements that stay."""


def compare_versions(
    known: Sequence[RuleVersion], versions: Sequence[NewVersion], before: Renames, now: Renames
) -> Compared:
    """Compare the versions of new rules with all that were ever deployed."""
    active = {(row.achievement, row.version): row.retired_at is None for row in known}
    after = [(row.achievement, row.version) for row in versions]
    stay = {name for (name, _), here in active.items() if here} & {name for name, _ in after}
    pairs = [(before.now(name), now.now(name)) for name in sorted(stay)]
    gone = [key for key, here in active.items() if here and key not in set(after)]
    return Compared(
        tuple((now.now(name), version) for name, version in after if (name, version) not in active),
        tuple((before.now(name), version) for name, version in gone),
        tuple((was, called) for was, called in pairs if was != called),
    )


def _meant(row: RuleVersion, past: Mapping[tuple[str, int], Meaning]) -> Meaning:
    """Return what a version meant when it was last in force, as far as that is known."""
    meant = recalled(row.meaning, row.starts_at, row.declarations)
    return meant or past.get((row.achievement, row.version)) or Meaning(row.meaning, row.starts_at, None)


_WRITTEN: Final = ("achievement", "version", "source", "meaning", "starts_at", "ends_at", "declarations")


async def write_versions(
    session: Session, versions: Sequence[NewVersion], *, epoch: int, by: str, now: int, clock: int
) -> None:
    """Write what is deployed now; versions that are in no file any more are retired.

    Those of them that began before `clock` are judged by what brings subjects up to date with these rules.
    """
    ordered = sorted(versions, key=lambda row: (row.achievement, row.version))
    rows = [
        (*row[:3], row.meaning.own, row.meaning.starts_at, row.ends_at, recorded(row.meaning, row.names))
        for row in ordered
    ]
    written = columns("versions", _WRITTEN, rows)
    await session.run("upsert_rule_versions", **written, epoch=epoch, now=now, by=by)
    await session.run("note_past_moments", epoch=epoch, clock=clock, now=now)
    await session.run("retire_rule_versions", **columns("versions", _WRITTEN[:2], [row[:2] for row in rows]), now=now)
