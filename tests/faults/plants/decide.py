"""Planted bugs: the decision about a batch, and what comes before it: who goes fast, moving in place, folding again."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

BOOKS: Final = ("property/test_decide.py",)
USERS: Final = ("worker/engine/test_fast_users.py",)
DECIDING: Final = ("worker/engine/test_decide.py",)

BUGS: Final[tuple[Bug, ...]] = (
    # -- what a batch brings --
    Bug(
        "last_copy_taken_for_the_first",
        "an event is what its first copy says",
        at="screen",
        old="firsts.setdefault(item.key, item) is not item",
        new="firsts.get(item.key) is not firsts.update({item.key: item})",
        tests=("worker/engine/test_arrivals.py",),
    ),
    # -- moved in place --
    Bug(
        "late_events_stepped_as_well",
        "an event is folded once",
        at="decide:_move",
        old="in_order = heard[late:]",
        new="in_order = heard",
        tests=BOOKS,
    ),
    Bug(
        "absorbed_as_of_the_last_late_event",
        "a checkpoint that has not seen a late event is forgotten",
        at="decide:_move",
        old="look.absorbed[subject] = Position(heard[0].at, heard[0].id)",
        new="look.absorbed[subject] = Position(heard[late - 1].at, heard[late - 1].id)",
        tests=USERS,
    ),
    Bug(
        "refold_of_other_rules_not_noted",
        "what other rules find is a backfill",
        at="decide:_move",
        old="look.replanned.add(subject)",
        new="",
        tests=("integration/test_corrections.py::test_what_other_rules_find_when_the_user_comes_is_a_backfill",),
    ),
    Bug(
        "refolds_of_the_fast_path_without_bound",
        "the fast path folds a bounded number of users again",
        at="decide:_move",
        old="if len(look.refolds) == most_refolds:",
        new="if most_refolds == 0:",
        tests=USERS,
    ),
    Bug(
        "state_kept_that_could_not_be_folded",
        "a state whose fold has failed is not used any more",
        at="decide:first_look",
        old="state.state, left_out = None, LongWay.UNFOLDABLE",
        new="left_out = LongWay.UNFOLDABLE",
        tests=USERS,
    ),
    # -- divided --
    Bug(
        "users_left_out_committed_as_well",
        "nothing of a user that is left out is on the fast path",
        at="divide",
        old="del chosen[user], states[user]",
        new="del states[user]",
        tests=USERS,
    ),
    Bug(
        "rest_of_a_batch_dropped",
        "every event of a batch is committed",
        at="fast_users:_parted",
        old="(fast if goes else rest).append(group)",
        new="(fast if goes else list[Group]()).append(group)",
        tests=USERS,
    ),
    Bug(
        "fast_batch_holds_one_partition",
        "the fast path holds the partitions of all its users",
        at="divide",
        old="cache.reserve(hold, user, state)",
        new="cache.reserve(hold, user, state) if not hold.generations else None",
        tests=USERS,
    ),
    Bug(
        "late_events_trusted_after_all",
        "after each time that late events were no news, they are not taken to be for longer",
        at="fast_users:_reason",
        old="if own.behind and not trusting and canonical_order(own.events[0]) < latest:",
        new="if own.behind and not trusting and canonical_order(own.events[-1]) < latest:",
        tests=USERS,
    ),
    Bug(
        "trust_never_grows_again",
        "late events that are news bring trust back",
        at="Trust.kept",
        old="self._doubt = max(1, self._doubt // 2)",
        new="pass",
        tests=USERS,
    ),
    # -- folded again --
    Bug(
        "refolded_state_left_aside",
        "a state that was folded again takes the place of the old one",
        at="decide:_put_in_place",
        old="state.state, state.folded, state.stamp = refold.state, refold.folded, rules.stamps[subject.scope]",
        new="state.folded, state.stamp = refold.folded, rules.stamps[subject.scope]",
        tests=BOOKS,
    ),
    Bug(
        "stamp_of_a_refolded_state_kept",
        "a state is valid under the plan that folded it",
        at="decide:_put_in_place",
        old="state.state, state.folded, state.stamp = refold.state, refold.folded, rules.stamps[subject.scope]",
        new="state.state, state.folded = refold.state, refold.folded",
        tests=DECIDING,
    ),
    Bug(
        "late_event_at_the_mark_taken_for_later",
        "what is late is folded again",
        at="late_among",
        old="return bisect_left(events, (mark.at, mark.id), key=canonical_order)",
        new="return bisect_left(events, (mark.at,), key=canonical_order)",
        tests=BOOKS,
    ),
    # -- compared with what is stored --
    Bug(
        "earned_and_not_compared",
        "what was granted is not granted again",
        at="decide:decide",
        old="if facts.stored or refolds:",
        new="if refolds:",
        tests=BOOKS,
    ),
    Bug(
        "only_the_last_grant_of_a_subject_compared",
        "everything that is earned is granted",
        at="decide:_compare",
        old="stepped[subject].append(grant)",
        new="stepped[subject] = [grant]",
        tests=BOOKS,
    ),
    Bug(
        "retired_rules_judge_on",
        "what no rule judges any more stays as it is",
        at="_StillRuled.__call__",
        old="return self.rules.rules_on(self.scope, achievement, tier)",
        new="return True",
        tests=DECIDING,
    ),
    Bug(
        "restored_unlocks_not_written",
        "an unlock that events support again is contested no more",
        at="decide:decide",
        old="_of(changes, Kind.AMENDED, Kind.RESTORED)",
        new="_of(changes, Kind.AMENDED)",
        tests=DECIDING,
    ),
    Bug(
        "withdrawn_unlocks_contested",
        "an unlock that has not settled is withdrawn, and not contested",
        at="decide:decide",
        old="_of(changes, Kind.WITHDRAWN)",
        new="_of(changes, Kind.CONTESTED)",
        tests=DECIDING,
    ),
    # -- saved --
    Bug(
        "refolded_state_not_saved",
        "a state that was folded again is saved",
        at="decide:_to_be_saved",
        old="*facts.refolds,",
        new="",
        tests=BOOKS,
    ),
    Bug(
        "unsaved_events_not_counted",
        "what is not saved is bounded",
        at="decide:_to_be_saved",
        old="state.unsaved + folded",
        new="folded",
        tests=("integration/test_express.py::test_progress_is_written_now_and_then",),
    ),
    Bug(
        "state_without_events_saved",
        "a state without events is deleted",
        at="decide:_heard_nothing",
        old="state is not None and state.mark is None",
        new="state is None",
        tests=BOOKS,
    ),
    # -- written in order --
    Bug(
        "amended_as_they_were_folded",
        "multi-row writes are sorted by key",
        at="decide:decide",
        old="sorted(_of(changes, Kind.AMENDED, Kind.RESTORED), key=_by_id)",
        new="_of(changes, Kind.AMENDED, Kind.RESTORED)",
        tests=DECIDING,
    ),
    Bug(
        "contested_as_they_were_folded",
        "multi-row writes are sorted by key",
        at="decide:decide",
        old="sorted(_of(changes, Kind.CONTESTED), key=_by_id)",
        new="_of(changes, Kind.CONTESTED)",
        tests=DECIDING,
    ),
    Bug(
        "withdrawn_as_they_were_folded",
        "multi-row writes are sorted by key",
        at="decide:decide",
        old="sorted(_of(changes, Kind.WITHDRAWN), key=_by_id)",
        new="_of(changes, Kind.WITHDRAWN)",
        tests=DECIDING,
    ),
    Bug(
        "changes_without_a_decision",
        "every change of an unlock is in the books as a decision",
        at="_about_known",
        old="for subject, change in changes:",
        new="for subject, change in [one for one in changes if one[1].kind is not Kind.RESTORED]:",
        tests=DECIDING,
    ),
    Bug(
        "origin_of_a_backfill_lost",
        "what a backfill finds is not announced as live play",
        at="_Causes.origin",
        old="Origin.BACKFILL if self._backfill else self._how.origin(subject, grant)",
        new="self._how.origin(subject, grant)",
        tests=DECIDING,
    ),
)
