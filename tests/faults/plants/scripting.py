"""Planted bugs: what scripts and installations rely on."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

SCRIPTING: Final = "acceptance/test_scripting.py"
HELP: Final = "acceptance/test_help.py"

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
)
