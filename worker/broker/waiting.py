"""What a consumer has not acknowledged yet, and how old that is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from worker.broker.api import ApiError, ask
from worker.engine.observed import Backlog

if TYPE_CHECKING:
    from worker.broker.client import BrokerClient
    from worker.settings import Settings

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class _Floor(msgspec.Struct):
    stream_seq: int = 0


class _Consumer(msgspec.Struct):
    num_pending: int = 0
    num_ack_pending: int = 0
    ack_floor: _Floor = msgspec.field(default_factory=_Floor)


class _Message(msgspec.Struct):
    time: datetime


class _Found(msgspec.Struct):
    message: _Message


async def waiting(client: BrokerClient, settings: Settings, *, oldest: bool) -> Backlog:
    """Return what waits; with `oldest`, also since when, which takes the right to read the input stream.

    Raises:
        ApiError, BrokerAwayError, nats.errors.Error, OSError: as `ask` does.
        TimeoutError: no answer about the consumer, or about a message; the right to ask may be missing.
    """
    info = await ask(client, f"CONSUMER.INFO.{settings.input_stream}.{settings.consumer}", _Consumer)
    if not oldest or not info.num_pending + info.num_ack_pending:
        return Backlog(info.num_pending, info.num_ack_pending, None)
    after = {"seq": info.ack_floor.stream_seq + 1, "next_by_subj": ">"}
    try:
        found = await ask(client, f"STREAM.MSG.GET.{settings.input_stream}", _Found, after)
    except ApiError as error:
        if error.is_missing:  # acknowledged or deleted meanwhile
            return Backlog(info.num_pending, info.num_ack_pending, None)
        raise
    at = (found.message.time - _EPOCH) // timedelta(microseconds=1)
    return Backlog(info.num_pending, info.num_ack_pending, at)
