"""The broker hands out partitions as the ledger locks them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import nats
import pytest
from nats.js import api

from worker.contract.partition import PARTITIONS, event_subject, partition_of

if TYPE_CHECKING:
    from tests.integration.engine import Engine

pytestmark = pytest.mark.anyio

USERS: Final = ["u", "u1", "ünïcode", "a.b", "*", ">", "~", "x" * 300, "", " ", *(f"user-{n}" for n in range(90))]


async def test_the_broker_and_the_ledger_agree_on_partitions(engine: Engine) -> None:
    named = [(tenant, user) for tenant in ("acme", "pallets/flask") for user in USERS if user]
    client = await nats.connect(engine.settings.nats_url)
    try:
        jetstream = client.jetstream()
        mapping = api.SubjectTransform(
            src="partitioned.*.*.>",
            dest=f"to.{{{{partition({PARTITIONS},1,2)}}}}.{{{{wildcard(1)}}}}.{{{{wildcard(2)}}}}.>",
        )
        await jetstream.add_stream(
            api.StreamConfig(name="PARTITIONED", subjects=["partitioned.>"], subject_transform=mapping)
        )
        for tenant, user in named:
            await jetstream.publish(event_subject("partitioned", tenant, user, "a.done"), b"")
        messages = [await jetstream.get_msg("PARTITIONED", seq) for seq in range(1, len(named) + 1)]
        found = [int((message.subject or "").split(".")[1]) for message in messages]
    finally:
        await client.jetstream().delete_stream("PARTITIONED")
        await client.close()
    assert found == [partition_of(tenant, "user", user) for tenant, user in named]
