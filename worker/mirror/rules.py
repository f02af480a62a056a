"""The versions of achievements: few rows, written anew when one changes."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from dsl.calendar import format_instant
from dsl.compile import scope_of
from worker.admin.versions import RuleVersion
from worker.mirror.intake import csv_row

if TYPE_CHECKING:
    from worker.engine.rule_set import Deployed
    from worker.mirror.intake import Sink
    from worker.store import Session


class RuleRows(NamedTuple):
    """The rows of the layer, as CSV; `hash` is theirs."""

    text: bytes

    @property
    def hash(self) -> str:
        """Return what changes when a row does."""
        return sha256(self.text).hexdigest()

    async def hand(self, sink: Sink) -> None:
        """Hand the rows over."""
        await sink(self.text)


async def rule_rows(session: Session, rules: Deployed) -> RuleRows:
    """Return all versions.

    Raises:
        UnavailableError: the database is away.
    """
    rows = await session.rows(RuleVersion, "rule_versions")
    return RuleRows("".join(csv_row(_cells(rules, row)) for row in rows).encode())


def _cells(rules: Deployed, row: RuleVersion) -> tuple[object, ...]:
    versions = rules.rules.achievements.get(row.achievement, ())
    known = next((one for one in versions if one.version == row.version and row.retired_at is None), None)
    said = (None, None, None)
    if known is not None:
        tiers = json.dumps([tier.name.text for tier in known.tiers])
        said = (scope_of(known), tiers, "false" if known.repeat is None else "true")
    return (
        row.achievement,
        row.version,
        *said,
        row.source,
        row.meaning.hex(),
        _instant(row.starts_at),
        _instant(row.ends_at),
        row.epoch,
        format_instant(row.applied_at),
        row.applied_by,
        _instant(row.retired_at),
    )


def _instant(at: int | None) -> str | None:
    return None if at is None else format_instant(at)
