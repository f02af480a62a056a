"""A chain of changes from its first step to its verdict."""

from __future__ import annotations

from functools import partial
from traceback import format_exception
from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.outcome import Subject
from dsl.syntax import RepeatEvery
from dsl.types import DAY
from tests.faults.changes_chain import (
    Apply,
    Backfill,
    Chain,
    Erase,
    Grant,
    Revoke,
    Send,
    Together,
    smaller,
)
from tests.faults.changes_judge import judge, look
from tests.faults.changes_model import Books, Finding, Row, fits, program_of, rules_of, unlock_rows
from tests.faults.changes_world import Ground, Target, World, world_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsl.syntax import Achievement
    from tests.faults.changes_chain import Op
    from tests.faults.changes_world import Done

SLOW_SHARE: Final = 8
"""One chain of so many is judged by the slow reference too."""
SETTLED: Final = 5 * DAY
"""Until whatever settles has settled."""


class Failure(NamedTuple):
    """What is wrong, behind which step of a chain; the last are what comes after all steps."""

    chain: Chain
    step: int
    findings: list[Finding]
    about: list[str]

    @property
    def kind(self) -> str:
        return self.findings[0].kind

    def text(self) -> str:
        steps = [f"{number}. {op.text()}" for number, op in enumerate(self.chain.ops)]
        head = self.chain._replace(ops=()).text()
        wrong = [f"  {one.text()}" for one in self.findings[:12]]
        return "\n".join([head, *steps, *self.about, f"behind step {self.step} of {len(steps) - 1}:", *wrong])


class Run:
    """A chain that happens."""

    def __init__(self, world: World, *, beside: bool = False) -> None:
        self.world = world
        self.books = Books()
        self.about: list[str] = []
        self._beside = beside
        """Whether workers go on by themselves meanwhile, so that nothing stands still before the end."""

    async def through(self) -> Failure | None:
        """Let everything happen; return what is wrong, or None."""
        chain = self.world.chain
        steps = [partial(self.step, op) for op in chain.ops]
        if not chain.ops or not isinstance(chain.ops[0], Apply):
            return None
        for number, step in enumerate([*steps, self.end]):
            try:
                found = await step()
            except Exception as error:  # noqa: BLE001 - no worker ends by itself
                found = [_raised(error)]
            if found:
                return Failure(chain, number, found, self.about)
        return None

    async def step(self, op: Op) -> list[Finding]:
        """Carry out one step and look at what has moved."""
        world, books = self.world, self.books
        target = await self._choose(op) if isinstance(op, Revoke | Grant) else None
        if target is not None:
            self.about.append(f"({op.text()} is about {target.text()})")
        before = books.text
        done = await world.do(op, target)
        found = await self._note(op, done)
        if not books.text:
            return found
        found += await look(world, books, target)
        if books.clean and not found and before and not self._beside:
            found += await judge(world, books)
        return found

    async def _choose(self, op: Revoke | Grant) -> Target | None:
        rows = sorted(await unlock_rows(self.world.eyes))
        if isinstance(op, Revoke):
            settling = [target for target in rows if self.books.rows[target].granted_at is None]
            chosen = settling if settling and op.which < 0.5 else rows
            return chosen[int(op.which * len(chosen))] if chosen else None
        if not self.books.text:
            return None
        choices = [
            Target(Subject(tenant, scope, name), one.achievement, one.tier or "", _occurrence(one.judges[0].version))
            for scope, plan in program_of(self.books.text).scopes.items()
            for one in plan.rulings
            for tenant, name in _SUBJECTS.get(scope, ())
        ]
        return choices[int(op.which * len(choices))] if choices else None

    async def _note(self, op: Op, done: Done) -> list[Finding]:
        """Put into the books what has happened, or, where a worker died, what turns out to have."""
        books = self.books
        match op:
            case Apply():
                return await self._note_rules(op, done)
            case Erase():
                return await self._note_erasure(op, done)
            case Revoke() | Grant() if done.target is not None:
                self._note_word(op, done.target, await unlock_rows(self.world.eyes))
            case Backfill():
                books.clean = books.clean or done.certain
            case Send() if done.certain:
                self._note_events([op])
            case Together(left, right):
                self._note_events([one for one in (left, right) if isinstance(one, Send)])
                books.clean = books.clean or isinstance(right, Backfill)
            case _:
                pass
        return []

    async def _note_rules(self, op: Apply, done: Done) -> list[Finding]:
        books, asked = self.books, "SELECT sources->0->>'text' FROM rule_set ORDER BY epoch DESC LIMIT 1"
        in_force = await self.world.eyes.fetchval(asked) or ""
        if books.refuses(op):
            if done.certain and not done.refused:
                return [Finding("a changed meaning is not refused", op.what)]
            return [] if in_force == books.written else [Finding("refused, and in force all the same", op.what)]
        if done.refused:
            return [Finding("refused, though no version has changed", op.what)]
        if done.certain and in_force != op.rules.written():
            return [Finding("applied, and not in force", op.what)]
        if in_force != books.written:
            books.clean = books.clean and not books.text
            books.applied(op)
        return []

    async def _note_erasure(self, op: Erase, done: Done) -> list[Finding]:
        asked = "SELECT true FROM erasure WHERE tenant_id = $1 AND user_id = $2"
        if await self.world.eyes.fetchval(asked, op.tenant, op.user):
            self.books.erase(op.tenant, op.user)
            self.books.clean = self.books.clean and done.certain and op.tended
        elif done.certain:
            return [Finding("erased, and not noted", op.user)]
        return []

    def _note_word(self, op: Revoke | Grant, target: Target, rows: dict[Target, Row]) -> None:
        books, row = self.books, rows.get(target)
        if isinstance(op, Revoke):
            before = books.rows.get(target)
            if row is not None and row.revoked_at is not None and target not in books.revoked:
                books.revoked.add(target)
                if (before is None or before.granted_at is None) and target not in books.granted:
                    books.never.add(target)
        elif row is not None and row.by_hand and row.revoked_at is None:
            books.revoked.discard(target)
            books.never.discard(target)
            books.by_hand.add(target)

    def _note_events(self, sends: Sequence[Send]) -> None:
        books = self.books
        # Who works beside may take them under the rules of later.
        if not books.text or self._beside:
            return
        for send in sends:
            for event in send.events:
                if (event.tenant, event.user) not in books.erased and fits(rules_of(books.text), event):
                    books.due[event.key] = event.user

    async def end(self) -> list[Finding]:
        """Do what is left and judge everything: then, once all has settled, and once all is built anew."""
        world, books = self.world, self.books
        await world.rest()
        books.clean = True
        slow = world.chain.seed % SLOW_SHARE == 0
        found = await self._judged(slow=slow)
        if world.broker is not None and not found:
            world.now += SETTLED
            await world.announce()
            found = await self._judged()
        if found:
            return found
        before = await unlock_rows(world.eyes)
        await world.eyes.execute("DELETE FROM progress; DELETE FROM checkpoint")
        await world.rest()
        after = await unlock_rows(world.eyes)
        moved = [target.text() for target in before.keys() | after.keys() if before.get(target) != after.get(target)]
        return [Finding("moved by building everything anew", name) for name in moved] or await self._judged()

    async def _judged(self, *, slow: bool = False) -> list[Finding]:
        found = await look(self.world, self.books, None)
        return found or await judge(self.world, self.books, slow=slow, announced=True)


_SUBJECTS: Final = {"user": (("t", "ada"), ("t", "cal")), "team": (("t", "red"),), "tenant": (("t", "t"),)}
"""Users that an operator may choose."""


def _occurrence(version: Achievement) -> str:
    """Return an occurrence of an achievement that repeats."""
    match version.repeat:
        case None:
            return ""
        case RepeatEvery(unit=unit):
            return {"day": "2026-04-13", "hour": "2026-04-13T10"}[unit.text]
        case _:
            return "1"


def _raised(error: Exception) -> Finding:
    where = [line.strip() for line in format_exception(error) if "/worker/" in line or "/dsl/" in line]
    return Finding(f"raised {type(error).__name__}", f"{error} {where[-1:]}")


async def run_chain(ground: Ground, chain: Chain) -> Failure | None:
    """Let a chain happen; return what is wrong with it, or None."""
    async with world_of(chain, ground) as world:
        return await Run(world).through()


async def shrunk(ground: Ground, failure: Failure, tries: int) -> Failure:
    """Return the same failure of a smaller chain."""
    best = failure

    async def fails(candidate: Chain) -> bool:
        nonlocal best
        try:
            found = await run_chain(ground, candidate)
        except Exception:  # noqa: BLE001 - another failure than the one that is looked for
            return False
        if found is None or found.kind != failure.kind:
            return False
        best = found
        return True

    await smaller(failure.chain, fails, tries)
    return best
