"""What `import ach` loads: the language's own dependencies, no server's client and no event loop."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LANGUAGE = {"msgspec", "typing_extensions"}
SCRIPT = """
import json, sys
before = set(sys.modules)
import ach
rules = ach.load_text('event a.done {} achievement one { title "One" when count(event=a.done, >= 1) }')
me = rules.user("t", "u")
event = {"event_id": "1", "tenant_id": "t", "user_id": "u", "event_type": "a.done"}
grants = me.feed({**event, "occurred_at": "2026-01-01T00:00:00Z", "payload": {}})
assert [grant.id for grant in rules.user("t", "u", state=me.state()).grants()] == ["one"]
me.progress()
json.dump(sorted(set(sys.modules) - before), sys.stdout)
"""


def test_the_library_loads_what_the_language_needs() -> None:
    # Without `site`, whose hooks load what they like.
    packages = [str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))]
    script = f"import sys; sys.path[:0] = {packages!r}\n{SCRIPT}"
    ran = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
    loaded = set(json.loads(ran.stdout))
    foreign = {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names - {"ach", "dsl", "worker"}
    assert {name for name in foreign if not name.startswith("_")} <= LANGUAGE
    heavy = {"asyncio", "socket", "ssl", "http.client", "subprocess", "multiprocessing", "concurrent.futures"}
    assert not loaded & heavy
    assert not {name for name in loaded if name.startswith(("worker.pipeline", "worker.broker", "worker.store", "sql"))}
