"""Bills of materials, answers of the audit, the verdict of the matrix: without servers and without a network."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

import pytest

from release.audit import problems
from release.lock import LockError, packages_of
from release.matrix import Cell, Outcome, cells, verdict
from release.sbom import KINDS, bill, text_of

ROOT: Final = Path(__file__).parents[2]


@pytest.mark.parametrize("kind", KINDS)
def test_a_bill_names_every_locked_package_with_its_hashes(kind: str) -> None:
    made = bill(kind)
    locked = packages_of((ROOT / "requirements-worker.lock").read_text())
    listed = {one["name"]: one for one in made["components"] if one["type"] == "library"}
    assert set(listed) == {one.name for one in locked}
    for one in locked:
        hashes = [said["content"] for place in listed[one.name]["externalReferences"] for said in place["hashes"]]
        assert hashes == list(one.hashes)
    assert text_of(bill(kind)) == text_of(made)


def test_a_package_without_a_hash_is_refused() -> None:
    with pytest.raises(LockError, match="anyio has no hash"):
        packages_of("anyio==4.16.0 \\\n    # via ach\nclick==8.5.1 \\\n    --hash=sha256:" + "0" * 64)


def test_every_lock_has_hashes_and_every_install_of_one_demands_them() -> None:
    locks = sorted(ROOT.glob("requirements*.lock"))
    assert len(locks) > 5
    for lock in locks:
        assert packages_of(lock.read_text()), lock.name
    installs = {
        (name, line)
        for name in ("justfile", "deploy/Containerfile", "release/binary.py")
        for line in re.split(r"(?<!\\)\n|&&", (ROOT / name).read_text())
        if re.search(r"(pip\b.*\binstall|_install)\b.*-r\b", line, re.DOTALL)
    }
    assert {name for name, _ in installs} == {"justfile", "deploy/Containerfile", "release/binary.py"}
    assert [one for one in installs if "--require-hashes" not in one[1]] == []


def test_no_answer_fails_like_a_finding() -> None:
    clean = json.dumps({"dependencies": [{"name": "anyio", "version": "4", "vulns": []}]})
    skipped = json.dumps({"dependencies": [{"name": "anyio", "skip_reason": "not found"}]})
    found = json.dumps(
        {"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}]}
    )
    assert problems(clean, "", "pypi") == []
    assert problems(skipped, "", "pypi") == ["anyio: not looked up: not found"]
    assert problems(found, "", "pypi") == ["a 1: CVE-1 (fixed in: 2)"]
    assert problems("", "trace\nno network\n", "osv") == ["no answer from osv: no network"]
    assert problems('{"dependencies": []}', "", "pypi") == ["no answer from pypi: it names no package"]


def test_the_matrix_demands_one_digest() -> None:
    passed = [Outcome(cell, passed=True, digest="d", tests="", seconds=1) for cell in cells()]
    assert verdict(passed) is None
    assert verdict([*passed, passed[0]._replace(digest="e")]) == "2 digests of one stream: d, e"
    assert verdict([passed[0]._replace(cell=Cell("14", "2.10"), passed=False)]) is not None
