"""Bills of materials in CycloneDX 1.6: what is in the image, and what is in the one file.

python -m release.sbom [FOLDER]

Names, versions and hashes come from the lock file, licences from the packages as they are installed. The same source
gives the same bytes: there is no time in a bill, and its number is a hash of all else.
"""

from __future__ import annotations

import json
import sys
import tomllib
import uuid
from importlib.metadata import PackageNotFoundError, metadata, requires
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from release.lock import packages_of

if TYPE_CHECKING:
    from email.message import Message

    from release.lock import Locked

ROOT: Final = Path(__file__).parents[1]
LOCK: Final = "requirements-worker.lock"
KINDS: Final = ("image", "binary")
_NAMESPACE: Final = uuid.UUID("6f0b1c3e-2f0a-5c57-9a57-0d1f3a2f5b11")
_TOOL: Final = {"type": "application", "name": "release.sbom"}
_LICENCES: Final = {
    "License :: OSI Approved :: MIT License": "MIT",
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: BSD License": "BSD-3-Clause",
}
_BASE: Final = "docker.io/library/python"


class UnknownLicenceError(ValueError):
    """A package does not say its licence; the message names the package."""


def main() -> None:
    """Write `ach-image.cdx.json` and `ach-binary.cdx.json`."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "dist"
    folder.mkdir(parents=True, exist_ok=True)
    for kind in KINDS:
        path = folder / f"ach-{kind}.cdx.json"
        path.write_text(text_of(bill(kind)))
        print(path)


def bill(kind: str) -> dict[str, Any]:
    """Return the bill of the image or of the binary, as JSON.

    Raises:
        UnknownLicenceError: a package does not say its licence.
    """
    packages = packages_of((ROOT / LOCK).read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    root = _root(kind, project)
    known: dict[str, str] = {canonicalize_name(one.name): purl(one) for one in packages}
    direct = sorted(known[name] for text in project["dependencies"] if (name := _name(text)) in known)
    # What the extras `fast` and `nkeys` add: the image and the file are made with them.
    direct += [known[name] for name in ("pynacl", "uvloop") if name in known]
    components = [_component(one) for one in packages]
    # Of the base, the name alone is known here: what Debian's packages are in it, a scanner of images says.
    components += [_base()] if kind == "image" else []
    depends = [{"ref": root["bom-ref"], "dependsOn": sorted(set(direct))}]
    depends += [{"ref": purl(one), "dependsOn": _needed(one, known)} for one in packages]
    made: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": root, "tools": {"components": [_TOOL]}},
        "components": components,
        "dependencies": depends,
        "compositions": [
            {"aggregate": "complete", "dependencies": [root["bom-ref"]]},
            {"aggregate": "incomplete", "assemblies": [_BASE]}
            if kind == "image"
            # The Python that runs the file is the machine's.
            else {"aggregate": "complete", "assemblies": [root["bom-ref"]]},
        ],
    }
    return {**made, "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, text_of(made))}"}


def text_of(made: dict[str, Any]) -> str:
    """Return a bill as a file holds it."""
    return f"{json.dumps(made, indent=2, sort_keys=True, ensure_ascii=False)}\n"


def purl(one: Locked) -> str:
    """Return the address of a package in the form that scanners look it up by."""
    return f"pkg:pypi/{canonicalize_name(one.name)}@{one.version}"


def licence(name: str) -> str:
    """Return the licence of an installed package, as an expression of SPDX.

    Raises:
        UnknownLicenceError: it says none, or is not installed.
    """
    try:
        # Its protocol lacks `get`, which every message has.
        said = cast("Message[str, str]", metadata(name))
    except PackageNotFoundError:
        raise UnknownLicenceError(f"{name} is not installed, so its licence is not known") from None
    if expression := said.get("License-Expression"):
        return expression
    classes = [_LICENCES[one] for one in said.get_all("Classifier") or () if one in _LICENCES]
    if classes:
        return " OR ".join(sorted(set(classes)))
    if (short := said.get("License")) in set(_LICENCES.values()):
        return str(short)
    raise UnknownLicenceError(f"{name} says no licence that is known here: {said.get('License')!r}")


def _root(kind: str, project: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "container" if kind == "image" else "application",
        "bom-ref": f"ach-{kind}",
        "name": "ach" if kind == "image" else "ach.pyz",
        "version": project["version"],
        "description": project["description"],
        "licenses": [{"expression": project["license"]}],
    }


def _component(one: Locked) -> dict[str, Any]:
    # Several files may be installed, one for each platform, and each has its own hash: as references, since the
    # `hashes` of a component are of one file.
    found: dict[str, Any] = {
        "type": "library",
        "bom-ref": purl(one),
        "name": one.name,
        "version": one.version,
        "purl": purl(one),
        "licenses": [{"expression": licence(one.name)}],
        "scope": "required",
        "externalReferences": [
            {"type": "distribution", "url": purl(one), "hashes": [{"alg": "SHA-256", "content": digest}]}
            for digest in one.hashes
        ],
    }
    if one.marker:
        found["properties"] = [{"name": "ach:marker", "value": one.marker}]
    return found


def _base() -> dict[str, Any]:
    return {"type": "container", "bom-ref": _BASE, "name": _BASE, "description": "the base of the image, by its tag"}


def _needed(one: Locked, known: dict[Any, str]) -> list[str]:
    names = {_name(text) for text in requires(one.name) or () if "extra ==" not in text}
    return sorted(known[name] for name in names if name in known)


def _name(requirement: str) -> str:
    return canonicalize_name(Requirement(requirement).name)


if __name__ == "__main__":
    main()
