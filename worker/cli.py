"""The command line: a table of commands, each a few lines over the module that does the work.

Exit codes: 0 good, 1 something is wrong (with the rules, the events, a server), 2 used wrongly.
"""

from __future__ import annotations

import errno
import os
import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path
from time import time_ns
from typing import TYPE_CHECKING, Final, TypedDict, TypeVar

import click

from worker.commands.notify import command as notify

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import Unpack
    from uuid import UUID

    from worker.commands.checking import Drawing, Form
    from worker.contract.reasons import Reason
    from worker.rulefiles import RuleSet
    from worker.settings import Settings

# Modules are imported where a command needs them: `ach fmt` in an editor should not wait for a database driver.

T = TypeVar("T")

_PATHS: Final = click.Path(path_type=Path)
_FILE: Final = click.Path(dir_okay=False, path_type=Path)
_rules_argument = click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=_PATHS)
_rules_option = click.option(
    "--rules",
    "-r",
    "paths",
    multiple=True,
    required=True,
    metavar="PATH",
    type=_PATHS,
    help="Rule file or folder; may be given several times.",
)


class _Commands(click.Group):
    """All commands: whatever ends one, no secret and nothing that a terminal would obey is printed of it."""

    def invoke(self, ctx: click.Context) -> object:
        """Run a command."""
        from worker.report import screen  # noqa: PLC0415

        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            vars(error)["message"] = screen.visible(error.message, kept="\n")
            raise
        except (click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # the reader of a pipe has gone, and click knows what to do
            screen.crash(error, [os.environ[name] for name in ("NATS_URL", "DATABASE_URL") if name in os.environ])
            sys.exit(1)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("ach"), prog_name="ach")
def main() -> None:
    """Grant achievements from event streams, exactly once.

    Rules are text files (*.ach). Start with `ach demo`, then write a rule file, `ach check` it, and try it on a
    recorded stream with `ach replay`. A worker takes NATS_URL and DATABASE_URL from the environment.
    """


main.add_command(notify)


def _load(paths: Sequence[Path]) -> RuleSet:
    from worker.rulefiles import NoRulesError, load  # noqa: PLC0415

    try:
        return load(paths)
    except NoRulesError as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        raise click.UsageError(f"{error.filename}: {error.strerror}") from error


def _load_good(paths: Sequence[Path]) -> RuleSet:
    """Load rules that are to be used; tell their errors and end where there are any."""
    from worker.commands.authoring import tell_problems  # noqa: PLC0415
    from worker.report import screen  # noqa: PLC0415

    rules = _load(paths)
    if rules.errors:
        tell_problems(rules)
        screen.fail("the rules have errors; nothing was done")
        sys.exit(1)
    return rules


# -- authoring --------------------------------------------------------------------------------------------------------


@main.command()
@click.argument("paths", nargs=-1, metavar="PATH...", type=_PATHS)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "sarif", "github"]),
    default="text",
    help="How to print problems: for people, as JSON, as SARIF 2.1.0, as commands of GitHub Actions.",
)
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@click.option("--verbose", "-v", is_flag=True, help="Also tell what is final, what is remembered and who shares it.")
@click.option(
    "--graph",
    "drawing",
    type=click.Choice(["mermaid", "dot"]),
    is_flag=False,
    flag_value="mermaid",
    help="Draw the rules instead; behind the paths and without a form, as Mermaid.",
)
@click.option("--explain", "code", metavar="CODE", help="Print what a code means, such as ACH410, and check nothing.")
def check(
    paths: Sequence[Path],
    form: Form,
    strict: bool,  # noqa: FBT001 - click passes flags by name
    verbose: bool,  # noqa: FBT001
    drawing: Drawing | None,
    code: str | None,
) -> None:
    """Check rule files: every problem in one run, with its place and a hint.

    PATH is a rule file or a folder of them; all of them together are one rule set. A comment `# ach: allow ACH505` on
    a line, or above it, silences a warning there.
    """
    if code is not None:
        _explain_code(code)
        return
    if not paths:
        raise click.UsageError("Missing argument 'PATH...'.")
    from worker.commands.checking import Request, check_command  # noqa: PLC0415

    request = Request(form=form, strict=strict, verbose=verbose, drawing=drawing)
    sys.exit(0 if check_command(_load(paths), request) else 1)


def _explain_code(code: str) -> None:
    from worker.report import screen  # noqa: PLC0415
    from worker.report.pages import NoPageError, explained  # noqa: PLC0415

    try:
        screen.say(explained(code))
    except NoPageError as error:
        raise click.UsageError(str(error)) from error


@main.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--check", "only_check", is_flag=True, help="Change nothing; exit 1 where a file is not formatted.")
@click.option("--diff", "only_diff", is_flag=True, help="Change nothing; print what would change, exit 1 if anything.")
def fmt(paths: Sequence[Path], only_check: bool, only_diff: bool) -> None:  # noqa: FBT001
    """Format rule files in place: one layout, comments kept. PATH `-` formats standard input to standard output."""
    from worker.commands.formatting import format_files, format_stdin  # noqa: PLC0415
    from worker.rulefiles import NoRulesError  # noqa: PLC0415

    try:
        if paths == (Path("-"),):
            good = format_stdin(only_check=only_check, only_diff=only_diff)
        else:
            good = format_files(paths, only_check=only_check, only_diff=only_diff)
    except NoRulesError as error:
        raise click.UsageError(str(error)) from error
    sys.exit(0 if good else 1)


@main.command()
@_rules_argument
@click.option("--junit", metavar="FILE", type=_FILE, help="Also write the results as JUnit XML.")
@click.option("--coverage", is_flag=True, help="Also tell what no example has decided both ways.")
@click.option(
    "--fail-under", metavar="N", type=click.FloatRange(0, 100), help="Exit 1 where the coverage is below N %."
)
@click.option("--update", is_flag=True, help="Write what came out into expectations that failed, then run again.")
def test(paths: Sequence[Path], junit: Path | None, coverage: bool, fail_under: float | None, update: bool) -> None:  # noqa: FBT001
    """Run the examples in rule files: in order, shuffled, doubled and in batches.

    A failure is told with the events that mattered and with what is missing. --update changes the `expect` lines that
    failed and adds some to examples without any; look at the difference before you keep it.
    """
    from worker.commands.testing import Request, test_command  # noqa: PLC0415

    request = Request(tuple(paths), junit=junit, coverage=coverage, fail_under=fail_under, update=update)
    sys.exit(0 if test_command(_load_good(paths), request) else 1)


@main.command()
def lsp() -> None:
    """Serve an editor over standard input and output: problems, hover, completion and more (docs/editors.md)."""
    from worker.report import screen  # noqa: PLC0415

    try:
        from worker.lsp.server import serve  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in {"lsprotocol", "pygls"}:
            raise
        screen.fail("the language server needs pygls, which is not installed", "pip install 'ach[lsp]'")
        sys.exit(1)
    serve()


@main.command()
@_rules_argument
@click.option("--output", "-o", "folder", required=True, metavar="DIR", type=_PATHS, help="Folder for index.html.")
@click.option("--title", default="Achievements", show_default=True, help="Heading of the page.")
def docs(paths: Sequence[Path], folder: Path, title: str) -> None:
    """Write a page that shows a rule set to people: achievements in words, tiers, rewards, events.

    One HTML file without script or assets, for a screen in light or dark and for paper.
    """
    from worker.commands.cataloguing import docs_command  # noqa: PLC0415

    sys.exit(0 if docs_command(_load_good(paths), folder, title) else 1)


# -- replay -----------------------------------------------------------------------------------------------------------


@main.command()
@click.argument("streams", nargs=-1, required=True, metavar="STREAM...")
@_rules_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: digest, unlocks, contested, counts.")
@click.option(
    "--expect",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Compare with a stored result (of --json); exit 1 and show the difference.",
)
@click.option(
    "--through-worker",
    is_flag=True,
    help="Run through NATS, a worker and PostgreSQL (private ones) instead of in this process.",
)
@click.option("--now", metavar="INSTANT", help="What counts as now for events from the future (default: the clock).")
def replay(
    streams: Sequence[str],
    paths: Sequence[Path],
    as_json: bool,  # noqa: FBT001
    expect: Path | None,
    through_worker: bool,  # noqa: FBT001
    now: str | None,
) -> None:
    """Fold recorded streams (JSON Lines, also .gz and .zst; `-` is standard input) and print what comes out.

    Nothing is stored, and no server is needed unless --through-worker asks for private ones.
    """
    from worker.commands.replaying import Request, replay_command  # noqa: PLC0415

    rules = _load_good(paths)
    request = Request(tuple(streams), as_json=as_json, expect=expect, through_worker=through_worker, now=_instant(now))
    sys.exit(0 if replay_command(rules, request) else 1)


# -- explaining -------------------------------------------------------------------------------------------------------


class _Asked(TypedDict):
    subject: str
    achievement: str
    tenant: str | None
    occurrence: str | None
    form: str
    events: int


@main.command()
@click.argument("streams", nargs=-1, metavar="[STREAM...]")
@click.option("--rules", "-r", "paths", multiple=True, metavar="PATH", type=_PATHS, help="Rule file or folder.")
@click.option(
    "--user", "--subject", "-u", "subject", required=True, metavar="U", help="Whose (for `scope team`: a team)."
)
@click.option("--achievement", "-a", required=True, metavar="A[.TIER]", help="Without TIER: every tier.")
@click.option("--tenant", metavar="T", help="Needed where the subject is known in several.")
@click.option("--occurrence", metavar="X", help="Of one that repeats, such as 2026-W15 (default: the current one).")
@click.option("--now", metavar="INSTANT", help="As of then (default: the end of the stream; of the ledger, the clock).")
@click.option("--events", default=20, show_default=True, type=click.IntRange(min=0), help="How many to show.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="How to print it.")
@click.option("--from-ledger", is_flag=True, help="From DATABASE_URL, by the rules in force; no STREAM, no --rules.")
def explain(
    streams: Sequence[str], paths: Sequence[Path], now: str | None, *, from_ledger: bool, **asked: Unpack[_Asked]
) -> None:
    """Explain why somebody has an achievement, or what is missing, event by event.

    STREAM is a recording as for `ach replay`.
    """
    from worker.commands.explaining import Request, explain_command, explain_ledger  # noqa: PLC0415

    request = Request(**asked, clock=_instant(None), now=None if now is None else _instant(now))
    if from_ledger:
        if streams or paths:
            raise click.UsageError("--from-ledger takes its events and rules from the database: no STREAM, no --rules")
        _operate(lambda settings: explain_ledger(settings, request))
        return
    if not streams or not paths:
        raise click.UsageError("name a STREAM and --rules, or --from-ledger")
    sys.exit(0 if explain_command(_load_good(paths), streams, request) else 1)


# -- operating --------------------------------------------------------------------------------------------------------


def _operate(work: Callable[[Settings], Awaitable[T]], *, loud: bool = False) -> T:
    """Return what an operator's command does on the servers of the environment; exit 1 with a message if it fails."""
    from worker import server_errors  # noqa: PLC0415
    from worker.process import logs  # noqa: PLC0415
    from worker.process.loop import run_async  # noqa: PLC0415
    from worker.process.signals import ImpatientError  # noqa: PLC0415
    from worker.report import screen  # noqa: PLC0415
    from worker.settings import SettingsError, read_settings  # noqa: PLC0415

    try:
        settings = read_settings(os.environ)
    except SettingsError as error:
        raise click.UsageError(str(error)) from error
    if loud:
        logs.configure(settings.log_format)
    else:
        logs.quiet()
    try:
        with server_errors.told(settings):
            return run_async(partial(work, settings))
    except server_errors.CommandError as error:
        screen.fail(str(error), error.hint)
        sys.exit(1)
    except (ImpatientError, KeyboardInterrupt):
        sys.exit(130)


@main.command()
@click.option("--drain", is_flag=True, help="Stop when everything in the stream is done, instead of waiting for more.")
def run(drain: bool) -> None:  # noqa: FBT001
    """Run a worker: events from NATS_URL, progress in DATABASE_URL, unlocks back to NATS.

    It judges by the rules that `ach apply` has put into force, and takes up new ones by itself. SIGTERM or Ctrl-C: it
    finishes the batch, announces what is granted, and exits 0.
    """
    from worker.commands import operating  # noqa: PLC0415

    _operate(lambda settings: operating.run(settings, drain=drain), loud=True)


@main.command()
def migrate() -> None:
    """Bring the database's schema up to date (a worker does so by itself at its start)."""
    from worker.commands import operating  # noqa: PLC0415

    _operate(operating.migrate)


@main.command()
@_rules_argument
@click.option(
    "--accept-contracts",
    is_flag=True,
    help="Accept that versions mean something else where a contract, `once per`, traits or an achievement that they "
    "name have changed; everyone is judged anew.",
)
def apply(paths: Sequence[Path], accept_contracts: bool) -> None:  # noqa: FBT001
    """Put rule files into force, all of them together, and bring everybody up to date.

    Workers take them up without a restart. A deployed version may not change its meaning: give it a new version.
    """
    from worker.commands import operating  # noqa: PLC0415

    rules = _load_good(paths)
    _operate(lambda settings: operating.apply(settings, rules, accept_contracts=accept_contracts))


@main.command()
def backfill() -> None:
    """Go on with a backfill that was interrupted (`ach apply` runs it by itself)."""
    from worker.commands import operating  # noqa: PLC0415

    _operate(operating.bring_up_to_date)


@main.command()
@click.argument("streams", nargs=-1, required=True, metavar="STREAM...")
def emit(streams: Sequence[str]) -> None:
    """Publish recorded events (JSON Lines, also .gz and .zst; `-` is standard input) to the input stream."""
    from worker.commands import operating  # noqa: PLC0415

    _operate(lambda settings: operating.emit(settings, streams))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print digest, unlocks and contested ones as one JSON object.")
def digest(as_json: bool) -> None:  # noqa: FBT001
    """Print a hash of all supported unlocks and progress in the database: equal where the results are equal."""
    from worker.commands import operating  # noqa: PLC0415

    _operate(lambda settings: operating.digest(settings, as_json=as_json))


_json_option = click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")


@main.command()
@click.argument("subject", metavar="SUBJECT")
@click.option("--tenant", "-t", required=True, metavar="TENANT", help="The tenant of the subject.")
@click.option("--scope", "-s", metavar="SCOPE", help="That SUBJECT is a name in, such as team (default: all).")
@_json_option
def progress(subject: str, tenant: str, scope: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Print where a user stands with every achievement (or a team, a tenant: whatever has a SUBJECT of that name).

    Of what repeats, status and progress are those of the current occurrence.
    """
    from worker.commands import listing  # noqa: PLC0415

    _operate(lambda settings: listing.progress(settings, tenant, subject, scope, as_json=as_json))


@main.command()
@click.option("--tenant", "-t", metavar="TENANT", help="Only of this tenant.")
@click.option("--subject", "-s", metavar="SUBJECT", help="Only of this user, team or tenant.")
@click.option(
    "--status",
    type=click.Choice(["settling", "granted", "announced", "contested", "revoked"]),
    help="Only these; `contested` are grants that later evidence no longer supports.",
)
@click.option("--limit", default=100, show_default=True, type=click.IntRange(min=1))
@_json_option
def unlocks(limit: int, as_json: bool, **wanted: Unpack[_Unlocks]) -> None:  # noqa: FBT001
    """List unlocks with their status, those earned last first."""
    from worker.commands import listing  # noqa: PLC0415

    _operate(lambda settings: listing.unlocks(settings, **wanted, limit=limit, as_json=as_json))


class _Unlocks(TypedDict):
    tenant: str | None
    subject: str | None
    status: str | None


def _check_reason(reason: str) -> None:
    from worker.engine.announcement_limits import MAX_REASON  # noqa: PLC0415

    if len(reason) > MAX_REASON:
        raise click.UsageError(f"--reason has {len(reason):,} characters: it may have {MAX_REASON:,}, it is announced")


_by_option = click.option("--by", metavar="NAME", help="Who decides this, for the books (default: your login).")


@main.command()
@click.argument("user", metavar="USER")
@click.argument("achievement", metavar="ACHIEVEMENT[.TIER]")
@click.option("--tenant", "-t", required=True, metavar="TENANT", help="The user's tenant.")
@click.option(
    "--scope", "-s", metavar="SCOPE", help="That USER is a name in, such as team (default: the achievement's)."
)
@click.option("--occurrence", "-o", metavar="X", help="Of one that repeats, such as 2026-W15.")
@click.option("--reason", required=True, metavar="TEXT", help="Why, for the books.")
@_by_option
def grant(user: str, achievement: str, reason: str, by: str | None, **place: Unpack[_Place]) -> None:
    """Grant an achievement by hand, whatever the events say; it is announced, and no late event contests it.

    An operator's word is the last: one that was revoked is granted again, and `ach revoke` takes it back.
    """
    from worker import server_errors  # noqa: PLC0415
    from worker.commands import tending  # noqa: PLC0415

    _check_reason(reason)
    meant = tending.Meant(subject=user, achievement=achievement, **place)
    _operate(lambda settings: tending.grant(settings, meant, reason=reason, by=by or server_errors.whoami()))


class _Place(TypedDict):
    tenant: str
    scope: str | None
    occurrence: str | None


@main.command()
@click.argument("ids", metavar="[UNLOCK_ID...]", nargs=-1, type=click.UUID)
@click.option("--achievement", "-a", metavar="NAME[.TIER]", help="In place of ids: all unlocks of this achievement.")
@click.option("--tenant", "-t", metavar="TENANT", help="With --achievement: only of this tenant.")
@click.option("--subject", "-s", metavar="SUBJECT", help="With --achievement: only of this user, team or tenant.")
@click.option("--reason", default="", metavar="TEXT", help="Why, for the books and for those who are told.")
@_by_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def revoke(ids: Sequence[UUID], reason: str, by: str | None, yes: bool, **where: Unpack[_Where]) -> None:  # noqa: FBT001
    """Revoke unlocks, by their ids (`ach unlocks` tells them) or by achievement. It shows which, and asks.

    An operator's word: no evidence brings them back. What was granted is announced as revoked.
    """
    from worker import server_errors  # noqa: PLC0415
    from worker.commands import tending  # noqa: PLC0415
    from worker.report import screen  # noqa: PLC0415

    _check_reason(reason)
    if bool(ids) == (where["achievement"] is not None):
        raise click.UsageError("name unlocks by their ids, or by --achievement: one of both")
    if ids and (where["tenant"] is not None or where["subject"] is not None):
        raise click.UsageError("--tenant and --subject go with --achievement: an id is of one unlock alone")
    chosen = tending.Chosen(ids, **where)
    found = _operate(lambda settings: tending.unlocks_to_revoke(settings, chosen))
    if not yes:
        screen.confirm(f"revoke {screen.plural(len(found), 'unlock')}, for good?")
    _operate(lambda settings: tending.revoke_unlocks(settings, found, reason=reason, by=by or server_errors.whoami()))


class _Where(TypedDict):
    achievement: str | None
    tenant: str | None
    subject: str | None


@main.command()
@click.argument("what", type=click.Choice(["unlock"]))
def schema(what: str) -> None:
    """Print the JSON Schema of what is announced of unlocks, grants and corrections."""
    from worker.engine.announcement import schema_text  # noqa: PLC0415
    from worker.report import screen  # noqa: PLC0415

    del what
    screen.hand_on(schema_text())


@main.command()
@click.argument("user", metavar="USER")
@click.option("--tenant", "-t", required=True, metavar="TENANT", help="The user's tenant.")
@click.option("--yes", is_flag=True, help="Do not ask, and erase one of whom nothing is known too.")
@click.option("--purge-streams", "purge", is_flag=True, help="Also remove their messages from the broker's streams.")
def erase(user: str, tenant: str, yes: bool, purge: bool) -> None:  # noqa: FBT001
    """Erase a user for good: events, progress, unlocks. Their events stay out, even of a replay of the stream.

    It says what it could not reach. Running it again is harmless, and finishes one that was interrupted.
    """
    from worker.commands import erasing  # noqa: PLC0415
    from worker.report import screen  # noqa: PLC0415

    if not yes:
        _operate(lambda settings: erasing.must_be_known(settings, tenant, user))
        screen.confirm(f"erase everything of {user!r} in tenant {tenant!r}, for good?")
    _operate(lambda settings: erasing.erase(settings, tenant, user, purge=purge))


@main.group()
def dead() -> None:
    """List, inspect, mend, send again and purge dead letters."""


_reason_option = click.option("--reason", metavar="REASON", help="Only this reason, such as `contract`.")


@dead.command("list")
@_reason_option
@click.option("--all", "replayed", is_flag=True, help="Also those that were sent again.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(min=1))
@_json_option
def dead_list(reason: str | None, replayed: bool, limit: int, as_json: bool) -> None:  # noqa: FBT001
    """List dead letters, newest first."""
    from worker.commands import tending  # noqa: PLC0415

    wanted = tending.Letters(_reason(reason), replayed, limit)
    _operate(lambda settings: tending.dead_list(settings, wanted, as_json=as_json))


@dead.command("show")
@click.argument("letter_id", metavar="ID", type=int)
@click.option("--raw", is_flag=True, help="Its bytes alone, as received: to mend them in a file.")
def dead_show(letter_id: int, raw: bool) -> None:  # noqa: FBT001
    """Show one dead letter: why it died, and its bytes."""
    from worker.commands import tending  # noqa: PLC0415

    _operate(lambda settings: tending.dead_show(settings, letter_id, raw=raw))


@dead.command("replay")
@click.argument("ids", metavar="[ID...]", nargs=-1, type=int)
@_reason_option
@click.option("--type", "event_type", metavar="TYPE", help="Only events of this type.")
@click.option("--since", metavar="INSTANT", help="Only those that died then or later.")
@click.option("--dry-run", "dry", is_flag=True, help="Send nothing; print what would become of each.")
@click.option(
    "--body",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A mended body to send instead.",
)
def dead_replay(ids: Sequence[int], body: Path | None, **wanted: Unpack[_Wanted]) -> None:
    """Send dead letters again, as they are or mended: those of some IDs, or all that match and were not sent again."""
    from worker.commands import resending  # noqa: PLC0415

    reason, since, event_type = wanted["reason"], wanted["since"], wanted["event_type"]
    if not (ids or reason or event_type or since):
        raise click.UsageError("say which: IDs, --reason, --type, or --since")
    if body is not None and len(ids) != 1:
        raise click.UsageError("--body mends one dead letter; name one ID")
    letters = resending.Wanted(ids, _reason(reason), event_type, None if since is None else _instant(since))
    _operate(lambda settings: resending.dead_replay(settings, letters, body, dry=wanted["dry"]))


class _Wanted(TypedDict):
    reason: str | None
    event_type: str | None
    since: str | None
    dry: bool


@dead.command("purge")
@click.argument("ids", metavar="[ID...]", nargs=-1, type=int)
@_reason_option
@click.option("--before", metavar="INSTANT", help="Only those that died before.")
@click.option("--all", "everything", is_flag=True, help="All of them.")
def dead_purge(ids: Sequence[int], reason: str | None, before: str | None, everything: bool) -> None:  # noqa: FBT001
    """Delete dead letters for good."""
    from worker.commands import tending  # noqa: PLC0415

    if not (ids or reason or before or everything):
        raise click.UsageError("say which: IDs, --reason, --before, or --all")
    wanted, until = _reason(reason), None if before is None else _instant(before)
    _operate(lambda settings: tending.dead_purge(settings, ids, reason=wanted, before=until))


def _reason(text: str | None) -> Reason | None:
    from worker.contract.reasons import Reason  # noqa: PLC0415

    if text is None:
        return None
    try:
        return Reason(text)
    except ValueError:
        raise click.UsageError(f"--reason: {text!r} is none of {', '.join(Reason)}") from None


# -- on this machine --------------------------------------------------------------------------------------------------


@main.command()
@click.option(
    "--keep", is_flag=True, help="Leave the servers running at the end, to look around; `ach demo --stop` ends them."
)
@click.option("--stop", is_flag=True, help="Stop servers that --keep has left running.")
@click.option(
    "--data", "folder", default=".ach/demo", show_default=True, type=_PATHS, help="Where the servers keep their data."
)
def demo(keep: bool, stop: bool, folder: Path) -> None:  # noqa: FBT001
    """See it work: two recorded histories through private servers and a worker, and what was earned."""
    from worker.commands.demo import demo_command  # noqa: PLC0415

    sys.exit(0 if demo_command(folder, keep=keep, stop=stop) else 1)


@main.command()
@_rules_argument
@click.option(
    "--data", "folder", default=".ach/dev", show_default=True, type=_PATHS, help="Where the servers keep their data."
)
@click.option("--fresh", is_flag=True, help="Begin with empty servers.")
def dev(paths: Sequence[Path], folder: Path, fresh: bool) -> None:  # noqa: FBT001
    """Run private servers and a worker with these rules, and print their addresses; Ctrl-C ends everything.

    Rule files are read again when they change.
    """
    from worker.commands.dev import dev_command  # noqa: PLC0415

    _load_good(paths)
    sys.exit(0 if dev_command(paths, folder, fresh=fresh) else 1)


def _instant(text: str | None) -> int:
    from dsl.payload import instant  # noqa: PLC0415

    if text is None:
        return time_ns() // 1000
    moment = instant(text)
    if moment is None:
        raise click.UsageError(f"{text!r} is no RFC 3339 instant, such as 2026-05-01T00:00:00Z")
    return moment[0]
