"""`ach alerts`: the rules of deploy/alerts.yml, with links that open."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from worker.cli import main

ROOT = Path(__file__).parents[3]
FILE = (ROOT / "deploy" / "alerts.yml").read_text("utf-8")
BASE = "https://git.example/ach/blob/main/docs/playbooks"


def alerts(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["alerts", *arguments])


def links(text: str) -> dict[str, str]:
    rules: list[dict[str, Any]] = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    return {rule["alert"]: rule["annotations"]["runbook_url"] for rule in rules}


def test_without_a_base_the_rules_are_those_of_the_file() -> None:
    assert alerts().output == FILE
    assert links(FILE)["AchNoWorker"] == "docs/playbooks/no-worker.md"


@pytest.mark.parametrize("base", [BASE, f"{BASE}/"])
def test_each_rule_links_the_file_of_its_playbook(base: str) -> None:
    found = links(alerts("--runbooks", base).output)
    assert found.keys() == links(FILE).keys()
    for alert, url in found.items():
        folder, _, name = url.rpartition("/")
        assert (folder, f"docs/playbooks/{name}") == (BASE, links(FILE)[alert])


def test_nothing_else_of_the_rules_changes() -> None:
    said = alerts("--runbooks", "https://wiki.example/{page}?x=1#top").output
    assert links(said)["AchNoWorker"] == "https://wiki.example/no-worker?x=1#top"
    ours, theirs = FILE.splitlines(), said.splitlines()
    changed = [line for line, other in zip(ours, theirs, strict=True) if line != other]
    assert len(changed) == len(links(FILE))
    assert all(line.lstrip().startswith("runbook_url: ") for line in changed)


@pytest.mark.parametrize(
    "base",
    [
        *("", "docs/playbooks", "ftp://x/y", "javascript:alert(1)", "https://", "https://[x", "//x/y"),
        *('https://x/"', "https://x/\n  evil: 1", "https://x/{{ $value }}", "https://x/{name}", "https://x/a b"),
    ],
)
def test_what_no_browser_opens_is_refused(base: str) -> None:
    found = alerts("--runbooks", base)
    assert found.exit_code == 2
    assert "expected http" in found.stderr
    assert not found.stdout


@pytest.mark.operate
def test_promtool_takes_them(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is missing, of Debian's package prometheus")
    (tmp_path / "alerts.yml").write_text(alerts("--runbooks", BASE).output, "utf-8")
    ran = subprocess.run(
        [promtool, "check", "rules", "--lint-fatal", tmp_path / "alerts.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
