"""What is deployed beside a worker asks for metrics and labels that there are; docs/operating.md has the table of both.

That the table says what is rendered: tests/integration/test_health.py.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from tests.acceptance.test_playbooks import REPAIRS

ROOT: Final = Path(__file__).parents[3]
DEPLOY: Final = ROOT / "deploy"
PLAYBOOKS: Final = ROOT / "docs" / "playbooks"
ROW: Final = re.compile(r"^\| `(ach_\w+)` \| (\w+) \| ((?:`\w+`(?:, )?)*) ?\|", re.MULTILINE)
TABLE: Final = {
    name: (kind, set(re.findall(r"\w+", labels)))
    for name, kind, labels in ROW.findall((ROOT / "docs" / "operating.md").read_text("utf-8"))
}
ALERTS: Final = (DEPLOY / "alerts.yml").read_text("utf-8")
ALERT: Final = re.compile(r"- alert: (\w+)\n.*?runbook_url: (\S+)", re.DOTALL)
TESTS: Final = "".join(path.read_text("utf-8") for path in sorted(DEPLOY.glob("alerts*.test.yml")))


def dashboard() -> list[str]:
    board: dict[str, Any] = json.loads((DEPLOY / "grafana" / "dashboards" / "ach.json").read_text("utf-8"))
    return [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]


def in_playbooks() -> list[str]:
    pages = (page.read_text("utf-8") for page in sorted(PLAYBOOKS.glob("*.md")))
    return [expr for page in pages for expr in re.findall(r"```promql\n(.*?)```", page, re.DOTALL)]


def in_alerts() -> list[str]:
    return re.findall(r"expr: (.*?)\n        (?:for|labels):", ALERTS, re.DOTALL)


def faults(expr: str) -> list[str]:
    """Return what an expression asks for that no worker shows."""
    found: list[str] = []
    asked: set[str] = set()
    for name, said in re.findall(r"\b(ach_\w+)(?:\{([^}]*)\})?", expr):
        family = name if name in TABLE else re.sub(r"_(bucket|sum|count)$", "", name)
        if family not in TABLE or (family != name and TABLE[family][0] != "histogram"):
            found.append(name)
            continue
        labels: set[str] = {"instance", *TABLE[family][1], *(["le"] if name.endswith("_bucket") else [])}
        asked |= labels
        found += [f"{name}: {one}" for one in re.findall(r"(\w+)\s*(?:=|!)", said) if one not in labels]
    grouped = {one for said in re.findall(r"\b(?:by|on) \(([^)]*)\)", expr) for one in re.findall(r"\w+", said)}
    return found + sorted(grouped - asked)


def test_faults_are_found() -> None:
    assert faults('sum by (reason) (ach_dead_letters_total{reason="x"})') == []
    assert faults('sum by (kind) (ach_dead_letters_total{cause="x"}) + ach_nothing + ach_events_total_sum') == [
        "ach_dead_letters_total: cause",
        "ach_nothing",
        "ach_events_total_sum",
        "kind",
    ]


def test_every_expression_asks_for_what_is_there() -> None:
    for expressions, least in ((dashboard(), 40), (in_alerts(), 19), (in_playbooks(), 10)):
        assert len(expressions) >= least
        assert [fault for expr in expressions for fault in faults(expr)] == []


def test_panels_say_every_option_that_grafana_s_schema_requires() -> None:
    required = {
        "stat": {
            *("colorMode", "graphMode", "justifyMode", "percentChangeColorMode", "reduceOptions", "showPercentChange"),
            *("textMode", "wideLayout"),
        },
        "timeseries": {"legend", "tooltip"},
    }
    inner = {"legend": {"displayMode", "placement", "showLegend", "calcs"}, "tooltip": {"mode", "sort"}}
    board: dict[str, Any] = json.loads((DEPLOY / "grafana" / "dashboards" / "ach.json").read_text("utf-8"))
    panels = [panel for panel in board["panels"] if panel["type"] in required]
    assert len(panels) >= 20
    for panel in panels:
        options = panel["options"]
        assert not required[panel["type"]] - options.keys(), panel["title"]
        assert not [name for name in inner.keys() & options.keys() if inner[name] - options[name].keys()], panel[
            "title"
        ]


def test_every_alert_has_a_playbook_that_names_it_and_tests_of_both_kinds() -> None:
    alerts = ALERT.findall(ALERTS)
    assert len(alerts) == ALERTS.count("- alert:") >= 19
    for name, page in alerts:
        text = (ROOT / page).read_text("utf-8")
        assert name in text.partition("## What it means")[0]
        assert [*re.findall(r"^## (.*)$", text, re.MULTILINE)] == ["What it means", "Look here", "Do this"]
        assert re.search(rf"alertname: {name}\n        exp_alerts:\n", TESTS), f"{name} never fires"
        assert re.search(rf"alertname: {name}\n        exp_alerts: \[\]", TESTS), f"{name} always fires"
    assert {Path(page).stem for _, page in alerts} == {page.stem for page in PLAYBOOKS.glob("*.md")} - REPAIRS


@pytest.mark.operate
def test_promtool_reads_every_expression(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is missing, of Debian's package prometheus")
    expressions = [expr.replace("$__rate_interval", "5m") for expr in (*dashboard(), *in_playbooks())]
    rules = [{"record": f"one:{number}", "expr": expr} for number, expr in enumerate(expressions)]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "all", "rules": rules}]}), "utf-8")
    ran = subprocess.run(
        [promtool, "check", "rules", tmp_path / "rules.yml"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
