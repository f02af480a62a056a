"""Lines of the log about batches and dead letters: what they say, and what they never say."""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from tests.integration.engine import event
from tests.integration.test_traces import parent, publish
from worker.broker.streams import open_broker
from worker.contract.message import Message
from worker.contract.reasons import Reason
from worker.engine.batch import Batch, DeadLetter
from worker.engine.rule_set import Deployed, read_rules
from worker.pipeline.batch_log import MOST_LETTERS, BatchLog
from worker.pipeline.intake import Held, Whole
from worker.process import logs
from worker.settings import LogFormat, LogLevel
from worker.traces.spans import NoSpans

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.integration.engine import Engine

pytestmark = pytest.mark.anyio

NONE = Deployed(0, read_rules([]), since={}, prefix="events", skew=0)
SECRET = "s3cret-of-a-payload"
HOSTILE = "\x1b[2Je\nvent\u202e"


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Generator[io.StringIO]:
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    logs.configure(LogFormat.JSON, logs.LEVELS[LogLevel.DEBUG])
    yield file
    structlog.reset_defaults()


def lines_of(written: io.StringIO, name: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in written.getvalue().splitlines()]
    return [line for line in found if line["event"] == name]


async def test_each_batch_and_each_dead_letter_has_a_line_without_payloads(
    engine: Engine, written: io.StringIO
) -> None:
    for number in (1, 2, 3):
        await publish(engine, event(number, key=SECRET))
    await publish(engine, event(3, key=SECRET))
    broken = event(4, id=HOSTILE, tenant="t9", key=[SECRET])
    await publish(engine, broken, traceparent=parent(4))
    async with open_broker(engine.settings) as broker:
        await broker.publish("events.raw", b'{"event_id": "%s' % SECRET.encode())
    await engine.drain()
    (batch,) = lines_of(written, "batch")
    assert batch["level"] == "debug"
    counts = {"messages": 6, "events": 3, "duplicates": 1, "late": 0, "dead": 2, "grants": 2, "retries": 0}
    assert {name: batch[name] for name in counts} == counts
    assert (batch["batch"], batch["way"]) == ("1-6", "long")
    stages = [batch[stage] for stage in ("read", "wait", "commit", "ack")]
    assert min(stages) >= 0
    assert sum(stages) == pytest.approx(batch["seconds"], abs=0.001)
    contract, malformed = sorted(lines_of(written, "dead letter"), key=lambda line: line["seq"])
    assert (contract["reason"], contract["event_id"], contract["tenant"]) == ("contract", HOSTILE, "t9")
    assert (contract["batch"], contract["seconds"]) == (batch["batch"], batch["seconds"])
    assert (contract["trace_id"], contract["span_id"]) == (f"{4:032x}", f"{4:016x}")
    assert (malformed["reason"], malformed["event_id"], malformed["tenant"]) == ("malformed_json", None, None)
    (total,) = lines_of(written, "batches")
    assert (total["level"], total["batches"], total["events"], total["dead"]) == ("info", 1, 3, 2)
    text = written.getvalue()
    assert SECRET not in text
    assert "\x1b" not in text
    assert text.isascii()


def test_a_flood_of_dead_letters_is_no_flood_of_lines(written: io.StringIO) -> None:
    lines = BatchLog("events", NoSpans())
    for batch in range(3):
        message = Message("events.t1.u1.a", b"", b"", batch + 1, "")
        held = Held()
        held.add([message])
        whole = Whole(held, Batch((message,), (), (), NONE, 0), 1)
        whole.letters = [DeadLetter(message, 0, Reason.CONTRACT, SECRET, SECRET.encode())] * MOST_LETTERS
        lines.ended(whole)
    lines.sum_up()
    assert len(lines_of(written, "dead letter")) == MOST_LETTERS
    (more,) = lines_of(written, "more dead letters; see `ach dead list`")
    assert more["number"] == 2 * MOST_LETTERS
    assert SECRET not in written.getvalue()
