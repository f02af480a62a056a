"""JSON Schema (2020-12) of events: of the envelope, and of each declared type. Pure.

A schema accepts what the worker accepts, but for the limits that are listed in `described.LIMITS`; it uses no keyword
that draft 7 lacks, so that AsyncAPI takes it as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dsl.schema import Field
from dsl.types import MAX_ELEMENTS, MAX_USER_BYTES, MAX_USERS, FieldType
from worker.artefacts.described import FIELDS, LIMITS, about, about_field
from worker.contract.fields import MAX_ID_BYTES, MAX_INSTANT_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dsl.schema import EventSchema
    from dsl.types import Number

Schema = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_INSTANT: Final = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?"
    r"([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)
_UNSIGNED: Final = r"(0|[1-9][0-9]*)(\.[0-9]+)?"
_EXPONENT: Final = r"([eE][+-]?[0-9]{1,3})?"
_NUMBER: Final = rf"^-?{_UNSIGNED}{_EXPONENT}$"
_NOT_NEGATIVE: Final = rf"^({_UNSIGNED}|-0(\.0+)?){_EXPONENT}$"
_REQUIRED: Final = ("event_id", "event_type", "user_id", "tenant_id", "occurred_at")


def envelope_schema() -> Schema:
    """Return the schema of an event of any type."""
    return {"$schema": DIALECT, "title": "An event", "description": LIMITS, **_envelope({}, required=())}


def event_schema(schema: EventSchema) -> Schema:
    """Return the schema of an event of one declared type."""
    return {"$schema": DIALECT, "title": schema.name, "description": _said(about(schema), LIMITS), **body_of(schema)}


def body_of(schema: EventSchema) -> Schema:
    """Return the schema of an event of one declared type without its head."""
    payload = payload_schema(schema)
    needs = "required" in payload
    fixed = {
        "event_type": {"const": schema.name},
        "payload": payload if needs else {**payload, "type": ["object", "null"]},
    }
    return _envelope(fixed, required=("payload",) if needs else ())


def payload_schema(schema: EventSchema) -> Schema:
    """Return the schema of the payload of one declared type; fields that are not declared are let through."""
    required = [field.name for field in schema.fields.values() if not field.optional]
    properties = {field.name: _described_field(field) for field in schema.fields.values()}
    found: Schema = {"type": "object", "description": FIELDS["payload"], "properties": properties}
    return {**found, "required": required} if required else found


def _envelope(fixed: Mapping[str, Schema], *, required: tuple[str, ...]) -> Schema:
    instant = {"type": "string", "format": "date-time", "pattern": _INSTANT, "maxLength": MAX_INSTANT_CHARACTERS}
    text = {"type": "string", "minLength": 1, "maxLength": MAX_ID_BYTES}
    properties: dict[str, Schema] = {
        "event_id": text,
        "event_type": text,
        "user_id": text,
        "tenant_id": text,
        "occurred_at": instant,
        "source": {"type": ["string", "null"], "maxLength": MAX_ID_BYTES},
        "payload": {"type": ["object", "null"]},
        **fixed,
    }
    said = {name: {"description": FIELDS[name], **schema} for name, schema in properties.items()}
    return {"type": "object", "properties": said, "required": [*_REQUIRED, *required]}


def _described_field(field: Field) -> Schema:
    return {"description": about_field(field), **_value(field)}


def _value(field: Field) -> Schema:
    match field.type:
        case FieldType.DECIMAL:
            return _decimal(field)
        case FieldType.TIMESTAMP:
            return {"type": _or_null("string", field), "format": "date-time", "pattern": _INSTANT}
        case FieldType.INT:
            return {"type": _or_null("integer", field), **_bound(field.low)}
        case FieldType.BOOL:
            return {"type": _or_null("boolean", field)}
        case FieldType.STRING:
            return {"type": _or_null("string", field)}
        case FieldType.USER:
            return {"type": _or_null("string", field), "minLength": 1, "maxLength": MAX_USER_BYTES}
        case FieldType.STRINGS | FieldType.INTS | FieldType.DECIMALS | FieldType.USERS:
            element = FieldType.STRING if field.type.element is None else field.type.element
            most = MAX_USERS if element is FieldType.USER else MAX_ELEMENTS
            items = _value(Field(name=field.name, type=element))
            return {"type": _or_null("array", field), "items": items, "maxItems": most}


def _decimal(field: Field) -> Schema:
    """Return the schema of a number, or of a string with one in it: a pattern knows no lower bound but zero."""
    pattern = _NUMBER if field.low is None or field.low < 0 else _NOT_NEGATIVE
    found: list[Schema] = [{"type": "number", **_bound(field.low)}, {"type": "string", "pattern": pattern}]
    return {"anyOf": [*found, {"type": "null"}] if field.optional else found}


def _bound(low: Number | None) -> Schema:
    if low is None:
        return {}
    return {"minimum": int(low) if low == int(low) else low}


def _or_null(kind: str, field: Field) -> str | list[str]:
    return [kind, "null"] if field.optional else kind


def _said(*texts: str) -> str:
    return " ".join(text for text in texts if text)
