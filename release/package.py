"""Make a release: sdist and wheel, judged, installed into a bare environment, and tried there.

python -m release.package [FOLDER]

It uploads nothing. The wheel of the sdist has to be the wheel of the repository, byte for byte. The environment is
filled from requirements-run.lock, and the demo runs in it beside folders that are named like ours.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from email.parser import BytesParser
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from packaging.metadata import Metadata

from release.binary import distribution, pip_command

ROOT: Final = Path(__file__).parents[1]
LOCK: Final = "requirements-run.lock"
OURS: Final = ("dsl", "sql", "worker")
"""Folders of the repository whose names an application may have."""
SUMMARY_LENGTH: Final = 512
"""What the Python package index takes."""


class BadPackageError(Exception):
    """A file of the release is not as it has to be; the message says what is wrong."""


def main() -> None:
    """Build into the folder `dist`, or where the argument says, and try it."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "dist"
    folder.mkdir(parents=True, exist_ok=True)
    for old in (*folder.glob("*.whl"), *folder.glob("*.tar.gz")):
        old.unlink()
    sdist, wheel = distribution("sdist", folder), distribution("wheel", folder)
    with TemporaryDirectory(prefix="ach-release-") as scratch:
        check_sdist(sdist, wheel, Path(scratch))
        check_wheel(wheel)
        print(
            f"{wheel}: {wheel.stat().st_size / 1e6:.1f} MB, judged; the wheel of {sdist.name} is the same", flush=True
        )
        try_out(wheel, Path(scratch))
    print(f"tried in a bare environment; to upload: twine upload {sdist} {wheel}")


def check_sdist(sdist: Path, wheel: Path, scratch: Path) -> None:
    """Build the wheel again from what is in the sdist.

    Raises:
        BadPackageError: it is another one.
    """
    shutil.unpack_archive(sdist, scratch / "source")
    (source,) = (scratch / "source").iterdir()
    (scratch / "again").mkdir()
    if distribution("wheel", scratch / "again", source).read_bytes() != wheel.read_bytes():
        raise BadPackageError(f"{sdist.name} makes another wheel than the repository")


def check_wheel(wheel: Path) -> None:
    """Judge what an index would refuse, and what would break an application.

    Raises:
        BadPackageError: something is wrong; the message says what.
    """
    with zipfile.ZipFile(wheel) as archive:
        (info,) = {name.partition("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        tops = {name.partition("/")[0] for name in archive.namelist()} - {info}
        if tops != {"ach"}:
            raise BadPackageError(f"{wheel.name} installs {', '.join(sorted(tops))}; all has to be below `ach`")
        if "ach/py.typed" not in archive.namelist():
            raise BadPackageError(f"{wheel.name} has no ach/py.typed, so its types are not seen")
        _check_metadata(archive.read(f"{info}/METADATA"))
        _check_record(archive, f"{info}/RECORD")


def _check_metadata(text: bytes) -> None:
    # As an index does: every field has the form that its standard asks for.
    found = Metadata.from_email(text, validate=True)
    if not found.summary or len(found.summary) > SUMMARY_LENGTH:
        raise BadPackageError("the summary is missing, or longer than an index takes")
    if found.description_content_type != "text/markdown" or not BytesParser().parsebytes(text).get_payload():
        raise BadPackageError("the README is no part of the metadata")
    if not found.license_expression or not found.author:
        raise BadPackageError("the metadata name no licence or no author")


def _check_record(archive: zipfile.ZipFile, record: str) -> None:
    rows = {row[0]: row[1] for row in csv.reader(archive.read(record).decode().splitlines())}
    if set(rows) != set(archive.namelist()):
        raise BadPackageError("RECORD does not list what is in the wheel")
    for name, digest in rows.items():
        found = base64.urlsafe_b64encode(hashlib.sha256(archive.read(name)).digest()).decode().rstrip("=")
        if name != record and digest != f"sha256={found}":
            raise BadPackageError(f"RECORD has another hash of {name}")


def try_out(wheel: Path, scratch: Path) -> None:
    """Install a wheel into an environment of its own, and run the demo beside an application.

    Raises:
        BadPackageError: it does not run there.
    """
    command = environment(scratch / "bare", wheel) / "ach"
    folder = application(scratch / "application")
    for args in (["--version"], ["demo"]):
        done = subprocess.run([command, *args], cwd=folder, env=_bare(), check=False)
        if done.returncode:
            raise BadPackageError(f"ach {' '.join(args)}: exit code {done.returncode}")


def environment(folder: Path, wheel: Path) -> Path:
    """Make an environment with a wheel and what the demo needs; return where its programs are."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    pip = [*pip_command(), "--python", str(folder / "bin" / "python"), "install", "--quiet", "--no-deps"]
    locked = ["--require-hashes", "--only-binary", ":all:", "-r", str(ROOT / LOCK)]
    for what in (locked, ["--no-index", str(wheel)]):
        subprocess.run([*pip, *what], check=True)
    return folder / "bin"


def application(folder: Path) -> Path:
    """Make an application whose packages are named like our folders, and refuse to be imported."""
    for name in OURS:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(f"raise SystemExit('this is the application's own {name}')\n")
    return folder


def _bare() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in {"HOME", "LANG", "PATH", "TMPDIR"}}
    # As many set it, and what breaks a package that is not below one name.
    return {**kept, "PYTHONPATH": "."}


if __name__ == "__main__":
    try:
        main()
    except BadPackageError as error:
        sys.exit(f"error: {error}")
