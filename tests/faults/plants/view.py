"""Planted bugs: what readers see, and what they must not."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

SEES: Final = ("property/test_reveal.py::test_what_a_subject_sees",)
VIEW: Final = "integration/test_view.py"
UNLOCKS: Final = "integration/test_view_unlocks.py"
PARTS: Final = "worker/engine/test_answers.py"

BUGS: Final = (
    Bug(
        "secret_seen_while_it_settles",
        "a secret achievement is seen once it is granted",
        at="sight",
        old="if row.granted_at is not None",
        new="if row.granted_at is not None or row.settles_at is not None",
        tests=SEES,
    ),
    Bug(
        "shown_and_forgotten",
        "what was revealed by progress stays visible",
        at="reveal:_is_revealed",
        old="return key in shown",
        new="return False",
        tests=SEES,
    ),
    Bug(
        "hidden_tier_named_by_the_one_before",
        "nothing names a hidden tier",
        at="_Teller._next",
        old="tier is not None and self.reader.as_user",
        new="tier is None and self.reader.as_user",
        tests=(f"{PARTS}::test_a_hidden_tier_is_not_named",),
    ),
    Bug(
        "held_back_is_not_far_enough",
        "`reveal at 100%` shows what only something beside the condition holds back",
        at="_has_come_to",
        old="item.status in FULL or item.reached.held_back",
        new="item.status in FULL",
        tests=(f"{PARTS}::test_what_only_traits_hold_back_is_revealed_at_a_hundred",),
    ),
    Bug(
        "operators_reveal",
        "an operator's look reveals nothing to the user",
        at="answer_of",
        old="seen.fresh if reader.as_user else ()",
        new="seen.fresh",
        tests=SEES,
    ),
    Bug(
        "promised_instead_of_given",
        "the reward of what is granted is the one that was given",
        at="_Teller._reward",
        old="promised if given is None else given",
        new="promised",
        tests=SEES,
    ),
    Bug(
        "revealed_survives_an_erasure",
        "an erasure leaves nothing of a user",
        at="erasure:_erase",
        old='await session.run("erase_revealed", tenant_id=tenant, user_id=name)',
        new="pass",
        tests=(f"{VIEW}::test_an_erasure_and_a_reader_take_their_turns",),
    ),
    Bug(
        "unknown_trait_is_a_no",
        "who may be eligible is not said to be excluded",
        at="eligibility",
        old="True if admits(state, _NONE) else known(state)",
        new="admits(state, _NONE)",
        tests=(f"{PARTS}::test_for_says_who_is_eligible",),
    ),
    Bug(
        "fallback_unsaid",
        "an answer in another language says so",
        at="spoken",
        old="fallback=bool(asked)",
        new="fallback=False",
        tests=(f"{PARTS}::test_a_reader_gets_the_best_language",),
    ),
    Bug(
        "rarity_of_a_few",
        "of fewer than 50 subjects no rarity is said",
        at="Rarities.of",
        old="if subjects < FEWEST:",
        new="if not subjects:",
        tests=(f"{PARTS}::test_rarity_never_rounds_to_none_or_all",),
    ),
    Bug(
        "contested_counts_for_rarity",
        "rarity counts what is granted and supported",
        at="sql:rarity_of_tenant",
        old="AND (by_hand OR contested_at IS NULL)",
        new="",
        tests=(f"{VIEW}::test_rarity_counts_subjects_of_the_tenant",),
    ),
    Bug(
        "cursor_of_any_tenant",
        "a cursor is good for one tenant alone",
        at="Cursors._hash",
        old="blake2b(said + tenant,",
        new="blake2b(said,",
        tests=(f"{PARTS}::test_a_cursor_is_good_for_its_tenant_and_key",),
    ),
    Bug(
        "books_complete_up_to_what_has_ended",
        "no reader skips an unlock that commits later",
        at="Horizon.see",
        old="ends = look.xmax + (look.next_xid - look.xmax) % _XIDS",
        new="ends = look.xmax",
        tests=(f"{UNLOCKS}::test_no_reader_skips_what_commits_later",),
    ),
    Bug(
        "page_to_the_end_of_the_books",
        "no reader skips an unlock that commits later",
        at="Horizon.see",
        old="return self.safe",
        new="return look.last",
        tests=(f"{UNLOCKS}::test_no_reader_skips_what_commits_later",),
    ),
    Bug(
        "rules_of_yesterday",
        "an answer is by the rules in force",
        at="_check_epoch",
        old="if epoch != catalogue.rules.epoch:",
        new="if epoch < catalogue.rules.epoch:",
        tests=(f"{VIEW}::test_a_reader_follows_the_rules_in_force",),
    ),
    Bug(
        "tag_without_what_was_shown",
        "an answer that has changed has another tag",
        at="sql:mark_of_asked",
        old="    -- use revealed_to_asked\n    ,",
        new="",
        tests=(f"{VIEW}::test_a_tag_changes_with_the_answer",),
    ),
    Bug(
        "feed_in_the_order_of_all",
        "the feed of a tenant reads no decisions of others",
        at="sql:decisions_of_tenant",
        old="ORDER BY evaluation.evaluation_id NULLS FIRST",
        new="ORDER BY evaluation.evaluation_id",
        tests=("integration/test_view_plans.py::test_the_feed_reads_its_own_tenant_s_decisions_alone",),
    ),
    Bug(
        "page_beyond_what_it_has_seen",
        "a page ends where it has looked, so that no unlock is skipped",
        at="Unlocks._safe",
        old="min(safe, looked.bound)",
        new="safe",
        tests=(f"{UNLOCKS}::test_a_page_ends_with_what_its_own_tenant_has_decided",),
    ),
    Bug(
        "replica_that_counts_as_idle",
        "a replica that stands still grows older",
        at="Lag.see",
        old="self._pending[0][1] <= (look.replayed or 0)",
        new="self._pending[0][0] <= at",
        tests=("worker/engine/test_lag.py::test_a_replica_that_stands_still_grows_older_from_when_it_knew_all",),
    ),
    Bug(
        "idle_replica_counts_as_old",
        "an idle replica that has everything is up to date",
        at="Lag.see",
        old="look.following and look.received is not None",
        new="not look.following and look.received is not None",
        tests=("worker/engine/test_lag.py::test_an_idle_replica_is_up_to_date_although_the_last_commit_is_long_ago",),
    ),
)
