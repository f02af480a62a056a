"""`ach explain`: why a subject has an achievement, or what is missing, from recorded streams or from the ledger."""

from __future__ import annotations

import sys
from secrets import randbits
from typing import TYPE_CHECKING, TypedDict

import click
import msgspec

from dsl.compile import scope_of
from dsl.outcome import Subject, by_subject, full_name
from dsl.renames import under_first_names
from worker.commands.checked_rules import usable_rules
from worker.commands.explain.answer import Request, print_answer
from worker.commands.options import NAMED, PATHS, json_format_option, microseconds, wall_clock
from worker.commands.renamed import tell_renamed
from worker.commands.replay.request import SKEW
from worker.engine.renames import NO_RENAMES
from worker.engine.replay import Intake
from worker.engine.why import CannotExplainError, check_named
from worker.recording import RecordingError, lines
from worker.report import screen

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from typing import Unpack

    from dsl.compile import Program
    from dsl.event import Event
    from dsl.ruleset import RuleSet
    from dsl.schema import Rules


class _Asked(TypedDict):
    subject: str
    achievement: str
    tenant: str | None
    occurrence: str | None
    form: str
    events: int
    html: Path | None


@click.command("explain")
@click.argument("streams", nargs=-1, metavar="[STREAM...]")
@click.option("--rules", "-r", "paths", multiple=True, metavar="PATH", type=PATHS, help="Rule file or folder.")
@click.option(
    "--user",
    "--subject",
    "-u",
    "subject",
    required=True,
    type=NAMED,
    metavar="U",
    help="The user (for `scope team`: the team).",
)
@click.option("--achievement", "-a", required=True, type=NAMED, metavar="A[.TIER]", help="Without TIER: every tier.")
@click.option("--tenant", "-t", type=NAMED, metavar="T", help="Needed if several tenants know the subject.")
@click.option(
    "--occurrence", metavar="X", help="If the achievement repeats, such as 2026-W15 (default: the current one)."
)
@click.option(
    "--now",
    metavar="INSTANT",
    help="As of then (default: the end of the stream; with --from-ledger, the clock).",
)
@click.option("--events", default=20, show_default=True, type=click.IntRange(min=0), help="How many events to show.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="How to print it.")
@json_format_option
@click.option("--html", metavar="FILE", type=PATHS, help="Write a page with a timeline instead, complete in itself.")
@click.option("--from-ledger", is_flag=True, help="From DATABASE_URL, by the rules in force; no STREAM, no --rules.")
def command(
    streams: Sequence[str],
    paths: Sequence[Path],
    now: str | None,
    *,
    as_json: bool,
    from_ledger: bool,
    **asked: Unpack[_Asked],
) -> None:
    """Explain why a user has an achievement, or what is missing, event by event.

    STREAM is a recording as for `ach replay`.
    """
    asked["form"] = "json" if as_json else asked["form"]
    request = Request(**asked, clock=wall_clock(), now=None if now is None else microseconds(now))
    if from_ledger:
        if streams or paths:
            raise click.UsageError("--from-ledger takes its events and rules from the database: no STREAM, no --rules")
        from worker.commands.explain.ledger import explain_ledger

        explain_ledger(request)
        return
    if not streams or not paths:
        raise click.UsageError("name a STREAM and --rules, or --from-ledger")
    sys.exit(0 if _explain(usable_rules(paths), streams, request) else 1)


def _explain(rules: RuleSet, streams: Sequence[str], request: Request) -> bool:
    """Explain from recorded streams; return whether there was something to explain."""
    if rules.program is None:
        raise AssertionError(rules.problems)
    renames = NO_RENAMES.with_rules(under_first_names(rules))
    tell_renamed(renames, request.name)
    request = msgspec.structs.replace(request, achievement=full_name(renames.named(request.name), request.tier))
    try:
        check_named(rules.rules, request.question)
        events = _read(rules.rules, rules.program, streams, request.clock)
        subject, heard = _subject(rules.rules, rules.program, events, request)
        now = request.now if request.now is not None else max((event.at for event in events), default=request.clock)
        print_answer(rules.rules, subject, heard, request, now)
    except RecordingError as error:
        screen.fail(str(error))
    except CannotExplainError as error:
        screen.fail(str(error), error.hint)
    else:
        return True
    return False


def _read(rules: Rules, program: Program, streams: Sequence[str], clock: int) -> list[Event]:
    intake = Intake(rules, program, skew=SKEW, mark=randbits(62))
    intake.take_all(lines(streams), now=clock)
    if intake.dead:
        screen.err().print(f"{screen.plural(len(intake.dead), 'dead letter')} left out; see `ach replay`")
    return intake.events


def _subject(
    rules: Rules, program: Program, events: Iterable[Event], request: Request
) -> tuple[Subject, Sequence[Event]]:
    """Return the subject that is asked about, and the events that the rules hear of it.

    Raises:
        CannotExplainError: no subject has that name, or subjects of several tenants have it.
    """
    scope = scope_of(rules.achievements[request.name][0])
    found = {
        subject: heard
        for subject, heard in by_subject(program, events).items()
        if subject.scope == scope and subject.subject == request.subject and request.tenant in {None, subject.tenant_id}
    }
    if len(found) > 1:
        tenants = ", ".join(sorted(subject.tenant_id for subject in found))
        raise CannotExplainError(f"{scope} {request.subject} is known in several tenants: {tenants}", "--tenant TENANT")
    if found:
        return next(iter(found.items()))
    if request.tenant is None:
        raise CannotExplainError(f"these rules hear no event of {scope} {request.subject}")
    return Subject(request.tenant, scope, request.subject), ()
