from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from worker.commands.console import VARIABLE, command
from worker.console.access import Role, read_access

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", ["ada", 'a"b\\c\n', "\U0001f3c6"])
def test_a_fresh_token_opens_the_door_that_its_entry_makes(name: str) -> None:
    said = CliRunner().invoke(command, ["--new-token", name])
    assert said.exit_code == 0
    token = said.stderr.strip().rpartition(" ")[2]
    person = read_access(said.stdout).of_token(token)
    assert person is not None
    assert (person.name, person.role, person.tenants) == (name, Role.VIEWER, None)
    assert token not in said.stdout


@pytest.mark.parametrize(
    ("given", "token", "said"),
    [
        (["--host", "0.0.0.0"], "", "say who may come in"),  # noqa: S104 - it must not listen there
        (["--header", "X-User"], "long-enough-to-be-a-token", "--persons has to say"),
        ([], "short", "it needs 20 or more"),
        (["--persons", "/none"], "", "No such file"),
    ],
)
def test_it_does_not_begin_where_anyone_could_come_in(
    given: list[str], token: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, token)
    ended = CliRunner().invoke(command, given)
    assert ended.exit_code == 1
    assert said in " ".join(ended.stderr.split())


def test_a_file_that_is_wrong_and_a_port_that_is_taken_are_said(tmp_path: Path) -> None:
    persons = tmp_path / "persons.toml"
    persons.write_text("[[person]]\nname = 1")
    assert "expected tables" in " ".join(CliRunner().invoke(command, ["--persons", str(persons)]).stderr.split())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = CliRunner().invoke(command, ["--port", str(taken.getsockname()[1])])
    assert ended.exit_code == 1
    assert "--port" in ended.stderr
