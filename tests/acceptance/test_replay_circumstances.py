"""A large replay that is interrupted, loses a process or finds the disk full says so, and leaves nothing behind.

The recording comes through a pipe: what was written has been read, and a replay that has read so much is divided.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from select import select
from typing import TYPE_CHECKING, Final

import pytest

from worker.commands.replay import IN_MEMORY_BYTES

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from tests.acceptance.conftest import Shell

RULES: Final = 'event quiz { score: int }\nachievement first { title "F" when count(event=quiz, >= 1) }\n'
NOTE: Final = "n" * 30_000
"""So that few events are many bytes."""
SECONDS: Final = 60
ACH: Final = Path(sys.executable).with_name("ach")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux for processes")


def event(number: int) -> bytes:
    said = {"event_id": f"e{number}", "event_type": "quiz", "user_id": f"u{number % 40}", "tenant_id": "t"}
    when = f"2026-01-01T00:{number // 60 % 60:02}:{number % 60:02}Z"
    return json.dumps({**said, "occurred_at": when, "payload": {"score": 1, "note": NOTE}}).encode()


RECORDING: Final = b"\n".join(map(event, range(IN_MEMORY_BYTES // len(NOTE) + 200)))


@contextmanager
def replay(shell: Shell, *options: str) -> Generator[subprocess.Popen[bytes]]:
    """Start a replay of standard input, in a group of its own."""
    shell.write("rules.ach", RULES)
    with subprocess.Popen(
        [ACH, "replay", "-", "-r", "rules.ach", "--now", "2026-02-01T00:00:00Z", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=shell.folder,
        env=shell.environment,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def divided(process: subprocess.Popen[bytes]) -> list[int]:
    """Have a replay read a large recording that has not ended yet; return its processes."""
    assert process.stdin is not None
    process.stdin.write(RECORDING)
    process.stdin.flush()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii")
    return [*map(int, children.split())]


@contextmanager
def all_end(processes: Sequence[int]) -> Generator[None]:
    """Expect processes to end within a block, or soon after."""
    with ExitStack() as files:
        handles = [os.pidfd_open(process) for process in processes]
        for handle in handles:
            files.callback(os.close, handle)
        yield
        for handle in handles:
            assert select([handle], [], [], SECONDS)[0], "a process is left"


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    _, error = process.communicate(timeout=SECONDS)
    return process.returncode, error.decode()


def test_ctrl_c_ends_all_processes_and_prints_no_traceback(shell: Shell) -> None:
    with replay(shell, "--jobs", "2") as process:
        children = divided(process)
        assert len(children) == 2
        with all_end(children):
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does
            code, error = ended(process)
    assert code == 130
    assert "Traceback" not in error


def test_a_process_that_is_killed_is_reported(shell: Shell) -> None:
    with replay(shell, "--jobs", "2") as process:
        children = divided(process)
        with all_end(children):
            os.kill(children[0], signal.SIGKILL)
            code, error = ended(process)
    assert code == 1
    assert "a process of the replay was killed" in error
    assert "--jobs 1" in error
    assert "Traceback" not in error


def test_no_process_outlives_the_first_one(shell: Shell) -> None:
    with replay(shell, "--jobs", "3") as process:
        children = divided(process)
        assert len(children) == 3
        with all_end(children):
            process.kill()
            process.wait(SECONDS)


def test_a_full_disk_is_reported(shell: Shell) -> None:
    with replay(shell, "--jobs", "2") as process:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
        try:
            children = divided(process)
        except BrokenPipeError:  # it has ended already
            children = []
        with all_end(children):
            code, error = ended(process)
    assert code == 1
    assert "a temporary file: File too large" in error
    assert "TMPDIR" in error
    assert "Traceback" not in error


def test_any_number_of_processes_says_the_same(shell: Shell) -> None:
    said: set[bytes] = set()
    for jobs in ("1", "2", "5"):
        with replay(shell, "--jobs", jobs, "--json") as process:
            assert len(divided(process)) == (0 if jobs == "1" else int(jobs))
            out, error = process.communicate(timeout=SECONDS)
            assert process.returncode == 0, error
            said.add(out)
    assert len(said) == 1


def test_typical_mistakes_get_a_hint(shell: Shell) -> None:
    shell.write("rules.ach", RULES)
    shell.write("indented.json", json.dumps(json.loads(event(1)), indent=2))
    ran = shell.ach("replay", "indented.json", "-r", "rules.ach")
    assert ran.code == 1
    assert "each line has one event, or one array of events" in ran.err
    for jobs in ("0", "-1", "1000", "x"):
        ran = shell.ach("replay", "indented.json", "-r", "rules.ach", "--jobs", jobs)
        assert ran.code == 2
        assert "--jobs" in ran.err
    ran = shell.ach("replay", "--from-ledger", "--jobs", "2")
    assert ran.code == 2
    assert "--jobs" in ran.err


@pytest.mark.parametrize("pack", ["gzip", "zstandard"])
def test_a_compressed_stream_comes_through_a_pipe_too(shell: Shell, pack: str) -> None:
    shell.write("rules.ach", RULES)
    plain = b"\xef\xbb\xbf" + b"\r\n".join(map(event, range(5)))
    packed = __import__(pack).compress(plain)
    outs = [shell.ach("replay", "-", "-r", "rules.ach", "--json", stdin=body) for body in (plain, packed)]
    assert outs[0].out == outs[1].out
    assert json.loads(outs[0].out)["counts"]["events"] == 5
