"""Planted bugs: the begin of a version, at which every subject is judged."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

FOLD: Final = "property/test_moments.py::test_the_fold_earns_at_moments_what_the_reference_earns"
INTEGRATION: Final = "integration/test_moments.py"

BUGS: Final[tuple[Bug, ...]] = (
    Bug(
        "moment_behind_the_events_of_its_instant",
        "a version is judged at its begin before all events of that instant",
        at="fold:_walk_past_moments",
        old="while ahead and ahead[0].at <= event.at:",
        new="while ahead and ahead[0].at < event.at:",
        tests=(FOLD,),
    ),
    Bug(
        "fresh_judged_at_its_begin",
        "a `fresh` version earns nothing at its begin",
        at="moments:moment_of",
        old="if version.since is None or version.fresh:",
        new="if version.since is None:",
        tests=("dsl/test_begin_of_versions.py::test_a_fresh_version_earns_nothing_when_it_begins",),
    ),
    Bug(
        "moment_leaves_no_mark",
        "an event before a moment at which something was earned is late",
        at="moments:_judged",
        old='state.mark = Position(moment.at, "")',
        new="pass",
        tests=(f"{INTEGRATION}::test_a_live_batch_behind_the_moment_finds_it_passed",),
    ),
    Bug(
        "step_behind_a_moment_in_order",
        "an event before a moment at which something was earned is late for a worker, too",
        at="decide:_move",
        old="if own.behind or (plan.moments and at_begin(current)) else 0",
        new="if own.behind else 0",
        tests=(f"{INTEGRATION}::test_a_live_batch_behind_the_moment_finds_it_passed",),
    ),
    Bug(
        "moment_judged_in_the_future",
        "a version that begins in the future takes effect when the clock is there",
        at="moments:passed",
        old="if moment.at > until:",
        new="if moment.at > until + 10**15:",
        tests=(f"{INTEGRATION}::test_who_qualifies_earns_it_when_the_clock_is_there",),
    ),
    Bug(
        "look_from_the_beginning_of_a_scope_alone",
        "a worker goes on with a moment where another one has died",
        at="Moments.look",
        old="if scope >= due.scope:",
        new="if scope > due.scope and due.scope:",
        tests=(f"{INTEGRATION}::test_another_worker_goes_on_where_one_has_died",),
    ),
    Bug(
        "undone_moment_kept",
        "a state at a moment at which new rules judge otherwise says nothing of what is earned",
        at="Carriage.undone",
        old="mark is not None and not mark.id and mark.at not in self._kept_moments",
        new="False",
        tests=("worker/engine/test_moments_carried.py",),
    ),
)
