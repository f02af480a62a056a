"""Whatever a broker can say, at drawn moments, and the oracle at the end: nothing lost, missing or twice.

After each of it, what is published is granted within seconds. Quick counts by default; ACH_FAULTS=long, or
ACH_FAULTS_SPOKEN, makes more of it, and ACH_FAULTS_SPOKEN_SEED draws other moments.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import anyio
import pytest

from tests.faults.interjector import (
    CLOSING,
    GARBAGE,
    HALF,
    LAME_DUCK,
    OK,
    SHORT,
    SMALLER,
    STANDING,
    Interjector,
    Moment,
    Speech,
    error,
    interjecting,
)
from tests.faults.load import RULES, Sent, Shape, load
from tests.faults.oracle import Published, expect_promise, settled
from tests.faults.producer import Producer
from tests.faults.tally import count, tell
from worker.broker import connection as connecting

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tests.integration.engine import Engine

pytestmark = [pytest.mark.anyio, pytest.mark.faults, pytest.mark.timeout(7200)]

EVENTS: Final = 12
"""Published for each of what is said: enough for a batch that has a middle."""
LIVELY_SECONDS: Final = 15.0
"""Until all that was published beside it is granted, announced and acknowledged; the ack wait is a part of it."""
SEED: Final = int(os.environ.get("ACH_FAULTS_SPOKEN_SEED", "1"))

OTHERS: Final = (OK, GARBAGE, HALF, SHORT, LAME_DUCK, SMALLER, Speech(b"PING\r\n"), Speech(b"INFO {}}\r\n"))


def drawn(dice: Random, number: int) -> list[tuple[Moment, Speech]]:
    """Return what to say and when: every text comes once before any comes again, each at a drawn moment."""
    speeches = [
        *(error(text, close=dice.random() < 0.7) for text in CLOSING),
        *(error(text, close=False) for text in STANDING),
        *OTHERS,
    ]
    said: list[Speech] = []
    while len(said) < number:
        said += dice.sample(speeches, len(speeches))
    return [(dice.choice([*Moment]), speech) for speech in said[:number]]


def halves_are_of_messages(moment: Moment, speech: Speech) -> Moment:
    """Only a frame that is due can be cut in half."""
    return moment if not speech.instead or moment in {Moment.BETWEEN, Moment.IN_BATCH} else Moment.BETWEEN


@asynccontextmanager
async def behind(engine: Engine) -> AsyncGenerator[tuple[Engine, Interjector]]:
    port = urlsplit(engine.settings.nats_url).port
    assert port is not None
    async with interjecting(port) as proxy:
        yield engine.with_settings(nats_url=proxy.url), proxy


async def publish(engine: Engine, sent: list[Sent]) -> list[Published]:
    """Publish past the proxy."""
    producer = Producer(engine.settings.nats_url, sent)
    await producer.run()
    return producer.published


async def test_whatever_a_broker_says(own_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "LONGEST_PAUSE", 0.2)
    dice, number = Random(SEED), count("SPOKEN", quick=45, long=1500)  # noqa: S311 - reproducible
    # Announcements of this stream are what one of the moments is about: users come again and again.
    sent = load(SEED, Shape(events=number * EVENTS, users=40 + number))
    published: list[Published] = []
    slowest, unsaid = 0.0, 0
    engine = own_engine.with_settings(ack_wait=1)
    await engine.apply(RULES)
    async with behind(engine) as (worked, proxy), worked.worker():
        share = -(-len(sent) // number)
        for turn, (moment, speech) in enumerate(drawn(dice, number)):
            proxy.arm(halves_are_of_messages(moment, speech), speech)
            published += await publish(engine, sent[turn * share : (turn + 1) * share])
            slowest = max(slowest, await settled(engine.settings, LIVELY_SECONDS))
            unsaid += not proxy.said.is_set()
    await settled(engine.settings)
    await expect_promise(engine.settings, published, RULES)
    # Some moments never come, such as an announcement where nothing is granted.
    assert unsaid < number / 2
    tell(
        "errors and other words of the broker, between worker and nats-server",
        f"{number - unsaid} at drawn moments; {len(published):,} messages; all done within {slowest:.1f} s after each",
    )


async def test_pings_that_are_never_answered(own_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "BEAT_SECONDS", 0.2)
    monkeypatch.setattr(connecting, "ANSWER_SECONDS", 0.5)
    engine = own_engine.with_settings(ack_wait=1)
    await engine.apply(RULES)
    published: list[Published] = []
    sent = load(SEED + 1, Shape(events=200))
    async with behind(engine) as (worked, proxy), worked.worker():
        for turn in range(4):
            proxy.mute = True
            published += await publish(engine, sent[turn * 50 : (turn + 1) * 50])
            await anyio.sleep(1)  # as long as takes a ping and its patience
            proxy.mute = False
            await settled(engine.settings, LIVELY_SECONDS)
        published += await publish(engine, sent[200:])
    async with engine.worker():
        await settled(engine.settings)
    await expect_promise(engine.settings, published, RULES)
