"""The wheel, installed into an environment of its own: an application's types, the function form, our own tests."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from release.binary import distribution, pip_command
from release.package import application
from tests.kit.debian import ROOT

if TYPE_CHECKING:
    from worker.local.servers import Servers

pytestmark = [pytest.mark.operate, pytest.mark.anyio]

PACKAGES: Final = next(path for path in sys.path if path.endswith("site-packages"))
ALIASES: Final = Path(__file__).with_name("aliases.py")
TESTS: Final = (
    "tests/dsl",
    "tests/library",
    "tests/sql",
    "tests/worker",
    "tests/acceptance/test_authoring_commands.py",
    "tests/acceptance/test_fixtures.py",
)
OF_NAMES: Final = ("--ignore=tests/worker/commands/test_lazy_group.py",)
"""It compares the names of modules, which are others there."""
RULES: Final = 'event a.done {}\nachievement one { title "One" when count(event=a.done, >= 1) }\n'
TYPED: Final = """
from typing import assert_type

import ach

rules = ach.load("rules.ach")
assert_type(rules, ach.Rules)
session = rules.user("acme", "ann")
assert_type(session, ach.Session)
for grant in session.feed({}):
    assert_type(grant, ach.Grant)
    assert_type(grant.id, str)
assert_type(session.progress(), list[ach.Progress])
ach.lode("rules.ach")
"""
FUNCTION: Final = """
import json, os, ach
event = {"event_id": "e1", "tenant_id": "acme", "user_id": "ann", "event_type": "a.done"}
body = json.dumps({**event, "occurred_at": "2026-04-13T09:00:00Z", "payload": {}})
records = {"Records": [{"messageId": "m1", "body": body, "eventSource": "aws:sqs"}]}
answer = ach.batch_sync(records, tenant="acme", database_url=os.environ["DATABASE_URL"])
print(json.dumps(answer))
"""


class Installed(NamedTuple):
    """Where the programs of the environment are, and the folder of an application."""

    programs: Path
    folder: Path

    def run(self, program: str, *args: str, **more: str) -> subprocess.CompletedProcess[str]:
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "PATH", "TMPDIR") if name in os.environ}
        return subprocess.run(
            [self.programs / program, *args],
            cwd=self.folder,
            env={**kept, "PYTHONPATH": ".", "COLUMNS": "160", **more},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return distribution("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel; the packages that it needs, and those of our tests, are those of this one."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    pip = [*pip_command(), "--python", str(folder / "bin" / "python"), "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--no-index", str(wheel)], check=True)
    (packages,) = folder.glob("lib/python3*/site-packages")
    # Paths in such a file come last, and what that folder says of further paths is not read: ours is not on any.
    (packages / "beside.pth").write_text(f"{PACKAGES}\n")
    return folder / "bin"


@pytest.fixture(scope="module")
def installed(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = application(tmp_path_factory.mktemp("application"))
    (folder / "rules.ach").write_text(RULES)
    return Installed(programs, folder)


def test_the_image_is_made_of_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    first = (ROOT / "deploy" / "Containerfile").read_text().partition("\nFROM ")[2].partition("\nFROM ")[0]
    source = tmp_path / "source"
    for words in (line.split() for line in first.splitlines() if line.startswith("COPY ")):
        for name in words[1:-1]:
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, target)
    made = distribution("wheel", tmp_path / "image", source)
    assert made.read_bytes() == wheel.read_bytes()


def test_commands_run_beside_packages_of_the_same_names(installed: Installed) -> None:
    streams = ROOT / "fixtures" / "streams"
    rules = str(ROOT / "fixtures" / "rules" / "commits.ach")
    for args, wanted in (
        (["--version"], "ach, version 0.1.0"),
        (["check", "rules.ach"], "1 file, 1 achievement: 0 errors"),
        (["check", "--explain", "ACH410"], "# ACH410"),
        (["docs", "rules.ach", "-o", "site"], "site/index.html: 1 achievement"),
        (["contract", "rules.ach", "-o", "contract"], "contract: 1 event type"),
        (["grants"], "CREATE ROLE"),
        (["alerts"], "groups:"),
        (["replay", str(streams / "lark.jsonl.gz"), "-r", rules, "--expect", str(streams / "lark.expected.json")], ""),
    ):
        done = installed.run("ach", *args)
        assert done.returncode == 0, done.stderr
        assert wanted in done.stdout


def test_an_error_shows_the_lines_of_the_source(installed: Installed) -> None:
    program = (
        "import ach\ntry:\n    ach.load_text('x')\nexcept ach.RulesError:\n    import traceback; traceback.print_exc()"
    )
    said = installed.run("python", "-c", program).stderr
    places = re.findall(r'File "[^"]*/ach/(\w+\.py)", line (\d+), in (\w+)', said)
    assert places
    for name, line, function in places:
        lines = (ROOT / "ach" / name).read_text().splitlines()
        above = [text for text in lines[: int(line)] if re.match(r"\s*(async )?def ", text)]
        assert f"def {function}(" in above[-1]


def test_an_application_sees_the_types(installed: Installed) -> None:
    (installed.folder / "app.py").write_text(TYPED)
    configuration = {
        "include": ["app.py"],
        "typeCheckingMode": "strict",
        "venvPath": str(installed.programs.parents[1]),
        "venv": installed.programs.parent.name,
    }
    (installed.folder / "pyrightconfig.json").write_text(json.dumps(configuration))
    checker = Path(sys.executable).with_name("basedpyright")
    done = subprocess.run([checker, "--outputjson"], cwd=installed.folder, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)["generalDiagnostics"]
    lines = TYPED.splitlines()
    assert [lines[one["range"]["start"]["line"]] for one in found] == ['ach.lode("rules.ach")'] * len(found), found
    assert any('"lode" is not a known attribute' in one["message"] for one in found)


async def test_the_function_form_grants(installed: Installed, servers: Servers, database_url: str) -> None:
    settings = {"NATS_URL": servers.nats_url, "DATABASE_URL": database_url}
    applied = installed.run("ach", "apply", "rules.ach", "--json", **settings)
    assert applied.returncode == 0, applied.stderr
    assert json.loads(applied.stdout)["new"] == [{"achievement": "one", "version": 1}]
    done = installed.run("python", "-c", FUNCTION, **settings)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"batchItemFailures": []}
    unlocks = installed.run("ach", "unlocks", "--json", **settings)
    assert [one["achievement"] for one in json.loads(unlocks.stdout)] == ["one"]


@pytest.mark.timeout(1200)
def test_our_own_tests_pass_on_what_is_installed(programs: Path) -> None:
    (packages,) = programs.parent.glob("lib/python3*/site-packages")
    # Tests say `worker.x` for what is `ach._worker.x` here, also in strings and in the programs that they start.
    (packages / "ach_aliases.py").write_text(ALIASES.read_text())
    (packages / "aliases.pth").write_text(f"import ach_aliases; ach_aliases.install()\n{ROOT}\n")
    try:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ACH_", "NATS_", "PYTEST_"))}
        # Programs that tests start do not look into the current folder, which has the source.
        kept["PYTHONSAFEPATH"] = "1"
        where = "import worker.cli, dsl, sql, ach; print(*(one.__file__ for one in (worker.cli, dsl, sql, ach)))"
        found = subprocess.run(
            [programs / "python", "-c", where], cwd="/", env=kept, capture_output=True, text=True, check=True
        )
        assert all(path.startswith(str(packages / "ach")) for path in found.stdout.split()), found.stdout
        options = ["-q", "-n", "2", "-p", "no:cacheprovider", "-m", "not (faults or operate or planted or soak)"]
        command = [programs / "python", "-m", "pytest", *options, *TESTS, *OF_NAMES]
        done = subprocess.run(command, cwd=ROOT, env=kept, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-8000:]
    finally:
        (packages / "aliases.pth").unlink()
