"""The files of deploy/ agree with the worker, and with each other."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from tests.kit.debian import ROOT
from worker.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

DEPLOY: Final = ROOT / "deploy"
KUBERNETES: Final = DEPLOY / "kubernetes"
FILES: Final = [
    DEPLOY / "Containerfile",
    DEPLOY / "compose.yaml",
    DEPLOY / "systemd" / "ach.service",
    *sorted(KUBERNETES.rglob("*.yaml")),
]


def documents() -> list[dict[str, Any]]:
    pages = [path for path in sorted(KUBERNETES.rglob("*.yaml")) if path.name != "kustomization.yaml"]
    return [one for page in pages for one in yaml.safe_load_all(page.read_text())]


def of_kind(kind: str) -> dict[str, Any]:
    return next(one for one in documents() if one["kind"] == kind)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_variable_is_one_that_the_worker_knows(path: Path) -> None:
    known = {f"ACH_{name.upper()}" for name in Settings.__struct_fields__} | {"ACH_IMAGE"}
    assert set(re.findall(r"\bACH_[A-Z_]+\b", path.read_text())) <= known


def test_ports_and_probes_match() -> None:
    (container,) = of_kind("Deployment")["spec"]["template"]["spec"]["containers"]
    (port,) = container["ports"]
    base = yaml.safe_load((KUBERNETES / "base" / "kustomization.yaml").read_text())
    settings = dict(one.split("=", 1) for one in base["configMapGenerator"][0]["literals"])
    assert port["containerPort"] == int(settings["ACH_HEALTH_PORT"])
    assert {name: container[name]["httpGet"]["path"] for name in container if name.endswith("Probe")} == {
        "readinessProbe": "/readyz",
        "livenessProbe": "/healthz",
        "startupProbe": "/healthz",
    }
    assert of_kind("NetworkPolicy")["spec"]["ingress"][0]["ports"][0]["port"] == port["containerPort"]


@pytest.mark.parametrize("kind", ["Deployment", "Job"])
def test_pods_are_restricted(kind: str) -> None:
    pod = of_kind(kind)["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        held = container["securityContext"]
        assert (held["allowPrivilegeEscalation"], held["readOnlyRootFilesystem"]) == (False, True)
        assert held["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"]


@pytest.mark.parametrize("page", sorted(KUBERNETES.rglob("kustomization.yaml")), ids=lambda page: page.parent.name)
def test_resources_of_kustomize_exist(page: Path) -> None:
    for name in yaml.safe_load(page.read_text())["resources"]:
        target = page.parent / name
        assert target.is_file() or (target / "kustomization.yaml").is_file(), name


def test_compose_has_limits_and_no_password() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    composed = yaml.safe_load(text)
    for name, service in composed["services"].items():
        assert service["deploy"]["resources"]["limits"]["memory"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["read_only"] is True, name
        assert set(service.get("secrets", ())) <= set(composed["secrets"]), name
    assert not re.search(r"PASSWORD: |://[^/\s]*:[^/\s]*@", text)


def test_an_image_has_no_tool_in_its_last_stage() -> None:
    last = (DEPLOY / "Containerfile").read_text().rpartition("\nFROM ")[2]
    assert "COPY --from=build /opt/ach /opt/ach" in last
    assert "/opt/tools" not in last
    assert "USER 65532" in last
    assert not re.search(r"^(hatchling|tomlkit|trove-classifiers)==", worker_lock(), re.MULTILINE)


def worker_lock() -> str:
    return (ROOT / "requirements-worker.lock").read_text()
