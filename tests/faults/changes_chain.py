"""Chains of changes as values: drawn with seeded dice, printed as a short program, and made smaller when they fail."""

from __future__ import annotations

import json
from functools import partial
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dsl.calendar import format_instant
from dsl.types import SECOND
from tests.faults.changes_rules import Rulebook, Version, edited, first_rules, renamed
from worker.contract.partition import event_subject, partition_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

MINUTE: Final = 60 * SECOND
BEGIN: Final = 1_776_070_800_000_000
"""2026-04-13T09:00:00Z, the earliest event."""
LAST: Final = 2900
"""No event comes so many minutes after the earliest."""
NOW: Final = BEGIN + LAST * MINUTE
"""When a chain begins, by its own clock."""
RENAMED: Final = 0.35
"""Of the edits: those that rename an achievement too."""
TENANT: Final = "t"
OTHER: Final = "other"


def _beside(user: str) -> str:
    """Return a user whose partition is that of another."""
    shared = partition_of(TENANT, "user", user)
    names = (f"u{number}" for number in count())
    return next(name for name in names if partition_of(TENANT, "user", name) == shared)


USERS: Final = ((TENANT, "ada"), (TENANT, _beside("ada")), (TENANT, "cal"), (OTHER, "dan"))
"""Tenants and users; the second shares a partition with the first."""


class Crash(NamedTuple):
    """Where something dies: before or behind its n-th statement.

    Who `dies` is thrown away; otherwise an answer is lost, and the one who asked tries again.
    """

    number: int
    behind: bool
    dies: bool

    def text(self) -> str:
        how = "dies" if self.dies else "loses the answer"
        return f", {how} {'behind' if self.behind else 'before'} statement {self.number}"


class Sent(NamedTuple):
    """An event as a producer sends it; `minute` counts from the beginning, `offset` is in minutes."""

    id: str
    type: str
    tenant: str
    user: str
    minute: int
    offset: int
    payload: tuple[tuple[str, object], ...]

    @property
    def key(self) -> tuple[str, str]:
        return self.tenant, self.id

    def said(self) -> dict[str, Any]:
        sign, minutes = "-" if self.offset < 0 else "+", abs(self.offset)
        local = format_instant(BEGIN + (self.minute + self.offset) * MINUTE).removesuffix("Z")
        return {
            "event_id": self.id,
            "event_type": self.type,
            "user_id": self.user,
            "tenant_id": self.tenant,
            "occurred_at": f"{local}{sign}{minutes // 60:02d}:{minutes % 60:02d}",
            "payload": dict(self.payload),
        }

    def subject(self, prefix: str) -> str:
        return event_subject(prefix, self.tenant, self.user, self.type)

    def text(self) -> str:
        payload = json.dumps(dict(self.payload))
        zone = f" offset {self.offset:+d}m" if self.offset else ""
        return f"{self.type} {self.id} {self.tenant}/{self.user} at +{self.minute}m{zone} {payload}"


class Send(NamedTuple):
    """A batch of events that a worker commits; `whole`: they come as one message, an array."""

    worker: int
    events: tuple[Sent, ...]
    whole: bool = False
    crash: Crash | None = None

    def text(self) -> str:
        events = "".join(f"\n    {event.text()}" for event in self.events)
        return f"send by worker {self.worker}{' as an array' if self.whole else ''}{_crash(self.crash)}:{events}"


class Apply(NamedTuple):
    """New rules come into force; `what` was edited."""

    rules: Rulebook
    what: str
    crash: Crash | None = None

    def text(self) -> str:
        rules = "".join(f"\n    {line}" for line in self.rules.written().splitlines())
        return f"apply ({self.what}){_crash(self.crash)}:{rules}"


class Backfill(NamedTuple):
    """A backfill, whole, or up to where it dies."""

    crash: Crash | None = None

    def text(self) -> str:
        return f"backfill{_crash(self.crash)}"


class Pass(NamedTuple):
    """The clock passes."""

    minutes: int

    def text(self) -> str:
        return f"{self.minutes} minutes pass"


class Relay(NamedTuple):
    """A worker announces what there is to announce."""

    worker: int
    crash: Crash | None = None

    def text(self) -> str:
        return f"relay by worker {self.worker}{_crash(self.crash)}"


class Revoke(NamedTuple):
    """An operator revokes an unlock: where it stands among all, from 0 to 1."""

    which: float
    crash: Crash | None = None

    def text(self) -> str:
        return f"revoke{_crash(self.crash)}"


class Grant(NamedTuple):
    """An operator grants by hand: something that is there (below 0.6), or something that is not."""

    which: float
    crash: Crash | None = None

    def text(self) -> str:
        return f"grant by hand{_crash(self.crash)}"


class Erase(NamedTuple):
    """An operator erases a user; `tended`: and has those brought up to date who shared events with them."""

    tenant: str
    user: str
    tended: bool = False
    crash: Crash | None = None

    def text(self) -> str:
        tended = " and bring up to date those who shared events with them" if self.tended else ""
        return f"erase {self.tenant}/{self.user}{tended}{_crash(self.crash)}"


class Restart(NamedTuple):
    """A worker stops, and another takes its place."""

    worker: int

    def text(self) -> str:
        return f"restart worker {self.worker}"


class Exhume(NamedTuple):
    """All dead letters are sent again."""

    worker: int

    def text(self) -> str:
        return f"dead letters again, by worker {self.worker}"


class Together(NamedTuple):
    """Two things at once."""

    left: Send
    right: Send | Backfill

    def text(self) -> str:
        return f"at once:\n  {self.left.text()}\n  {self.right.text()}"


Op = Send | Apply | Backfill | Pass | Relay | Revoke | Grant | Erase | Restart | Exhume | Together
Operator = Revoke | Grant | Erase


def _crash(crash: Crash | None) -> str:
    return "" if crash is None else crash.text()


class Sizes(NamedTuple):
    """Constants of the worker that a chain of few events has smaller than they are."""

    checkpoint_every: int
    save_every: int
    page: int
    piece: int
    worth_it: float


class Chain(NamedTuple):
    """What happens, and under which settings. `streamed`: the clock of `settle` is that of the stream."""

    seed: int
    sizes: Sizes
    streamed: bool
    relays: bool
    remembered: int
    """Subjects in the memory of a worker."""
    ops: tuple[Op, ...]

    def text(self) -> str:
        how = f"{'the clock of the stream' if self.streamed else 'a wall clock'}, {self.sizes}"
        lines = [op.text() for op in self.ops]
        return "\n".join([f"chain of seed {self.seed}: {how}, {self.remembered} remembered", *lines])


# -- drawing -----------------------------------------------------------------------------------------------------------


class _Drawn:
    """A chain in the making."""

    def __init__(self, dice: Random, names: Random) -> None:
        self.dice = dice
        self.names = names
        """Dice of their own for names: so chains are drawn alike, whether or not achievements are renamed."""
        self.rules = first_rules(dice)
        self.seen = [self.rules]
        self.sent: list[Sent] = []
        self.number = 0
        self.ops: list[Op] = [Apply(self.rules, "first")]

    def chance(self, percent: int) -> bool:
        return self.dice.random() * 100 < percent

    def crash(self, percent: int, most: int) -> Crash | None:
        if not self.chance(percent):
            return None
        return Crash(self.dice.randrange(most), behind=self.chance(60), dies=self.chance(70))

    def event(self) -> Sent:
        dice = self.dice
        tenant, user = USERS[dice.choice((0, 0, 0, 0, 0, 1, 1, 2, 3))]
        kind = dice.choices(("a", "b", "c", "user.updated", "d"), (9, 5, 5, 2, 1))[0]
        self.number += 1
        payload: dict[str, object] = {}
        if kind == "user.updated":
            payload = {
                "plan": dice.choice(("pro", "free")),
                "timezone": dice.choice(("Asia/Tokyo", "UTC", "America/Lima")),
            }
            del payload[dice.choice(("plan", "timezone", "timezone"))]
        elif kind in "abc":
            fields = {"n": (0, 1, 2, 3, 5, -1), "s": ("x", "y", "z"), "team": ("red", "blue"), "f": (True, False)}
            fields |= {"x": (0.5, 1, 2.5, "3")}
            likely = {"a": "n s team f", "b": "n team", "c": "x s"}[kind].split()
            for name, values in fields.items():
                if self.chance(85 if name in likely else 10):
                    payload[name] = dice.choice(values)
            if self.chance(2):
                payload["n"] = "broken"
        return Sent(
            id=f"{dice.choice('mzA')}{self.number}",
            type=kind,
            tenant=tenant,
            user=user,
            minute=dice.choice((*range(0, 240, 30), *range(0, LAST, 90), *range(540, 660, 10))),
            offset=dice.choice((0, 0, 0, 0, 540, -300)),
            payload=tuple(payload.items()),
        )

    def send(self, *, crash: bool = True) -> Send:
        dice = self.dice
        fresh = [self.event() for _ in range(dice.choice((1, 1, 2, 3, 5, 8, 12)))]
        if self.chance(50):  # in time, most of them
            fresh.sort(key=lambda event: event.minute)
        copies = dice.sample(self.sent, min(len(self.sent), dice.choice((0, 0, 0, 1, 2))))
        self.sent += fresh
        events = [*fresh, *copies]
        if self.chance(30):
            dice.shuffle(events)
        died = self.crash(14, 9) if crash else None
        return Send(dice.randrange(2), tuple(events), self.chance(12), died)

    def apply(self) -> Apply | None:
        edit = edited(self.dice, self.rules, self.seen)
        if edit is None:
            return None
        rules, what = edit.rules, edit.what
        if self.names.random() < RENAMED:
            rules, what = renamed(self.names, rules, self.seen), f"{what}, renamed"
        if edit.what != "other meaning":
            self.rules = rules
            self.seen.append(self.rules)
        return Apply(rules, what, self.crash(10, 13))

    def together(self) -> Together:
        left = self.send(crash=False)
        right = self.send(crash=False)._replace(worker=1 - left.worker) if self.chance(60) else Backfill()
        return Together(left, right)

    def op(self, *, relays: bool) -> Op | None:
        dice = self.dice
        draws: list[tuple[float, Callable[[], Op | None]]] = [
            (10, self.send),
            (6, self.apply),
            (4, lambda: Backfill(self.crash(40, 14))),
            (2, lambda: Pass(dice.choice((30, 90, 400, 1500)))),
            (4 if relays else 0, lambda: Relay(dice.randrange(2), self.crash(25, 6))),
            (2.5, lambda: Revoke(dice.random(), self.crash(10, 4))),
            (2, lambda: Grant(dice.random(), self.crash(10, 6))),
            (0.8, lambda: Erase(*dice.choice(USERS), self.chance(50), self.crash(20, 10))),
            (0.7, lambda: Restart(dice.randrange(2))),
            (0.4, lambda: Exhume(dice.randrange(2))),
            (0.5, self.together),
        ]
        return dice.choices([draw for _, draw in draws], [weight for weight, _ in draws])[0]()


def drawn(seed: int, *, relays: bool | None = None) -> Chain:
    """Draw the chain of a seed."""
    dice = Random(f"chain {seed}")  # noqa: S311 - no secret
    made = _Drawn(dice, Random(f"names {seed}"))  # noqa: S311 - no secret
    announced = dice.random() < 0.35 if relays is None else relays
    for _ in range(dice.randint(6, 15)):
        op = made.op(relays=announced)
        if op is not None:
            made.ops.append(op)
    sizes = Sizes(
        checkpoint_every=dice.choice((2, 3, 5, 64)),
        save_every=dice.choice((1, 3, 32)),
        page=dice.choice((1, 2, 2000)),
        piece=dice.choice((1, 2, 50)),
        worth_it=dice.choice((0.0, 0.0, 0.5)),
    )
    streamed = dice.random() < 0.25
    return Chain(seed, sizes, streamed, announced, dice.choice((2, 100, 100)), tuple(made.ops))


# -- making smaller ----------------------------------------------------------------------------------------------------


async def smaller(chain: Chain, fails: Callable[[Chain], Awaitable[bool]], tries: int) -> Chain:
    """Return a shorter chain that still fails, after at most so many tries."""
    left = tries
    improved = True
    while improved and left > 0:
        improved = False
        for candidate in _candidates(chain):
            if left <= 0:
                break
            left -= 1
            if await fails(candidate):
                chain, improved = candidate, True
                break
    return chain


def _candidates(chain: Chain) -> Iterator[Chain]:
    """Yield chains that are a little smaller, those that are much smaller first."""
    yield from _fewer_steps(chain)
    names = {version.name for op in chain.ops if isinstance(op, Apply) for version in op.rules.versions}
    for name in sorted(names):
        yield _rules_changed(chain, lambda rules, name=name: rules.without(name))
    for at, op in enumerate(chain.ops):
        for simpler in _simpler(op):
            yield chain._replace(ops=(*chain.ops[:at], simpler, *chain.ops[at + 1 :]))
    if chain.streamed:
        yield chain._replace(streamed=False)
    for name, value in Sizes(64, 32, 2000, 50, 0.5)._asdict().items():
        if getattr(chain.sizes, name) != value:
            yield chain._replace(sizes=chain.sizes._replace(**{name: value}))
    yield from _plainer_events(chain)
    yield from _plainer_rules(chain)


def _fewer_steps(chain: Chain) -> Iterator[Chain]:
    ops = chain.ops
    for size in (len(ops) // 2, len(ops) // 4, 2, 1):
        if size >= 1:
            for at in range(len(ops) - size, -1, -size):
                yield chain._replace(ops=(*ops[:at], *ops[at + size :]))


def _plainer_rules(chain: Chain) -> Iterator[Chain]:
    """Yield the chain with one version, clause, tier or declaration less, wherever that is in force."""
    applied = [op.rules for op in chain.ops if isinstance(op, Apply)]
    for version in sorted({version for rules in applied for version in rules.versions}):
        others: list[tuple[Version, ...]] = [()]
        others += [(version._replace(clauses=()),)] if version.clauses else []
        others += [(version._replace(parts=(part,)),) for part in version.parts if len(version.parts) > 1]
        for made in others:
            yield _rules_changed(chain, partial(_exchanged, version, made))
    yield _rules_changed(chain, lambda rules: rules._replace(traits=()))
    for event in sorted({contract.event for rules in applied for contract in rules.contracts}):
        yield _rules_changed(chain, partial(_undeclared, event))


def _exchanged(old: Version, made: tuple[Version, ...], rules: Rulebook) -> Rulebook:
    versions = [one for version in rules.versions for one in (made if version == old else (version,))]
    return rules._replace(versions=tuple(versions))


def _undeclared(event: str, rules: Rulebook) -> Rulebook:
    return rules._replace(contracts=tuple(one for one in rules.contracts if one.event != event))


def _rules_changed(chain: Chain, change: Callable[[Rulebook], Rulebook]) -> Chain:
    ops = [op._replace(rules=change(op.rules)) if isinstance(op, Apply) else op for op in chain.ops]
    return chain._replace(ops=tuple(ops))


def _simpler(op: Op) -> Iterator[Op]:
    match op:
        case Together(left, right):
            yield left
            yield right
        case Send(_, events, whole, crash):
            if crash is not None:
                yield op._replace(crash=None)
            if whole:
                yield op._replace(whole=False)
            for at in range(len(events)):
                yield op._replace(events=(*events[:at], *events[at + 1 :]))
        case Apply() | Backfill() | Relay() | Revoke() | Grant() | Erase():
            if op.crash is not None:
                yield op._replace(crash=None)
        case Pass() | Restart() | Exhume():
            return


def _plainer_events(chain: Chain) -> Iterator[Chain]:
    """Yield the chain with one event plainer, wherever that is sent."""
    events = {event.key: event for op in chain.ops for event in _sent(op)}
    for key, event in events.items():
        plainer = [event._replace(offset=0)] if event.offset else []
        plainer += [
            event._replace(payload=tuple(pair for pair in event.payload if pair != gone)) for gone in event.payload
        ]
        for one in plainer:
            yield chain._replace(ops=tuple(_with_event(op, key, one) for op in chain.ops))


def _sent(op: Op) -> Sequence[Sent]:
    match op:
        case Send():
            return op.events
        case Together(left, right):
            return [*left.events, *(_sent(right))]
        case _:
            return ()


def _with_event(op: Op, key: tuple[str, str], event: Sent) -> Op:
    match op:
        case Send():
            return op._replace(events=tuple(event if one.key == key else one for one in op.events))
        case _:
            return op
