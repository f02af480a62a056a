"""The users that the messages of the input stream name."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from dsl.compile import USER
from dsl.outcome import Subject
from worker.broker.durable import read_since
from worker.broker.once import connected_once
from worker.contract.named_users import users_named
from worker.contract.partition import name_of

if TYPE_CHECKING:
    from worker.settings import Settings


async def people_of_stream(settings: Settings) -> set[Subject]:
    """Return all users that the messages of the input stream name, but for names that are too long for a subject.

    Raises:
        BrokerAwayError, BrokerMismatchError, nats.errors.Error, OSError, TimeoutError: the stream cannot be read.
    """
    prefix = settings.input_prefix
    named: set[tuple[str, str]] = set()
    async with (
        connected_once(settings, seconds=2) as client,
        aclosing(read_since(lambda: client, settings.input_stream, f"{prefix}.>", 0)) as messages,
    ):
        async for message in messages:
            named |= users_named(prefix, message.subject, message.body, message.headers)
    found: set[Subject] = set()
    for tokens in named:
        tenant, user = map(name_of, tokens)
        if tenant and user:
            found.add(Subject(tenant, USER, user))
    return found
