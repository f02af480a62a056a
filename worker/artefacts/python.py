"""Types of Python for a rule set's events, and functions for their subjects. Pure."""

from __future__ import annotations

from keyword import iskeyword
from typing import TYPE_CHECKING, Final

from dsl.types import FieldType
from worker.artefacts.described import FIELDS, GENERATED, about, about_field, filled
from worker.artefacts.names import names_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dsl.schema import EventSchema, Field
    from worker.artefacts.names import Names

_TYPES: Final = {
    FieldType.STRING: "str",
    FieldType.INT: "int",
    FieldType.DECIMAL: "Exact",
    FieldType.BOOL: "bool",
    FieldType.TIMESTAMP: "Instant",
    FieldType.USER: "str",
    FieldType.STRINGS: "list[str]",
    FieldType.INTS: "list[int]",
    FieldType.DECIMALS: "list[Exact]",
    FieldType.USERS: "list[str]",
}


def module(events: Mapping[str, EventSchema], *, prefix: str) -> str:
    """Return the module's text; `prefix` is that of the input subjects."""
    names = names_of(events)
    types = "".join(_event(events[name], names[name]) for name in sorted(events))
    every = "\n    | ".join(names[name].event for name in sorted(events))
    union = f'AnyEvent: TypeAlias = (\n    {every}\n)\n"""An event of any declared type."""\n'
    return f'"""Events of a rule set. {GENERATED}"""\n{_HEAD}{types}\n\n{union}{filled(_FUNCTIONS, prefix)}'


def _event(schema: EventSchema, names: Names) -> str:
    needs = any(not field.optional for field in schema.fields.values())
    said = f" {text}" if (text := about(schema)) else ""
    payload = f"{names.payload}" if needs else f"NotRequired[{names.payload} | None]"
    return (
        f"\n\n{_payload(schema, names)}"
        f'\n\nclass {names.event}(Envelope):\n    """`{schema.name}`.{said}"""\n\n'
        f'    event_type: Literal["{schema.name}"]\n    payload: {payload}\n'
    )


def _payload(schema: EventSchema, names: Names) -> str:
    fields = list(schema.fields.values())
    if any(iskeyword(field.name) for field in fields):
        said = "".join(f'        "{field.name}": {_type(field)},  # {about_field(field)}\n' for field in fields)
        return f'{names.payload} = TypedDict(\n    "{names.payload}",\n    {{\n{said}    }},\n)\n'
    said = "".join(f'    {field.name}: {_type(field)}\n    """{about_field(field)}"""\n' for field in fields)
    return f'class {names.payload}(TypedDict):\n    """The payload of `{schema.name}`."""\n\n{said}'.rstrip() + "\n"


def _type(field: Field) -> str:
    kind = _TYPES[field.type]
    return f"NotRequired[{kind} | None]" if field.optional else kind


_HEAD: Final = f'''
from hashlib import blake2b
from typing import Literal, NotRequired, TypeAlias, TypedDict
from urllib.parse import quote

Instant: TypeAlias = str
"""RFC 3339 with an offset, such as `datetime.now(UTC).isoformat()`."""
Exact: TypeAlias = int | float | str
"""A number, or a string with one in it, such as `str(Decimal("19.90"))`. JSON has each digit that is written."""


class Envelope(TypedDict):
    """What every event has beside its type and its payload."""

    event_id: str
    """{FIELDS["event_id"]}"""
    user_id: str
    """{FIELDS["user_id"]}"""
    tenant_id: str
    """{FIELDS["tenant_id"]}"""
    occurred_at: Instant
    """{FIELDS["occurred_at"]}"""
    source: NotRequired[str | None]
    """{FIELDS["source"]}"""
'''

_FUNCTIONS: Final = '''

def event_subject(tenant_id: str, user_id: str, event_type: str) -> str:
    """Return the subject that an event is published on.

    Raises:
        ValueError: no event may have such a name.
    """
    for name in (tenant_id, user_id, event_type):
        size = len(name.encode())
        if not 0 < size <= MAX_ID:
            raise ValueError(f"expected 1 to MAX_ID bytes of UTF-8, got {size}")
    parts = event_type.split(".")
    end = ".".join(map(token, parts)) if all(parts) else token(event_type)
    return f"PREFIX.{token(tenant_id)}.{token(user_id)}.{end}"


def batch_subject(tenant_id: str) -> str:
    """Return the subject for events of many users of a tenant: one event or an array of events in each message."""
    return f"PREFIX.{token(tenant_id)}.~batch.batch"


def message_id(tenant_id: str, event_id: str) -> str | None:
    """Return the `Nats-Msg-Id` by which the broker drops copies; None where an id fits into no header."""
    text = f"{token(tenant_id)}:{event_id}"
    return text if text.isascii() and text.isprintable() and text == text.strip() else None


def token(name: str) -> str:
    """Return the one token of a subject that stands for a name."""
    encoded = quote(name, safe="").replace(".", "%2E").replace("~", "%7E")
    return encoded if len(encoded) <= MAX_TOKEN else "~" + blake2b(name.encode(), digest_size=16).hexdigest()
'''
