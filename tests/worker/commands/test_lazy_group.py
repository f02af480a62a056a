"""Commands are listed by their summaries, and imported when they are called."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

import pytest

import worker.commands
from worker.cli import main
from worker.commands import dead, notify
from worker.commands.lazy_group import LazyGroup
from worker.distribution import install

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    import click

LONG = 1000


@pytest.mark.parametrize(
    ("group", "package"), [(main, worker.commands), (dead.command, dead), (notify.command, notify)]
)
def test_the_table_has_every_command_with_the_beginning_of_its_help(group: click.Group, package: ModuleType) -> None:
    assert isinstance(group, LazyGroup)
    assert group.package == package.__name__
    modules = {one.name: import_module(f"{package.__name__}.{one.name}") for one in iter_modules(package.__path__)}
    commands = {name: module.command for name, module in modules.items() if hasattr(module, "command")}
    assert commands
    assert all(command.name == name for name, command in commands.items())
    summaries = {name: command.get_short_help_str(LONG) for name, command in group.commands.items()}
    assert summaries == {name: command.get_short_help_str(LONG) for name, command in commands.items()}


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["dead", "--help"], ["notify", "--help"]])
def test_help_imports_no_command(args: list[str]) -> None:
    program = (
        "import atexit, sys; from worker.cli import main;"
        "atexit.register(lambda: sys.stderr.write(' '.join(sys.modules)));"
        f"main({args!r})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert "worker.commands.lazy_group" in loaded
    assert not loaded & {"asyncpg", "nats", "lark", "msgspec", "rich", "anyio"}


def test_a_command_imports_what_it_needs_alone() -> None:
    for name in ("check", "fmt", "test", "explain", "replay", "docs", "lsp", "schema"):
        program = f"import sys, worker.commands.{name}; print(' '.join(sys.modules))"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert not set(done.stdout.split()) & {"asyncpg", "nats", "pygls", "jinja2", "lark"}, name


def test_a_plan_loads_no_client_of_the_broker_and_no_log() -> None:
    """A plan of a new tier is done in a second: half of that were imports."""
    program = "import sys, worker.commands.plan; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"nats", "structlog", "rich", "attr", "prometheus_client", "opentelemetry"}


def test_commands_of_every_day_load_nothing_that_takes_long(tmp_path: Path) -> None:
    rules, stream = tmp_path / "rules.ach", tmp_path / "stream.jsonl"
    rules.write_text('event a.done {}\nachievement first { title "First" when count(event=a.done, >= 1) }\n')
    event = {"event_id": "1", "tenant_id": "t", "user_id": "u", "event_type": "a.done"}
    stream.write_text(json.dumps({**event, "occurred_at": "2026-01-01T00:00:00Z", "payload": {}}))
    heavy = {
        "lark",
        "rich",
        "structlog",
        "anyio",
        "asyncio",
        "importlib.metadata",
        "zoneinfo",
        "attr",
        "dsl.parse.intents",
    }
    for args in (["check"], ["fmt", "--check"], ["test"], ["replay", str(stream), "-r"]):
        program = (
            "import atexit, sys; from worker.cli import main;"
            "atexit.register(lambda: sys.stderr.write(' '.join(sys.modules)));"
            f"main({[*args, str(rules)]!r})"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        loaded = set(done.stderr.split())
        assert "dsl.parse" in loaded, done.stderr
        assert not loaded & heavy, args


def test_a_missing_extra_is_named() -> None:
    program = "import sys; sys.modules['httpx'] = None\nfrom worker.cli import main\nmain(['notify', 'list'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"error: `ach notify` needs httpx, which is not installed\n  {install('notify')}\n"
