"""Ask for known vulnerabilities of all locked packages. No answer is a failure, like a finding.

.venv-audit/bin/python -m release.audit [--service pypi|osv | --database FILE] [LOCK ...]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from release import osv
from release.lock import packages_of

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT: Final = Path(__file__).parents[1]
_SECONDS: Final = 300
_OFFLINE: Final = "without a network: `just audit --database all.zip` (docs/deploying.md#what-is-inside)"


class NoAnswerError(Exception):
    """Nothing is known of any package; the message says why."""


def main() -> None:
    """Audit the lock files that are named, or all; exit with 1 unless each package was looked up and has nothing."""
    parser = argparse.ArgumentParser(prog="just audit", description="Known vulnerabilities of all locked packages.")
    parser.add_argument("--service", choices=("pypi", "osv"), default="pypi", help="which service pip-audit asks")
    parser.add_argument("--database", type=Path, metavar="FILE", help="a database file of OSV, in place of a service")
    parser.add_argument("locks", nargs="*", type=Path, metavar="LOCK", help="lock files; all of the project by default")
    given = parser.parse_args()
    locks: list[Path] = given.locks or sorted(ROOT.glob("requirements*.lock"))
    try:
        faults = audit(locks, _asked(given.database, given.service))
    except (NoAnswerError, osv.DatabaseError) as error:
        sys.exit(f"error: no package was audited: {error}\n  hint: {_OFFLINE}")
    if faults:
        sys.exit("\n".join(faults))


def _asked(database: Path | None, service: str) -> Callable[[Path], list[str]]:
    """Return what tells the problems of a lock file, one line each."""
    if database is None:
        return partial(audited, service=service)
    held = osv.read(database)
    print(f"{database}: as of {held.newest}")
    return lambda lock: osv.found(held, packages_of(lock.read_text()))


def audit(locks: list[Path], asked: Callable[[Path], list[str]]) -> list[str]:
    """Return what is wrong with lock files, one line each, and print how each came off.

    Raises:
        NoAnswerError: there is no answer for one; the others are not asked for.
    """
    faults: list[str] = []
    for lock in locks:
        said = asked(lock)
        faults += [f"{lock.name}: {one}" for one in said]
        print(f"{lock.name}: {'clean' if not said else f'{len(said)} problems'}")
    return faults


def audited(lock: Path, service: str) -> list[str]:
    """Return what pip-audit says is wrong with a lock file, one line each.

    Raises:
        NoAnswerError: the service gives no answer.
    """
    pip_audit = Path(sys.executable).with_name("pip-audit")
    command = [pip_audit, "--require-hashes", "--disable-pip", "--progress-spinner=off", "--format=json"]
    try:
        done = subprocess.run(
            [*command, f"--vulnerability-service={service}", "-r", str(lock)],
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise NoAnswerError(f"no answer from {service} within {_SECONDS} seconds") from None
    return problems(done.stdout, done.stderr, service)


def problems(out: str, err: str, service: str) -> list[str]:
    """Return what an answer of pip-audit says, one line each.

    Raises:
        NoAnswerError: it is none.
    """
    try:
        listed: list[dict[str, Any]] = json.loads(out)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = err.strip().rpartition("\n")[2]
        raise NoAnswerError(f"no answer from {service}: {last or 'nothing was said'}") from None
    if not listed:
        raise NoAnswerError(f"no answer from {service}: it names no package")
    skipped = {one["name"]: one["skip_reason"] for one in listed if "skip_reason" in one}
    if len(skipped) == len(listed):
        raise NoAnswerError(f"{service} knows none of the packages: {next(iter(skipped.values()))}")
    found = [f"{name}: not looked up: {why}" for name, why in skipped.items()]
    for one in listed:
        for vulnerability in one.get("vulns", ()):
            fixed = ", ".join(vulnerability.get("fix_versions", ())) or "none yet"
            found.append(f"{one['name']} {one['version']}: {vulnerability['id']} (fixed in: {fixed})")
    return found


if __name__ == "__main__":
    main()
