"""The examples of docs/library.md, as requests meet them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.library.page import blocks

ROOT: Final = Path(__file__).parents[2]
EXAMPLES: Final = ROOT / "docs" / "examples" / "library"

FASTAPI: Final = """
from fastapi.testclient import TestClient
import fastapi_app as example
client = TestClient(example.app)
def ask(method, path, user, body=None):
    answer = client.request(method, path, json=body, headers={"X-User": user, "Accept-Language": "de"})
    return answer.status_code, answer.json()
"""
DJANGO: Final = """
import django
from django.conf import settings
settings.configure(ROOT_URLCONF="django_app", ALLOWED_HOSTS=["*"], SECRET_KEY="x", DEBUG=False)
django.setup()
from django.test import Client
import django_app as example
client = Client()
def ask(method, path, user, body=None):
    headers = {"X-User": user, "Accept-Language": "de"}
    data = {} if body is None else {"data": body, "content_type": "application/json"}
    answer = getattr(client, method.lower())(path, headers=headers, **data)
    return answer.status_code, answer.json()
"""
STORY: Final = """
import json, sys
said = [ask("POST", "/lessons", "ann", {"event_id": f"e{n}", "score": n}) for n in (1, 2, 3, 3)]
said.append(ask("POST", "/lessons", "ann", {"event_id": "e9", "score": "many"}))
said.append(ask("POST", "/lessons", "bob", {"event_id": "e1", "score": 1}))
said.append(ask("GET", "/progress", "ann"))
json.dump({"said": said, "published": [json.loads(one) for one in example.outbox]}, sys.stdout)
"""


@pytest.fixture(params=[FASTAPI, DJANGO], ids=["fastapi", "django"], scope="module")
def answers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What an application answers in a process of its own, as both would configure the process."""
    environment = {
        "PATH": "",
        "PROGRESS_DB": str(tmp_path_factory.mktemp("db") / "progress.sqlite3"),
    }
    # In their folder, and not in ours: `ach` is the one that is installed.
    command = [sys.executable, "-W", "ignore", "-c", f"{request.param}\n{STORY}"]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, cwd=EXAMPLES)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_a_toast_comes_with_the_answer(answers: dict[str, Any]) -> None:
    toasts = [[one["title"] for one in body.get("toasts", [])] for _, body in answers["said"][:4]]
    assert toasts == [["First lesson"], [], ["Three lessons"], []]
    assert answers["said"][2][1]["toasts"][0]["reward"] == {"xp": 30}


def test_bad_input_is_answered_and_not_published(answers: dict[str, Any]) -> None:
    assert answers["said"][4][0] == 422
    assert [one["event_id"] for one in answers["published"]] == ["e1", "e2", "e3", "e1"]
    assert {one["tenant_id"] for one in answers["published"]} == {"acme"}


def test_users_do_not_meet(answers: dict[str, Any]) -> None:
    assert [one["title"] for one in answers["said"][5][1]["toasts"]] == ["First lesson"]
    ids = {one["unlock_id"] for _, body in (*answers["said"][:4], answers["said"][5]) for one in body["toasts"]}
    assert len(ids) == 3


def test_progress_is_that_of_the_read_api(answers: dict[str, Any]) -> None:
    status, items = answers["said"][6]
    shown = {one["id"]: (one["title"], one["status"], one["percent"]) for one in items}
    assert (status, shown["three_lessons"]) == (200, ("Drei Lektionen", "earned", 100))


@pytest.mark.parametrize("page", ["library.md", "function.md"])
def test_every_block_of_a_page_is_a_file_or_runs(page: str, tmp_path: Path) -> None:
    """A block that begins with `# docs/...` is that file; the others run, one after the other, in one program."""
    run: list[str] = []
    for block in blocks(ROOT / "docs" / page):
        first, _, rest = block.partition("\n")
        if first.startswith("# docs/"):
            assert rest.strip() in (ROOT / first[2:]).read_text("utf-8")
        else:
            run.append(block)
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "lessons.ach").write_bytes((EXAMPLES / "lessons.ach").read_bytes())
    command = [sys.executable, "-c", "\n".join(run)]
    ran = subprocess.run(command, capture_output=True, text=True, env={"PATH": ""}, check=False, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
