"""Planted bugs: what `ach doctor` overlooks or breaks, what a worker starts on, and what `ach status` hides."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

CHECKS: Final = "worker/doctor/test_checks.py"
REAL: Final = "integration/test_doctor.py"
COMMANDS: Final = "acceptance/test_doctor_commands.py"
PICTURE: Final = "worker/status/test_picture.py"

BUGS: Final = (
    Bug(
        "the_doctor_likes_every_retention",
        "UNLOCKS keeps the memory of past announcements",
        at="doctor.streams:_retention",
        old="if not _events(seen):",
        new="if not _events(seen) and not mend:",
        tests=(f"{REAL}::test_a_worker_refuses_what_breaks_a_guarantee_and_starts_all_the_same_if_asked",),
    ),
    Bug(
        "a_worker_only_logs_what_breaks_a_guarantee",
        "a worker does not start where a guarantee does not hold",
        at="WorkerChecks.__call__",
        old="if refused and not self._unsafe:",
        new="if refused and self._unsafe:",
        tests=(f"{REAL}::test_a_worker_refuses_what_breaks_a_guarantee_and_starts_all_the_same_if_asked",),
    ),
    Bug(
        "a_later_finding_ends_a_worker",
        "a worker that is at work logs what no worker starts on",
        at="WorkerChecks.__call__",
        old="self._unsafe = True",
        new="",
        tests=(f"{REAL}::test_a_finding_that_comes_later_ends_no_worker",),
    ),
    Bug(
        "a_worker_repeats_its_findings",
        "a worker logs each finding once",
        at="WorkerChecks.__call__",
        old="self._logged.add((one.check, one.said))",
        new="",
        tests=(f"{REAL}::test_a_worker_logs_each_finding_once_also_of_what_is_made_anew",),
    ),
    Bug(
        "no_word_of_atomic_batches",
        "a worker warns of a stream that its producers can delete",
        at="doctor.streams:_atomic",
        old="if not seen.config.allow_atomic:",
        new="if seen.config.allow_atomic or not seen.config.allow_atomic:",
        tests=(f"{REAL}::test_a_worker_logs_each_finding_once_also_of_what_is_made_anew",),
    ),
    Bug(
        "a_worker_makes_unlocks_that_age",
        "UNLOCKS that a worker makes has no limit",
        at="_ensure_stream",
        old='"max_age": 0 if name == settings.unlock_stream else EVENTS_SECONDS * _NANOSECONDS',
        new='"max_age": EVENTS_SECONDS * _NANOSECONDS',
        tests=(f"{REAL}::test_what_a_worker_makes_is_all_right_and_bounded",),
    ),
    Bug(
        "the_doctor_announces",
        "the doctor changes nothing",
        at="_harmless",
        old='{"Nats-Expected-Stream": "-"}',
        new="{}",
        tests=(f"{REAL}::test_rights_that_are_missing_are_named_and_nothing_is_written",),
    ),
    Bug(
        "the_doctor_shows_passwords",
        "no message has a secret",
        at="doctor.ask_database:_ask_all",
        old='f"PostgreSQL at {shown(settings.database_url)}: {error}"',
        new='f"PostgreSQL at {settings.database_url}: {error}"',
        tests=(f"{REAL}::test_servers_that_are_away_are_named_without_a_secret",),
    ),
    Bug(
        "part_of_the_subjects_is_enough",
        "a stream has to take all subjects",
        at="covers",
        old='if place >= len(theirs) or theirs[place] == ">":',
        new="if place >= len(theirs):",
        tests=("worker/doctor/test_subjects.py::test_patterns",),
    ),
    Bug(
        "a_stuck_outbox_looks_fine",
        "an unlock that is not announced is noticed",
        at="doctor.books:_outbox",
        old="if books.now - oldest < LATE:",
        new="if books.now - oldest > LATE:",
        tests=(f"{CHECKS}::test_books",),
    ),
    Bug(
        "status_of_a_silent_database_looks_fresh",
        "what is old is said to be old",
        at="picture:lines",
        old="elif behind >= SILENT:",
        new="elif behind < 0:",
        tests=(f"{PICTURE}::test_servers_that_are_away_are_said_and_the_rest_stays",),
    ),
    Bug(
        "long_names_hide_the_numbers",
        "a tenant's name leaves room for its numbers",
        at="cells:cut",
        old="cell_len(shown) <= most",
        new="True",
        tests=(f"{PICTURE}::test_a_long_name_hides_no_number",),
    ),
    Bug(
        "wide_characters_counted_as_narrow",
        "a tenant's name leaves room for its numbers, however wide its characters are",
        at="cells:cut",
        old="set_cell_size(shown, most - 1)",
        new="shown[: most - 1]",
        tests=(f"{PICTURE}::test_a_long_name_hides_no_number",),
    ),
    Bug(
        "the_oldest_message_is_one_that_is_done",
        "lag is the age of the oldest message that is not acknowledged",
        at="Watch._backlog",
        old="info.ack_floor.stream_seq + 1",
        new="info.ack_floor.stream_seq + 10",
        tests=(f"{COMMANDS}::test_status_is_printed_and_an_object",),
    ),
    Bug(
        "top_leaves_the_terminal_without_echo",
        "a terminal is as before",
        at="live:keys",
        old="termios.tcsetattr(number, termios.TCSADRAIN, before)",
        new="pass",
        tests=(f"{COMMANDS}::test_top_draws_on_a_terminal_and_q_ends_it",),
    ),
    Bug(
        "a_terminal_obeys_names_of_tenants",
        "a terminal obeys nothing that a producer says",
        at="drawn",
        old="(visible(text), style)",
        new="(text, style)",
        tests=(f"{PICTURE}::test_lines_fit_and_a_terminal_obeys_nothing_of_them",),
    ),
)
