"""What new rules would change: the facts of `ach plan`, and the JSON Schema of them. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

Instant = Annotated[str, Meta(extra_json_schema={"format": "date-time"}, description="RFC 3339, in UTC.")]
FORMAT: Final = 1


class Status(StrEnum):
    """What becomes of an achievement, or of one version of it."""

    NEW = "new"
    CHANGED = "changed"
    """It means something else: its own text, or a declaration that it reads."""
    WORDS = "words"
    """Title, about, reward, family or reveal alone."""
    RETIRED = "retired"
    UNCHANGED = "unchanged"
    """It is named here because unlocks of it change all the same."""


class Moves(StrEnum):
    """Where `earned_at` of an amended unlock goes."""

    EARLIER = "earlier"
    LATER = "later"
    SAME = "same"
    """Its version or its event is another one."""


class Decided(StrEnum):
    """What is decided about an unlock; the words are those of the table `evaluation`."""

    GRANTED = "granted"
    SETTLING = "settling"
    AMENDED = "amended"
    RESTORED = "restored"
    CONTESTED = "contested"
    WITHDRAWN = "withdrawn"


class Difference(Struct, frozen=True):
    """One place of a version that differs."""

    place: Annotated[str, Meta(description="`count` or another operator whose bound differs alone, `when`, a clause.")]
    before: str | None
    now: str | None


class VersionChange(Struct, frozen=True):
    """One version of an achievement that differs."""

    version: int
    status: Status
    starts_at: Instant | None
    differences: list[Difference]
    reasons: Annotated[list[str], Meta(description="Declarations that it depends on, and that differ.")]


class Interval(Struct, frozen=True):
    """What a sample says of all subjects: the estimate, and a 95 % confidence interval (Wilson)."""

    subjects: int
    low: int
    high: int
    unlocks: int


class Example(Struct, frozen=True):
    """One unlock among those that a row counts."""

    tenant_id: str
    subject: str
    occurrence: str | None
    earned_before: Annotated[Instant | None, Meta(description="Null where it is not granted so far.")]
    earned_at: Annotated[Instant | None, Meta(description="Null where it is not earned any more.")]


class Effect(Struct, frozen=True):
    """Unlocks of one achievement, tier and version about which the same is decided."""

    achievement: str
    tier: str | None
    version: Annotated[int, Meta(description="That grants it, or that granted it where it is not earned any more.")]
    decision: Decided
    moves: Annotated[Moves | None, Meta(description="Of what is amended.")]
    unlocks: Annotated[int, Meta(description="Among the subjects that were looked at.")]
    subjects: int
    median_seconds: Annotated[int | None, Meta(description="By which `earned_at` moves; negative where it is earlier.")]
    estimate: Annotated[Interval | None, Meta(description="Of all subjects, where a sample was looked at.")]
    examples: list[Example]


class Listed(Struct, frozen=True):
    """One decision, as `--list` prints it."""

    achievement: str
    tier: str | None
    version: int
    decision: str
    moves: Moves | None
    consequence_of: str | None
    tenant_id: str
    scope: str
    subject: str
    occurrence: str | None
    earned_before: Instant | None
    earned_at: Instant | None


class AchievementChange(Struct, frozen=True):
    """What becomes of one achievement."""

    achievement: str
    scope: str
    status: Status
    versions: list[VersionChange]
    effects: list[Effect]
    consequences: Annotated[
        list[Effect],
        Meta(description="Unlocks of achievements that mean the same, and name this one in `after` or `unlocked`."),
    ]
    kept: Annotated[int | None, Meta(description="Granted unlocks of a retired achievement; they stay granted.")] = None


class ContractChange(Struct, frozen=True):
    """A declaration that differs, and the achievements that are judged otherwise for it."""

    declaration: Annotated[str, Meta(description="Such as `event lesson.completed`, or `trait plan`.")]
    place: Annotated[str, Meta(description="A field, `once per`, or what else is declared; empty: all of it.")]
    before: str | None
    now: str | None
    achievements: list[str]


class Build(Struct, frozen=True):
    """What has to be folded before all subjects are up to date."""

    new: Annotated[list[str], Meta(description="Aggregates that nothing stored has, in canonical form.")]
    reused: Annotated[int, Meta(description="Stored aggregates that new or changed achievements read.")]
    dropped: int
    events: Annotated[int, Meta(description="To be read; an estimate where a sample was looked at.")]
    rate: Annotated[int | None, Meta(description="Events a second: as given, or as measured by this very plan.")]
    measured: bool
    seconds: Annotated[int | None, Meta(description="Events by rate.")]


class Refusal(Struct, frozen=True):
    """A version that means something else than when it was deployed."""

    achievement: str
    version: int
    reasons: list[str]
    by_declarations: Annotated[bool, Meta(description="Whether `ach apply --accept-contracts` takes it.")]


class Sample(Struct, frozen=True):
    """Which part of the subjects was looked at, chosen by hash."""

    percent: str
    subjects: int
    of: int


class Coming(Struct, frozen=True):
    """A version that is yet to begin, and how many would earn it then by what they have now."""

    achievement: str
    tier: str | None
    version: int
    at: Annotated[Instant, Meta(description="Its `from`.")]
    unlocks: Annotated[int, Meta(description="Among the subjects that were looked at.")]


class Renaming(Struct, frozen=True):
    """An achievement that has another name than before, by its clause `renamed from`: its unlocks go on."""

    before: str
    now: str
    unlocks: Annotated[int, Meta(description="Granted ones, which keep their ids; nothing is announced of them.")] = 0


class SameRule(Struct, frozen=True):
    """A retired achievement, and a new one that means the same under another name: users earn that anew."""

    retired: str
    new: str


class Preview(Struct, frozen=True, kw_only=True):
    """What would become of stored unlocks if rules came into force, as of one snapshot."""

    format: Literal[1] = FORMAT
    epoch: Annotated[int, Meta(description="In force at the snapshot; 0 before the first.")]
    applied_at: Instant | None
    applied_by: str | None
    taken_at: Instant
    clock: Annotated[Instant, Meta(description="What has settled by then counts as granted.")]
    events: Annotated[int, Meta(description="In the ledger.")]
    events_exact: Annotated[bool, Meta(description="False where the ledger is large, and the number an estimate.")]
    building: Annotated[bool, Meta(description="Whether an earlier change is not finished: what it has left counts.")]
    subjects: Annotated[int, Meta(description="That were looked at.")]
    sample: Sample | None
    achievements: list[AchievementChange]
    contracts: list[ContractChange]
    unchanged: int
    in_words: list[str]
    build: Build
    announce: Annotated[str | None, Meta(description="Which grants `ach apply` is to announce: none, all, since ...")]
    announced: Annotated[int | None, Meta(description="New grants that this announces.")]
    gained: Annotated[int, Meta(description="New grants.")]
    refused: Annotated[list[Refusal], Meta(description="Why `ach apply` refuses these rules.")]
    is_change: bool
    coming: list[Coming] = []
    same: list[SameRule] = []
    renamed: list[Renaming] = []
    misnamed: Annotated[list[str], Meta(description="Names for which `ach apply` refuses these rules, and why.")] = []


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a preview."""
    made = msgspec.json.schema(Preview)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "ach plan --json", **made}


def schema_text() -> bytes:
    """Return the schema as it is printed, and kept in docs/plan.schema.json."""
    return msgspec.json.format(msgspec.json.encode(schema()), indent=2) + b"\n"
