"""Many commands at a time: a process that has `ach` imported forks one for each, so that a start costs 20 ms.

Run as a module it takes JSON lines, a `Job` each, and answers with a `Ran` each, in the order in which they end.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import IO, TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping

SECONDS: Final = 80.0
"""Until a command counts as stuck: it waits 15 s for a server at the most, and beside many others."""
STUCK: Final = -1
AT_ONCE: Final = 96
"""Most of them wait for a server that is away."""


class Job(msgspec.Struct, frozen=True):
    """A command: its arguments, all of its environment, and the folder in which it runs."""

    number: int
    args: tuple[str, ...]
    environment: dict[str, str]
    folder: str
    output: str
    """The folder in which its output is kept."""
    terminal: str = ""
    """What it reads from and writes to instead; else it reads the file of its number, if there is one."""


class Ran(msgspec.Struct):
    """What a command did; STUCK where it was killed."""

    number: int
    code: int
    seconds: float
    out: str = ""
    err: str = ""


class Herd:
    """The process that forks; made by `herd`."""

    def __init__(self, requests: IO[bytes], answers: IO[bytes], output: Path) -> None:
        self._requests = requests
        self._answers = answers
        self._output = output
        self._number = 0

    def run(
        self,
        args: tuple[str, ...],
        environment: Mapping[str, str],
        folder: Path,
        *,
        stdin: bytes = b"",
        terminal: str = "",
    ) -> Ran:
        """Run a command to its end."""
        job = self._job(args, environment, folder, terminal)
        _file(self._output, job.number, "in").write_bytes(stdin)
        self._ask(job)
        return self._answer()

    def run_all(self, jobs: Iterable[tuple[tuple[str, ...], Mapping[str, str]]], folder: Path) -> list[Ran]:
        """Run commands with their environments, many at a time; return what they did, in the order given."""
        made = [self._job(args, environment, folder) for args, environment in jobs]
        waiting, found = iter(made), dict[int, Ran]()
        for n in range(len(made) + AT_ONCE):
            if (job := next(waiting, None)) is not None:
                self._ask(job)
            if n >= AT_ONCE:
                ran = self._answer()
                found[ran.number] = ran
        return [found[job.number] for job in made]

    def _job(self, args: tuple[str, ...], environment: Mapping[str, str], folder: Path, terminal: str = "") -> Job:
        self._number += 1
        return Job(self._number, args, dict(environment), str(folder), str(self._output), terminal)

    def _ask(self, job: Job) -> None:
        self._requests.write(msgspec.json.encode(job) + b"\n")
        self._requests.flush()

    def _answer(self) -> Ran:
        ran = msgspec.json.decode(self._answers.readline(), type=Ran)
        ran.out, ran.err = (_file(self._output, ran.number, kind).read_bytes().decode() for kind in ("out", "err"))
        return ran


@contextmanager
def herd(output: Path) -> Generator[Herd]:
    """Run the process that forks for the length of a block; `output` is a folder for what commands print."""
    output.mkdir(exist_ok=True)
    with subprocess.Popen(
        [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield Herd(process.stdin, process.stdout, output)
        process.stdin.close()


def _file(folder: Path | str, number: int, kind: str) -> Path:
    return Path(folder) / f"{number}.{kind}"


# -- in the process that forks -----------------------------------------------------------------------------------------


def _serve() -> None:
    """Fork a keeper for each job, which waits for its command."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while line := sys.stdin.buffer.readline():
        if not os.fork():
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _keep(msgspec.json.decode(line, type=Job))
            os._exit(0)


def _keep(job: Job) -> None:
    began = monotonic()
    pid = os.fork()
    if not pid:
        _command(job)
    handle = os.pidfd_open(pid)
    ended, _, _ = select.select([handle], [], [], SECONDS)
    if not ended:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    ran = Ran(job.number, os.waitstatus_to_exitcode(status) if ended else STUCK, monotonic() - began)
    os.write(1, msgspec.json.encode(ran) + b"\n")


def _command(job: Job) -> None:
    """Be the command, from here to the end of the process."""
    from worker.cli import main  # noqa: PLC0415

    writing = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    given = _file(job.output, job.number, "in")
    os.dup2(os.open(job.terminal or (given if given.exists() else os.devnull), os.O_RDONLY), 0)
    for number, kind in ((1, "out"), (2, "err")):
        printed = os.open(_file(job.output, job.number, kind), writing)
        os.dup2(os.open(job.terminal, os.O_WRONLY) if job.terminal else printed, number)
    os.chdir(job.folder)
    os.environ.clear()
    os.environ.update(job.environment)
    code: object = 70
    try:
        main(args=list(job.args), prog_name="ach")
    except SystemExit as end:
        code = end.code
    finally:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code if isinstance(code, int) else int(bool(code)))


def _import_everything() -> None:
    from pkgutil import walk_packages  # noqa: PLC0415

    import worker  # noqa: PLC0415

    for module in walk_packages(worker.__path__, "worker."):
        __import__(module.name)
    from dsl.ruleset import build  # noqa: PLC0415

    build([("any.ach", b"event a.b {}")])  # reads the grammar, which takes longest


if __name__ == "__main__":
    _import_everything()
    _serve()
