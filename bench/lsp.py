"""How long an editor waits: keystrokes and questions on one file of many rules, through `ach lsp` as a process.

    python -m bench.lsp [RULES]

Every second rule has an example, every third a window, a filter or a composition. A keystroke is timed from the change
to its diagnostics, the pause before them included; every other one leaves a string open, as typing does. Typing begins
when advice has been given: each rule has some, and what is said of it is sent with every keystroke.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.acceptance.editor import Document, Editor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROUNDS: Final = 40
_EVENTS: Final = """\
event lesson.completed { lesson_id: string, course_id: string?, duration_seconds: int >= 0 }
event purchase.placed { amount: decimal >= 0, currency: string }
event answer.wrong {}
traits from user.updated { plan: string, timezone: string }
"""


def rules(number: int) -> str:
    """Return a file of so many rules."""
    return _EVENTS + "".join(_rule(at) + (_example(at) if at % 2 else "") for at in range(number))


def _rule(at: int) -> str:
    streak = "streak(event=lesson.completed, per=day, >= 7, grace=1, tz=user)"
    when = (
        f"count(event=lesson.completed where duration_seconds > {at}, distinct=lesson_id, >= {at + 1})",
        f"sum(event=purchase.placed, of=amount, >= {at + 1}, within=7d)",
        f"all({streak},\n    count(event=purchase.placed, >= {at + 1}, unless=answer.wrong))",
    )[at % 3]
    return (
        f'\nachievement rule_{at} {{\n  title  "Rule {at}"\n  about  "The number {at} of them."\n  when   {when}\n'
        f'  for    plan in ["pro", "team"]\n  reward {{ xp: {at} }}\n}}\n'
    )


def _example(at: int) -> str:
    return (
        f'\nexample "rule {at}" {{\n  at 2026-04-13T09:00:00Z u1 lesson.completed '
        f'{{ lesson_id: "l{{n}}", duration_seconds: 600 }} times 10 every 1h\n  expect u1 not rule_{at}\n}}\n'
    )


def _keystrokes(document: Document, text: str) -> Iterator[float]:
    for at in range(ROUNDS):
        changed = text.replace('"Rule 77"', '"Rule 77' + "x" * at + ('"' if at % 2 else ""))
        began = time.perf_counter()
        document.change(changed)
        document.problems()
        yield time.perf_counter() - began


def _questions(document: Document) -> Iterator[tuple[str, Callable[[], object]]]:
    whole = {"includeDeclaration": True}
    yield "hover", lambda: document.ask("hover", "co|unt(event=lesson")
    yield "completion", lambda: document.ask("completion", "of=|amount")
    yield "references", lambda: document.ask("references", "event purchase.|placed", context=whole)
    yield "outline", lambda: document.ask_whole("documentSymbol")
    yield "colours", lambda: document.ask_whole("semanticTokens/full")
    yield "formatting", lambda: document.ask_whole("formatting", options={"tabSize": 2, "insertSpaces": True})


def _shown(name: str, seconds: list[float]) -> str:
    ordered = sorted(seconds)
    worst = ordered[int(len(ordered) * 0.95)]
    return f"{name:<12} median {1000 * statistics.median(ordered):4.0f} ms   95% {1000 * worst:4.0f} ms"


def main(number: int) -> None:
    """Measure, and print a line each."""
    text = rules(number)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [str(Path(sys.executable).with_name("ach")), "lsp"]
        with Editor(command, folder, workspaceFolders=[{"uri": folder.as_uri(), "name": "bench"}]) as editor:
            document = Document(editor, folder / "rules.ach", text)
            document.problems()
            document.problems()
            print(f"{number} rules, {len(text.splitlines())} lines")
            print(_shown("keystroke", list(_keystrokes(document, text))))
            document.change(text)
            document.problems()
            for what, ask in _questions(document):
                print(_shown(what, [_timed(ask) for _ in range(ROUNDS // 4)]))


def _timed(ask: Callable[[], object]) -> float:
    began = time.perf_counter()
    ask()
    return time.perf_counter() - began


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
