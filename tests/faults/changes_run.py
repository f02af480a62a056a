"""A chain of changes from its first step to its verdict."""

from __future__ import annotations

from functools import partial
from traceback import format_exception
from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.outcome import Subject
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
from tests.faults.changes_model import (
    Books,
    Finding,
    Row,
    fits,
    judge,
    look,
    program_of,
    rules_of,
    unlock_rows,
)
from tests.faults.changes_world import Ground, Target, World, world_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults.changes_chain import Op
    from tests.faults.changes_world import Done

SLOW_SHARE: Final = 8
"""One chain of so many is judged by the slow reference too."""


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
            return rows[int(op.which * len(rows))] if rows else None
        judged = program_of(self.books.text).scopes if self.books.text else {}
        if op.which < 0.6 and rows:
            return rows[int(op.which / 0.6 * len(rows))]
        rulings = [(scope, one) for scope, plan in judged.items() for one in plan.rulings]
        subjects = {
            "user": [("t", "ada"), ("t", "cal")],
            "team": [("t", "red")],
            "tenant": [("t", "t")],
        }
        choices = [
            Target(Subject(tenant, scope, name), one.achievement, one.tier or "", _occurrence(one.judges[0].version))
            for scope, one in rulings
            for tenant, name in subjects.get(scope, [])
        ]
        return choices[int(op.which * len(choices))] if choices else None

    async def _note(self, op: Op, done: Done) -> list[Finding]:
        """Put into the books what has happened, or, where somebody died, what turns out to have."""
        books, eyes = self.books, self.world.eyes
        match op:
            case Apply():
                in_force = await eyes.fetchval("SELECT sources->0->>'text' FROM rule_set ORDER BY epoch DESC LIMIT 1")
                changed = in_force != books.text and in_force is not None
                if books.refuses(op):
                    if not done.refused and done.certain:
                        return [Finding("a changed meaning is not refused", op.what)]
                    return [Finding("refused, and in force all the same", op.what)] if changed else []
                if done.refused:
                    return [Finding("refused, though no version has changed", op.what)]
                if done.certain and in_force != op.rules.text():
                    return [Finding("applied, and not in force", op.what)]
                if changed:
                    books.clean = books.clean and not books.text
                    books.applied(op)
            case Erase(tenant, user):
                gone = await eyes.fetchval(
                    "SELECT true FROM erasure WHERE tenant_id = $1 AND user_id = $2", tenant, user
                )
                if done.certain and not gone:
                    return [Finding("erased, and not noted", user)]
                if gone:
                    books.erase(tenant, user)
                    books.clean = False
            case Revoke() | Grant() if done.target is not None:
                self._note_word(op, done.target, await unlock_rows(eyes))
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
        if not books.text:
            return
        for send in sends:
            for event in send.events:
                if (event.tenant, event.user) not in books.erased and fits(rules_of(books.text), event):
                    books.due[event.key] = event.user

    async def end(self) -> list[Finding]:
        """Do what is left, judge everything, and once more after everything has been built anew."""
        world, books = self.world, self.books
        await world.rest()
        books.clean = True
        found = await look(world, books, None)
        slow = world.chain.seed % SLOW_SHARE == 0
        found = found or await judge(world, books, slow=slow, announced=True)
        if found:
            return found
        before = await unlock_rows(world.eyes)
        await world.eyes.execute("DELETE FROM progress; DELETE FROM checkpoint")
        await world.rest()
        after = await unlock_rows(world.eyes)
        moved = [target.text() for target in before.keys() | after.keys() if before.get(target) != after.get(target)]
        found = [Finding("moved by building everything anew", name) for name in moved]
        return found or [*await look(world, books, None), *await judge(world, books, announced=True)]


def _occurrence(version: object) -> str:
    repeat = getattr(version, "repeat", None)
    if repeat is None:
        return ""
    unit = getattr(repeat, "unit", None)
    return {"day": "2026-04-13", "hour": "2026-04-13T10"}.get(str(getattr(unit, "value", unit)), "1")


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
