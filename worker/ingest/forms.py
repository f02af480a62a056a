"""The forms that a body may have, and its events as they are: one text of JSON each. Pure.

A body is taken apart and not made anew: what is published of an envelope are the sender's own bytes.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final

import msgspec

from worker.contract.cloudevents import BATCH_TYPE, PREFIX, STRUCTURED_TYPE
from worker.contract.fields import SPACE, is_array
from worker.ingest.problems import MediaTypeError
from worker.serve.problems import BadRequestError, TooLargeError

if TYPE_CHECKING:
    from collections.abc import Sequence

_SPACE: Final = SPACE.encode()
_split = msgspec.json.Decoder(list[msgspec.Raw]).decode
_LONGEST: Final = 200
"""Characters that an answer quotes."""


class Form(Enum):
    """How a body says its events."""

    JSON = auto()
    """One of our envelopes, or an array of them."""
    LINES = auto()
    """Our envelopes, one a line."""
    CLOUDEVENT = auto()
    """One CloudEvent, structured."""
    CLOUDEVENTS = auto()
    """An array of them."""
    BINARY = auto()
    """The data of one CloudEvent, whose attributes are headers."""


TYPES: Final = {
    "application/json": Form.JSON,
    "application/x-ndjson": Form.LINES,
    "application/ndjson": Form.LINES,
    "application/jsonl": Form.LINES,
    "application/x-jsonlines": Form.LINES,
    STRUCTURED_TYPE: Form.CLOUDEVENT,
    BATCH_TYPE: Form.CLOUDEVENTS,
}
CLOUDEVENTS: Final = "application/cloudevents"
OF_CLOUDEVENTS: Final = frozenset({Form.CLOUDEVENT, Form.CLOUDEVENTS, Form.BINARY})


def form_of(content_type: str | None, names: Sequence[str]) -> Form:
    """Return the form of a body by its media type and the names of all headers, in small letters.

    Raises:
        MediaTypeError: it is none that is read.
    """
    said, _, parameters = (content_type or "").partition(";")
    said = said.strip().lower()
    # The media type goes first, as in the HTTP binding: a structured event may repeat its attributes in headers.
    if not said.startswith(CLOUDEVENTS) and any(name.startswith(PREFIX) for name in names):
        return Form.BINARY
    form = TYPES.get(said)
    if form is None:
        raise MediaTypeError(f"Content-Type: {said[:_LONGEST]!r} is not read here" if said else "no Content-Type")
    _check_charset(parameters)
    return form


def _check_charset(parameters: str) -> None:
    for one in parameters.split(";"):
        name, _, value = one.strip().partition("=")
        if name.strip().lower() == "charset" and value.strip().strip('"').lower() not in {"utf-8", "utf8", "us-ascii"}:
            raise MediaTypeError("Content-Type: the only charset is utf-8")


def elements_of(form: Form, body: bytes, most: int) -> list[bytes]:
    """Return the texts of the events of a body that is JSON or lines of it.

    Raises:
        BadRequestError: it cannot be taken apart.
        TooLargeError: it has more than `most` events.
    """
    match form:
        case Form.LINES:
            # One split: a line end within a text of JSON is written as an escape.
            elements = [line for one in body.split(b"\n") if (line := one.strip(_SPACE))]
        case Form.JSON if not is_array(body):
            elements = [body.strip(_SPACE)]
        case Form.CLOUDEVENT | Form.BINARY:
            elements = [body]
        case _:
            elements = _array(body)
    if len(elements) > most:
        raise TooLargeError(f"{len(elements):,} events in one request", f"Send {most:,} events at a time, at most.")
    return elements


def _array(body: bytes) -> list[bytes]:
    try:
        return [*map(bytes, _split(body))]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        said = f"{error}"[:_LONGEST]
    except RecursionError:
        said = "nested too deep"
    raise BadRequestError(
        f"the body is no array of JSON in UTF-8: {said}",
        "Send one JSON object, an array of them, or one a line as application/x-ndjson.",
    )
