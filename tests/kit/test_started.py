"""The one file starts on Debian's bare Python; deploy's files are judged by the tools that know their formats."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Final

import anyio
import pytest
import yaml

from release.binary import build, target
from tests.integration.probe_client import get
from tests.kit.debian import ROOT
from tests.kit.processes import logged
from worker.local.process_tree import free_port

pytestmark = [pytest.mark.operate, pytest.mark.anyio]

AUDIT: Final = ROOT / ".venv-audit" / "bin"
PYTHON: Final = Path("/usr/bin/python3")


@pytest.fixture(scope="module")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("binary") / "ach.pyz"
    build(made)
    return made


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """No package, no setting, an empty home; and a folder `worker` that wants to be imported."""
    (tmp_path / "home").mkdir()
    (tmp_path / "worker").mkdir()
    (tmp_path / "worker" / "__init__.py").write_text("raise SystemExit('the wrong worker')\n")
    return {"HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin", "PYTHONPATH": "."}


@pytest.mark.timeout(600)  # packs everything once more
def test_the_same_bytes_twice(pyz: Path, tmp_path: Path) -> None:
    build(tmp_path / "ach.pyz")
    assert (tmp_path / "ach.pyz").read_bytes() == pyz.read_bytes()
    assert pyz.stat().st_size < 25_000_000


def test_commands_run_beside_a_folder_named_worker(pyz: Path, bare: dict[str, str], tmp_path: Path) -> None:
    version = run([pyz, "--version"], bare, tmp_path)
    assert (version.returncode, version.stdout) == (0, "ach, version 0.1.0\n"), version.stderr
    checked = run([PYTHON, pyz, "check", ROOT / "fixtures" / "rules"], bare, tmp_path)
    assert "no problems" in checked.stdout, checked.stderr


def test_a_folder_of_others_is_refused(pyz: Path, bare: dict[str, str], tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    refused = run([pyz, "--version"], {**bare, "SHIV_ROOT": str(shared)}, tmp_path)
    assert refused.returncode == 1
    assert f"other users can write into {shared}" in refused.stderr
    assert not list(shared.iterdir())


def test_a_folder_that_cannot_be_made_is_named(pyz: Path, bare: dict[str, str], tmp_path: Path) -> None:
    refused = run([pyz, "--version"], {**bare, "SHIV_ROOT": "/proc/no"}, tmp_path)
    assert refused.returncode == 1
    assert "cannot unpack into /proc/no" in refused.stderr
    assert "Traceback" not in refused.stderr


async def test_a_worker_runs_and_stops(
    pyz: Path, bare: dict[str, str], tmp_path: Path, nats_url: str, database_url: str
) -> None:
    port = free_port()
    settings = {
        **bare,
        "NATS_URL": nats_url,
        "DATABASE_URL": database_url,
        "ACH_HEALTH_HOST": "127.0.0.1",
        "ACH_HEALTH_PORT": str(port),
    }
    async with await anyio.open_process([pyz, "run"], cwd=tmp_path, env=settings, stdout=subprocess.DEVNULL) as worker:
        try:
            with anyio.fail_after(60):
                said = await logged(worker, "no rules in force")
                assert "no rules in force" in said, said
                answer, _ = await get(port, "/healthz")
                worker.send_signal(signal.SIGTERM)
                assert (answer, await worker.wait()) == (200, 0)
        finally:
            if worker.returncode is None:
                worker.kill()


def test_made_for_the_python_that_runs_it() -> None:
    found = run([PYTHON, "-c", "import sys; print(*sys.version_info[:2], sep='.')"], {}, ROOT).stdout.strip()
    assert target().startswith(f"cpython {found} "), "build with ACH_PYTHON=/usr/bin/python3 just setup"


def test_the_unit_is_valid_and_closed(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("needs Debian's systemd")
    unit = tmp_path / "ach.service"
    unit.write_text((ROOT / "deploy/systemd/ach.service").read_text().replace("/usr/local/bin/ach", "/bin/true"))
    verified = run(["systemd-analyze", "verify", unit], None, tmp_path)
    assert (verified.returncode, verified.stderr) == (0, "")
    judged = run(["systemd-analyze", "security", "--offline=true", unit], None, tmp_path)
    score = re.search(r"exposure level for ach.service: ([0-9.]+)", judged.stdout)
    assert score is not None
    assert float(score[1]) <= 1.5


def test_the_image_is_written_as_hadolint_wants() -> None:
    done = run([AUDIT / "hadolint", ROOT / "deploy" / "Containerfile"], None, ROOT)
    assert done.returncode == 0, done.stdout


def test_the_composition_follows_the_specification(tmp_path: Path) -> None:
    # As compose does before it reads: a variable that is not set has its default, and what is shared is merged in.
    text = re.sub(r"\$\{[A-Z_]+:-([^}]+)}", r"\1", (ROOT / "deploy" / "compose.yaml").read_text())
    composed = yaml.safe_load(text)
    (tmp_path / "compose.json").write_text(json.dumps(composed))
    code = "import sys, compose_spec as c; c.PyCompose.from_json(open(sys.argv[1]).read()).validate()"
    done = run([AUDIT / "python", "-c", code, tmp_path / "compose.json"], None, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "path", sorted((ROOT / "deploy/kubernetes/base").glob("[!k]*.yaml")), ids=lambda path: path.stem
)
def test_manifests_follow_the_schemas_of_kubernetes(path: Path) -> None:
    done = run([AUDIT / "kubernetes-validate", "--strict", path], None, ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def run(
    command: list[str | Path], environment: dict[str, str] | None, folder: Path
) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ACH_")}
    given = kept if environment is None else environment
    return subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True, check=False)
