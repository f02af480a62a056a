"""Pathway's own environment, made when asked for: it weighs 1.6 GB, and pins versions of what others use."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

from bench.processes import ROOT

FOLDER: Final = ROOT / ".venv-pathway"
PYTHON: Final = FOLDER / "bin" / "python"
PACKAGES: Final = ("pathway==0.33.0", "msgspec==0.22.0")
INSTALL_SECONDS: Final = 900.0


def missing() -> str | None:
    """Return why Pathway cannot take part, None where it can."""
    if not PYTHON.exists():
        return f"{FOLDER.name} is missing; `just bench --pathway` makes it"
    done = subprocess.run((str(PYTHON), "-c", "import msgspec, pathway"), capture_output=True, check=False)
    return None if done.returncode == 0 else f"it does not run here: {_last(done.stderr)}"


def install() -> str | None:
    """Make the environment where it is missing; return why that failed, None where it did not."""
    if missing() is None:
        return None
    print(f"installing {PACKAGES[0]} into {FOLDER.name} (once) ...", flush=True)
    for command in (
        (sys.executable, "-m", "venv", str(FOLDER)),
        (str(PYTHON), "-m", "pip", "install", "--quiet", "--only-binary", ":all:", *PACKAGES),
    ):
        try:
            done = subprocess.run(command, capture_output=True, check=False, timeout=INSTALL_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"it cannot be installed: {type(error).__name__}"
        if done.returncode:
            return f"it cannot be installed: {_last(done.stderr)}"
    return missing()


def _last(said: bytes) -> str:
    return said.decode(errors="replace").strip().rpartition("\n")[2]
