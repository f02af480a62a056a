"""Make `ach.pyz`: the worker and its packages in one file, the same bytes from the same source and the same Python.

python -m release.binary [OUTPUT]
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

from shiv.bootstrap.environment import Environment  # pyright: ignore[reportMissingTypeStubs]
from shiv.builder import create_archive  # pyright: ignore[reportMissingTypeStubs]

ROOT: Final = Path(__file__).parents[1]
LOCK: Final = "requirements-worker.lock"
ENTRY: Final = "ach_entry"
EPOCH: Final = 1_735_689_600
"""The time of all files: 2025-01-01. A zip file knows none before 1980."""
_UNWANTED: Final = ("direct_url.json", "INSTALLER", "REQUESTED", "RECORD", "uv_cache.json")
"""In a package's metadata: they say how and from where it was installed here."""


def main() -> None:
    """Build into the folder `dist`, or where the argument says."""
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "dist" / "ach.pyz"
    output.parent.mkdir(parents=True, exist_ok=True)
    build(output)
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB, for {target()}")


def build(output: Path) -> None:
    """Write the file."""
    with tempfile.TemporaryDirectory() as scratch:
        packages = Path(scratch, "packages")
        _install(packages, ["--require-hashes", "--only-binary", ":all:", "-r", str(ROOT / LOCK)])
        _install(packages, ["--no-index", str(distribution("wheel", Path(scratch, "wheel")))])
        clean(packages)
        unfinished = output.with_name(f"{output.name}.new")
        _pack(packages, unfinished)
        unfinished.replace(output)


def distribution(kind: Literal["sdist", "wheel"], folder: Path, source: Path = ROOT) -> Path:
    """Build the project's own wheel or sdist into a folder, with the build backend of the lock file; return it."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder.resolve())]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH)}
    subprocess.run(command, cwd=source, check=True, stdout=subprocess.DEVNULL, env=environment)
    (made,) = folder.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return made


def clean(packages: Path) -> None:
    """Remove what depends on this machine: scripts with its paths, compiled files, records of the installation."""
    shutil.rmtree(packages / "bin", ignore_errors=True)
    for cache in packages.rglob("__pycache__"):
        shutil.rmtree(cache)
    for metadata in packages.glob("*.dist-info"):
        for name in _UNWANTED:
            (metadata / name).unlink(missing_ok=True)
    for path in packages.rglob("*"):
        # The umask of who builds is no part of the file.
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def target() -> str:
    """Return the only Python that can run what is built here: its extension modules are made for it."""
    number = f"{sys.version_info.major}.{sys.version_info.minor}"
    return f"{sys.implementation.name} {number} {sys.platform} {platform.machine()}"


def installer() -> str:
    """Return the Python that has pip: an environment that was made without was filled by the one it was made from."""
    return sys.executable if find_spec("pip") else str(vars(sys)["_base_executable"])


def pip_command() -> list[str]:
    """Return how to call pip."""
    return [installer(), "-m", "pip", "--disable-pip-version-check"]


def _install(packages: Path, what: list[str]) -> None:
    command = [*pip_command(), "install", "--quiet", "--no-deps"]
    # pip warns of other folders on the path that hold the same packages; it only ever looks at the target.
    subprocess.run([*command, "--no-compile", "--upgrade", "--target", str(packages), *what], check=True)


def _pack(packages: Path, output: Path) -> None:
    time = datetime.fromtimestamp(EPOCH, UTC)
    made = Environment(
        f"{time:%Y-%m-%d %H:%M:%S}",
        version("shiv"),
        entry_point="ach.__main__:main",
        compile_pyc=True,
        reproducible=True,
    )
    python = f"/usr/bin/env python{sys.version_info.major}.{sys.version_info.minor}"
    create_archive([packages], output, python, f"{ENTRY}:main", made)
    with zipfile.ZipFile(output, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, text in ((f"{ENTRY}.py", (ROOT / "release" / "entry.py").read_text()), ("python.txt", target())):
            entry = zipfile.ZipInfo(name, (time.year, time.month, time.day, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, text)


if __name__ == "__main__":
    main()
