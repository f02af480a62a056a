"""What the official library of CloudEvents sends is taken, and what is stored says the same."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tests.integration.ingesting import KEYS, stored
from worker.contract.strict_reader import Accepted, Contract

if TYPE_CHECKING:
    import httpx

    from worker.settings import Settings

pytestmark = pytest.mark.anyio

TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=30).filter(str.strip)
SOURCES = TEXTS.filter(lambda one: "#" not in one)
VALUES = st.recursive(st.integers(-(2**53), 2**53) | TEXTS | st.booleans() | st.none(), st.lists, max_leaves=5)
DATA = st.dictionaries(TEXTS, VALUES, max_size=4)
TIMES = st.datetimes(datetime(1990, 1, 1), datetime(2025, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - with its zone


@st.composite
def events(draw: st.DrawFn) -> CloudEvent:
    attributes: dict[str, Any] = {
        "id": draw(TEXTS),
        "source": draw(SOURCES),
        "type": draw(TEXTS),
        "subject": draw(TEXTS),
        "time": draw(TIMES),
        "datacontenttype": "application/json",
    }
    return CloudEvent(attributes, draw(DATA))


def expected(one: CloudEvent) -> dict[str, Any]:
    return {
        "event_id": f"{one.get_source()}#{one.get_id()}",
        "event_type": one.get_type(),
        "user_id": one.get_subject(),
        "tenant_id": "t1",
        "source": one.get_source(),
        "payload": one.get_data(),
    }


async def test_what_the_library_sends_is_stored(ingest_client: httpx.AsyncClient, settings: Settings) -> None:
    sent: dict[str, CloudEvent] = {}

    async def send(one: CloudEvent) -> None:
        key = {"Authorization": f"Bearer {KEYS['t1']}"}
        sent.setdefault(f"{one.get_source()}#{one.get_id()}", one)
        for made in (to_structured_event(one), to_binary_event(one)):
            answer = await ingest_client.post("/v1/events", content=made.body, headers={**made.headers, **key})
            assert (answer.status_code, answer.json()) == (202, {"accepted": 1}), (answer.text, made)

    async with anyio.from_thread.BlockingPortal() as portal:

        @examples(max_examples=40, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
        @given(events())
        def run(one: CloudEvent) -> None:
            portal.call(send, one)

        await anyio.to_thread.run_sync(run)
    contract = Contract({}, prefix="events", skew=0)
    found: dict[str, Any] = {}
    for msg in await stored(settings):
        (read,) = contract.read(msg.subject, msg.data, now=2_000_000_000_000_000)
        assert isinstance(read, Accepted)
        said = json.loads(msg.data)
        moment = sent[said["event_id"]].get_time()
        assert moment is not None
        assert read.event.at == round(moment.timestamp() * 1_000_000)
        del said["occurred_at"]
        found.setdefault(said["event_id"], said)
    assert found == {name: expected(one) for name, one in sent.items()}
