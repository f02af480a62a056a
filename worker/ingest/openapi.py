"""The OpenAPI 3.1 document, made of the operations and of the types of their bodies and answers."""

from __future__ import annotations

import json
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import msgspec

from worker.ingest.operations import OPERATIONS
from worker.ingest.problems import STATUSES, IngestProblem
from worker.serve.problems import MEDIA_TYPE

if TYPE_CHECKING:
    from worker.ingest.operations import Operation

_REFERENCE: Final = "#/components/schemas/{name}"
_ABOUT: Final = (
    "Takes events over HTTP for the stream. Keys are a tenant's, and for servers: a key in a browser can be read, and "
    "its events forged. Bodies may be gzip."
)
_EVERYWHERE: Final = (400, 405, 500)
_TITLES: Final = {kind.status: kind.title for kind in STATUSES}
_NAME: Final = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "The name of the webhook in the configuration.",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
}
_VALIDATE: Final = {
    "name": "validate",
    "in": "query",
    "required": False,
    "description": "Hold events to the contracts of the rules: 422 names the field.",
    "schema": {"type": "string", "enum": ["contract"]},
}
_SIGNED: Final = [
    {"name": name, "in": "header", "required": True, "description": about, "schema": {"type": "string"}}
    for name, about in (
        ("webhook-id", "The id of the event."),
        ("webhook-timestamp", "Seconds since 1970, of this attempt."),
        ("webhook-signature", "`v1,` and base64 of HMAC-SHA256 over id, timestamp and body; several with spaces."),
    )
]


@cache
def document() -> dict[str, Any]:
    """Return the document."""
    shapes = [*chain.from_iterable((one.answer, *one.bodies.values()) for one in OPERATIONS), IngestProblem]
    made, schemas = msgspec.json.schema_components(shapes, ref_template=_REFERENCE)
    found = iter(made)
    return {
        "openapi": "3.1.0",
        "info": {"title": "ach ingest", "version": "1", "description": _ABOUT, "license": {"name": "Apache-2.0"}},
        "paths": {
            one.path: {
                one.method.lower(): _operation(one, next(found), {name: next(found) for name in one.bodies}),
            }
            for one in OPERATIONS
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "responses": {
                str(status): {
                    "description": title,
                    "content": {MEDIA_TYPE: {"schema": {"$ref": _REFERENCE.format(name="IngestProblem")}}},
                }
                for status, title in _TITLES.items()
            },
        },
        "security": [{"bearer": []}],
    }


def document_text() -> str:
    """Return the document as text, as it is kept in docs/ingest.openapi.json."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def _operation(one: Operation, answer: dict[str, Any], bodies: dict[str, Any]) -> dict[str, Any]:
    good = {"description": "The answer.", "content": {"application/json": {"schema": answer}}}
    responses: dict[str, Any] = {str(one.good): good}
    for status in sorted({*_EVERYWHERE, *one.statuses}):
        responses[str(status)] = {"$ref": f"#/components/responses/{status}"}
    if one.name == "health":
        responses["503"] = {**good, "description": "The broker is away."}
    found: dict[str, Any] = {
        "operationId": one.name,
        "summary": one.summary,
        "description": one.about,
        "parameters": [
            *([_NAME, *_SIGNED] if one.name == "webhook" else []),
            *([_VALIDATE] if one.validates else []),
        ],
        "responses": responses,
    }
    if bodies:
        content = {name: {"schema": shape} for name, shape in bodies.items()}
        found["requestBody"] = {"required": True, "content": content}
    if one.is_open:
        found["security"] = []
    return found
