"""`just tools-bench`: what the commands that authors run all day cost, beside a Python that does nothing.

    python -m bench.tools [ROUNDS]

Each command reads one small file. What counts is the processor's time of user and kernel in its process: it does not
depend on who else runs. Commands take turns, and the medians are printed, with their ratio to `python -c pass`. The
language server is asked twice: for all that it takes from its start to the problems of a first file, and for the part
of it behind its answer to `initialize`. The bytecode is written beforehand, as an installation does.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Final

from bench.machine import machine
from tests.acceptance.editor import Document, Editor

ROOT: Final = Path(__file__).parents[1]
ROUNDS: Final = 21
RULES: Final = """\
event lesson.completed { score: int, course: string }
achievement first { title "First" when count(event=lesson.completed, >= 1) }

example "one is enough" {
  at 2026-04-13T09:00:00Z ann lesson.completed { score: 3, course: "a" }
  expect ann first
}
"""
STREAM: Final = """\
{"event_id":"e1","event_type":"lesson.completed","tenant_id":"t","user_id":"u","occurred_at":"2026-04-13T09:00:00Z",\
"payload":{"score":1,"course":"a"}}
"""


def _used() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}


def _command(folder: Path, *args: str) -> float:
    before = _used()
    subprocess.run(
        [sys.executable, *args],
        cwd=folder,
        env=_environment(folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return _used() - before


def _server(folder: Path) -> tuple[float, float]:
    """Return what the server uses until it has shown the problems of a file, and the time that the last step takes."""
    before = _used()
    workspace = [{"uri": folder.as_uri(), "name": "bench"}]
    with Editor([sys.executable, "-m", "ach", "lsp"], folder, workspaceFolders=workspace) as editor:
        began = perf_counter()
        Document(editor, folder / "new.ach", RULES).problems()
        took = perf_counter() - began
    return _used() - before, took


def main(rounds: int) -> None:
    """Measure, and print a table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rules.ach").write_text(RULES, encoding="utf-8")
        (folder / "stream.jsonl").write_text(STREAM, encoding="utf-8")
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ.update(_environment(folder))
        asked = {
            "python -c pass": ("-c", "pass"),
            "ach check": ("-m", "ach", "check", "rules.ach"),
            "ach fmt --check": ("-m", "ach", "fmt", "--check", "rules.ach"),
            "ach test": ("-m", "ach", "test", "rules.ach"),
            "ach replay": ("-m", "ach", "replay", "stream.jsonl", "-r", "rules.ach"),
        }
        took: dict[str, list[float]] = {what: [] for what in asked}
        server: list[tuple[float, float]] = []
        for at in range(rounds + 1):
            for what, args in asked.items():
                took[what].append(_command(folder, *args))
            server.append(_server(folder))
            if not at:  # the first round has written bytecode
                took, server = {what: [] for what in asked}, []
        took["ach lsp, from its start"] = [cpu for cpu, _ in server]
        took["ach lsp, from opening a file (elapsed)"] = [elapsed for _, elapsed in server]
    print(f"{rounds} rounds, {', '.join(machine().values())}\n\n| | ms | to python -c pass |\n| --- | ---: | ---: |")
    least = median(took["python -c pass"])
    for what, seconds in took.items():
        print(f"| `{what}` | {1000 * median(seconds):.0f} | {median(seconds) / least:.1f} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
