"""Unlocks as events: their places, who sees them, what late data and other rules do to what counts them."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug, Edit

CASES: Final = "dsl/test_unlocks.py"
DRAWN: Final = "property/test_unlocks.py"
VERDICTS: Final = "dsl/test_analyze.py"
SERVERS: Final = "integration/test_unlocks.py"

BUGS: Final = (
    Bug(
        "unlocks_in_the_order_of_judgement",
        "the unlocks of one event stand in the order of achievement, tier and occurrence",
        at="unlock_events",
        old='sorted(grants, key=lambda grant: (grant.achievement, grant.tier or "", grant.occurrence or ""))',
        new="list(grants)",
        tests=(f"{CASES}::test_the_unlocks_of_one_event_stand_in_the_order_of_their_names",),
    ),
    Bug(
        "unlock_at_the_place_of_its_event",
        "an unlock stands behind the event that earned it",
        at="unlock_events",
        old='"\\0".join((event.id, grant.achievement, grant.tier or "", grant.occurrence or ""))',
        new="event.id",
        tests=(f"{CASES}::test_an_unlock_stands_behind_the_event_that_earned_it",),
    ),
    Bug(
        "unlock_as_evidence",
        "what counts unlocks is earned by the event behind which they stand",
        at="_at_unlock",
        old="step(state, event) if hears(state, unlock)",
        new="step(state, unlock) if hears(state, unlock)",
        tests=(f"{CASES}::test_the_event_that_earned_what_is_counted_is_the_evidence",),
    ),
    Bug(
        "every_unlock_is_heard",
        "a version hears the unlocks that its patterns match, and no others",
        at="_at_unlock",
        old="if hears(state, unlock) else None",
        new="if unlock.fields or hears(state, unlock) else None",
        tests=(f"{CASES}::test_a_version_hears_the_unlocks_that_it_matches_and_no_others",),
    ),
    Bug(
        "named_levels_are_not_seen",
        "of achievements that use unlocks, a filter sees those that it names",
        at="Giver._count",
        old="kind.achievement in self._others and kind.achievement not in outright",
        new="kind.achievement in self._others",
        tests=(f"{CASES}::test_what_uses_unlocks_is_seen_where_it_is_named",),
    ),
    Bug(
        "moments_earn_no_unlocks",
        "what is earned at the begin of a version is counted there",
        at="Stages._at",
        old="                if grants:\n",
        new="                if grants and event.id:\n",
        tests=(f"{CASES}::test_what_begins_at_a_moment_is_counted_there",),
    ),
    Bug(
        "reward_is_no_part_of_the_memory",
        "another reward that is counted has the states built anew",
        at="dsl.unlocks:_text",
        old='- {"achievement"}',
        new='& {"family"}',
        tests=(f"{CASES}::test_a_state_knows_what_it_counts",),
    ),
    Bug(
        "counted_rulings_forgotten",
        "where what is counted is judged otherwise, so is what counts it",
        at="named_of",
        old="entry.counted.union(named_by(entry.aggregate))",
        new="frozenset(named_by(entry.aggregate))",
        also=(
            Edit("dsl.carry:_named", "*(judge.unlocks.counted for judge in judges)", "*(judge.after for judge in ())"),
        ),
        tests=(f"{CASES}::test_a_state_knows_what_it_counts", DRAWN),
    ),
    Bug(
        "sources_of_unlocks_forgotten",
        "a new aggregate over unlocks asks for the events that earn them",
        at="Carriage.types",
        old="entries[slot].types | entries[slot].sources",
        new="entries[slot].types",
        tests=(f"{CASES}::test_a_new_aggregate_asks_for_the_events_that_earn_what_it_counts",),
    ),
    Bug(
        "moved_unlocks_are_final",
        "a window over unlocks is contestable, because a late event moves them",
        at="_of_part",
        old="(mods.within and mods.within.span, mods.per and mods.per.span)",
        new="(mods.per and mods.per.span,)",
        tests=(f"{VERDICTS}::test_a_reason_has_its_counterexample",),
    ),
    Bug(
        "contestable_unlocks_are_final",
        "what counts unlocks of a contestable achievement is contestable",
        at="dsl.analyze:_named",
        old="sorted(one.counts.names & shaky) if one.counts is not None else []",
        new="list[str]()",
        tests=(f"{VERDICTS}::test_a_reason_has_its_counterexample",),
    ),
    Bug(
        "retired_cause_forgotten",
        "the plan names the retired achievement that takes support with it",
        at="Effects._under",
        old="lost and root in self._gone",
        new="lost and root in self._direct",
        tests=(f"{SERVERS}::test_the_plan_says_what_a_retired_achievement_takes_with_it",),
    ),
)
