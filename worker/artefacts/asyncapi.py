"""The AsyncAPI 3 document of a rule set's events: what a producer sends, and where. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from worker.artefacts.described import ENCODING, TYPE_ENCODING, about
from worker.artefacts.json_schema import Schema, body_of, envelope_schema
from worker.artefacts.names import names_of
from worker.contract.partition import type_tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dsl.schema import EventSchema
    from worker.artefacts.names import Names

VERSION: Final = "3.0.0"
_JSON: Final = "application/json"
_BATCH: Final = "Batch"
_ENVELOPE: Final = "Envelope"


def document(events: Mapping[str, EventSchema], *, prefix: str, title: str) -> Schema:
    """Return the document; `prefix` is that of the input subjects."""
    names = names_of(events)
    channels = {names[name].event: _channel(name, names[name], prefix) for name in sorted(events)}
    operations = {f"send{name}": _operation(name) for name in (*channels, _BATCH)}
    messages = {names[name].event: _message(name, events[name], names[name]) for name in sorted(events)}
    return {
        "asyncapi": VERSION,
        "info": {"title": title, "version": "1.0.0", "description": _ABOUT},
        "defaultContentType": _JSON,
        "channels": {**channels, _BATCH: _batch_channel(messages, prefix)},
        "operations": operations,
        "components": {
            "messages": {**messages, _BATCH: _batch()},
            "schemas": {
                **{names[name].event: body_of(schema) for name, schema in sorted(events.items())},
                _ENVELOPE: _without_dialect(envelope_schema()),
            },
        },
    }


_ABOUT: Final = (
    "Events that producers publish to JetStream and the engine reads. Publish with acknowledgement, and again with the"
    " same ids where none comes. Tokens of a subject are encoded: " + ENCODING
)


def _channel(event_type: str, names: Names, prefix: str) -> Schema:
    return {
        "address": f"{prefix}.{{tenant}}.{{user}}.{type_tokens(event_type)}",
        "description": f"`{event_type}` of one user. {TYPE_ENCODING}",
        "parameters": {"tenant": _token("tenant_id"), "user": _token("user_id")},
        "messages": {names.event: {"$ref": f"#/components/messages/{names.event}"}},
    }


def _batch_channel(messages: Mapping[str, Any], prefix: str) -> Schema:
    return {
        "address": f"{prefix}.{{tenant}}.~batch.batch",
        "description": "Events of many users of one tenant: a JSON array in each message, or one event.",
        "parameters": {"tenant": _token("tenant_id")},
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in (_BATCH, *messages)},
    }


def _token(field: str) -> Schema:
    return {"description": f"The `{field}` of the event. {ENCODING}"}


def _operation(name: str) -> Schema:
    place = f"#/channels/{name}"
    return {"action": "send", "channel": {"$ref": place}, "messages": [{"$ref": f"{place}/messages/{name}"}]}


def _message(event_type: str, schema: EventSchema, names: Names) -> Schema:
    said = about(schema)
    return {
        "name": event_type,
        "title": event_type,
        **({"summary": said} if said else {}),
        "contentType": _JSON,
        "headers": _HEADERS,
        "payload": {"$ref": f"#/components/schemas/{names.event}"},
    }


def _batch() -> Schema:
    return {
        "name": "batch",
        "title": "Many events in one message",
        "contentType": _JSON,
        "payload": {"type": "array", "items": {"$ref": f"#/components/schemas/{_ENVELOPE}"}},
    }


_HEADERS: Final[Schema] = {
    "type": "object",
    "properties": {
        "Nats-Msg-Id": {
            "type": "string",
            "description": (
                "`<tenant>:<event_id>` with the tenant as in the subject: the broker drops copies. Leave it out where"
                " the event id is not printable ASCII; the ledger drops copies in any case."
            ),
        }
    },
}


def _without_dialect(schema: Schema) -> Schema:
    return {name: value for name, value in schema.items() if name != "$schema"}
