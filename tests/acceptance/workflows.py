"""The steps of CI files, read from their YAML and run by a shell as GitHub and GitLab run them."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import yaml

from tests.acceptance.conftest import ACH, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

ACTION: Final = ROOT / "ci" / "github" / "action.yml"
TEMPLATE: Final = ROOT / "ci" / "gitlab" / "rules.yml"
SAMPLE: Final = ROOT / "fixtures" / "rule-repository"
EXPRESSION: Final = re.compile(r"\$\{\{\s*([\w.-]+)\s*\}\}")
_TERM: Final = re.compile(r"([\w.-]+) (==|!=) '([^']*)'")


class Step(NamedTuple):
    """A script and the variables that its step sets."""

    name: str
    script: str
    variables: Mapping[str, str]


class Runner:
    """A machine of CI: a checked-out folder, and programs that it finds first.

    `commands` has the arguments of each `ach` that ran, in order. What `pip` would install is here already.
    """

    def __init__(self, root: Path, folder: Path, *, real: bool = True) -> None:
        self.folder = folder
        self.temp = root / "temp"
        self._log = root / "commands.log"
        self._programs = root / "programs"
        self._programs.mkdir()
        self.temp.mkdir()
        self._log.touch()
        self._program("ach", f'printf "%s\\n" "$*" >> {self._log}\n' + (f'exec {ACH} "$@"\n' if real else ""))
        self._program("pip", f'printf "pip %s\\n" "$*" >> {self._log}\n')
        self._program("python", f'exec {sys.executable} "$@"\n')
        self._program("python3", f'exec {sys.executable} "$@"\n')

    def _program(self, name: str, text: str) -> None:
        path = self._programs / name
        path.write_text(f"#!/bin/sh\n{text}")
        path.chmod(0o755)

    @property
    def commands(self) -> list[str]:
        """Return what ran since the last look, and forget it."""
        found = self._log.read_text("utf-8").splitlines()
        self._log.write_text("")
        return found

    def run(self, step: Step, **more: str) -> subprocess.CompletedProcess[str]:
        """Run the script of a step."""
        variables = {
            "PATH": f"{self._programs}:/usr/bin:/bin",
            "HOME": str(self.temp),
            "RUNNER_TEMP": str(self.temp),
            "GITHUB_ACTION_PATH": str(ACTION.parent),
            "GITHUB_STEP_SUMMARY": str(self.temp / "summary.md"),
            **more,
            **step.variables,
        }
        shell = ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step.script)
        return subprocess.run(
            shell, cwd=self.folder, env=variables, capture_output=True, text=True, timeout=60, check=False
        )

    def run_all(self, steps: Sequence[Step]) -> None:
        """Run steps that all have to succeed."""
        for step in steps:
            ran = self.run(step)
            assert ran.returncode == 0, (step, ran.stdout, ran.stderr)


def read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text("utf-8"))


# -- GitHub -----------------------------------------------------------------------------------------------------------


def action_steps(given: Mapping[str, str], context: Mapping[str, str]) -> list[Step]:
    """Return the steps of the action that run a script, with these inputs."""
    action = read(ACTION)
    inputs = {f"inputs.{name}": one["default"] for name, one in action["inputs"].items()}
    known = {**inputs, **{f"inputs.{name}": text for name, text in given.items()}, **context}
    return list(_scripts(action["runs"]["steps"], known))


def workflow_steps(path: Path) -> list[Step]:
    """Return the steps of a workflow with one job that run a script."""
    (job,) = read(path)["jobs"].values()
    return list(_scripts(job["steps"], {}))


def _scripts(steps: Sequence[dict[str, Any]], known: Mapping[str, str]) -> Iterator[Step]:
    for step in steps:
        if "run" in step and holds(step.get("if", ""), known):
            variables = {name: evaluated(text, known) for name, text in step.get("env", {}).items()}
            yield Step(step.get("name", step["run"]), step["run"], variables)


def holds(condition: str, known: Mapping[str, str]) -> bool:
    """Tell whether the condition of a step holds: terms joined by `&&`."""
    return all(term == "always()" or _holds(term, known) for term in condition.split(" && ") if term)


def _holds(term: str, known: Mapping[str, str]) -> bool:
    found = _TERM.fullmatch(term)
    assert found is not None, term
    name, comparison, text = found.groups()
    return (known[name] == text) is (comparison == "==")


def evaluated(text: str, known: Mapping[str, str]) -> str:
    return EXPRESSION.sub(lambda found: known[found[1]], text)


# -- GitLab -----------------------------------------------------------------------------------------------------------


def job_steps(path: Path, job: str, variables: Mapping[str, str]) -> list[Step]:
    """Return one step, the script of a job: GitLab runs its lines in one shell."""
    found = read(path)[job]
    script = "\n".join([*found.get("before_script", []), *found["script"]])
    return [Step(job, script, {**found.get("variables", {}), **variables})]
