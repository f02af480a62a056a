from __future__ import annotations

import re
from pathlib import Path

import jsonschema

from worker.serve.openapi import document, document_text
from worker.serve.operations import OPERATIONS

PAGE = Path(__file__).parents[3] / "docs" / "openapi.json"


def test_the_kept_document_is_the_generated_one() -> None:
    assert PAGE.read_text("utf-8") == document_text(), "run `ach serve openapi > docs/openapi.json`"


def test_its_schemas_are_schemas_and_its_references_lead_somewhere() -> None:
    found = document()
    for schema in found["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for kind, name in re.findall(r"#/components/(\w+)/(\w+)", document_text()):
        assert name in found["components"][kind]


def test_each_operation_is_there_and_takes_a_credential_unless_it_says_so() -> None:
    for one in OPERATIONS:
        said = document()["paths"][one.path]["get"]
        assert said["operationId"] == one.name
        assert ("security" in said) == one.is_open
        assert {"200", "400", "405", "500"} <= set(said["responses"])
        assert one.is_open or {"401", "403", "429"} <= set(said["responses"])
