"""Types that are generated: the checkers of both languages take good events, and refuse bad ones."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.worker.artefacts.producers import NODE, python_module
from tests.worker.artefacts.rules import EVENTS
from worker.artefacts import python, typescript
from worker.artefacts.names import TAKEN, names_of

ROOT: Final = Path(__file__).parents[3]
JAVASCRIPT: Final = os.environ.get("ACH_PRODUCING_JS")

PYTHON: Final = """
from ach_events import AnyEvent, InClass, LessonCompleted, Login, PostPublished, PurchasePlaced

one: LessonCompleted = {
    "event_id": "e1", "event_type": "lesson.completed", "user_id": "ann", "tenant_id": "acme",
    "occurred_at": "2026-01-01T00:00:00Z", "payload": {"lesson_id": "l1", "seconds": None},
}
two: Login = {
    "event_id": "e1", "event_type": "login", "user_id": "ann", "tenant_id": "acme", "occurred_at": "x", "source": "app",
}
three: PurchasePlaced = {
    "event_id": "e1", "event_type": "purchase.placed", "user_id": "ann", "tenant_id": "acme", "occurred_at": "x",
    "payload": {"amount": "19.90", "at": "x", "gift": True, "level": 1},
}
four: InClass = {
    "event_id": "e1", "event_type": "in.class", "user_id": "ann", "tenant_id": "acme", "occurred_at": "x",
    "payload": {"from": "a", "class": None},
}
five: PostPublished = {
    "event_id": "e1", "event_type": "post.published", "user_id": "ann", "tenant_id": "acme", "occurred_at": "x",
    "payload": {"tags": ["a"], "marks": None, "prices": [1, "2.50"], "author": "ben", "seen_by": ["cal"]},
}
every: list[AnyEvent] = [one, two, three, four, five]
"""
PYTHON_FAULTS: Final = {
    '"seconds": None}': '"second": None}',
    '"lesson_id": "l1"': '"lesson_id": 1',
    '"event_type": "login"': '"event_type": "logins"',
    '"amount": "19.90", ': "",
    '"gift": True': '"gift": None',
    '"tags": ["a"]': '"tags": "a"',
    '"author": "ben"': '"author": ["ben"]',
    '"from": "a"': '"from": 1',
    '"source": "app"': '"sources": "app"',
}

TYPESCRIPT: Final = """
import { eventSubject, messageId, type AnyEvent, type LessonCompleted } from "./ach_events.ts";

const one: LessonCompleted = {
  event_id: "e1", event_type: "lesson.completed", user_id: "ann", tenant_id: "acme",
  occurred_at: new Date().toISOString(), payload: { lesson_id: "l1", seconds: null },
};
const every: AnyEvent[] = [
  one,
  { event_id: "e1", event_type: "login", user_id: "ann", tenant_id: "acme", occurred_at: "x" },
  { event_id: "e1", event_type: "purchase.placed", user_id: "ann", tenant_id: "acme", occurred_at: "x",
    payload: { amount: "19.90", at: "x", gift: true, level: 1 } },
  { event_id: "e1", event_type: "in.class", user_id: "ann", tenant_id: "acme", occurred_at: "x",
    payload: { from: "a", class: null } },
];
export const subjects: string[] = every.map((event) => eventSubject(event));
export const id: string | undefined = messageId(one);
"""
TYPESCRIPT_FAULTS: Final = {
    "seconds: null": "second: null",
    'lesson_id: "l1"': "lesson_id: 1",
    '"login"': '"logins"',
    'amount: "19.90", ': "",
    "gift: true": "gift: null",
    'user_id: "ann", tenant_id: "acme", occurred_at: "x" }': 'tenant_id: "acme", occurred_at: "x" }',
}


def spoilt(text: str, faults: dict[str, str]) -> list[str]:
    found = [text.replace(old, new, 1) for old, new in faults.items()]
    assert text not in found
    return found


@pytest.mark.faults
def test_python(tmp_path: Path) -> None:
    """One run for all files, since each takes seconds."""
    (tmp_path / "ach_events.py").write_text(python.module(EVENTS, prefix="events"))
    (tmp_path / "good.py").write_text(PYTHON)
    for number, text in enumerate(spoilt(PYTHON, PYTHON_FAULTS)):
        (tmp_path / f"bad{number}.py").write_text(text)
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict", "pythonVersion": "3.11"}')
    command = [str(ROOT / ".venv" / "bin" / "basedpyright"), "--project", str(tmp_path), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wrong = {
        line.strip().rpartition("/")[2].partition(":")[0] for line in done.stdout.splitlines() if " error: " in line
    }
    assert wrong == {f"bad{number}.py" for number in range(len(PYTHON_FAULTS))}, done.stdout


def test_python_can_be_imported(tmp_path: Path) -> None:
    path = tmp_path / "ach_events.py"
    path.write_text(python.module(EVENTS, prefix="in.events"))
    module = python_module(path)
    assert module.event_subject("acme.io", "ann", "login") == "in.events.acme%2Eio.ann.login"
    assert module.batch_subject("acme.io") == "in.events.acme%2Eio.~batch.batch"


def test_typescript_is_typescript(tmp_path: Path) -> None:
    """Node.js reads and runs it without its types; those are checked where the compiler is there."""
    (tmp_path / "ach_events.ts").write_text(typescript.module(EVENTS, prefix="events"))
    (tmp_path / "good.ts").write_text(TYPESCRIPT + "console.log(subjects.join(' '), id);")
    command = [str(NODE), "--no-warnings", str(tmp_path / "good.ts")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        "events.acme.ann.lesson.completed",
        "events.acme.ann.login",
        "events.acme.ann.purchase.placed",
        "events.acme.ann.in.class",
        "acme:e1",
    ]


@pytest.mark.skipif(JAVASCRIPT is None, reason="just producing-js runs it")
def test_typescript(tmp_path: Path) -> None:
    assert JAVASCRIPT is not None
    (tmp_path / "ach_events.ts").write_text(typescript.module(EVENTS, prefix="events"))
    options = ["--strict", "--noEmit", "--target", "es2022", "--module", "nodenext", "--allowImportingTsExtensions"]
    options += ["--noUncheckedIndexedAccess", "--exactOptionalPropertyTypes", "--lib", "es2022,dom", "--types", ""]

    def compiled(text: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "use.ts").write_text(text)
        (tmp_path / "package.json").write_text('{"type": "module"}')
        command = [str(Path(JAVASCRIPT or "") / "node_modules" / ".bin" / "tsc"), *options, "use.ts"]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    good = compiled(TYPESCRIPT)
    assert good.returncode == 0, good.stdout
    for text in spoilt(TYPESCRIPT, TYPESCRIPT_FAULTS):
        assert "error TS" in compiled(text).stdout


def test_no_two_names_are_the_same() -> None:
    names = names_of(["a.b_c", "a_b.c", "a.b.c_payload", "a.b.c", "none", "exact", "batch", "literal", "x2", "x"])
    flat = [name for one in names.values() for name in one]
    assert len(set(flat)) == len(flat)
    assert TAKEN.isdisjoint(flat)
    assert names == names_of(sorted(names, reverse=True))
