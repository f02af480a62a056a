"""The machine and the versions, as every page of results names them."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import sysconfig
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from bench.processes import ROOT

PACKAGES: Final = ("nats-py", "asyncpg", "msgspec", "uvloop", "faststream")
_BUILT_WITH: Final = {"--enable-optimizations": "PGO", "--with-lto": "LTO"}


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
    found = {"Python": f"{platform.python_version()} ({_built() or 'without PGO'})"}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {"ach": _commit() or version("ach-engine"), **found}


def doubt() -> str:
    """Return what there is to say of this Python, empty if nothing: built otherwise than an image's, it is slow."""
    if _built():
        return ""
    return (
        f"Python {platform.python_version()} ({sys.executable}) says nothing of profile-guided optimisation, which "
        "those of images and distributions have: without it, it is up to 1.5 times as slow. ACH_PYTHON names another."
    )


def _built() -> str:
    if sys.base_prefix == "/usr":
        return "the distribution's"
    told = str(sysconfig.get_config_var("CONFIG_ARGS"))
    return ", ".join(name for option, name in _BUILT_WITH.items() if option in told)


def _commit() -> str:
    """Return the commit that is measured, nothing where git cannot tell."""
    command = ("git", "describe", "--always", "--dirty")
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.decode().strip()
