"""CloudEvents of a request as texts of our envelope, and what is wrong with them by the names of CloudEvents. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import UNSET
from msgspec.structs import replace

from worker.contract.cloudevents import THEIR_NAMES, RawEvent, Refusal, read_binary, read_structured
from worker.ingest.forms import Form
from worker.ingest.problems import EventsError, Flaw

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

HINTS: Final = {
    "time": "Send when it happened as in 2026-03-01T12:00:00Z; the time of arrival is never taken for it.",
    "subject": "Name the user of the event.",
    "data": "Send an object, or leave it out.",
    "datacontenttype": "Send data as application/json.",
    "tenantid": "Leave it out, or name the tenant that the key is of.",
    "id": "Give each event of a source an id of its own.",
}
_HINT: Final = "See CloudEvents 1.0; docs/ingest.md says what becomes of each attribute."


def envelopes_of(form: Form, elements: Sequence[bytes], headers: Mapping[str, str], tenant: str) -> list[bytes]:
    """Return our envelope for each CloudEvent; `headers` are those of the request, `tenant` is that of its key.

    Raises:
        EventsError: some cannot be read.
    """
    found = [_envelope(form, one, headers, tenant) for one in elements]
    flaws = [flaw_of(place, one) for place, one in enumerate(found) if isinstance(one, Refusal)]
    if flaws:
        raise EventsError(flaws)
    return [one for one in found if not isinstance(one, Refusal)]


def _envelope(form: Form, element: bytes, headers: Mapping[str, str], tenant: str) -> bytes | Refusal:
    found: RawEvent | Refusal = read_binary(headers, element) if form is Form.BINARY else read_structured(element)
    return found if isinstance(found, Refusal) else found.envelope(tenant=tenant)


def flaw_of(place: int, refusal: Refusal) -> Flaw:
    """Return a refusal as an answer says it."""
    name = refusal.attribute
    return Flaw(place, refusal.problem, HINTS.get(name, _HINT), name or UNSET)


def renamed(flaws: Iterable[Flaw]) -> list[Flaw]:
    """Return flaws of our envelope by the names of CloudEvents."""
    return [one if one.field is UNSET else _renamed(one, one.field) for one in flaws]


def _renamed(flaw: Flaw, field: str) -> Flaw:
    first, dot, rest = field.partition(".")
    name = THEIR_NAMES.get(first, first)
    return replace(flaw, field=f"{name}{dot}{rest}", hint=flaw.hint if dot else HINTS.get(name, flaw.hint))
