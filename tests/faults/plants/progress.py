"""Planted bugs: progress and explanations."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

AGREEMENT: Final = "property/test_agreement.py::test_explanations_agree_in_the_corners"
CORNERS: Final = "property/test_agreement.py::test_the_fold_follows_the_definition_in_the_corners"
MOMENTS: Final = "dsl/test_moments.py"

BUGS: Final[tuple[Bug, ...]] = (
    Bug(
        "unless_at_the_begin_of_a_unit_overlooked",
        "an `unless` at the very begin of a unit spoils the unit, in progress too",
        at="Streaks.current",
        old="if reach.has(self.begin(state, index))), default=0)",
        new="if self.begin(state, index).at >= reach.floor.at), default=0)",
        tests=(f"{MOMENTS}::test_an_unless_at_the_very_begin_of_a_unit_spoils_it", AGREEMENT),
    ),
    Bug(
        "total_of_nothing_forgotten",
        "after an `unless` a total of nothing may be enough",
        at="SinceTotalOrNothing.stepper",
        old="node.best = max(node.best, node.total)",
        new="",
        tests=(f"{MOMENTS}::test_a_total_of_nothing_may_be_enough", CORNERS),
    ),
    Bug(
        "total_of_nothing_at_own_events_alone",
        "every event is a moment at which a total of nothing may be enough",
        at="SinceTotalOrNothing.__init__",
        old="self.types |= moments",
        new="del moments",
        tests=(f"{MOMENTS}::test_a_total_of_nothing_may_be_enough", CORNERS),
    ),
    Bug(
        "total_on_its_bound_is_complete",
        "progress is full exactly if it holds",
        at="Bound.measure",
        old="""
            return found if found.fraction < 1 else found._replace(fraction=1 / (1 + LEAST / Fraction(self.target)))
            """,
        new="return found",
        tests=("dsl/test_evidence.py::test_a_total_on_a_bound_to_exceed_is_not_complete",),
    ),
    Bug(
        "span_asked_of_the_last_event_alone",
        "between events it is asked what an event now would find",
        at="_Span.start_at",
        old="if now.event is not None:",
        new="if now.at:",
        tests=("dsl/test_evidence.py::test_a_part_that_a_moment_now_would_make_hold_lacks_nothing",),
    ),
    Bug(
        "label_that_comes_back_begins_anew",
        "what was counted before a label came back counts with it",
        at="_fused",
        old="mods.unless is None and clock.fixed and steady(mods.tz, Unit(mods.per.text))",
        new="mods.unless is None and clock.fixed",
        tests=("property/test_found.py::test_what_came_before_a_label_that_comes_back_counts_with_it",),
    ),
    Bug(
        "stretch_ends_with_the_label",
        "what lies in a unit reaches to now without a break",
        at="stretch",
        old="if end <= at:  # the next label came before: this one came back, for what is left of it",
        new="if end == at:",
        tests=("property/test_wall_clock.py::test_a_stretch_shows_one_label_and_ends_where_another_begins",),
    ),
    Bug(
        "calendar_before_grants",
        "every occurrence that was earned is explained",
        at="occurrences:meant",
        old="return _earned(known, name, unit) or _unit(known, name, current, (unit, clock))",
        new="return _unit(known, name, current, (unit, clock))",
        tests=("worker/commands/test_explain.py::test_an_occurrence_that_was_earned_is_found_whatever_day_it_is_now",),
    ),
    Bug(
        "unit_before_the_start_left_out",
        "the events in the units of a streak are listed, and none before its run",
        at="_behind_the_start",
        old="unit >= first[path] for path, unit in noted.units.items())",
        new="unit > first[path] for path, unit in noted.units.items())",
        tests=("dsl/test_evidence.py",),
    ),
    Bug(
        "evidence_not_tried",
        "the listed events alone earn what they are said to have earned",
        at="evidence",
        old="if story.earns([each.event for each in found], grant):",
        new="if found:",
        tests=("dsl/test_evidence.py::test_a_copy_of_what_is_not_listed_is_not_listed",),
    ),
    Bug(
        "achievements_before_it_left_out",
        "what earned the achievements that it names is listed",
        at="evidence",
        old="grounds = [ground, *_named(ground, firsts)]",
        new="grounds = [ground, *_named(ground, firsts)][:1]",
        tests=("dsl/test_evidence.py::test_what_an_achievement_before_it_needs_is_listed_too",),
    ),
    Bug(
        "moment_of_an_event_by_another_clock",
        "an occurrence is looked at by the clock of the event that is in it",
        at="EventClock.wall",
        old="return 0 if now.event is None else now.event.offset",
        new="""
            del now
            return 0
            """,
        tests=("worker/commands/test_explain.py", AGREEMENT),
    ),
    Bug(
        "one_tier_without_the_occurrence_refuses_all",
        "an occurrence that only one tier has is explained",
        at="why:explained",
        old="refused.append(error)",
        new="raise CannotExplainError(str(error)) from error",
        tests=("worker/commands/test_explain.py::test_an_occurrence_that_only_one_tier_has",),
    ),
)
