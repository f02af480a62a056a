"""The machine and the versions, as every page of results names them."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from bench.processes import ROOT

PACKAGES: Final = ("nats-py", "asyncpg", "msgspec", "uvloop", "faststream")


def machine() -> dict[str, str]:
    """Return what is measured on: processor, memory, kernel, and how busy it is now."""
    cpus = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in cpus if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "CPU": f"{model}, {os.cpu_count()} cores",
        "memory": f"{memory:.0f} GiB",
        "kernel": platform.release(),
        # Who measures on a busy machine should not be able to hide it.
        "load at the start": f"{os.getloadavg()[0]:.1f}",
    }


def versions() -> dict[str, str]:
    """Return what is measured: the commit, Python, and the packages that matter."""
    found = {"Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {"ach": _commit() or version("ach"), **found}


def _commit() -> str:
    """Return the commit that is measured, nothing where git cannot tell."""
    command = ("git", "describe", "--always", "--dirty")
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.decode().strip()
