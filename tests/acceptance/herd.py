"""Many commands at a time: a process that has `ach` imported forks one for each, so that a start costs 20 ms.

Run as a module it takes JSON lines, a `Job` each, and answers with a `Ran` each, in the order in which they end.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

SECONDS: Final = 80.0
"""Until a command counts as stuck: it waits 15 s for a server at the most, and beside many others."""
STUCK: Final = -1
AT_ONCE: Final = 64
"""Most of them wait for a server that is away."""


class Job(msgspec.Struct, frozen=True):
    """A command: its arguments, all of its environment, and the folder in which its output is kept, and it runs."""

    number: int
    args: tuple[str, ...]
    environment: dict[str, str]
    folder: str


class Ran(msgspec.Struct):
    """What a command did; STUCK where it was killed."""

    number: int
    code: int
    seconds: float
    out: str = ""
    err: str = ""


def run_all(jobs: Iterable[tuple[tuple[str, ...], Mapping[str, str]]], folder: Path) -> list[Ran]:
    """Run commands with their environments, many at a time; return what they did, in the order given."""
    (folder / "output").mkdir(exist_ok=True)
    made = [Job(number, args, dict(env), str(folder)) for number, (args, env) in enumerate(jobs)]
    with subprocess.Popen(
        [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as herd:
        assert herd.stdin is not None
        assert herd.stdout is not None
        found = dict(_answers(made, herd.stdin, herd.stdout))
        herd.stdin.close()
    for ran in found.values():
        ran.out, ran.err = (_output(folder, ran.number, kind).read_text("utf-8") for kind in ("out", "err"))
    return [found[job.number] for job in made]


def _answers(jobs: list[Job], requests: object, answers: object) -> Iterator[tuple[int, Ran]]:
    waiting = iter(jobs)
    for n in range(len(jobs) + AT_ONCE):
        if (job := next(waiting, None)) is not None:
            getattr(requests, "write")(msgspec.json.encode(job) + b"\n")  # noqa: B009
            getattr(requests, "flush")()  # noqa: B009
        if n >= AT_ONCE:
            ran = msgspec.json.decode(getattr(answers, "readline")(), type=Ran)  # noqa: B009
            yield ran.number, ran


def _output(folder: Path | str, number: int, kind: str) -> Path:
    return Path(folder) / "output" / f"{number}.{kind}"


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

    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, kind in ((1, "out"), (2, "err")):
        os.dup2(os.open(_output(job.folder, job.number, kind), flags), number)
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
