"""Planted bugs: small wrong changes of the engine; each breaks one of its promises.

The tables are in tests/faults/plants/. A bug names a definition, an edit of it, and the tests that should fail; how an
edit finds its place: tests/faults/plants/anchors.py.

    python -m tests.faults.planted --broken        list the bugs that no longer apply, and where to look
    python -m tests.faults.planted --page [LOG]    renew docs/planted-bugs.md from the tables, and from a run's log
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.faults.plants import (
    analysis,
    anchors,
    announcements,
    archive,
    authoring,
    broker,
    carry,
    chains,
    change,
    changes,
    connection,
    console,
    contracts,
    corrections,
    counted_unlocks,
    decide,
    doctor,
    doors,
    erasure,
    event_roles,
    fast_path,
    fences,
    filters,
    folds,
    groups,
    identity,
    ingest,
    keyed,
    labels,
    ledger,
    library,
    metrics,
    mirror,
    moments,
    notifier,
    operators,
    pictures,
    plan,
    process,
    progress,
    refusals,
    renames,
    replays,
    roles,
    scripting,
    serve,
    standing,
    state_cache,
    traces,
    transport,
    unlocks,
    view,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.faults.plants.bug import Bug

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "planted-bugs.md"

BUGS: Final[tuple[Bug, ...]] = (
    *fences.BUGS,
    *ledger.BUGS,
    *folds.BUGS,
    *filters.BUGS,
    *groups.BUGS,
    *identity.BUGS,
    *keyed.BUGS,
    *labels.BUGS,
    *contracts.BUGS,
    *progress.BUGS,
    *unlocks.BUGS,
    *counted_unlocks.BUGS,
    *announcements.BUGS,
    *archive.BUGS,
    *fast_path.BUGS,
    *state_cache.BUGS,
    *doctor.BUGS,
    *doors.BUGS,
    *changes.BUGS,
    *change.BUGS,
    *operators.BUGS,
    *plan.BUGS,
    *replays.BUGS,
    *erasure.BUGS,
    *event_roles.BUGS,
    *connection.BUGS,
    *chains.BUGS,
    *carry.BUGS,
    *standing.BUGS,
    *corrections.BUGS,
    *decide.BUGS,
    *broker.BUGS,
    *refusals.BUGS,
    *renames.BUGS,
    *roles.BUGS,
    *transport.BUGS,
    *metrics.BUGS,
    *view.BUGS,
    *notifier.BUGS,
    *mirror.BUGS,
    *moments.BUGS,
    *analysis.BUGS,
    *serve.BUGS,
    *console.BUGS,
    *library.BUGS,
    *ingest.BUGS,
    *traces.BUGS,
    *process.BUGS,
    *scripting.BUGS,
    *authoring.BUGS,
    *pictures.BUGS,
)

QUICK: Final = (
    "cache_kept_after_the_fence_moved",
    "nul_let_through",
    "dead_letter_outside_of_the_transaction",
    "step_although_late",
    "express_passes_over_events_that_are_there",
    "unlock_id_from_the_event",
    "restored_grant_announced_again",
)
"""The bugs that the quick run plants, one of each kind."""

HEAD: Final = """\
# Planted bugs

Would the tests notice? Each of these changes breaks one promise of the engine on purpose. `just planted` plants them
one at a time in a copy of the source. The tests must fail there, and they must pass in a copy without any bug. The
changes are the tables in tests/faults/plants/. That run writes this page.

| planted | promise that no longer holds | found by |
|---|---|---|
"""
_ROW: Final = re.compile(r"^\| `(\w+)` .* \| ([^|]+) \|$", re.MULTILINE)


def broken(bugs: Iterable[Bug], source: anchors.Source) -> dict[str, str]:
    """Return the bugs that do not apply to a source: name to what is wrong, and where to look."""
    found: dict[str, str] = {}
    for bug in bugs:
        try:
            source.edited(bug.edits)
        except anchors.LostBugError as error:
            found[bug.name] = str(error)
    return found


def finders(page: str) -> dict[str, str]:
    """Return the rows of docs/planted-bugs.md: name to the test that found the bug."""
    return dict(_ROW.findall(page))


def renewed(page: str, log: str) -> str:
    """Return the page after a run, given the run's log of `name<tab>test` lines; other rows keep their test."""
    found = {**finders(page), **dict(line.split("\t") for line in log.splitlines())}
    rows = [f"| `{bug.name}` ({bug.at}) | {bug.breaks} | {found[bug.name]} |" for bug in BUGS if bug.name in found]
    return HEAD + "\n".join(rows) + f"\n\n{len(rows)} planted; each was found by the run that planted it last.\n"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.planted")
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--broken", action="store_true", help="list the bugs that no longer apply to the source")
    action.add_argument("--page", metavar="LOG", nargs="?", const="", help="renew docs/planted-bugs.md")
    chosen = parser.parse_args(arguments)
    if not chosen.broken:
        log = Path(chosen.page).read_text("utf-8") if chosen.page else ""
        PAGE.write_text(renewed(PAGE.read_text("utf-8"), log), "utf-8")
        return 0
    lost = broken(BUGS, anchors.read(ROOT))
    for name, message in lost.items():
        sys.stdout.write(f"{name}: {message}\n\n")
    sys.stdout.write(f"{len(lost)} of {len(BUGS)} planted bugs do not apply.\n")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
