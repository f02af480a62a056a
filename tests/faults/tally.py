"""What a run of faults has survived, told to whoever runs it; docs/guarantees.md quotes it."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def tell(line: str) -> None:
    """Print a line, and add it to the file that ACH_FAULTS_LOG names."""
    sys.stdout.write(f"{line}\n")
    if log := os.environ.get("ACH_FAULTS_LOG"):
        with Path(log).open("a") as file:
            file.write(f"{line}\n")


def count(name: str, *, quick: int, long: int) -> int:
    """Return how many faults of a kind to make: ACH_FAULTS_<NAME>, or what the form of the run takes."""
    return int(os.environ.get(f"ACH_FAULTS_{name}", long if os.environ.get("ACH_FAULTS") == "long" else quick))
