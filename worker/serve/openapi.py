"""The OpenAPI 3.1 document, made of the operations and of the types of their answers."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import msgspec

from worker.serve.operations import OPERATIONS, PATH, Kind
from worker.serve.problems import MEDIA_TYPE, STATUSES, Problem

if TYPE_CHECKING:
    from worker.serve.operations import Operation, Parameter

_REFERENCE: Final = "#/components/schemas/{name}"
_ABOUT: Final = (
    "Reads what achievements a tenant's users and teams have. Tenants' keys are for servers; a browser gets a token "
    "that its application signs for one user. Ids are percent-encoded once."
)
_EVERYWHERE: Final = (400, 405, 500)
_WITH_CREDENTIAL: Final = (401, 403, 413, 429, 503)
_TITLES: Final = {kind.status: kind.title for kind in STATUSES}


@cache
def document() -> dict[str, Any]:
    """Return the document."""
    answers = [one.answer for one in OPERATIONS]
    shapes, schemas = msgspec.json.schema_components([*answers, Problem], ref_template=_REFERENCE)
    return {
        "openapi": "3.1.0",
        "info": {"title": "ach", "version": "1", "description": _ABOUT, "license": {"name": "Apache-2.0"}},
        "paths": {
            one.path: {"get": _operation(one, shape)} for one, shape in zip(OPERATIONS, shapes[:-1], strict=True)
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "responses": {
                str(status): {
                    "description": title,
                    "content": {MEDIA_TYPE: {"schema": {"$ref": _REFERENCE.format(name="Problem")}}},
                }
                for status, title in _TITLES.items()
            },
        },
        "security": [{"bearer": []}],
    }


def document_text() -> str:
    """Return the document as text, as it is kept in docs/openapi.json."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def _operation(one: Operation, shape: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": one.name,
        "summary": one.summary,
        "description": one.about,
        "parameters": [
            *(_parameter(PATH[name], "path") for name in re.findall(r"{(\w+)}", one.path)),
            *(_parameter(parameter, "query") for parameter in one.parameters),
        ],
        "responses": _responses(one, shape),
    }
    if one.is_open:
        found["security"] = []
    return found


def _parameter(parameter: Parameter, place: str) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": place,
        "required": place == "path",
        "description": parameter.about,
        "schema": parameter.schema,
    }


def _responses(one: Operation, shape: dict[str, Any]) -> dict[str, Any]:
    good: dict[str, Any] = {"description": "The answer."}
    if one.kind is Kind.EVENTS:
        good["description"] = "Events. The data of `unlock` are of the schema `Unlock`."
        good["content"] = {one.kind.value: {"schema": {"type": "string"}}}
    else:
        good["content"] = {one.kind.value: {"schema": shape}}
    found: dict[str, Any] = {"200": good}
    if one.has_tag:
        good["headers"] = {
            "ETag": {"description": "Of what the answer says.", "schema": {"type": "string"}},
            "Age": {
                "description": "Seconds since it was known to be true, while the database is away.",
                "schema": {"type": "integer"},
            },
        }
        found["304"] = {"description": "The answer is the one that `If-None-Match` names."}
    statuses = {*_EVERYWHERE, *one.statuses, *(() if one.is_open else _WITH_CREDENTIAL)}
    if one.name == "health":
        found["503"] = {**good, "description": "A server is away."}
    return {**found, **{str(each): {"$ref": f"#/components/responses/{each}"} for each in sorted(statuses)}}
