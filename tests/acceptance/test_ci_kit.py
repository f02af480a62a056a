"""The CI kit, run as CI does: its steps are read from its files, in a copy of the sample repository."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

import pytest
import yaml

from tests.acceptance.comment_service import TOKEN, Comments, comment_service
from tests.acceptance.conftest import ROOT
from tests.acceptance.workflows import (
    ACTION,
    SAMPLE,
    TEMPLATE,
    Runner,
    Step,
    action_steps,
    evaluated,
    job_steps,
    read,
    workflow_steps,
)
from worker.local.starter import starter

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from tests.acceptance.conftest import Shell

STARTER: Final = ROOT / "worker" / "local" / "starter_files" / "ci"
SECRETS: Final = {"secrets.RULES_DATABASE_URL": ""}
REQUEST: Final = {"github.event_name": "pull_request", "github.event.pull_request.number": "7", "github.token": TOKEN}
CHECKS: Final = [
    "check rules/ --format github --strict",
    "fmt --check rules/",
    "test rules/ --coverage --junit examples.xml --fail-under 90",
    "replay events.jsonl -r rules/ --expect expected.json",
]

MORE: Final = """
achievement duels { title "<img src=x> @acme ```" when count(event=match.won where mode = "```", >= 1) }
achievement winner { title "Winner" when count(event=match.won, >= 1) }
"""


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    """A machine with the sample repository checked out."""
    return Runner(tmp_path, shutil.copytree(SAMPLE, tmp_path / "repository"))


@pytest.fixture
def comments() -> Generator[Comments]:
    with comment_service() as service:
        yield service


def sample_inputs(secret: str = "") -> dict[str, str]:
    """Return what the workflow of the sample gives to the action."""
    (job,) = read(SAMPLE / ".github/workflows/rules.yml")["jobs"].values()
    _, step = job["steps"]
    assert re.fullmatch(r"example/ach/ci/github@v[\d.]+", step["uses"])
    known = {"secrets.RULES_DATABASE_URL": secret}
    return {name: evaluated(text, known) for name, text in step["with"].items()}


def gitlab_job(name: str) -> list[Step]:
    """Return the script of a job of the template, with the variables of the sample's pipeline."""
    return job_steps(TEMPLATE, name, read(SAMPLE / ".gitlab-ci.yml").get(name, {}).get("variables", {}))


# -- checks -----------------------------------------------------------------------------------------------------------


def test_the_action_passes_the_sample_repository(runner: Runner) -> None:
    steps = action_steps(sample_inputs(), REQUEST)
    assert [step.name for step in steps] == ["install", "sarif", "check", "layout", "examples", "recorded events"]
    runner.run_all(steps)
    assert runner.commands == [f"pip install {ACTION.parent}/../..", "check rules/ --format sarif", *CHECKS]
    assert json.loads((runner.temp / "ach.sarif").read_text())["version"] == "2.1.0"
    assert len(ET.parse(runner.folder / "examples.xml").findall(".//testcase")) == 2  # noqa: S314 - our own


def test_the_action_fails_where_the_rules_do(runner: Runner) -> None:
    rules = runner.folder / "rules" / "matches.ach"
    steps = {step.name: step for step in action_steps(sample_inputs(), REQUEST)}
    good = rules.read_text("utf-8")
    rules.write_text(good.replace("mode, >= 3", "mode, >= 2"))
    assert runner.run(steps["examples"]).returncode == 1
    assert len(ET.parse(runner.folder / "examples.xml").findall(".//failure")) >= 1  # noqa: S314 - our own
    assert runner.run(steps["recorded events"]).returncode == 1
    rules.write_text(good.replace("distinct=mode", "distinct=mood"))
    checked = runner.run(steps["check"])
    assert (checked.returncode, checked.stdout[:32]) == (1, "::error file=rules/matches.ach,l"), checked
    assert runner.run(steps["sarif"]).returncode == 0
    (run,) = json.loads((runner.temp / "ach.sarif").read_text())["runs"]
    assert run["results"]
    shutil.rmtree(runner.folder / "rules")
    assert runner.run(steps["sarif"]).returncode == 1


def test_the_template_passes_the_sample_repository(runner: Runner) -> None:
    runner.run_all(gitlab_job("ach-rules"))
    assert runner.commands == ["pip install ach-engine", "check rules/ --strict", *CHECKS[1:]]
    assert len(ET.parse(runner.folder / "examples.xml").findall(".//testcase")) == 2  # noqa: S314 - our own


@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_a_new_folder_and_the_kit_run_the_same(tmp_path: Path, ci: str) -> None:
    """What `ach init` writes for CI, and the kit without a setting but the recorded stream."""
    runner = Runner(tmp_path, tmp_path, real=False)
    if ci == "github":
        runner.run_all(workflow_steps(STARTER / "github.yml"))
        kit = action_steps({"events": "events.jsonl", "package": "ach-engine"}, REQUEST)
    else:
        runner.run_all(job_steps(STARTER / "gitlab.yml", "rules", {}))
        kit = job_steps(TEMPLATE, "ach-rules", {"EVENTS": "events.jsonl"})
    begun = runner.commands
    runner.run_all(kit)
    assert runner.commands == begun
    assert len(begun) == 5
    assert (STARTER / f"{ci}.yml").read_bytes() in starter("github" if ci == "github" else "gitlab").values()


# -- files ------------------------------------------------------------------------------------------------------------


def test_no_script_has_an_expression_of_a_caller() -> None:
    """A value that GitHub puts into a script is code."""
    for step in read(ACTION)["runs"]["steps"]:
        assert "${{" not in step.get("run", ""), step


def test_the_sample_says_what_the_kit_knows() -> None:
    assert set(sample_inputs()) <= set(read(ACTION)["inputs"])
    used = set(re.findall(r"inputs\.([\w-]+)", ACTION.read_text("utf-8")))
    assert used == set(read(ACTION)["inputs"])
    pipeline, template = read(SAMPLE / ".gitlab-ci.yml"), read(TEMPLATE)
    (include,) = pipeline.pop("include")
    assert ROOT / include["file"] == TEMPLATE
    for job, said in pipeline.items():
        assert set(said["variables"]) <= set(template[job]["variables"])


def test_hooks_pass_the_sample_repository(shell: Shell) -> None:
    """pre-commit appends the changed files, where a hook takes them."""
    shell.folder = shutil.copytree(SAMPLE, shell.folder / "repository")
    listed: list[dict[str, Any]] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
    hooks = {one["id"]: one for one in listed}
    (ours,) = read(SAMPLE / ".pre-commit-config.yaml")["repos"]
    assert [one["id"] for one in ours["hooks"]] == list(hooks)
    for hook in hooks.values():
        program, *words = hook["entry"].split()
        changed = ["rules/matches.ach"] if hook.get("pass_filenames", True) else []
        assert program == "ach"
        assert re.search(hook["files"], "rules/matches.ach")
        ran = shell.ach(*words, *hook.get("args", []), *changed)
        assert ran.code == 0, (hook, ran)


def test_the_page_shows_the_files_of_the_sample() -> None:
    shown = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "ci.md").read_text("utf-8"), re.DOTALL)
    for name in (".github/workflows/rules.yml", ".gitlab-ci.yml", ".pre-commit-config.yaml"):
        assert (SAMPLE / name).read_text("utf-8") in shown, name


def test_the_page_says_every_setting() -> None:
    page = (ROOT / "docs" / "ci.md").read_text("utf-8")
    variables = {name for job in read(TEMPLATE).values() for name in job["variables"]}
    rows = set(re.findall(r"^\| `([\w-]+)` \|", page, re.MULTILINE))
    assert rows == {*read(ACTION)["inputs"], *variables, "PLAN_DATABASE_URL", "PLAN_TOKEN"}


# -- the comment ------------------------------------------------------------------------------------------------------


def github(service: Comments) -> dict[str, str]:
    return {"GITHUB_API_URL": service.url, "GITHUB_REPOSITORY": "acme/rules"}


def gitlab(service: Comments) -> dict[str, str]:
    place = {"CI_API_V4_URL": service.url, "CI_PROJECT_ID": "3", "CI_MERGE_REQUEST_IID": "7"}
    return {**place, "PLAN_TOKEN": TOKEN}


@pytest.mark.anyio
async def test_a_change_is_a_comment(runner: Runner, comments: Comments, on_servers: Shell) -> None:
    on_servers.folder = runner.folder
    for command in (("apply", "rules/"), ("emit", "events.jsonl"), ("run", "--drain")):
        assert on_servers.ach(*command).code == 0
    rules = runner.folder / "rules" / "matches.ach"
    rules.write_text(rules.read_text("utf-8") + MORE)
    database = on_servers.environment["DATABASE_URL"]

    steps = {step.name: step for step in action_steps(sample_inputs(database), REQUEST)}
    for _ in range(2):  # the second time it changes its comment
        for name in ("plan", "comment") if not comments.kept else ("comment",):
            ran = runner.run(steps[name], **github(comments))
            assert ran.returncode == 0, ran
    (kept,) = comments.kept
    assert "**Rules: 2 new.** Unlocks: 2 gained." in kept["body"]
    assert (runner.temp / "summary.md").read_text() in kept["body"]
    for hidden in ("eve", "fay", "acme", database, TOKEN, "<img"):
        assert not re.search(rf"\b{re.escape(hidden)}\b", kept["body"]), kept["body"]

    (job,) = gitlab_job("ach-plan")
    comments.kept.clear()
    merged = runner.run(job, PLAN_DATABASE_URL=database, **gitlab(comments))
    assert merged.returncode == 0, merged
    assert comments.kept[0]["body"].split("\n", 1)[0] == kept["body"].split("\n", 1)[0]

    rules.write_text("achievement x {}")
    assert runner.run(steps["plan"]).returncode == 1
    assert runner.run(job, PLAN_DATABASE_URL=database, **gitlab(comments)).returncode == 1
    assert len(comments.kept) == 1


@pytest.mark.parametrize("service", ["github", "gitlab"])
def test_a_comment_of_another_stays(runner: Runner, comments: Comments, service: str) -> None:
    """Our marker alone does not make it ours; and ours is found behind a hundred others."""
    (runner.temp / "plan.md").write_text("new")
    (runner.folder / "plan.md").write_text("new")
    if service == "github":
        step = {step.name: step for step in action_steps(sample_inputs("postgresql://"), REQUEST)}["comment"]
        place = github(comments)
    else:
        (job,) = gitlab_job("ach-plan")
        script = job.script[job.script.index('[ -n "${PLAN_TOKEN') :]
        step, place = job._replace(script=script), gitlab(comments)
    marker = '<!-- ach plan "rules/" -->\n'
    comments.add(f"{marker}old", login="mallory", user=2)
    for _ in range(100):
        comments.add("words")
    assert runner.run(step, **place).returncode == 0
    assert (len(comments.kept), comments.kept[0]["body"]) == (102, f"{marker}old")
    comments.kept[-1]["body"] = f"{marker}old"
    assert runner.run(step, **place).returncode == 0
    assert (len(comments.kept), comments.kept[-1]["body"]) == (102, f"{marker}new")
    comments.refuses = 403
    refused = runner.run(step, **place)
    assert refused.returncode == 1
    assert "HTTP 403" in refused.stdout + refused.stderr
    assert "Traceback" not in refused.stderr
    assert TOKEN not in refused.stdout + refused.stderr
