"""Planted bugs: where a subject stands, and what commands say where something is wrong."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

STANDING: Final = "worker/engine/test_standing.py"
AGREES: Final = ("property/test_subject_standing.py::test_progress_says_what_the_unlocks_say",)
STORED: Final = "integration/test_subject_standing.py"

BUGS: Final = (
    Bug(
        "settling_is_earned",
        "what settles is not said to be earned",
        at="_OF_ROW",
        old="Stands.SETTLING: Status.SETTLING",
        new="Stands.SETTLING: Status.EARNED",
        tests=AGREES,
    ),
    Bug(
        "contested_counts",
        "only what is supported counts as earned",
        at="standing:_item",
        old="earned = [one for one in own if status_of(one) is Status.EARNED]",
        new="earned = [one for one in own if status_of(one) is not Status.REVOKED]",
        tests=AGREES,
    ),
    Bug(
        "any_occurrence_is_the_current_one",
        "the status of what repeats is that of its current occurrence",
        at="standing:_item",
        old="next((one for one in own if one.occurrence == occurrence), None)",
        new="next(iter(own), None)",
        tests=AGREES,
    ),
    Bug(
        "revoked_before_earned",
        "what is earned under any version is earned",
        at="_FOREMOST",
        old="(Status.EARNED, Status.SETTLING, Status.CONTESTED, Status.REVOKED)",
        new="(Status.REVOKED, Status.SETTLING, Status.CONTESTED, Status.EARNED)",
        tests=AGREES,
    ),
    Bug(
        "retired_forgotten",
        "what earlier rules have left is shown",
        at="standing_of",
        old="kept = [row for own in unlocks.values() for row in own]",
        new="kept: list[Stored] = []",
        tests=AGREES,
    ),
    Bug(
        "held_back_is_complete",
        "progress is 100 % exactly where it is earned",
        at="standing:_reached",
        old="min(int(measure.fraction * 100), ALMOST)",
        new="int(measure.fraction * 100)",
        tests=(f"{STANDING}::test_what_is_not_earned_never_comes_to_a_hundred",),
    ),
    Bug(
        "on_a_bound_to_exceed_unsaid",
        "a total on a bound that it has to exceed is said to be there",
        at="standing:_reached",
        old="on_bound = not met and current is not None and current == target",
        new="on_bound = met and current is not None and current == target",
        tests=(f"{STANDING}::test_what_is_not_earned_never_comes_to_a_hundred",),
    ),
    Bug(
        "revoked_goes_on",
        "what was revoked goes no further",
        at="standing:_reached",
        old="return Reached(None, target, 0)",
        new="return Reached(current, target, 99)",
        tests=(f"{STANDING}::test_a_revoked_one_goes_no_further",),
    ),
    Bug(
        "last_occurrence_by_its_date",
        "the last occurrence is that of the calendar, not of the books",
        at="standing:_item",
        old="key=lambda one: (_place(judge, one), one.earned_at)",
        new="key=lambda one: one.earned_at",
        tests=(f"{STANDING}::test_the_last_occurrence_is_that_of_the_calendar",),
    ),
    Bug(
        "not_yet_in_effect_hidden",
        "an unlock is shown though no version is in effect",
        at="standing_of",
        old="if judge is not None or own:",
        new="if judge is not None:",
        tests=(f"{STANDING}::test_of_what_has_no_version_in_effect_the_unlocks_are_shown",),
    ),
    Bug(
        "next_of_each_is_the_last",
        "the current occurrence of `repeat each` is the one that is open",
        at="Judge.occurrence",
        old="return str(_next(state, self.ruling.slot))",
        new="return str(_next(state, self.ruling.slot) - 1)",
        tests=("property/test_subject_standing.py::test_what_events_alone_have_earned_is_earned",),
    ),
    Bug(
        "unreadable_is_stale",
        "a backfill is advised only where it helps",
        at="results:_decoded",
        old="unreadable += 1",
        new="stale += 1",
        tests=(f"{STORED}::test_progress_that_cannot_be_read_is_not_said_to_be_old",),
    ),
    Bug(
        "ids_folded",
        "ids are in one piece on a narrow terminal",
        at="Paper.draw_table",
        old="no_wrap=at in whole",
        new="no_wrap=at in numbers",
        tests=("worker/report/test_screen.py::test_what_is_copied_from_a_table_is_in_one_piece",),
    ),
    Bug(
        "piped_tables_folded",
        "nothing is folded in a pipe",
        at="Paper.draw_table",
        old="sum(least if self.file.isatty() else widths)",
        new="sum(least)",
        tests=("worker/report/test_screen.py::test_a_table_in_a_pipe_is_that_of_rich",),
    ),
    Bug(
        "cut_letter_sent",
        "a dead letter whose body was cut off is not resent as it is",
        at="replay_letter",
        old="if body is None and is_cut(letter):",
        new="if body is not None and is_cut(letter):",
        tests=("integration/test_dead.py::test_a_letter_of_which_the_beginning_is_kept_is_sent_mended_or_not_at_all",),
    ),
    Bug(
        "exponents_cut",
        "numbers with other exponents are other numbers",
        at="sameness:_number",
        old='_sum(exponent or "0",',
        new='_sum(exponent[:19] or "0",',
        tests=("worker/contract/test_sameness.py::test_exponents_of_any_length_count",),
    ),
    Bug(
        "nul_in_a_comment_passed",
        "a file that the database cannot hold is refused",
        at="parse",
        old="report_nul(reading)",
        new="",
        tests=("dsl/test_parse.py::test_a_nul_is_refused_wherever_it_stands",),
    ),
    Bug(
        "wrong_password_waited_for",
        "a worker whose password is wrong at its start says so and ends",
        at="Store._acquire",
        old="except UNUSABLE as error:",
        new="except UnusableError as error:",
        tests=("integration/test_store.py::test_a_wrong_password_is_reported_in_words_and_not_retried",),
    ),
)
