"""What a build of a change has done, by achievement and version."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from worker.engine.renames import Renames


class Tally(msgspec.Struct):
    """What a backfill has done about one achievement."""

    granted: int = 0
    settling: int = 0
    amended: int = 0
    restored: int = 0
    contested: int = 0
    withdrawn: int = 0
    unchanged: int = 0


class Report(msgspec.Struct):
    """The reconciliation report: per achievement and version, and how many subjects were folded again."""

    epoch: int
    subjects: int = 0
    tallies: dict[tuple[str, int], Tally] = msgspec.field(default_factory=dict[tuple[str, int], Tally])

    def called(self, renames: Renames) -> Report:
        """Return it with the names that achievements have now."""
        tallies = {(renames.now(name), version): tally for (name, version), tally in self.tallies.items()}
        return Report(self.epoch, self.subjects, tallies)

    def tally(self, achievement: str, version: int) -> Tally:
        """Return the tally of one version."""
        return self.tallies.setdefault((achievement, version), Tally())
