"""Who may say where the servers of `ach dev` are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from worker.local.here import FOLDER, known_here, servers_here
from worker.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = Settings(nats_url="nats://127.0.0.1:4222", database_url="postgresql://ach@/postgres?host=/tmp/x")
FOUND = {"NATS_URL": SETTINGS.nats_url, "DATABASE_URL": SETTINGS.database_url}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / FOLDER
    folder.mkdir(parents=True, mode=0o755)
    return folder


def test_servers_are_found_here_and_below_while_they_run(tmp_path: Path, data: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    with known_here(data, SETTINGS):
        assert servers_here({}, tmp_path) == servers_here({}, below) == (data, FOUND)
        assert (data / "servers.json").stat().st_mode & 0o777 == 0o600
    assert servers_here({}, tmp_path) is None


@pytest.mark.parametrize("name", ["NATS_URL", "DATABASE_URL", "NATS_CONTEXT", "DATABASE_URL_FILE"])
def test_a_variable_comes_first(tmp_path: Path, data: Path, name: str) -> None:
    with known_here(data, SETTINGS):
        assert servers_here({name: "x"}, tmp_path) is None


def test_a_file_that_is_left_over_does_not_count(tmp_path: Path, data: Path) -> None:
    with known_here(data, SETTINGS):
        left = (data / "servers.json").read_bytes()
    (data / "servers.json").write_bytes(left)
    assert servers_here({}, tmp_path) is None


@pytest.mark.parametrize("name", ["", "servers.json"])
def test_what_others_can_write_does_not_count(tmp_path: Path, data: Path, name: str) -> None:
    with known_here(data, SETTINGS):
        (data / name).chmod(0o777)
        assert servers_here({}, tmp_path) is None


def test_a_link_to_a_file_of_another_place_does_not_count(tmp_path: Path, data: Path) -> None:
    with known_here(data, SETTINGS):
        elsewhere = tmp_path / "elsewhere.json"
        (data / "servers.json").rename(elsewhere)
        (data / "servers.json").symlink_to(elsewhere)
        assert servers_here({}, tmp_path) is None
