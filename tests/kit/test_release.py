"""Bills of materials, answers of the audit, the verdict of the matrix: without servers and without a network."""

from __future__ import annotations

import json
import re
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from release import osv, pin
from release.audit import NoAnswerError, main, problems
from release.lock import Locked, LockError, packages_of
from release.matrix import Cell, Outcome, cells, verdict
from release.sbom import KINDS, bill, text_of
from tests.kit.debian import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


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


def test_a_finding_is_a_line() -> None:
    clean = json.dumps({"dependencies": [{"name": "anyio", "version": "4", "vulns": []}]})
    known: dict[str, Any] = {"name": "click", "version": "8", "vulns": []}
    skipped = json.dumps({"dependencies": [{"name": "anyio", "skip_reason": "not found"}, known]})
    found = json.dumps(
        {"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}]}
    )
    assert problems(clean, "", "pypi") == []
    assert problems(skipped, "", "pypi") == ["anyio: not looked up: not found"]
    assert problems(found, "", "pypi") == ["a 1: CVE-1 (fixed in: 2)"]


@pytest.mark.parametrize(
    ("out", "err", "said"),
    [
        ("", "trace\nno network\n", "no answer from osv: no network"),
        ('{"dependencies": []}', "", "no answer from osv: it names no package"),
        ('{"dependencies": [{"name": "a", "skip_reason": "away"}]}', "", "osv knows none of the packages: away"),
    ],
)
def test_no_answer_fails_like_a_finding(out: str, err: str, said: str) -> None:
    with pytest.raises(NoAnswerError, match=said):
        problems(out, err, "osv")


def entry(name: str, **affected: object) -> dict[str, Any]:
    package = {"ecosystem": "PyPI", "name": name}
    return {"id": f"PYSEC-{name}", "modified": "2026-11-01T00:00:00Z", "affected": [{"package": package, **affected}]}


def ranges(*events: tuple[str, str]) -> list[dict[str, Any]]:
    return [{"type": "ECOSYSTEM", "events": [{kind: version} for kind, version in events]}]


@pytest.fixture
def database(tmp_path: Path) -> Callable[..., Path]:
    """What writes a database file of OSV."""

    def write(*entries: dict[str, Any]) -> Path:
        with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
            for number, one in enumerate(entries):
                archive.writestr(f"{number}.json", json.dumps(one))
        return tmp_path / "all.zip"

    return write


@pytest.mark.parametrize(
    ("affected", "known"),
    [
        ({"versions": ["1.5"]}, True),
        ({"versions": ["1.4"]}, False),
        ({"ranges": ranges(("introduced", "0"), ("fixed", "1.10"))}, True),
        ({"ranges": ranges(("introduced", "0"), ("fixed", "1.5"))}, False),
        ({"ranges": ranges(("introduced", "1.6"))}, False),
        ({"ranges": ranges(("introduced", "0"), ("fixed", "1.1"), ("introduced", "1.4"), ("fixed", "2"))}, True),
        ({"ranges": ranges(("introduced", "0"), ("last_affected", "1.5"))}, True),
        ({"ranges": ranges(("introduced", "0"), ("last_affected", "1.4"))}, False),
    ],
)
def test_a_database_file_says_which_versions(
    database: Callable[..., Path], affected: dict[str, Any], known: bool
) -> None:
    held = osv.read(database(entry("Some.Package", **affected), entry("other", versions=["1.5"])))
    said = osv.found(held, [Locked("some-package", "1.5", "", ("x",))])
    assert [one.partition(" (")[0] for one in said] == (["some-package 1.5: PYSEC-Some.Package"] if known else [])


def test_a_file_that_is_no_database_is_refused(database: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "text").write_text("[]")
    withdrawn = database({**entry("a", versions=["1"]), "withdrawn": "2026-11-02T00:00:00Z"})
    for path in (tmp_path / "text", tmp_path / "missing", withdrawn):
        with pytest.raises(osv.DatabaseError, match=path.name):
            osv.read(path)


def test_the_audit_says_in_a_sentence_that_there_was_none(
    database: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = ROOT / "requirements-worker.lock"
    monkeypatch.setattr("sys.argv", ["audit", "--database", str(database(entry("anyio", versions=["0"]))), str(lock)])
    main()
    assert f"{lock.name}: clean" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["audit", "--database", "nowhere.zip"])
    with pytest.raises(SystemExit, match=r"^error: no package was audited: nowhere\.zip is no database of OSV"):
        main()


def test_the_matrix_demands_one_digest() -> None:
    passed = [Outcome(cell, passed=True, digest="d", tests="", seconds=1) for cell in cells()]
    assert verdict(passed) is None
    assert verdict([*passed, passed[0]._replace(digest="e")]) == "2 digests of one stream: d, e"
    assert verdict([passed[0]._replace(cell=Cell("14", "2.10"), passed=False)]) is not None


def test_every_image_of_deploy_is_pinned() -> None:
    digest = f"sha256:{'0' * 64}"
    asked: list[str] = []

    def ask(reference: str) -> str:
        asked.append(reference)
        return digest

    for name in pin.FILES:
        text = (ROOT / name).read_text()
        once = pin.pinned(text, ask)
        assert pin.unpinned(once) == []
        assert pin.pinned(once, ask) == once
        assert once.replace(f"@{digest}", "").replace(f', digest: "{digest}"', "") == re.sub(r"@sha256:\w+", "", text)
    named = set(re.findall(r"docker\.io/[\w./-]+:[\w.-]+", "".join((ROOT / name).read_text() for name in pin.FILES)))
    assert set(asked) == named | {"docker.io/library/postgres:18-trixie"}
    assert len(named) >= 5


def test_a_digest_of_before_is_replaced() -> None:
    old, new = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
    for text in (
        f"ARG PYTHON_IMAGE=docker.io/library/python:3@{old}",
        f'  - {{name: postgres, newName: docker.io/library/postgres, newTag: 18-trixie, digest: "{old}"}}',
    ):
        assert pin.pinned(text, lambda _: new) == text.replace(old, new)
    ours = '{name: ach, newName: registry.example.com/ach, newTag: "0.1.0"}'
    assert pin.pinned(ours, lambda _: new) == ours
