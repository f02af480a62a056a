"""`ach replay --from-ledger`: the history of the database, folded again and compared with what was granted."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from dsl.outcome import full_name
from worker.admin.ledger_replay import NotInLedgerError, Part, check_scopes, replay_ledger
from worker.commands.options import microseconds
from worker.commands.servers import CommandError, on_servers, rules_in_force, with_store
from worker.engine.rule_set import Deployed
from worker.report import screen

if TYPE_CHECKING:
    from dsl.ruleset import RuleSet
    from worker.admin.ledger_replay import Replayed
    from worker.commands.replay import OfLedger
    from worker.engine.agreement import Disagreement, Earned, Why
    from worker.engine.renames import Renames
    from worker.settings import Settings
    from worker.store import Store

DAY: Final = 86_400_000_000
"""Microseconds."""
SHOWN: Final = 20
"""Disagreements that are listed; the rest is counted."""


class _Request(NamedTuple):
    """What was asked for; `rules` None: those in force."""

    rules: RuleSet | None
    part: Part
    times: int
    as_json: bool
    quiet: bool


def replay_from_ledger(rules: RuleSet | None, asked: OfLedger, *, as_json: bool, quiet: bool) -> bool:
    """Replay and print; return whether production has what the events earn, and twice the same came out.

    Raises:
        click.UsageError: options contradict each other, or one is malformed.
    """
    request = _Request(rules, _part_of(asked), 2 if asked["twice"] else 1, as_json, quiet)
    return on_servers(partial(_replay, request=request))


def _part_of(asked: OfLedger) -> Part:
    """Return the part of the ledger that options name.

    Raises:
        click.UsageError: they contradict each other, or one is malformed.
    """
    since, until, day, tenant, user = asked["since"], asked["until"], asked["day"], asked["tenant"], asked["user"]
    if user is not None and tenant is None:
        raise click.UsageError("--user needs --tenant: the ledger holds the events of many tenants")
    if day is not None:
        if since is not None or until is not None:
            raise click.UsageError("--day goes without --since and --until")
        begin = microseconds(f"{day}T00:00:00Z", day, "date, such as 2026-05-01")
        return Part(begin, begin + DAY, tenant, user)
    part = Part(
        None if since is None else microseconds(since), None if until is None else microseconds(until), tenant, user
    )
    if part.since is not None and part.until is not None and part.since >= part.until:
        raise click.UsageError("the window is empty: --since is not before --until")
    return part


async def _replay(settings: Settings, request: _Request) -> bool:
    try:
        epoch, found = await with_store(settings, partial(_read, settings=settings, request=request))
    except NotInLedgerError as error:
        hint = "replay a recording, or apply the rules to a copy of the database"
        raise CommandError(str(error), hint) from error
    except OSError as error:
        raise CommandError(f"a temporary file: {error.strerror or error}", "TMPDIR names another folder") from error
    if request.as_json:
        screen.say_json(_as_json(epoch, request, found))
    else:
        _print(epoch, request, found)
    same = len({one.digest for one in found}) == 1
    if not same:
        screen.fail("folded twice, and the digests differ", "please report this")
    first = found[0]
    if not first.folded:
        named = "is the name right?" if request.part.tenant is not None else None
        screen.fail("nothing was folded: this part of the ledger has no event that the rules hear", named)
        return False
    wrong = any(count for why, count in first.disagreed.items() if not why.is_word_of_operator)
    # Other rules are tried out: that they grant something else is what one wants to see.
    return same and not (wrong and request.rules is None)


async def _read(store: Store, *, settings: Settings, request: _Request) -> tuple[int, list[Replayed]]:
    in_force = await rules_in_force(store, settings)
    rules = in_force
    if request.rules is not None:
        skew = settings.skew * 1_000_000
        rules = Deployed(in_force.epoch, request.rules, since={}, prefix=settings.input_prefix, skew=skew)
        check_scopes(rules, in_force)
    with screen.progress("folding", quiet=request.quiet) as move:
        found = await replay_ledger(
            store, rules, request.part, times=request.times, moved=lambda folded: move(folded, "")
        )
    return in_force.epoch, [_called(one, rules.renames) for one in found]


def _called(one: Replayed, renames: Renames) -> Replayed:
    """Return what came out of the ledger with the names that achievements have by the rules of the replay."""

    def counted(some: Counter[tuple[str, str]]) -> Counter[tuple[str, str]]:
        return Counter({(renames.now(name), tier): number for (name, tier), number in some.items()})

    disagreements = renames.shown_in(one.disagreements)
    return one._replace(unlocks=counted(one.unlocks), holders=counted(one.holders), disagreements=disagreements)


def _as_json(epoch: int, request: _Request, found: list[Replayed]) -> dict[str, object]:
    first = found[0]
    return {
        "epoch": epoch if request.rules is None else None,
        "digest": first.digest,
        "folded": first.folded,
        "subjects": first.subjects,
        "suppressed": first.suppressed,
        "unlocks": first.unlocks.total(),
        "compared": request.part.is_whole_history,
        "disagreed": {why.value: count for why, count in sorted(first.disagreed.items())},
        "disagreements": first.disagreements,
    }


# -- what is printed --------------------------------------------------------------------------------------------------


def _print(epoch: int, request: _Request, found: list[Replayed]) -> None:
    first = found[0]
    rows = [
        (name, tier, f"{count:,}", f"{first.holders[name, tier]:,}")
        for (name, tier), count in sorted(first.unlocks.items())
    ]
    title = screen.plural(first.unlocks.total(), "unlock")
    screen.table(title, ["achievement", "tier", "unlocks", "subjects"], rows, right=(2, 3))
    counts = [f"{n:,}" for n in (first.folded, first.subjects, first.suppressed)]
    screen.table("", ["events folded", "subjects", "suppressed"], [counts], right=range(3))
    for one in found:
        screen.out().print(f"digest {one.digest}")
    rules = f"the rules in force (epoch {epoch})" if request.rules is None else "these rules"
    if request.part.is_whole_history:
        decided = request.rules is None and all(why.is_word_of_operator for why in first.disagreed)
        _print_disagreements(rules, first.disagreed, first.disagreements, decided=decided)
    else:
        screen.out().print("not compared with production: subjects do not have their whole history in this part")


_IN_WORDS: Final = {
    "missing": "earned by the events, not granted in production",
    "unsupported": "granted in production, not earned by the events",
    "changed": "another version, or another instant",
    "contested": "earned by the events, contested in production",
    "retired": "granted in production, not in these rules",
    "revoked": "revoked by an operator",
}


def _print_disagreements(rules: str, disagreed: Counter[Why], found: list[Disagreement], *, decided: bool) -> None:
    """Print how production differs; all of it is `decided` where operators alone have made it so."""
    if not disagreed:
        screen.out().print(f"production has exactly what the events earn by {rules}", style="bold green")
        return
    if decided:
        screen.out().print(
            f"production has what the events earn by {rules}, and what operators have decided", style="bold green"
        )
    else:
        screen.out().print(f"production differs from what the events earn by {rules}", style="bold")
    rows = [(f"{count:,}", why.value, _IN_WORDS[why.value]) for why, count in sorted(disagreed.items())]
    screen.table("", ["unlocks", "", "what it means"], rows, right=(0,))
    columns = ["", "tenant", "scope", "subject", "achievement", "by the events", "in production"]
    screen.table("", columns, [_row(one) for one in found[:SHOWN]], ids=(3,))
    if disagreed.total() > SHOWN:
        screen.out().print(f"... and {disagreed.total() - SHOWN:,} more; --json lists up to 1,000")


def _row(one: Disagreement) -> tuple[str, ...]:
    name = full_name(one.achievement, one.tier, one.occurrence)
    sides = _shown(one.by_events), _shown(one.in_production)
    return (one.why.value, one.tenant_id, one.scope, one.subject, name, *sides)


def _shown(earned: Earned | None) -> str:
    return "" if earned is None else f"v{earned.version} {earned.earned_at}"
