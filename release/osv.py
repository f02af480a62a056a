"""Known vulnerabilities in a database file of OSV: a zip file, with an entry in JSON for each.

What an entry looks like: https://ossf.github.io/osv-schema. The file of all of PyPI is named all.zip there.
"""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from release.lock import Locked

_ECOSYSTEM: Final = "PyPI"


class DatabaseError(ValueError):
    """The file is not a database of OSV; the message says why."""


class Database(NamedTuple):
    """Vulnerabilities by package."""

    affected: dict[str, list[tuple[str, dict[str, Any]]]]
    """By canonical name: the id of a vulnerability, and what it says of the package."""
    newest: str
    """When its newest entry was modified, such as 2026-11-29T10:00:00Z."""


def read(path: Path) -> Database:
    """Return what a file says.

    Raises:
        DatabaseError: it cannot be read, or has no entry about PyPI.
    """
    affected: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    newest = ""
    try:
        for entry in _entries(path):
            newest = max(newest, entry["modified"])
            for one in entry.get("affected", ()):
                if one.get("package", {}).get("ecosystem") == _ECOSYSTEM:
                    affected.setdefault(canonicalize_name(one["package"]["name"]), []).append((entry["id"], one))
    except (OSError, zipfile.BadZipFile, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatabaseError(f"{path} is no database of OSV: {error!r}") from error
    if not affected:
        raise DatabaseError(f"{path} has no vulnerability of a package of {_ECOSYSTEM}")
    return Database(affected, newest)


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".json"):
                entry = json.loads(archive.read(name))
                if "withdrawn" not in entry:
                    yield entry


def found(database: Database, packages: Iterable[Locked]) -> list[str]:
    """Return what is known of locked packages, one line each."""
    return [
        f"{one.name} {one.version}: {name} (fixed in: {', '.join(_fixes(said)) or 'none yet'})"
        for one in packages
        for name, said in database.affected.get(canonicalize_name(one.name), ())
        if one.version in said.get("versions", ()) or any(_within(one.version, span) for span in said.get("ranges", ()))
    ]


def _within(version: str, span: dict[str, Any]) -> bool:
    """Return whether a range holds a version. Its events are sorted here, as they need not be there."""
    if span.get("type") != "ECOSYSTEM":
        return False
    events = sorted((_order(number), kind, number) for event in span["events"] for kind, number in event.items())
    inside = False
    for order, kind, _ in events:
        if kind == "introduced" and order <= _order(version):
            inside = True
        elif (kind == "fixed" and order <= _order(version)) or (kind == "last_affected" and order < _order(version)):
            inside = False
    return inside


def _order(number: str) -> Version:
    """Return what a version is compared by; a malformed one counts as the first, so that nothing is passed over."""
    try:
        return Version(number)
    except InvalidVersion:
        return Version("0")


def _fixes(said: dict[str, Any]) -> list[str]:
    return sorted({event["fixed"] for span in said.get("ranges", ()) for event in span["events"] if "fixed" in event})
