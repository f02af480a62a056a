"""`ach plan`: what new rules would change, before anything happens."""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypedDict

import click
import msgspec

from dsl.outcome import full_name, subject_name
from worker.admin.plan_file import plan_file, plan_text
from worker.admin.preview import MILLION, Asked, preview
from worker.admin.preview_reading import Sampled
from worker.admin.rule_book import rule_set_of
from worker.commands.announced import Announces, policy_of
from worker.commands.checked_rules import usable_rules
from worker.commands.options import PATHS, SMALL_NUMBER, json_format_option, rules_argument, wall_clock
from worker.commands.plan.markdown import markdown
from worker.commands.plan.page import WIDE, lines
from worker.commands.plan.refusals import refusals
from worker.commands.servers import CommandError, on_servers, whoami, with_store, write_file
from worker.engine.change import Policy
from worker.engine.effects import example_of
from worker.engine.preview import Listed
from worker.engine.rule_set import rule_files
from worker.pipeline.sorted_lines import SortedLines
from worker.process.loop import spare_collector
from worker.report import screen

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path
    from typing import Unpack

    from dsl.ruleset import RuleSet
    from worker.engine.effects import Line
    from worker.engine.preview import Preview
    from worker.settings import Settings
    from worker.store import Store

Form = Literal["text", "json", "markdown"]

CHANGES: Final = 2
"""Exit code where something would change."""
_PERCENT: Final = re.compile(r"(\d{1,2}(?:\.\d{1,4})?|100)%")


class _Command(Announces):
    """A command whose exit code 2 has another meaning: used wrongly, it ends with 1."""

    def make_context(self, *args: Any, **rest: Any) -> click.Context:  # noqa: ANN401 - click's own
        """Read options and arguments."""
        with _errors_are_1():
            return super().make_context(*args, **rest)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        with _errors_are_1():
            return super().invoke(ctx)


@contextmanager
def _errors_are_1() -> Generator[None]:
    try:
        yield
    except click.UsageError as error:
        vars(error)["exit_code"] = 1
        raise


class _Options(NamedTuple):
    """What was asked for, beside the rules."""

    sampled: Sampled | None
    announce: str | None
    policy: Policy
    rate: int | None
    form: Form
    listed: bool
    out: Path | None


class _Given(TypedDict):
    """Options as they were given."""

    out: Path | None
    sample: str | None
    announce: str | None
    rate: int | None
    form: Form
    as_json: bool
    listed: bool


@click.command("plan", cls=_Command)
@rules_argument
@click.option("--out", "-o", metavar="FILE", type=PATHS, help="Write the plan to a file, for `ach apply FILE`.")
@click.option("--sample", metavar="PERCENT", help="Look at a part of the subjects, such as 1%; print estimates.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "markdown"]),
    default="text",
    help="How to print it: for people, as one JSON object (docs/plan.schema.json), as a comment that names no user.",
)
@json_format_option
@click.option("--list", "listed", is_flag=True, help="Print every unlock about which something is decided, too.")
@click.option(
    "--announce", metavar="POLICY", help="Which new grants to announce: none, all, or since 7d (or an instant)."
)
@click.option("--rate", type=SMALL_NUMBER, metavar="N", help="Events a second that the backfill may read.")
def command(paths: Sequence[Path], **given: Unpack[_Given]) -> None:
    """Print what rule files would change if they came into force; nothing is written.

    Exit code 0: nothing would change, 2: something would, 1: an error.
    """
    announce = given["announce"]
    form: Form = "json" if given["as_json"] else given["form"]
    if given["listed"] and form == "markdown":
        raise screen.usage("--list names users, and --format markdown is for a comment that does not: leave one out")
    options = _Options(
        sampled=_sampled(given["sample"]),
        announce=announce,
        policy=Policy() if announce is None else policy_of(announce, now=wall_clock()),
        rate=given["rate"],
        form=form,
        listed=given["listed"],
        out=given["out"],
    )
    seen = on_servers(partial(_plan, rules=usable_rules(paths), options=options), logs_nothing=True)
    sys.exit(CHANGES if seen.is_change else 0)


def _sampled(text: str | None) -> Sampled | None:
    if text is None:
        return None
    found = _PERCENT.fullmatch(text.strip())
    millionths = 0 if found is None else int(Decimal(found[1]) * 10_000)
    if not millionths:
        raise screen.usage(f"--sample: expected a percentage such as 1% or 0.5%, got {text!r}")
    return None if millionths == MILLION else Sampled(millionths)


async def _plan(settings: Settings, rules: RuleSet, options: _Options) -> Preview:
    try:
        return await with_store(settings, partial(_show, settings=settings, rules=rules, options=options))
    except OSError as error:
        raise CommandError(f"a temporary file: {error.strerror or error}", "TMPDIR names another folder") from error


async def _show(store: Store, *, settings: Settings, rules: RuleSet, options: _Options) -> Preview:
    spare_collector()
    with SortedLines() as kept:

        def keep(line: Line) -> None:
            kept.add((_sortable(line),))

        with screen.progress("folding") as move:

            def moved(events: int) -> None:
                move(events, "")

            asked = Asked(
                rules,
                options.sampled,
                options.announce,
                options.policy,
                options.rate,
                keep if options.listed else None,
                moved,
            )
            seen = await preview(store, settings, asked, now=wall_clock())
        # Whatever is still to be asked of the database comes first: all of this is done again where it goes away.
        refused = await refusals(store, rules)
        before = await rule_set_of(store, seen.epoch)
        _print(seen, kept, options)
    if refused:
        screen.err().print("`ach apply` would refuse these rules:", style="red")
    for line in refused:
        screen.err().print(f"    {line}", markup=False)
    if options.out is not None:
        against = "" if before is None else before.hash.hex()
        _write(seen, rules, options.out, against=against, is_refused=bool(refused))
    return seen


def _write(seen: Preview, rules: RuleSet, path: Path, *, against: str, is_refused: bool) -> None:
    """Write a plan that can be applied; `against` is the hash of the rules in force.

    Raises:
        CommandError: an apply would refuse it, or the file cannot be written.
    """
    if is_refused or seen.misnamed or any(not one.by_declarations for one in seen.refused):
        raise CommandError("no plan was written: `ach apply` would refuse it", "its reasons are above")
    made = plan_file(
        rule_files(rules),
        epoch=seen.epoch,
        against=against,
        made_at=seen.taken_at,
        made_by=whoami(),
        report=msgspec.json.encode(seen),
    )
    write_file(path, plan_text(made))
    screen.err().print(f"written to {path}: apply it with `ach apply {path}`", markup=False)


# -- what is printed --------------------------------------------------------------------------------------------------


def _print(seen: Preview, kept: SortedLines, options: _Options) -> None:
    if options.form == "markdown":
        screen.say(markdown(seen))
        return
    if options.form == "json":
        screen.say_json(seen)
        for line in kept:
            screen.say_json(_listed(line))
        return
    console = screen.out()
    for line in lines(seen, width=screen.paper().width if screen.is_terminal() else WIDE):
        console.say(line.text, line.style)
    for line in kept:
        console.say(_text_of(_listed(line)))


def _sortable(line: Line) -> bytes:
    """Return a decision as a line that is in order among others."""
    key, subject, decision = line
    example = example_of(subject, decision)
    listed = Listed(
        key.achievement,
        key.tier or None,
        key.version,
        key.kind.value,
        key.moves,
        None if key.under == key.achievement else key.under,
        *subject,
        example.occurrence,
        example.earned_before,
        example.earned_at,
    )
    place = (key.under, key.achievement, key.tier, key.kind.value, *subject, example.occurrence or "")
    return "\0".join((*place, "")).encode() + msgspec.json.encode(listed)


def _listed(line: bytes) -> Listed:
    return msgspec.json.decode(line.rpartition(b"\0")[2], type=Listed)


def _text_of(one: Listed) -> str:
    name = full_name(one.achievement, one.tier, one.occurrence)
    who = subject_name(one.scope, one.subject)
    when = one.earned_at or one.earned_before or ""
    if one.earned_before is not None and one.earned_at not in {None, one.earned_before}:
        when = f"{one.earned_before} -> {one.earned_at}"
    cause = "" if one.consequence_of is None else f"  (consequence of {one.consequence_of})"
    return f"{name}  {one.decision}  {one.tenant_id}  {who}  {when}{cause}"
