"""Asks the broker what the checks judge. Each request has a bound, and so has all of it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from time import time
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import anyio

from dsl.payload import instant
from worker.broker.api import ApiError, ask
from worker.broker.error_text import names_subject
from worker.broker.errors import OUT_OF_REACH, BrokerAwayError, BrokerMismatchError, in_words
from worker.broker.group_store import GroupStore
from worker.broker.once import connected_once
from worker.broker.shares import beat_subject, group_stream
from worker.doctor.facts import (
    Account,
    BrokerFacts,
    ConsumerInfo,
    ConsumerSeen,
    Rights,
    Role,
    Server,
    Skew,
    StreamInfo,
    StreamSeen,
)
from worker.doctor.finding import Level, Unknown
from worker.doctor.mends import add_stream
from worker.settings import shown

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from worker.broker.client import BrokerClient
    from worker.settings import Settings

CONNECT_SECONDS: Final = 5
ANSWER_SECONDS: Final = 4.0
"""For one answer."""
BROKER_SECONDS: Final = 10.0
"""For all of them."""
OFF: Final = 503
"""The code of JetStream's answer where it is off."""

T = TypeVar("T")


class Denied(NamedTuple):
    """The login may not ask this."""

    subject: str


class Inquirer:
    """Asks over one connection; a request that is not permitted is noticed at once, and not after its time is over."""

    def __init__(self, client: BrokerClient) -> None:
        self._client = client
        self._waiting: anyio.CancelScope | None = None
        self.refusals: list[str] = []
        """The broker's words about what was not permitted."""

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[None]:
        """Take note of refusals for the length of a block."""
        before, self._client.on_refusal = self._client.on_refusal, self._refused
        try:
            yield
        finally:
            self._client.on_refusal = before

    def _refused(self, said: str) -> None:
        self.refusals.append(said)
        if self._waiting is not None:
            self._waiting.cancel()

    async def ask(self, what: str, shape: type[T]) -> T | Denied | ApiError | Unknown:
        """Return the answer of `$JS.API.<what>`, or why there is none."""
        self.refusals.clear()
        try:
            with anyio.move_on_after(ANSWER_SECONDS) as self._waiting:
                return await ask(self._client, what, shape)
        except ApiError as error:
            return error
        except (BrokerAwayError, *OUT_OF_REACH) as error:
            return Unknown(f"JetStream does not answer: {in_words(error)}", Level.ERROR)
        finally:
            self._waiting = None
        if self.refusals:
            return Denied(f"{self._client.identity.api}.{what}")
        return Unknown(f"JetStream does not answer within {ANSWER_SECONDS:g} s", Level.ERROR)

    async def probe(self, subjects: dict[str, dict[str, str]]) -> list[str]:
        """Return on which subjects the login may not publish; each is sent a message that nothing takes.

        `subjects` has the headers of each.
        """
        self.refusals.clear()
        for subject, headers in subjects.items():
            await self._client.publish(subject, b"{", headers=headers or None)
        await self._client.answer(ANSWER_SECONDS)
        return [subject for subject in subjects if any(names_subject(said, subject) for said in self.refusals)]


async def ask_broker(settings: Settings, *, now: Callable[[], float] = time) -> BrokerFacts:
    """Return all that is known of the broker, within BROKER_SECONDS. `now` is this machine's clock, in seconds."""
    said = f"no answer within {BROKER_SECONDS:g} s"
    try:
        with anyio.move_on_after(BROKER_SECONDS):
            async with connected_once(settings, seconds=CONNECT_SECONDS) as client:
                return await _ask_all(client, settings, now)
    except BrokerMismatchError as error:
        return _away(Unknown(str(error), Level.ERROR, refuses=True))
    except (BrokerAwayError, *OUT_OF_REACH) as error:
        said = in_words(error)
    return _away(
        Unknown(f"NATS at {shown(settings.nats_url)}: {said}", Level.ERROR, "export NATS_URL=nats://HOST:4222")
    )


def _away(why: Unknown) -> BrokerFacts:
    rest = Unknown("NATS is not reached")
    return BrokerFacts(why, rest, rest, rest, rest, rest, rest)


async def _ask_all(client: BrokerClient, settings: Settings, now: Callable[[], float]) -> BrokerFacts:
    inquirer = Inquirer(client)
    version = client.connected_server_version
    server = Server(f"{version.major}.{version.minor}.{version.patch}", client.max_payload)
    async with inquirer.listening():
        account = _of_account(await inquirer.ask("INFO", Account))
        if isinstance(account, Unknown) and account.level is Level.ERROR:
            rest = Unknown("JetStream does not answer")
            return BrokerFacts(server, rest, account, rest, rest, rest, rest)
        events, unlocks, skew = await _ask_streams(inquirer, settings, now)
        consumer = await _ask_consumer(inquirer, settings, events)
        rights = Rights(await inquirer.probe(_harmless(settings)))
    return BrokerFacts(server, skew, account, rights, events, unlocks, consumer)


async def ask_streams(client: BrokerClient, settings: Settings, *, now: Callable[[], float] = time) -> BrokerFacts:
    """Return what a worker may know at its start, of its connection: it asks nothing that it has not asked before."""
    inquirer = Inquirer(client)
    rest = Unknown("it is not needed at the start")
    events, unlocks, skew = await _ask_streams(inquirer, settings, now)
    return BrokerFacts(rest, skew, rest, rest, events, unlocks, await _ask_consumer(inquirer, settings, events))


def _harmless(settings: Settings) -> dict[str, dict[str, str]]:
    """Return subjects that a worker publishes on, with headers for which nothing takes what is sent there.

    A request without a reply subject is not answered; an acknowledgement of no message, with an unknown word, is passed
    over; no stream has the name that the announcement expects; and no member of a group is named `doctor`.
    """
    events, unlocks, consumer = settings.input_stream, settings.unlock_stream, settings.consumer
    not_there = {"Nats-Expected-Stream": "-"}
    of_group: dict[str, dict[str, str]] = {}
    if settings.group is not None:
        store, events, consumer = GroupStore(settings, settings.group), group_stream(events, settings.group), "doctor"
        beat = beat_subject(settings.input_stream, settings.group, "doctor")
        of_group = {store.put_subject: not_there, beat: {}}
    return {
        **of_group,
        f"{settings.identity.api}.CONSUMER.MSG.NEXT.{events}.{consumer}": {},
        f"{settings.identity.api}.STREAM.MSG.GET.{unlocks}": {},
        f"$JS.ACK.{events}.{consumer}.1.0.0.0.0": {},
        f"{settings.unlock_prefix}.~doctor": not_there,
    }


def _of_account(said: Account | Denied | ApiError | Unknown) -> Account | Unknown:
    match said:
        case Denied(subject):
            return Unknown(f"this login may not ask {subject}, which a worker does not need")
        case ApiError():
            mend = "nats-server --jetstream" if said.fault.code == OFF else ""
            return Unknown(f"JetStream cannot be used: {said.fault.description}", Level.ERROR, mend, refuses=True)
        case _:
            return said


async def _ask_streams(
    inquirer: Inquirer, settings: Settings, now: Callable[[], float]
) -> tuple[StreamSeen | Unknown, StreamSeen | Unknown, Skew | Unknown]:
    began = now()
    events = await inquirer.ask(f"STREAM.INFO.{settings.input_stream}", StreamInfo)
    ended = now()
    skew = _skew(events.ts, began, ended) if isinstance(events, StreamInfo) else Unknown("there is no stream to ask")
    unlocks = await inquirer.ask(f"STREAM.INFO.{settings.unlock_stream}", StreamInfo)
    return _of_stream(events, Role.EVENTS, settings), _of_stream(unlocks, Role.UNLOCKS, settings), skew


def _skew(ts: str, began: float, ended: float) -> Skew | Unknown:
    at = instant(ts)
    if at is None:
        return Unknown("this nats-server does not say what time it is")
    return Skew(at[0] / 1_000_000 - (began + ended) / 2, (ended - began) / 2)


def _of_stream(said: StreamInfo | Denied | ApiError | Unknown, role: Role, settings: Settings) -> StreamSeen | Unknown:
    name = settings.input_stream if role is Role.EVENTS else settings.unlock_stream
    prefix = settings.input_prefix if role is Role.EVENTS else settings.unlock_prefix
    match said:
        case StreamInfo():
            return StreamSeen(said, role, settings)
        case Denied(subject):
            return _denied(subject)
        case ApiError(is_missing=True):
            mend = add_stream(name, f"{prefix}.>", *(("--max-age 30d",) if role is Role.EVENTS else ()))
            return Unknown(f"there is no stream {name}: a worker makes it at its start", Level.WARNING, mend)
        case ApiError():
            return Unknown(f"stream {name}: {said.fault.description}", Level.ERROR)
        case _:
            return said


async def _ask_consumer(inquirer: Inquirer, settings: Settings, events: StreamSeen | Unknown) -> ConsumerSeen | Unknown:
    if isinstance(events, Unknown):
        return Unknown("its stream is not known")
    if settings.group is not None:
        return Unknown(f"the workers of group {settings.group} each make their own")
    what = f"CONSUMER.INFO.{settings.input_stream}.{settings.consumer}"
    match await inquirer.ask(what, ConsumerInfo):
        case Denied(subject):
            return _denied(subject)
        case ApiError(is_missing=True):
            said = f"there is no consumer {settings.consumer}: a worker makes it at its start"
            return Unknown(said, Level.WARNING, "ach run")
        case ApiError() as error:
            return Unknown(f"consumer {settings.consumer}: {error.fault.description}", Level.ERROR)
        case ConsumerInfo() as info:
            return ConsumerSeen(info, events.config, settings)
        case unknown:
            return unknown


def _denied(subject: str) -> Unknown:
    mend = f'permissions: {{ publish: {{ allow: ["{subject}"] }} }}'
    return Unknown(f"this login may not publish on {subject}", Level.ERROR, mend, refuses=True)
