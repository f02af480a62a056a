"""fixtures/subject_encoding.json: our encoder, what `ach contract` writes, and docs/examples/producing agree."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any, Final

import pytest

from dsl.schema import EventSchema
from tests.worker.artefacts.producers import CASES, EXAMPLES, EXPECTED, said_by_node, said_by_python
from worker.artefacts import python, typescript
from worker.broker.outgoing import message_id
from worker.contract.partition import event_subject
from worker.contract.strict_reader import Accepted, Contract

if TYPE_CHECKING:
    from pathlib import Path

EVENTS: Final = {"login": EventSchema("login", {})}
CONTRACT: Final = Contract({}, prefix="events", skew=0)
ASK_JAVA: Final = """
import java.nio.file.*;
public final class Ask {
    public static void main(String[] args) throws Exception {
        for (String line : Files.readAllLines(Path.of(args[0]))) {
            String[] names = line.split("\\t", -1);
            for (int at = 0; at < names.length; at++) names[at] = unescaped(names[at]);
            String said;
            try {
                said = names.length == 3
                    ? Subjects.eventSubject(names[0], names[1], names[2])
                    : Subjects.messageId(names[0], names[1]).orElse("");
            } catch (IllegalArgumentException refused) {
                said = "";
            }
            System.out.println(said);
        }
    }
    static String unescaped(String text) {
        StringBuilder found = new StringBuilder();
        for (int at = 0; at < text.length(); at += 4) {
            found.append((char) Integer.parseInt(text.substring(at, at + 4), 16));
        }
        return found.toString();
    }
}
"""


def event(case: dict[str, Any]) -> bytes:
    said = {"event_id": "e", "event_type": case["type"], "user_id": case["user"], "tenant_id": case["tenant"]}
    return json.dumps({**said, "occurred_at": "2026-01-01T00:00:00Z"}).encode()


@pytest.mark.parametrize("case", CASES["subjects"])
def test_the_encoder_of_the_engine(case: dict[str, Any]) -> None:
    """A refused name is one that no event may have, on any subject."""
    if "refused" in case:
        assert not isinstance(CONTRACT.read("events.raw", event(case), now=10**18)[0], Accepted)
        return
    subject = event_subject(CASES["prefix"], case["tenant"], case["user"], case["type"])
    assert subject == case["subject"]
    assert isinstance(CONTRACT.read(subject, event(case), now=10**18)[0], Accepted)


@pytest.mark.parametrize("case", CASES["message_ids"])
def test_message_ids_of_the_engine(case: dict[str, Any]) -> None:
    assert message_id(case["tenant"], case["event_id"]) == case["message_id"]


def test_python_that_is_generated(tmp_path: Path) -> None:
    path = tmp_path / "ach_events.py"
    path.write_text(python.module(EVENTS, prefix="events"))
    assert said_by_python(path) == EXPECTED


def test_python_of_the_page() -> None:
    assert said_by_python(EXAMPLES / "publish.py") == EXPECTED


def test_typescript_that_is_generated(tmp_path: Path) -> None:
    path = tmp_path / "ach_events.ts"
    path.write_text(typescript.module(EVENTS, prefix="events"))
    event = "{ tenant_id: one.tenant, user_id: one.user, event_type: one.type }"
    assert said_by_node(path, event, "{ tenant_id: one.tenant, event_id: one.event_id }") == EXPECTED


def without_hashes(expected: dict[str, list[str | None]]) -> dict[str, list[str | None]]:
    """Return what examples without BLAKE2b say: they refuse names that are too long for a token."""
    return {name: [None if "~" in (one or "") else one for one in said] for name, said in expected.items()}


def test_javascript_of_the_page() -> None:
    said = said_by_node(EXAMPLES / "subjects.mjs", "one.tenant, one.user, one.type", "one.tenant, one.event_id")
    assert said == without_hashes(EXPECTED)


@pytest.mark.faults
@pytest.mark.skipif(shutil.which("javac") is None, reason="no JDK on this machine")
def test_java_of_the_page(tmp_path: Path) -> None:
    (tmp_path / "Ask.java").write_text(ASK_JAVA)
    rows = [(case["tenant"], case["user"], case["type"]) for case in CASES["subjects"]]
    rows += [(case["tenant"], case["event_id"]) for case in CASES["message_ids"]]
    lines = ["\t".join(name.encode("utf-16-be", "surrogatepass").hex() for name in row) for row in rows]
    (tmp_path / "cases").write_text("\n".join(lines) + "\n")
    compiled = ["javac", "-d", str(tmp_path), str(EXAMPLES / "Subjects.java"), str(tmp_path / "Ask.java")]
    subprocess.run(compiled, check=True)
    asked = ["java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", str(tmp_path), "Ask", str(tmp_path / "cases")]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    said = [line or None for line in done.stdout.splitlines()]
    expected = without_hashes(EXPECTED)
    assert said == expected["subjects"] + expected["message_ids"]
