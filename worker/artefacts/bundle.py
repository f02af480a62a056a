"""The files of a rule set's contracts: their paths and texts. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from worker.artefacts import asyncapi, python, typescript
from worker.artefacts.described import GENERATED
from worker.artefacts.json_schema import envelope_schema, event_schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dsl.schema import EventSchema

ENVELOPE: Final = "envelope.schema.json"
EVENTS: Final = "events"
"""Folder of the schemas of declared types."""
SUFFIX: Final = ".schema.json"
ASYNCAPI: Final = "asyncapi.json"
PYTHON: Final = "ach_events.py"
TYPESCRIPT: Final = "ach_events.ts"

_encode: Final = msgspec.json.Encoder(decimal_format="number").encode


def files_of(events: Mapping[str, EventSchema], *, prefix: str, title: str) -> dict[str, str]:
    """Return the text of each file by its path; `prefix` is that of the input subjects, and `events` are not empty."""
    schemas = {f"{EVENTS}/{name}{SUFFIX}": _text(event_schema(schema)) for name, schema in sorted(events.items())}
    return {
        ENVELOPE: _text(envelope_schema()),
        **schemas,
        ASYNCAPI: _text(asyncapi.document(events, prefix=prefix, title=title)),
        PYTHON: python.module(events, prefix=prefix),
        TYPESCRIPT: typescript.module(events, prefix=prefix),
    }


def is_ours(text: str) -> bool:
    """Tell whether a schema was generated here: only such a one is deleted when its type is gone."""
    return GENERATED in text


def _text(schema: dict[str, Any]) -> str:
    """Return JSON; numbers have the digits of the rules."""
    said = {"$comment": GENERATED, **schema} if "$schema" in schema else {"x-generated": GENERATED, **schema}
    return msgspec.json.format(_encode(said), indent=2).decode() + "\n"
