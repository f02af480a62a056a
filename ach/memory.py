"""What a session remembers, and its form as bytes.

The form is MessagePack of `_Saved`. A state is void under another plan, as it is for the worker: slots of a plan mean
nothing in another one.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from ach.errors import StateError
from dsl.event import Position
from dsl.progress import Grant, State, decode, encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dsl.compile import Plan
    from dsl.outcome import Subject

FORM: Final = 1
"""Of the bytes; raise it whenever a struct below changes its meaning."""
LATEST: Final = 4
"""Grants of one achievement and tier that are kept one by one; of those before, the number is."""
_BEGIN_AGAIN: Final = "feed a new session with the subject's events"

_Count = Annotated[int, msgspec.Meta(ge=0)]


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """What one achievement and tier ("" for none) was earned before the base."""

    achievement: str
    tier: str
    more: _Count
    """Grants before the latest ones."""
    latest: list[Grant]
    """At least one, in the order of the events."""


class Memory(msgspec.Struct, frozen=True):
    """The base: a state, as `dsl.progress.encode` writes it, and what was earned until then.

    `tail` are the bodies of the events behind it, in canonical order.
    """

    text: bytes = encode(State())
    mark: Position | None = None
    """The last event that the base has folded."""
    kept: tuple[Kept, ...] = ()
    tail: tuple[bytes, ...] = ()

    def base(self) -> State:
        """Return the base, to be moved in place."""
        state = decode(self.text)
        if state is None:
            raise AssertionError(self.text)
        return state

    def moved(self, state: State, earned: Iterable[Grant]) -> Memory:
        """Return the memory with a later base, and what was earned on the way there."""
        return Memory(encode(state), state.mark, tuple(_added(self.kept, earned)))


def _added(kept: Iterable[Kept], earned: Iterable[Grant]) -> list[Kept]:
    more = {(one.achievement, one.tier): one.more for one in kept}
    latest: defaultdict[tuple[str, str], list[Grant]] = defaultdict(list)
    for grant in (*(grant for one in kept for grant in one.latest), *earned):
        latest[grant.achievement, grant.tier or ""].append(grant)
    return [
        Kept(*key, more.get(key, 0) + max(len(grants) - LATEST, 0), grants[-LATEST:])
        for key, grants in sorted(latest.items())
    ]


class _Saved(msgspec.Struct, array_like=True):
    """All of it, as bytes."""

    form: int
    plan: str
    subject: tuple[str, str, str]
    text: bytes
    kept: tuple[Kept, ...]
    tail: tuple[bytes, ...]


class _Form(msgspec.Struct, array_like=True):
    """The beginning, which every form has."""

    form: int


_encode: Final = msgspec.msgpack.Encoder().encode
_saved: Final = msgspec.msgpack.Decoder(_Saved)
_form: Final = msgspec.msgpack.Decoder(_Form)


def packed(memory: Memory, subject: Subject, plan: Plan, tail: Sequence[bytes]) -> bytes:
    """Return a memory as bytes, with the events behind its base."""
    where = subject.tenant_id, subject.scope, subject.subject
    return _encode(_Saved(FORM, plan.fingerprint, where, memory.text, memory.kept, tuple(tail)))


def unpacked(data: bytes, subject: Subject, plan: Plan) -> Memory:
    """Return what `packed` wrote.

    Raises:
        StateError: it is of another plan or subject, or damaged.
    """
    try:
        form = _form.decode(data).form
        saved = _saved.decode(data) if form == FORM else None
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise StateError(f"the bytes are no state: {error}; {_BEGIN_AGAIN}") from None
    if saved is None:
        raise StateError(f"the state has form {form}, and this version reads form {FORM}; {_BEGIN_AGAIN}")
    if saved.subject != tuple(subject):
        tenant, scope, name = saved.subject
        raise StateError(
            f"the state is of {scope} {name!r} of tenant {tenant!r}, and was given for {subject.scope}"
            f" {subject.subject!r} of {subject.tenant_id!r}"
        )
    if saved.plan != plan.fingerprint:
        raise StateError(f"the state was made under other rules for the scope {plan.scope}; {_BEGIN_AGAIN}")
    state = decode(saved.text)
    if state is None:
        raise StateError(f"the state was made by another version; {_BEGIN_AGAIN}")
    return Memory(saved.text, state.mark, saved.kept, saved.tail)
