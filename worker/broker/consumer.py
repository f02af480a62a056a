"""The consumer that we pull from, ours or an operator's: what a worker needs, and what the consumer allows. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

if TYPE_CHECKING:
    from worker.settings import Settings

_NANOSECONDS: Final = 1_000_000_000
_SHORTEST_WAIT: Final = 5.0
"""Seconds; with less a batch that takes a little longer is delivered twice."""
_REQUESTS: Final = 2
"""Pull requests at a time: while the broker serves one, it has the next already."""
_MOST_REQUESTS: Final = 16
"""At a time, if each may ask for few messages only."""


class Existing(msgspec.Struct, frozen=True):
    """A consumer's configuration, as far as we use it; times in nanoseconds, limits 0 or less for none."""

    ack_policy: str = "none"
    deliver_policy: str = "all"
    deliver_subject: str = ""
    replay_policy: str = "instant"
    priority_policy: str = "none"
    headers_only: bool = False
    ack_wait: int = 0
    backoff: tuple[int, ...] = ()
    max_deliver: int = -1
    max_ack_pending: int = 0
    max_waiting: int = 0
    max_batch: int = 0
    max_expires: int = 0
    max_bytes: int = 0


class Setting(StrEnum):
    """A consumer's setting that may make a worker slow, or let it miss events."""

    MAX_DELIVER = "max_deliver"
    DELIVER_POLICY = "deliver_policy"
    REPLAY_POLICY = "replay_policy"
    ACK_WAIT = "ack_wait"
    MAX_ACK_PENDING = "max_ack_pending"
    MAX_BATCH = "max_batch"
    MAX_WAITING = "max_waiting"


class Doubt(NamedTuple):
    """What is not as it should be, in words with the value and a better one."""

    setting: Setting
    said: str


class Allowed(NamedTuple):
    """What requests to a consumer may ask for."""

    batch: int
    """Messages of one request."""
    requests: int
    """At a time."""
    max_bytes: int
    expires: float
    """Seconds of a request's life."""
    ack_wait: float
    """Seconds after which a message without acknowledgement is delivered again."""


class Wanted(NamedTuple):
    """What a request asks for if nothing limits it."""

    max_bytes: int
    expires: float


def unfit(existing: Existing) -> str | None:
    """Return in words why no worker can use a consumer, None if one can."""
    if existing.deliver_subject:
        return "it is a push consumer, and a worker pulls; make a pull consumer"
    if existing.ack_policy != "explicit":
        return f"its ack policy is {existing.ack_policy}, and a worker needs explicit, or events would be lost"
    if existing.headers_only:
        return "it delivers headers only, and a worker needs the bodies"
    if existing.priority_policy != "none":
        return f"its priority policy is {existing.priority_policy}, and a worker belongs to no group; it needs none"
    return None


def allowed(existing: Existing, settings: Settings, wanted: Wanted) -> Allowed:
    """Return what may be asked for: no more than the settings want, and no more than the consumer's limits."""
    batch = _least(settings.batch_size, existing.max_batch)
    ahead = max(_REQUESTS, min(_MOST_REQUESTS, _REQUESTS * settings.batch_size // batch))
    waits = existing.backoff or (existing.ack_wait or settings.ack_wait * _NANOSECONDS,)
    return Allowed(
        batch=batch,
        requests=_least(ahead, existing.max_waiting),
        max_bytes=_least(wanted.max_bytes, existing.max_bytes),
        expires=min(wanted.expires, existing.max_expires / _NANOSECONDS)
        if existing.max_expires > 0
        else wanted.expires,
        ack_wait=min(waits) / _NANOSECONDS,
    )


def _least(wanted: int, limit: int) -> int:
    return min(wanted, limit) if limit > 0 else wanted


def enough_pending(settings: Settings) -> int:
    """Return how many messages may be delivered and not acknowledged, for a consumer that we make.

    That is one batch in the database, one decoded, and two on their way, times eight workers.
    """
    return max(1000, 32 * settings.batch_size)


def doubts(existing: Existing, settings: Settings) -> list[Doubt]:
    """Return what makes a worker slow or lets it miss events."""
    said: list[Doubt] = []
    if existing.max_deliver > 0:
        text = f"max_deliver is {existing.max_deliver}: what fails so often is lost; -1 is better"
        said.append(Doubt(Setting.MAX_DELIVER, text))
    if existing.deliver_policy != "all":
        text = f"deliver_policy is {existing.deliver_policy}: not all that is in the stream is read; all is better"
        said.append(Doubt(Setting.DELIVER_POLICY, text))
    if existing.replay_policy != "instant":
        text = f"replay_policy is {existing.replay_policy}: events are held back; instant is better"
        said.append(Doubt(Setting.REPLAY_POLICY, text))
    wait = allowed(existing, settings, Wanted(0, 0)).ack_wait
    if wait != settings.ack_wait:
        text = f"ack_wait is {wait:g} s and counts, not the {settings.ack_wait:g} s of ACH_ACK_WAIT"
        said.append(Doubt(Setting.ACK_WAIT, text))
    if wait < _SHORTEST_WAIT:
        said.append(
            Doubt(Setting.ACK_WAIT, f"ack_wait is {wait:g} s: what takes longer is delivered twice; 30 s is better")
        )
    for setting, value, least, better in (
        (Setting.MAX_ACK_PENDING, existing.max_ack_pending, settings.batch_size, enough_pending(settings)),
        (Setting.MAX_BATCH, existing.max_batch, settings.batch_size, settings.batch_size),
        (Setting.MAX_WAITING, existing.max_waiting, _REQUESTS, 512),
    ):
        if 0 < value < least:
            text = f"{setting.value} is {value}: batches stay small; {better} is better"
            said.append(Doubt(setting, text))
    return said
