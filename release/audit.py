"""Ask for known vulnerabilities of all locked packages. No answer is a failure, like a finding.

.venv-audit/bin/python -m release.audit [--service pypi|osv] [LOCK ...]
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
_SECONDS: Final = 300


def main() -> None:
    """Audit the lock files that are named, or all; exit with 1 unless each package was looked up and has nothing."""
    arguments = sys.argv[1:]
    service = "pypi"
    if arguments[:1] == ["--service"]:
        service, arguments = arguments[1], arguments[2:]
    locks = [Path(one) for one in arguments] or sorted(ROOT.glob("requirements*.lock"))
    faults: list[str] = []
    for lock in locks:
        said = audited(lock, service)
        faults += [f"{lock.name}: {one}" for one in said]
        print(f"{lock.name}: {'clean' if not said else f'{len(said)} problems'}")
    if faults:
        sys.exit("\n".join(faults))


def audited(lock: Path, service: str) -> list[str]:
    """Return what is wrong with a lock file, one line each."""
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
        return [f"no answer from {service} within {_SECONDS} seconds"]
    return problems(done.stdout, done.stderr, service)


def problems(out: str, err: str, service: str) -> list[str]:
    """Return what an answer of pip-audit says, one line each; an answer that is none is a problem too."""
    try:
        listed: list[dict[str, Any]] = json.loads(out)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = err.strip().rpartition("\n")[2]
        return [f"no answer from {service}: {last or 'nothing was said'}"]
    found = [f"{one['name']}: not looked up: {one['skip_reason']}" for one in listed if "skip_reason" in one]
    for one in listed:
        for vulnerability in one.get("vulns", ()):
            fixed = ", ".join(vulnerability.get("fix_versions", ())) or "none yet"
            found.append(f"{one['name']} {one['version']}: {vulnerability['id']} (fixed in: {fixed})")
    return found if listed else [f"no answer from {service}: it names no package"]


if __name__ == "__main__":
    main()
