"""Planted bugs: where a subject stands, and what commands say where something is wrong."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

STANDING: Final = "worker/engine/test_standing.py"
AGREES: Final = ("property/test_subject_standing.py::test_progress_says_what_the_unlocks_say",)
STORED: Final = "integration/test_subject_standing.py"
OF: Final = "worker/engine/standing.py"

BUGS: Final = (
    Bug(
        "settling_is_earned",
        "what settles is not said to be earned",
        OF,
        "Stands.SETTLING: Status.SETTLING",
        "Stands.SETTLING: Status.EARNED",
        AGREES,
    ),
    Bug(
        "contested_counts",
        "only what is supported counts as earned",
        OF,
        "earned = [one for one in own if status_of(one) is Status.EARNED]",
        "earned = [one for one in own if status_of(one) is not Status.REVOKED]",
        AGREES,
    ),
    Bug(
        "any_occurrence_is_the_current_one",
        "the status of what repeats is that of its current occurrence",
        OF,
        "next((one for one in own if one.occurrence == occurrence), None)",
        "next(iter(own), None)",
        AGREES,
    ),
    Bug(
        "revoked_before_earned",
        "what is earned under any version is earned",
        OF,
        "(Status.EARNED, Status.SETTLING, Status.CONTESTED, Status.REVOKED)",
        "(Status.REVOKED, Status.SETTLING, Status.CONTESTED, Status.EARNED)",
        AGREES,
    ),
    Bug(
        "retired_forgotten",
        "what earlier rules have left is shown",
        OF,
        "    kept = [row for own in unlocks.values() for row in own]\n",
        "    kept: list[Stored] = []\n",
        AGREES,
    ),
    Bug(
        "held_back_is_complete",
        "progress is 100 % exactly where it is earned",
        OF,
        "min(int(measure.fraction * 100), ALMOST)",
        "int(measure.fraction * 100)",
        (f"{STANDING}::test_what_is_not_earned_never_comes_to_a_hundred",),
    ),
    Bug(
        "on_a_bound_to_exceed_unsaid",
        "a total on a bound that it has to exceed is said to be there",
        OF,
        "on_bound = not met and current is not None and current == target",
        "on_bound = met and current is not None and current == target",
        (f"{STANDING}::test_what_is_not_earned_never_comes_to_a_hundred",),
    ),
    Bug(
        "revoked_goes_on",
        "what was revoked goes no further",
        OF,
        "return Reached(None, target, 0)",
        "return Reached(current, target, 99)",
        (f"{STANDING}::test_a_revoked_one_goes_no_further",),
    ),
    Bug(
        "last_occurrence_by_its_date",
        "the last occurrence is that of the calendar, not of the books",
        OF,
        "key=lambda one: (_place(judge, one), one.earned_at)",
        "key=lambda one: one.earned_at",
        (f"{STANDING}::test_the_last_occurrence_is_that_of_the_calendar",),
    ),
    Bug(
        "not_yet_in_effect_hidden",
        "an unlock is shown though no version is in effect",
        OF,
        "if judge is not None or own:",
        "if judge is not None:",
        (f"{STANDING}::test_of_what_has_no_version_in_effect_the_unlocks_are_shown",),
    ),
    Bug(
        "next_of_each_is_the_last",
        "the current occurrence of `repeat each` is the one that is open",
        "dsl/judge.py",
        "            return str(_next(state, self.ruling.slot))\n",
        "            return str(_next(state, self.ruling.slot) - 1)\n",
        ("property/test_subject_standing.py::test_what_events_alone_have_earned_is_earned",),
    ),
    Bug(
        "unreadable_is_stale",
        "a backfill is advised only where it helps",
        "worker/admin/results.py",
        "            unreadable += 1\n",
        "            stale += 1\n",
        (f"{STORED}::test_progress_that_cannot_be_read_is_not_said_to_be_old",),
    ),
    Bug(
        "ids_folded",
        "ids are in one piece on a narrow terminal",
        "worker/report/screen.py",
        "no_wrap=at in whole",
        "no_wrap=at in numbers",
        ("worker/report/test_screen.py::test_what_is_copied_from_a_table_is_in_one_piece",),
    ),
    Bug(
        "piped_tables_folded",
        "nothing is folded in a pipe",
        "worker/report/screen.py",
        "sum(least if sys.stdout.isatty() else widths)",
        "sum(least)",
        ("worker/report/test_screen.py::test_what_is_copied_from_a_table_is_in_one_piece",),
    ),
    Bug(
        "cut_letter_sent",
        "a letter of which the beginning is kept is not sent as it is",
        "worker/pipeline/dead_letters.py",
        "    if body is None and is_cut(letter):\n",
        "    if body is not None and is_cut(letter):\n",
        ("integration/test_dead.py::test_a_letter_of_which_the_beginning_is_kept_is_sent_mended_or_not_at_all",),
    ),
    Bug(
        "exponents_cut",
        "numbers with other exponents are other numbers",
        "worker/contract/sameness.py",
        '_sum(exponent or "0",',
        '_sum(exponent[:19] or "0",',
        ("worker/contract/test_sameness.py::test_exponents_of_any_length_count",),
    ),
    Bug(
        "nul_in_a_comment_passed",
        "a file that the database cannot hold is refused",
        "dsl/parse/__init__.py",
        "    tell_nul(reading)\n",
        "",
        ("dsl/test_parse.py::test_a_nul_is_refused_wherever_it_stands",),
    ),
    Bug(
        "wrong_password_waited_for",
        "a worker whose password is wrong at its start says so and ends",
        "worker/store.py",
        "                if isinstance(error, _UNUSABLE):\n",
        "                if isinstance(error, UnusableError):\n",
        ("integration/test_store.py::test_a_wrong_password_is_told_in_words_and_not_waited_for",),
    ),
)
