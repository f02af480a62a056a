"""Lock files: which packages, in which versions, with which hashes. Pure."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_PINNED: Final = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*])?==([^ ;\\]+) *(?:; *([^\\]+?))? *\\?$", re.MULTILINE)
_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")


class Locked(NamedTuple):
    """A package of a lock file."""

    name: str
    version: str
    marker: str
    """Where it is installed; "" for everywhere."""
    hashes: tuple[str, ...]
    """SHA-256 of each file that may be installed, sorted."""


class LockError(ValueError):
    """A lock file does not say what it should; the message names the package."""


def packages_of(text: str) -> list[Locked]:
    """Return the packages of a lock file, by name.

    Raises:
        LockError: a package has no hash, or the file names no package.
    """
    places = list(_PINNED.finditer(text))
    ends = [place.start() for place in places[1:]] + [len(text)]
    found: list[Locked] = []
    for place, end in zip(places, ends, strict=True):
        hashes = tuple(sorted(_HASH.findall(text[place.end() : end])))
        if not hashes:
            raise LockError(f"{place[1]} has no hash")
        found.append(Locked(place[1], place[2], place[3] or "", hashes))
    if not found:
        raise LockError("no package is named")
    return sorted(found)
