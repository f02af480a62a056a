"""Planted bugs: what scripts and installations rely on."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

SCRIPTING: Final = "acceptance/test_scripting.py"
HELP: Final = "acceptance/test_help.py"

_MISTAKES: Final = (
    Bug(
        "empty_plan_taken_for_rules",
        "a plan that a full disk has left empty does not retire all rules",
        at="is_plan_file",
        old='path.suffix == ".json" or not (head or path.suffix == SUFFIX)',
        new='path.suffix == ".json"',
        tests=("worker/admin/test_plan_file.py::test_what_a_full_disk_has_left_of_a_plan_is_no_rules",),
    ),
    Bug(
        "no_rules_retire_all",
        "rules without an achievement retire nothing, unless a plan shows it",
        at="_check_retired",
        old="if held:",
        new="if not held:",
        tests=("acceptance/test_change_commands.py::test_a_change_from_the_plan_to_its_end",),
    ),
    Bug(
        "plan_written_though_an_example_fails",
        "a plan that an apply would refuse is not written",
        at="worker.commands.plan:_write",
        old="is_refused or ",
        new="",
        tests=("acceptance/test_plan_command.py::test_what_an_apply_refuses_is_said_beside_the_plan",),
    ),
    Bug(
        "retired_grants_taken_for_defects",
        "grants of a retired achievement are no difference between production and its events",
        at="Why.is_word_of_operator",
        old="{Why.REVOKED, Why.RETIRED}",
        new="{Why.REVOKED}",
        tests=("acceptance/test_rules_commands.py::test_rules_are_listed_shown_and_retired",),
    ),
    Bug(
        "idle_worker_keeps_old_rules",
        "a worker without events follows the rules in force",
        at="MinuteBook.write",
        old="epoch > known.epoch",
        new="epoch < known.epoch",
        tests=("integration/test_rules.py::test_a_worker_without_events_follows_the_rules_in_force",),
    ),
    Bug(
        "unknown_user_rebuilt",
        "a rebuild of a user that is unknown says so",
        at="worker.commands.rebuild:_check_named",
        old="target.user is not None and not events",
        new="False",
        tests=("acceptance/test_rules_commands.py::test_rules_are_listed_shown_and_retired",),
    ),
    Bug(
        "change_taken_over_in_silence",
        "an apply says which change was not done",
        at="taken_over",
        old='{"building", "paused"}',
        new='{"paused"}',
        tests=("integration/test_change.py::test_a_new_change_takes_over_from_one_that_is_built",),
    ),
)

BUGS: Final = (
    Bug(
        "hint_names_the_stranger",
        "a hint names our distribution, and not a stranger's",
        at="worker.distribution:NAME",
        old='"ach-engine"',
        new='"ach"',
        tests=("worker/test_distribution.py::test_one_file_without_metadata_names_the_distribution",),
    ),
    Bug(
        "running_demo_is_interrupted",
        "a demo beside a running one does not claim that one was interrupted",
        at="_demo",
        old="interrupted = _prepare(folder)",
        new='interrupted = _prepare(folder); screen.out().print("an earlier demo was interrupted")',
        tests=(f"{SCRIPTING}::test_a_demo_beside_a_running_one_says_so_and_nothing_else",),
    ),
    Bug(
        "failed_format_is_good",
        "a file that cannot be formatted fails the command",
        at="_format_files",
        old="return not failed and not (changed and (only_check or only_diff))",
        new="return not (changed and (only_check or only_diff))",
        tests=("acceptance/test_authoring_commands.py::test_fmt_leaves_what_it_cannot_read",),
    ),
    Bug(
        "failed_examples_pass_as_json",
        "a failed example fails the command, however it is printed",
        at="worker.commands.test:_test",
        old="passed = bool(ran) and not any(each.verdict.failures for each in ran)",
        new="passed = bool(ran)",
        tests=(f"{SCRIPTING}::test_rules_are_checked_formatted_and_tested",),
    ),
    Bug(
        "contract_out_of_date_passes_as_json",
        "a contract that is out of date fails --check, however it is printed",
        at="worker.commands.contract:command",
        old="good = not (check and found)",
        new="good = True",
        tests=(f"{SCRIPTING}::test_files_are_written",),
    ),
    Bug(
        "quiet_draws",
        "--quiet draws no progress",
        at="worker.report.screen:progress",
        old="if quiet or not sys.stderr.isatty():",
        new="if not sys.stderr.isatty():",
        tests=("worker/report/test_screen.py::test_progress_is_drawn_unless_it_is_to_be_quiet",),
    ),
    Bug(
        "broken_achievements_are_not_counted",
        "achievements with syntax errors are counted, too",
        at="print_problems",
        old="achievements = set[str]().union(*(achievements_begun(file) for file in rules.files))",
        new="achievements = rules.rules.achievements",
        tests=(f"{SCRIPTING}::test_every_achievement_of_a_file_is_counted",),
    ),
    Bug(
        "help_of_one_width",
        "help fits a narrow terminal",
        at="_Help.write_dl",
        old="col_max if self.width >= NARROW else self.width // 3",
        new="col_max",
        tests=(f"{HELP}::test_help_fits_a_narrow_terminal",),
    ),
    Bug(
        "revoking_asks_a_script",
        "with --json a command does not ask",
        at="worker.commands.revoke:command",
        old="must_not_ask(as_json=as_json, yes=yes)",
        new="",
        tests=(f"{SCRIPTING}::test_the_books",),
    ),
    Bug(
        "extra_of_a_stranger",
        "the hint at an extra installs it from where this was installed",
        at="worker.distribution:install",
        old="place, editable = _source()",
        new="place, editable = NAME, _source()[1]",
        tests=("worker/test_distribution.py::test_an_extra_comes_from_where_this_came",),
    ),
    Bug(
        "extra_replaces_what_is_edited",
        "an extra is added beside a clone that is used where it lies",
        at="worker.distribution:install",
        old='"-e " if editable else ""',
        new='""',
        tests=("worker/test_distribution.py::test_an_extra_comes_from_where_this_came",),
    ),
    Bug(
        "extra_needs_metadata",
        "one file without metadata names an extra, too",
        at="worker.distribution:_source",
        old="except PackageNotFoundError:",
        new="except ZeroDivisionError:",
        tests=("worker/test_distribution.py::test_one_file_without_metadata_names_the_distribution",),
    ),
    Bug(
        "next_command_is_not_found",
        "another shell finds the command that is named as the next one",
        at="worker.commands.pages:path_lines",
        old='shutil.which("ach") is not None',
        new='shutil.which("ach") is None',
        tests=("worker/commands/test_exports.py::test_another_shell_finds_ach",),
    ),
    *_MISTAKES,
)
