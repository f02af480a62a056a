"""Planted bugs that drawn chains of changes find: rules, backfills, erasures and operators in turn."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug


def _chains(part: int) -> tuple[str, ...]:
    """Return the part of the drawn chains that finds a bug."""
    return (f"faults/test_changes.py::test_drawn_chains[{part}]",)


BUGS: Final[tuple[Bug, ...]] = (
    Bug(
        "chains_shared_progress_kept_at_an_erasure",
        "teams are folded without the erased",
        at="_erase",
        old="await _forget(session, {user: BEGINNING, **since})",
        new="await _forget(session, {user: BEGINNING})",
        tests=_chains(1),
    ),
    Bug(
        "chains_decisions_about_the_erased",
        "decisions about the erased go",
        at="_erase",
        old='await session.run("erase_evaluations", tenant_id=tenant, user_id=name)',
        new="",
        tests=_chains(7),
    ),
    Bug(
        "chains_tombstone_not_asked",
        "events of the erased stay out",
        at="ledger:states_of_users",
        old="erased=row.erased,",
        new="erased=False,",
        tests=_chains(1),
    ),
    Bug(
        "chains_epoch_not_raised",
        "apply raises the epoch",
        at="sql:set_rules_epoch",
        old="UPDATE partition SET rules_epoch = :epoch, generation = generation + 1, owner = '';",
        new="""
            UPDATE partition SET rules_epoch = greatest(rules_epoch, 1), generation = generation + 1, owner = ''
            WHERE :epoch::bigint > 0;
            """,
        tests=_chains(0),
    ),
    Bug(
        "chains_backfill_of_users_alone",
        "a backfill visits every scope",
        at="backfill:build",
        old="for scope, plan in rules.program.scopes.items():",
        new='for scope, plan in [("user", rules.program.scopes["user"])]:',
        tests=_chains(0),
    ),
    Bug(
        "chains_backfill_of_one_page",
        "a backfill reads all pages",
        at="outdated:pages_of",
        old="if len(names) < PAGE:",
        new="if len(names) <= PAGE:",
        tests=_chains(4),
    ),
    Bug(
        "chains_revoked_is_restored",
        "evidence does not move what is revoked",
        at="_moved",
        old="if row is None or row.state is State.REVOKED:",
        new="if row is None:",
        tests=_chains(9),
    ),
    Bug(
        "chains_members_not_written_anew",
        "a field scope hears the events of before",
        at="_put_into_force",
        old="await write_late_members(session, ready.rules, ready.members, ready.mark)",
        new="",
        tests=_chains(5),
    ),
    Bug(
        "chains_plan_since_before",
        "a plan counts from its own epoch",
        at="sql:build_aggregates",
        old="status = 'building', epoch = excluded.epoch,",
        new="status = 'building',",
        tests=_chains(5),
    ),
    Bug(
        "chains_settles_after_retirement",
        "retirement withdraws what settles",
        at="_put_into_force",
        old="withdrawn = await _withdraw_retired(session, ready.rules, change.settings, change_id, now=now)",
        new="withdrawn = 0",
        tests=_chains(4),
    ),
    Bug(
        "chains_late_events_keep_checkpoints",
        "a checkpoint behind a late event goes",
        at="sql:forget_checkpoints",
        old="AND (checkpoint.mark_at, checkpoint.mark_id) >= (late.occurred_at, late.event_id);",
        new="AND false;",
        tests=_chains(5),
    ),
)
