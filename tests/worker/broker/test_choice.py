"""Without one of nats-py's private names the client on its public interface is taken, and one warning says why."""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from nats.aio import client as library
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.protocol import parser as library_parser
from structlog.testing import capture_logs

from worker.broker import choice, private
from worker.broker.choice import PRIVATE, client_class, new_client
from worker.broker.client import BrokerClient
from worker.broker.private import FIELDS, METHODS, READ_BYTES, FastClient

if TYPE_CHECKING:
    from collections.abc import Generator

ROOM = Path(choice.__file__).parent
METHOD_NAMES = [(owner, name) for owner, methods in METHODS.items() for name in methods]
FIELD_NAMES = [(owner, name) for owner, fields in FIELDS.items() for name in fields]


@pytest.fixture(autouse=True)
def unchosen() -> Generator[None]:
    """Let each test choose, and the next one too."""
    client_class.cache_clear()
    yield
    client_class.cache_clear()


def expect_fallback(missing: str) -> None:
    with capture_logs() as logs:
        assert client_class() is BrokerClient
        assert client_class() is BrokerClient
    (warning,) = logs
    assert warning["log_level"] == "warning"
    assert missing in warning["missing"]
    assert "install" in warning["hint"]


def test_the_fast_client_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "DEFAULT_BUFFER_SIZE", 32 * 1024)
    with capture_logs() as logs:
        assert type(new_client()) is FastClient
    assert not logs
    assert private.flaw() == ""
    assert library.DEFAULT_BUFFER_SIZE == READ_BYTES


@pytest.mark.parametrize(("owner", "name"), METHOD_NAMES)
def test_a_method_that_is_gone(owner: type, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(owner, name)
    expect_fallback(f"{owner.__name__}.{name}")


@pytest.mark.parametrize(("owner", "name"), METHOD_NAMES)
def test_a_method_of_another_shape(owner: type, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def other(**_: object) -> None:
        """Take nothing of what is wanted."""

    monkeypatch.setattr(owner, name, other)
    expect_fallback(f"{owner.__name__}.{name}")


@pytest.mark.parametrize(("owner", "name"), METHOD_NAMES)
def test_a_method_that_is_awaited_or_is_not(owner: type, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    method: Any = getattr(owner, name)

    @wraps(method)
    def plain(*_: object) -> None:
        """Has the parameters of the method."""

    @wraps(method)
    async def awaited(*_: object) -> None:
        """Has them too."""

    monkeypatch.setattr(owner, name, plain if inspect.iscoroutinefunction(method) else awaited)
    expect_fallback(f"{owner.__name__}.{name}")


@pytest.mark.parametrize(("owner", "name"), FIELD_NAMES)
def test_a_field_that_is_gone(owner: type, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make = owner.__init__

    def without(this: Any, *args: object) -> None:  # noqa: ANN401
        make(this, *args)
        delattr(this, name)

    monkeypatch.setattr(owner, "__init__", without)
    expect_fallback(f"{owner.__name__}.{name}")


@pytest.mark.parametrize(
    ("owner", "name"), [(owner, name) for owner, name in FIELD_NAMES if FIELDS[owner][name] is not object]
)
def test_a_field_of_another_type(owner: type, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make = owner.__init__

    def with_another(this: Any, *args: object) -> None:  # noqa: ANN401
        make(this, *args)
        setattr(this, name, None)

    monkeypatch.setattr(owner, "__init__", with_another)
    expect_fallback(f"{owner.__name__}.{name}")


@pytest.mark.parametrize(("owner", "name"), [(library, "DEFAULT_BUFFER_SIZE"), (library.Srv, "tls_name")])
def test_a_name_that_is_set_and_gone(owner: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN401
    monkeypatch.delattr(owner, name)
    expect_fallback(f"{owner.__name__}.{name}")


@pytest.mark.parametrize("name", ["AWAITING_CONTROL_LINE", "ERR_RE", "Parser"])
def test_a_name_of_a_module_that_is_gone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(library_parser, name)
    monkeypatch.delitem(sys.modules, PRIVATE)
    expect_fallback(name)


def test_an_object_that_is_made_in_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(self: object, needed: object) -> None:
        assert (self, needed) != ()

    monkeypatch.setattr(library_parser.Parser, "__init__", other)
    expect_fallback("TypeError")


def test_a_parser_that_takes_other_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """All names are there, and mean something else."""

    async def parse(self: object, data: bytes = b"") -> None:
        assert not hasattr(self, str(data))

    monkeypatch.setattr(library_parser.Parser, "parse", parse)
    expect_fallback("a parser that gives")


def test_a_client_that_sends_in_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    async def send_command(self: object, cmd: bytes) -> None:
        assert not hasattr(self, str(cmd))

    monkeypatch.setattr(Client, "_send_command", send_command)
    expect_fallback("a client that queues")


# -- the private names stand in one file -------------------------------------------------------------------------------


def private_accesses(tree: ast.AST) -> set[str]:
    """Return the private names that a module takes from anything but `self` and `cls`."""
    found = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and not (isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"})
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"getattr", "setattr"}:
            found |= {str(arg.value) for arg in node.args if isinstance(arg, ast.Constant)}
    return {name for name in found if is_private(name)}


def own_names(tree: ast.AST) -> set[str]:
    """Return the private names that a module takes from `self`, and those that it defines."""
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    return {*filter(is_private, names)} | {
        node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and is_private(node.attr)
    }


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_replace"  # that of tuples is public


def test_one_file_has_the_private_names() -> None:
    """The room's other files take no private name from any object; the public client takes one from itself."""
    hidden = {*dir(Client()), *dir(Msg)}
    for file in sorted(ROOM.glob("*.py")):
        tree = ast.parse(file.read_text("utf-8"))
        if file.stem != "private":
            assert private_accesses(tree) == set(), file
        if file.stem == "client":
            assert own_names(tree) & hidden == {"_public_nkey"}
    assert private_accesses(ast.parse((ROOM / "private.py").read_text("utf-8"))) >= {"_stop_processing", "_io_writer"}


def test_every_private_name_is_checked() -> None:
    """What the fast client takes from nats-py stands in its tables."""
    tree = ast.parse((ROOM / "private.py").read_text("utf-8"))
    checked = {name for names in (*METHODS.values(), *FIELDS.values()) for name in names}
    hidden = {name for name in dir(Client()) if is_private(name)}
    assert own_names(tree) & hidden == checked & hidden


def test_private_is_imported_again() -> None:
    """A test has hidden it for a while."""
    assert importlib.import_module(PRIVATE).FastClient is not None
