"""`ach mirror`, `ach archive` and `ach analyze` on a bucket, as a user types them: what they say, and how they end."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, NamedTuple

import anyio
import pytest

from tests.integration.buckets import KEY, SECRET, error, meddling
from tests.integration.pipelines import sent
from tests.integration.test_mirror import event
from worker.mirror.manifest import MANIFEST, decoded

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.buckets import Answer, Asked, Store
    from tests.integration.engine import Engine

pytestmark = pytest.mark.anyio


class Said(NamedTuple):
    """How a command has ended."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """Its message, which is one line, with a hint at the most."""
        error, *rest = self.err.strip().splitlines()
        assert len(rest) <= 1, self.err
        assert self.code == 1
        assert not self.out
        assert SECRET not in self.err
        assert "\x1b" not in self.err
        return " ".join([error, *rest])


class Shell:
    """Runs commands in an environment."""

    def __init__(self, engine: Engine, store: Store, scratch: Path) -> None:
        self.store = store
        servers = {"DATABASE_URL": engine.settings.database_url, "NATS_URL": engine.settings.nats_url}
        # Lines as wide as they are long.
        self.environment = {**store.environment(), **servers, "TMPDIR": str(scratch), "COLUMNS": "400"}

    async def ach(self, *args: str, **variables: str | None) -> Said:
        environment = {**self.environment, **{name: value for name, value in variables.items() if value is not None}}
        for name, value in variables.items():
            if value is None:
                del environment[name]
        ran = await anyio.run_process([sys.executable, "-m", "ach", *args], check=False, env=environment)
        return Said(ran.returncode, ran.stdout.decode(), ran.stderr.decode())


@pytest.fixture
def shell(engine: Engine, store: Store, tmp_path: Path) -> Shell:
    return Shell(engine, store, tmp_path)


async def test_mirror_archive_and_analyze(engine: Engine, shell: Shell, store: Store) -> None:
    await sent(engine, *(event(n, user=f"u{n % 5}") for n in range(30)))
    await engine.rows("UPDATE event SET received_at = received_at - interval '3 days'")
    empty = {"AWS_ENDPOINT_URL_S3": "", "AWS_SESSION_TOKEN": "", "AWS_CA_BUNDLE": "", "AWS_ROLE_ARN": ""}
    ran = await shell.ach("mirror", "--to", store.url, "--json", **empty)
    assert (ran.code, json.loads(ran.out)["rows"]["event"]) == (0, 30), ran.err
    await sent(engine, event(99))
    said = await shell.ach("archive", "--older-than", "1d", "--to", f"{store.url}/")
    assert said.code == 0, said.err
    assert "run 2: event +1" in said.out
    assert "archived 25 events of 5 users" in said.out
    assert decoded(store.body(MANIFEST), "").rows("event") == 31
    again = await shell.ach("archive", "--older-than", "1d", "--to", store.url, "--json")
    assert json.loads(again.out)["events"] == 0
    assert decoded(store.body(MANIFEST), "").rows("event") == 31
    answer = await shell.ach("analyze", "time", "--from", store.url, "--json", "--fewest", "1")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["run"] == 3
    await shell.ach("mirror", "--to", f"{store.url}2")
    assert decoded(store.body(MANIFEST), "").run == 3


async def test_what_stands_in_the_way_is_said_in_one_line(engine: Engine, shell: Shell, store: Store) -> None:
    await sent(engine, event(1))
    to = ("mirror", "--to", store.url)

    missing = await shell.ach("mirror", "--to", "s3://no-such-bucket/mirror")
    assert "error: s3://no-such-bucket/mirror: no such bucket (NoSuchBucket)" in missing.line
    away = await shell.ach(*to, AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert "its server cannot be reached" in away.line

    def refuse(_: Asked) -> Answer:
        return error(403, "InvalidAccessKeyId")

    commands = (to, ("analyze", "time", "--from", store.url), ("archive", "--older-than", "1d", "--to", store.url))
    with meddling(store, refuse) as endpoint:
        for command in commands:
            said = await shell.ach(*command, AWS_ENDPOINT_URL=endpoint)
            assert f"{store.url}: access is denied (InvalidAccessKeyId)" in said.line
            assert "is AWS_ACCESS_KEY_ID right?" in said.line
    assert not store.keys()
    nothing = await shell.ach("analyze", "time", "--from", store.url)
    assert f"{store.url} is no mirror: run `ach mirror --to {store.url}` first" in nothing.line


@pytest.mark.parametrize(
    ("args", "variables", "said"),
    [
        (["mirror", "--to", "s3:/books"], {}, "s3://BUCKET/PREFIX"),
        (["mirror", "--to", "gs://books"], {}, "gs: is not supported"),
        (["archive", "--older-than", "1y", "--to", "https://books.s3.amazonaws.com"], {}, "AWS_ENDPOINT_URL"),
        (["analyze", "time", "--from", f"s3://k:{SECRET}@books"], {}, "without a key"),
        (["console", "--mirror", "s3://books/../x"], {}, "does not begin with a dot"),
        (["mirror", "--to", "s3://books"], {"AWS_SECRET_ACCESS_KEY": ""}, "AWS_SECRET_ACCESS_KEY is not set"),
        (["mirror", "--to", "s3://books"], {"AWS_ENDPOINT_URL": "http://minio:9000"}, "AWS_ALLOW_HTTP"),
        (["console", "--mirror", "s3://books"], {"AWS_ENDPOINT_URL": "minio"}, "expected a URL"),
    ],
)
async def test_what_is_written_wrongly_is_an_error_of_use(
    shell: Shell, args: list[str], variables: dict[str, str], said: str
) -> None:
    ended = await shell.ach(*args, **variables)
    assert ended.code == 2
    assert said in ended.err
    assert SECRET not in ended.err
    assert KEY not in ended.err


async def test_an_archive_writes_files_that_are_as_private_as_the_books(
    engine: Engine, shell: Shell, tmp_path: Path
) -> None:
    await sent(engine, event(1))
    said = await shell.ach("archive", "--older-than", "1d", "--to", f"file://{tmp_path}/mirror", "--json")
    assert json.loads(said.out)["events"] == 0
    assert (tmp_path / "mirror" / MANIFEST).is_file()
    assert not [path for path in (tmp_path / "mirror").rglob("*") if path.stat().st_mode & 0o077]
