"""The streams and the consumer: made where they are missing, and left as they are where an operator made them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from worker.broker.api import CONSUMER_EXISTS, SERVER_AT_FAULT, ApiError, ask
from worker.broker.consumer import Existing, enough_pending, unfit
from worker.broker.errors import OUT_OF_REACH, BrokerAwayError, BrokerMismatchError, in_words

if TYPE_CHECKING:
    from worker.broker.client import BrokerClient
    from worker.broker.group_store import GroupStore
    from worker.settings import Settings

EVENTS_SECONDS: Final = 30 * 24 * 3600
"""For which a stream of events that a worker makes keeps them: the ledger keeps them for good. UNLOCKS has no limit, as
its subjects are the memory of what was announced. docs/decisions/0035-doctor.md."""
_NANOSECONDS: Final = 1_000_000_000

log = structlog.get_logger()


class Place(msgspec.Struct, frozen=True):
    """A place in a stream."""

    stream_seq: int = 0


class Consumer(msgspec.Struct):
    """What JetStream says about a consumer."""

    config: Existing
    num_pending: int = 0
    """Messages that were not delivered yet."""
    num_ack_pending: int = 0
    """Messages that were delivered and not acknowledged yet."""
    ack_floor: Place = Place()
    """All messages up to here are acknowledged."""


async def ensure(client: BrokerClient, settings: Settings, group: GroupStore | None = None) -> Existing:
    """Make the streams and the consumer where they are missing; return the consumer's configuration.

    A group has a stream of its own in the place of the consumer; its members make their consumers themselves.

    Raises:
        BrokerAwayError: try again.
        BrokerMismatchError: trying again does not help.
    """
    try:
        await _ensure_stream(client, settings, settings.input_stream, settings.input_prefix)
        await _ensure_stream(client, settings, settings.unlock_stream, settings.unlock_prefix)
        if group is not None:
            await group.ensure(client)
            return group.limits
        existing = (await _ensure_consumer(client, settings)).config
    except ApiError as error:
        if error.fault.code >= SERVER_AT_FAULT:
            raise BrokerAwayError(str(error)) from error
        raise BrokerMismatchError(str(error)) from error
    except OUT_OF_REACH as error:
        raise BrokerAwayError(in_words(error)) from error
    if (flaw := unfit(existing)) is not None:
        name = f"consumer {settings.consumer} of stream {settings.input_stream}"
        raise BrokerMismatchError(f"a worker cannot use {name}: {flaw}")
    return existing


async def consumer_info(client: BrokerClient, settings: Settings) -> Consumer:
    """Return what JetStream says about the consumer.

    Raises:
        ApiError, BrokerAwayError, nats.errors.Error, TimeoutError, OSError: as `ask` does.
    """
    return await ask(client, f"CONSUMER.INFO.{settings.input_stream}.{settings.consumer}", Consumer)


async def _ensure_stream(client: BrokerClient, settings: Settings, name: str, prefix: str) -> None:
    try:
        await ask(client, f"STREAM.INFO.{name}", dict[str, Any])
    except ApiError as error:
        if not error.is_missing:
            raise
        config = {
            "name": name,
            "subjects": [f"{prefix}.>"],
            "retention": "limits",
            "storage": "file",
            "duplicate_window": round(settings.duplicate_window * _NANOSECONDS),
            "max_age": 0 if name == settings.unlock_stream else EVENTS_SECONDS * _NANOSECONDS,
        }
        await ask(client, f"STREAM.CREATE.{name}", dict[str, Any], config)
        log.info("made stream", stream=name, subjects=f"{prefix}.>")


async def _ensure_consumer(client: BrokerClient, settings: Settings) -> Consumer:
    try:
        return await consumer_info(client, settings)
    except ApiError as error:
        if not error.is_missing:
            raise
    config = {
        "durable_name": settings.consumer,
        "ack_policy": "explicit",
        "ack_wait": round(settings.ack_wait * _NANOSECONDS),
        "max_deliver": -1,  # we end poison messages ourselves, with a reason
        "max_ack_pending": enough_pending(settings),
    }
    # If another worker makes it at the same moment, that one stays as it is.
    made = {"stream_name": settings.input_stream, "config": config, "action": "create"}
    try:
        what = f"CONSUMER.DURABLE.CREATE.{settings.input_stream}.{settings.consumer}"
        consumer = await ask(client, what, Consumer, made)
    except ApiError as error:
        if error.fault.err_code != CONSUMER_EXISTS:
            raise
        return await consumer_info(client, settings)
    log.info("made consumer", stream=settings.input_stream, consumer=settings.consumer)
    return consumer
