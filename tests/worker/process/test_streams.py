"""Standard streams lose nothing, whatever the pipe does that they are."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from worker.process.first import STOPPED

if TYPE_CHECKING:
    from collections.abc import Generator

ACH: Final = Path(sys.executable).with_name("ach")
UNSHARE: Final = ("unshare", "--pid", "--fork", "--kill-child", *(() if os.geteuid() == 0 else ("--map-root-user",)))
SMALL: Final = 4096
"""Bytes that a pipe of these tests holds: a page is the least."""
SIZE: Final = 267_063
SECONDS: Final = 10
"""Until a test gives up."""
WRITES: Final = f"""
import signal, sys
from worker.process.streams import lose_nothing
signal.signal(signal.SIGUSR1, lambda *_: None)
lose_nothing()
sys.stdout.write("x" * {SIZE})
"""
READS: Final = """
import sys
from worker.process.streams import lose_nothing
lose_nothing()
print("reading", flush=True)
for line in sys.stdin.buffer:
    print(len(line), flush=True)
"""
WAITS: Final = """
import sys
from worker.process.streams import lose_nothing
lose_nothing()
sys.stdout.write("a word")
sys.stdin.read()
"""
FIRST: Final = """
import signal
from worker.process.first import end_on_sigterm
end_on_sigterm()
print("ready", flush=True)
signal.pause()
"""


@contextmanager
def pipe() -> Generator[tuple[int, int]]:
    """Give both ends of a small pipe; the test closes the one that it hands on."""
    reads, writes = os.pipe()
    fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, SMALL)
    try:
        yield reads, writes
    finally:
        for end in (reads, writes):
            try:
                os.close(end)
            except OSError:
                continue


def environment(unbuffered: str) -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": unbuffered}


def all_of(reads: int, process: subprocess.Popen[bytes], *, send: signal.Signals | None) -> int:
    """Return how many bytes come, after a signal that finds the process in the middle of a write."""
    select.select([reads], [], [])
    if send is not None:
        process.send_signal(send)
    size = 0
    while taken := os.read(reads, SMALL):
        size += len(taken)
    return size


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("blocks", [True, False])
def test_all_is_written(unbuffered: str, blocks: bool) -> None:
    with pipe() as (reads, writes):
        os.set_blocking(writes, blocks)
        with subprocess.Popen([sys.executable, "-c", WRITES], stdout=writes, env=environment(unbuffered)) as process:
            os.close(writes)
            assert all_of(reads, process, send=signal.SIGUSR1) == SIZE
        assert process.returncode == 0


def test_an_input_ends_where_it_ends() -> None:
    with pipe() as (reads, writes):
        os.set_blocking(reads, False)
        command = [sys.executable, "-c", READS]
        with subprocess.Popen(command, stdin=reads, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"reading\n"
            for part in (b"one\nt", b"wo\n"):
                os.write(writes, part)
            assert [process.stdout.readline() for _ in range(2)] == [b"4\n", b"4\n"]
            os.close(writes)
            assert process.stdout.read() == b""


def test_nothing_waits_where_nothing_is_buffered() -> None:
    """It is there while the process waits for its input."""
    command = [sys.executable, "-c", WAITS]
    ends = subprocess.PIPE
    with subprocess.Popen(command, stdin=ends, stdout=ends, env=environment("1")) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        there, _, _ = select.select([process.stdout], [], [], SECONDS)
        process.stdin.close()
        assert there
        assert process.stdout.read() == b"a word"


def test_a_command_reads_and_writes_all() -> None:
    """A rule file through two pipes that do not block."""
    text = b"".join(b"event a.e%d {}\n" % number for number in range(3000))
    with pipe() as (given, gives), pipe() as (takes, taken):
        os.set_blocking(given, False)
        os.set_blocking(taken, False)
        with subprocess.Popen([ACH, "fmt", "-"], stdin=given, stdout=taken, env=environment("1")) as process:
            os.close(taken)
            os.close(given)
            with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, stdout=gives) as cat:
                os.close(gives)
                cat.communicate(text)
            size = all_of(takes, process, send=None)
        assert (process.returncode, size > len(text) // 2) == (0, True)


def test_sigterm_ends_the_first_process_of_a_container() -> None:
    command = [*UNSHARE, sys.executable, "-c", FIRST]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        (first,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(first), signal.SIGTERM)
        try:
            assert process.wait(SECONDS) == STOPPED
        finally:
            process.kill()
