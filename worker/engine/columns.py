"""What is to be written, as the arguments of the statements that write it: `group.field`, one column a field. Pure.

Rows are sorted by key, so that two transactions that write the same rows do not wait for each other.
"""

from __future__ import annotations

from collections import Counter
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING

from dsl.outcome import Subject
from dsl.progress import encode
from worker.contract.packing import pack, pack_ints
from worker.engine import folding
from worker.engine.decide import settling_until
from worker.engine.event_rows import pack_events
from worker.engine.state_cache import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from uuid import UUID

    from dsl.event import Position
    from worker.engine.arrivals import Arrivals
    from worker.engine.batch import Audience, Group, Item
    from worker.engine.decide import Writes
    from worker.engine.reconcile import Decision
    from worker.engine.rule_set import Deployed
    from worker.engine.state_cache import SubjectState

MEMBER = ("tenant_id", "scope", "subject", "occurred_at", "event_id")
"""Columns of `event_subject`."""
RENAMED = ("event_id", "tenant_id", "digest")
"""Columns of `renamed_event`."""
POSITION = ("tenant_id", "scope", "subject", "at", "id")
FIELDLESS = frozenset({"user", "tenant"})
"""Scopes whose events the ledger finds by itself; those of a field are listed in `event_subject`, and so are users that
events of others name."""


def names_users(arrivals: Arrivals) -> bool:
    """Tell whether an event names users beside the one who did it: each of these has a row of `event_subject`."""
    return any(len(views) > 1 for group in arrivals.groups for views in group.views)


def all_columns(rules: Deployed, writes: Writes) -> dict[str, object]:
    """Return the arguments of `commit_fast`, but for what it has to find as it was, and for members."""
    return {
        **event_columns(writes.arrivals),
        **progress_columns(writes.progress),
        **checkpoint_columns(writes.checkpoints),
        **position_columns({**writes.absorbed, **writes.refolded}),
        **unlock_columns(rules, writes.unlocks),
        **amendment_columns(writes),
        **evaluation_columns(rules, writes.evaluations),
        "now": writes.now,
        "clock": writes.clock,
    }


def saved_columns(writes: Writes) -> dict[str, object]:
    """Return the arguments of `save_progress`."""
    return {
        **progress_columns(writes.progress),
        **checkpoint_columns(writes.checkpoints),
        **position_columns(writes.absorbed),
        "now": writes.now,
    }


def columns(group: str, fields: Sequence[str], rows: Iterable[tuple[object, ...]]) -> dict[str, object]:
    """Return rows as `group.field` arguments, one list a field."""
    lists = [*zip(*rows, strict=True)] or [()] * len(fields)
    return {f"{group}.{field}": list(values) for field, values in zip(fields, lists, strict=True)}


def event_columns(arrivals: Arrivals) -> dict[str, str]:
    """Return the `events` of `insert_events`: all that the groups hold."""
    rows = chain.from_iterable([group.rows for group in arrivals.groups])
    return pack_events(rows, lambda: chain.from_iterable([group.items for group in arrivals.groups]))


def member_columns(items: Iterable[Item]) -> dict[str, object]:
    """Return the `members` of `insert_event_subjects`: which events belong to which subject of a field scope.

    Also to which users beside the one who did it.
    """
    rows = sorted((*subject, item.event.at, item.event.id) for item in items for subject in _listed(item.audience))
    return columns("members", MEMBER, rows)


def named_columns(groups: Iterable[Group]) -> dict[str, object]:
    """Return the `named` of `commit_fast_with_members`: users beside the one who did it, sorted, with the event."""
    rows = [
        (user.tenant_id, user.subject, event.at, event.id)
        for group in groups
        for event, views in zip(group.events, group.views, strict=False)
        for user, _, _ in views[1:]
    ]
    rows.sort()
    packed = pack([row[0] for row in rows], [row[1] for row in rows], [row[3] for row in rows])
    tenants, users, ids = packed.columns
    return {
        "named.separator": packed.separator,
        "named.tenant_id": tenants,
        "named.user_id": users,
        "named.event_id": ids,
        "named.at": pack_ints([row[2] for row in rows]),
    }


def _listed(audience: Audience) -> list[Subject]:
    return [*(subject for subject in audience.subjects if subject.scope not in FIELDLESS), *audience.named]


def progress_columns(progress: Mapping[Subject, SubjectState]) -> dict[str, object]:
    """Return the `progress` of `upsert_progress`; each state has a mark."""
    rows = [
        (subject, saved, saved.state, saved.state.mark)
        for subject, saved in sorted(progress.items(), key=itemgetter(0))
        if saved.state is not None and saved.state.mark is not None
    ]
    packed = pack(
        [subject.tenant_id for subject, _, _, _ in rows],
        [subject.scope for subject, _, _, _ in rows],
        [subject.subject for subject, _, _, _ in rows],
        [saved.stamp for _, saved, _, _ in rows],
        [mark.id for _, _, _, mark in rows],
        [encode(state).decode() for _, _, state, _ in rows],
    )
    tenants, scopes, names, stamps, mark_ids, states = packed.columns
    return {
        "progress.separator": packed.separator,
        "progress.tenant_id": tenants,
        "progress.scope": scopes,
        "progress.subject": names,
        "progress.stamp": stamps,
        "progress.mark_id": mark_ids,
        "progress.state": states,
        "progress.mark_at": pack_ints([mark.at for _, _, _, mark in rows]),
        "progress.folded": pack_ints([saved.folded for _, saved, _, _ in rows]),
        "progress.rows": len(rows),
    }


def checkpoint_columns(checkpoints: Iterable[Checkpoint]) -> dict[str, object]:
    """Return the `checkpoints` of `insert_checkpoints`, and what `prune_checkpoints` leaves beside them."""
    points = sorted(checkpoints)
    new = sorted(Counter(point[:3] for point in points).items())
    return {
        **columns("checkpoints", Checkpoint._fields, points),
        **columns("pruned", (*Subject._fields, "new"), [(*subject, number) for subject, number in new]),
        "checkpoints_kept": folding.CHECKPOINTS_KEPT,
    }


def position_columns(positions: Mapping[Subject, Position]) -> dict[str, object]:
    """Return the `positions` of `forget_checkpoints` and `checkpoints_before`."""
    rows = sorted((*subject, position.at, position.id) for subject, position in positions.items())
    return columns("positions", POSITION, rows)


def subject_columns(subjects: Iterable[Subject]) -> dict[str, object]:
    """Return the `subjects` of `forget_progress`."""
    return columns("subjects", Subject._fields, sorted(subjects))


def unlock_columns(rules: Deployed, unlocks: Collection[Decision]) -> dict[str, object]:
    """Return the `unlocks` of `grant_unlocks`, which are sorted by key."""
    grants = [one.grant for one in unlocks]
    return {
        "unlocks.tenant_id": [one.subject.tenant_id for one in unlocks],
        "unlocks.scope": [one.subject.scope for one in unlocks],
        "unlocks.subject": [one.subject.subject for one in unlocks],
        "unlocks.achievement": [grant.achievement for grant in grants],
        "unlocks.tier": [grant.tier or "" for grant in grants],
        "unlocks.occurrence": [grant.occurrence or "" for grant in grants],
        "unlocks.unlock_id": [one.unlock_id for one in unlocks],
        "unlocks.version": [grant.version for grant in grants],
        "unlocks.earned_at": [grant.earned_at for grant in grants],
        "unlocks.event_id": [grant.event_id for grant in grants],
        "unlocks.settles_at": [settling_until(grant) for grant in grants],
        "unlocks.reward": [rules.terms(grant).reward for grant in grants],
        "unlocks.origin": [one.origin for one in unlocks],
        "unlocks.change_id": [one.change_id for one in unlocks],
        "unlocks.silent": [one.silent for one in unlocks],
        "final_ids": [one.unlock_id for one in unlocks if rules.is_final(one.grant)],
    }


def amendment_columns(writes: Writes) -> dict[str, object]:
    """Return the `amended` of `amend_unlocks`, which are sorted by id."""
    changes, causes = writes.amended, _causes(writes)
    return {
        "amended.unlock_id": [change.unlock_id for change in changes],
        "amended.version": [change.grant.version for change in changes],
        "amended.earned_at": [change.grant.earned_at for change in changes],
        "amended.event_id": [change.grant.event_id for change in changes],
        "amended.settles_at": [settling_until(change.grant) for change in changes],
        "amended.change_id": [causes[change.unlock_id] for change in changes],
    }


def contested_columns(writes: Writes) -> dict[str, object]:
    """Return the `contested` of `contest_unlocks`, which are sorted by id."""
    causes = _causes(writes)
    return {
        "contested.unlock_id": list(writes.contested),
        "contested.change_id": [causes[one] for one in writes.contested],
    }


def _causes(writes: Writes) -> dict[UUID, int | None]:
    """Return the change that each decision about an unlock that was there before comes of."""
    return {one.unlock_id: one.change_id for one in writes.evaluations}


def evaluation_columns(rules: Deployed, decisions: Collection[Decision]) -> dict[str, object]:
    """Return the `evaluations` of `insert_evaluations`."""
    grants = [decision.grant for decision in decisions]
    return {
        "evaluations.tenant_id": [decision.subject.tenant_id for decision in decisions],
        "evaluations.scope": [decision.subject.scope for decision in decisions],
        "evaluations.subject": [decision.subject.subject for decision in decisions],
        "evaluations.achievement": [grant.achievement for grant in grants],
        "evaluations.tier": [grant.tier or "" for grant in grants],
        "evaluations.occurrence": [grant.occurrence or "" for grant in grants],
        "evaluations.version": [grant.version for grant in grants],
        "evaluations.decision": [decision.kind.value for decision in decisions],
        "evaluations.final": [rules.is_final(grant) for grant in grants],
        "evaluations.earned_at": [grant.earned_at for grant in grants],
        "evaluations.event_id": [grant.event_id for grant in grants],
        "evaluations.change_id": [decision.change_id for decision in decisions],
    }
