"""The commands of docs/ingest.md and docs/producing.md (curl) work as they stand, in an empty folder."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import nats
import pytest

from tests.acceptance.conftest import read_until
from worker.broker.streams import open_broker
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.acceptance.conftest import Shell

pytestmark = pytest.mark.anyio

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "ingest.md").read_text("utf-8")
PORT: Final = "http://127.0.0.1:8090"
"""What the page shows; a test listens wherever there is room."""
BLOCKS: Final = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SECRET: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
EVENT: Final = {
    "event_id": "1-py",
    "event_type": "lesson.completed",
    "user_id": "ann",
    "tenant_id": "acme",
    "occurred_at": "2026-03-01T12:00:00Z",
}


def block(language: str, holds: str) -> str:
    (found,) = [text for kind, text in BLOCKS if kind == language and holds in text]
    return found


def run(shell: Shell, script: str, **more: str) -> str:
    """Run a script in the folder as a reader would; return what it prints."""
    environment = {**shell.environment, **more, "PATH": f"{Path(sys.executable).parent}:{shell.environment['PATH']}"}
    done = subprocess.run(
        ["/bin/sh", "-euc", script], cwd=shell.folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def taking(shell: Shell) -> Generator[str]:
    """Run `ach ingest` beside a block, and give its address once the broker is there."""
    with shell.running("ingest", "--port", "0") as process:
        (address,) = re.findall(r"http://127\.0\.0\.1:\d+", read_until(process, "taking events"))
        run(shell, f"until curl -sf {address}/v1/health >health; do :; done")
        yield address


async def test_the_commands_work_as_they_stand(shell: Shell, nats_url: str) -> None:
    shell.environment |= {"NATS_URL": nats_url}
    async with open_broker(Settings(nats_url=nats_url)):
        pass  # a worker makes the streams
    begin, send = block("sh", "ach ingest key"), block("sh", "duration_seconds")
    *made, started = [line for line in begin.splitlines() if not line.startswith("pip ")]
    assert re.fullmatch(r"ach ingest +# http://127\.0\.0\.1:8090; .*", started)
    key = run(shell, "\n".join([*made, 'printf %s "$KEY"']))
    config = shell.folder / "ingest.toml"
    assert config.stat().st_mode & 0o077 == 0
    hook = re.findall(r"^\[webhooks\.billing\].*?(?=^```)", PAGE, re.MULTILINE | re.DOTALL)[0]
    config.write_text(f"{config.read_text('utf-8')}\n{hook.replace('whsec_...', SECRET)}", "utf-8")
    shell.write("events.jsonl", "".join(json.dumps({**EVENT, "event_id": f"line-{n}"}) + "\n" for n in range(3)))
    program = f"{block('python', 'def send')}\nimport sys\nprint(send([{EVENT!r}], *sys.argv[1:]).read().decode())\n"
    shell.write("send.py", program)
    with taking(shell) as address:
        for script, wanted in (
            (send.replace(PORT, address), {"accepted": 1}),
            (block("sh", "openssl").replace(PORT, address), {"accepted": 1}),
            (block("sh", "events.jsonl").replace(PORT, address), {"accepted": 3}),
            (f"python send.py {address}/v1/events $KEY", {"accepted": 1}),
        ):
            assert json.loads(run(shell, script, KEY=key, SECRET=SECRET)) == wanted
    assert len(await subjects(nats_url)) == 6


async def test_the_program_for_curl_publishes_what_it_says(shell: Shell, nats_url: str) -> None:
    shell.environment |= {"NATS_URL": nats_url}
    async with open_broker(Settings(nats_url=nats_url)):
        pass
    before = await subjects(nats_url)
    key = run(
        shell, "umask 077; ach ingest key --tenant acme.io >ingest.toml; grep -o 'ach_[A-Za-z0-9_-]*' ingest.toml"
    )
    program = ROOT / "docs" / "examples" / "producing" / "curl.sh"
    with taking(shell) as address:
        said = run(shell, f"sh {program}", ACH_INGEST_KEY=key.strip(), INGEST_URL=address)
    assert said == 2 * '{"accepted":1}'
    assert (await subjects(nats_url))[len(before) :] == 2 * ["events.acme%2Eio.ann%40example%2Ecom.lesson.completed"]


async def subjects(url: str) -> list[str]:
    """Return the subjects of all messages of the input stream, in order."""
    client = await nats.connect(url)
    try:
        stream = client.jetstream()
        number = (await stream.stream_info("EVENTS")).state.messages
        reading = await stream.subscribe("events.>", ordered_consumer=True)
        with anyio.fail_after(30):
            return [(await reading.next_msg()).subject for _ in range(number)]
    finally:
        await client.close()
