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
        "worker/admin/erasure.py",
        "await _forget(session, {user: BEGINNING, **since})",
        "await _forget(session, {user: BEGINNING})",
        _chains(1),
    ),
    Bug(
        "chains_decisions_about_the_erased",
        "decisions about the erased go",
        "worker/admin/erasure.py",
        '        await session.run("erase_evaluations", tenant, name)\n',
        "",
        _chains(7),
    ),
    Bug(
        "chains_tombstone_not_asked",
        "events of the erased stay out",
        "worker/pipeline/ledger.py",
        "            erased=row.erased,\n",
        "            erased=False,\n",
        _chains(1),
    ),
    Bug(
        "chains_epoch_not_raised",
        "apply raises the epoch",
        "sql/queries/partition.sql",
        "UPDATE partition SET rules_epoch = $1, generation = generation + 1, owner = '';",
        "UPDATE partition SET rules_epoch = greatest(rules_epoch, 1), generation = generation + 1, owner = ''\n"
        "WHERE $1::bigint > 0;",
        _chains(0),
    ),
    Bug(
        "chains_backfill_of_users_alone",
        "a backfill visits every scope",
        "worker/admin/backfill.py",
        "    for scope, plan in rules.program.scopes.items():\n        for search",
        '    for scope, plan in [("user", rules.program.scopes["user"])]:\n        for search',
        _chains(0),
    ),
    Bug(
        "chains_backfill_of_one_page",
        "a backfill reads all pages",
        "worker/admin/backfill.py",
        "        if len(page) < PAGE:\n",
        "        if len(page) <= PAGE:\n",
        _chains(4),
    ),
    Bug(
        "chains_revoked_is_restored",
        "evidence does not move what is revoked",
        "worker/engine/reconcile.py",
        "        if row is None or row.state is State.REVOKED:\n            continue\n"
        "        if row.state is State.CONTESTED:",
        "        if row is None:\n            continue\n        if row.state is State.CONTESTED:",
        _chains(9),
    ),
    Bug(
        "chains_members_not_written_anew",
        "a field scope hears the events of before",
        "worker/admin/rollout.py",
        "    await _write_members(session, rules, moved - FIELDLESS)\n",
        "",
        _chains(5),
    ),
    Bug(
        "chains_plan_since_before",
        "a plan counts from its own epoch",
        "worker/admin/rollout.py",
        "    since = await since_of(session)\n    moved",
        "    since = {**(await _since(session)), **folded}\n    moved",
        _chains(5),
    ),
    Bug(
        "chains_settles_after_retirement",
        "retirement withdraws what settles",
        "worker/admin/rollout.py",
        "withdrawn = await _withdraw_retired(session, rules, change.settings, now=now)",
        "withdrawn = 0",
        _chains(4),
    ),
    Bug(
        "chains_late_events_keep_checkpoints",
        "a checkpoint behind a late event goes",
        "sql/queries/progress.sql",
        "    AND (checkpoint.mark_at, checkpoint.mark_id) >= (late.occurred_at, late.event_id);",
        "    AND false;",
        _chains(5),
    ),
)
