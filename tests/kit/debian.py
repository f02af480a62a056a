"""Debian 13 in folders: what the images of tests are made from, and programs that are newer than this machine's.

Debootstrap and apt fetch it once; it is kept in build/kit.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

ROOT: Final = Path(__file__).parents[2]
KEPT: Final = ROOT / "build" / "kit"
SUITE: Final = "trixie"
BASE: Final = ("python3", "python3-venv", "busybox")
"""busybox is what the official images of NATS and Prometheus have a shell and wget from."""
TOOLS: Final = ("pgbouncer", "docker-compose", "prometheus")
SECONDS: Final = 600


def base() -> Path:
    """Return the root of a Debian with its Python, and nothing else of use."""
    need("debootstrap")
    return kept("base", _base)


def tools() -> Path:
    """Return the root of a Debian with programs that tests run."""
    made = base()
    return kept("tools", lambda folder: _tools(made, folder))


def program(name: str) -> list[str | Path]:
    """Return the command that runs a program of `tools` here, with its own loader and libraries."""
    root = tools()
    found = next(path for folder in ("usr/bin", "usr/sbin") if (path := root / folder / name).exists())
    libraries = root / "usr/lib/x86_64-linux-gnu"
    return [root / "usr/lib64/ld-linux-x86-64.so.2", "--library-path", libraries, found]


def need(*programs: str, package: str | None = None) -> None:
    """Skip the test where a program of Debian is missing, or may not be used."""
    for name in programs:
        if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
            pytest.skip(f"no {name} here: apt install {package or name}")
    if os.geteuid() != 0:
        pytest.skip("images and roots are made by root")


def kept(name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder that is made once, whole or not at all."""
    folder = KEPT / name
    with locked(name):
        if not folder.exists():
            unfinished = KEPT / f"{name}.new"
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            make(unfinished)
            unfinished.rename(folder)
    return folder


@contextmanager
def locked(name: str) -> Generator[None]:
    """Keep other test processes out for the length of a block."""
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(command: Sequence[str | Path], env: Mapping[str, str] | None = None, given: str = "") -> str:
    """Run a command to its end, and return what it prints; what it says is in the error if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS, env=env, input=given)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout


def _base(folder: Path) -> None:
    run(["debootstrap", "--variant=minbase", f"--include={','.join(BASE)}", SUITE, folder])
    _installer(folder)


def _installer(root: Path) -> None:
    """Put an installer where the official image of Python has one, for deploy/Containerfile to remove."""
    packages = root / "usr/local/lib/python3.13/site-packages"
    packages.mkdir(parents=True)
    (wheel,) = (root / "usr/share/python-wheels").glob("pip-*.whl")
    shutil.unpack_archive(wheel, packages, "zip")
    for name in ("pip", "pip3"):
        program = root / "usr/local/bin" / name
        program.write_text("#!/usr/bin/python3\nfrom pip._internal.cli.main import main\nmain()\n")
        program.chmod(0o755)


def _tools(made: Path, folder: Path) -> None:
    run(["cp", "-a", f"{made}/.", folder])
    # No server is started where there is no system for it.
    policy = folder / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    inside = ["chroot", folder, "env", "DEBIAN_FRONTEND=noninteractive"]
    run([*inside, "apt-get", "-qq", "update"])
    run([*inside, "apt-get", "-qq", "install", "--yes", "--no-install-recommends", *TOOLS])
