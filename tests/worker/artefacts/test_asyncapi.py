"""The document keeps AsyncAPI's own schema: asyncapi-3.0.0.json.gz is that of @asyncapi/specs 6.11.1 (Apache-2.0)."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
from jsonschema import Draft7Validator

from tests.worker.artefacts.rules import EVENTS
from worker.artefacts.asyncapi import document
from worker.artefacts.bundle import files_of
from worker.contract.partition import bound_by, event_subject, shared_subject

OFFICIAL: Final = json.loads(gzip.decompress(Path(__file__).with_name("asyncapi-3.0.0.json.gz").read_bytes()))
FILES: Final = files_of(EVENTS, prefix="in.events", title='A "title"')
DOCUMENT: Final[dict[str, Any]] = json.loads(FILES["asyncapi.json"])


def faults(said: dict[str, Any]) -> list[str]:
    return [f"{error.json_path}: {error.message[:200]}" for error in Draft7Validator(OFFICIAL).iter_errors(said)]


def test_the_document_keeps_the_specification() -> None:
    assert faults(DOCUMENT) == []
    assert DOCUMENT["info"]["title"] == 'A "title"'


def test_the_specification_finds_what_is_wrong() -> None:
    assert faults({**DOCUMENT, "asyncapi": "2.0.0"})
    assert faults({**DOCUMENT, "operations": {"sendLogin": {"action": "publish", "channel": {"$ref": "#/x"}}}})


def references() -> list[str]:
    return re.findall(r'"\$ref": "([^"]+)"', FILES["asyncapi.json"])


def test_every_reference_leads_somewhere() -> None:
    found = references()
    assert len(found) > 4 * len(EVENTS)
    for reference in found:
        place: Any = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]
        assert place


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_addresses_are_the_subjects_of_events(name: str) -> None:
    channels = DOCUMENT["channels"].values()
    addresses = {one["address"].replace("{tenant}", "acme").replace("{user}", "ann") for one in channels}
    assert event_subject("in.events", "acme", "ann", name) in addresses
    assert shared_subject("in.events", "acme") in addresses
    for address in addresses:
        assert bound_by("in.events", address).tenant == "acme"


def test_the_prefix_is_in_every_address() -> None:
    said = document(EVENTS, prefix="other", title="T")
    assert {one["address"].split(".")[0] for one in said["channels"].values()} == {"other"}
