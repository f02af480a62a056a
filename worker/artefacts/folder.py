"""A folder of contracts on disk: what is out of date in it, and how it is brought up to date."""

from __future__ import annotations

from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from worker.artefacts.bundle import EVENTS, SUFFIX, is_ours

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class State(StrEnum):
    """How a file differs from what it should be."""

    MISSING = "missing"
    CHANGED = "out of date"
    LEFT_OVER = "of an event that is not declared"


class Difference(NamedTuple):
    """A file that is not as it should be."""

    path: str
    state: State


def differences(folder: Path, files: Mapping[str, str]) -> list[Difference]:
    """Return what is out of date in a folder, by path.

    Raises:
        OSError: a file cannot be read.
    """
    found = [Difference(path, state) for path, text in files.items() if (state := _state(folder / path, text))]
    found += [
        Difference(path, State.LEFT_OVER)
        for schema in (folder / EVENTS).glob(f"*{SUFFIX}")
        if (path := f"{EVENTS}/{schema.name}") not in files and is_ours(_read(schema) or "")
    ]
    return sorted(found)


def bring_up_to_date(folder: Path, files: Mapping[str, str]) -> list[Difference]:
    """Write what is out of date and delete schemas of types that are gone; return what was done.

    Each file is written beside its place and put there at once.

    Raises:
        OSError: a file cannot be written; those before it are.
    """
    found = differences(folder, files)
    for path, state in found:
        if state is State.LEFT_OVER:
            (folder / path).unlink()
        else:
            _write(folder / path, files[path])
    return found


def _state(path: Path, text: str) -> State | None:
    found = _read(path)
    if found is None:
        return State.MISSING
    return None if found == text else State.CHANGED


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        return None


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.write_bytes(text.encode())
        beside.replace(path)
    except OSError:
        with suppress(OSError):
            beside.unlink()
        raise
