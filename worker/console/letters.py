"""What the pages about dead letters show. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from worker.console.books import Mailbox
from worker.contract.named_users import name_token
from worker.contract.partition import bound_by, name_of

if TYPE_CHECKING:
    from worker.console.access import Person
    from worker.console.books import LetterCount
    from worker.contract.reasons import Reason
    from worker.pipeline.dead_letters import StoredDeadLetter

MOST_SHOWN: Final = 64 * 1024
"""Bytes of a body that a page shows."""
MEANINGS: Final = {
    "malformed_json": "The message is no JSON text in UTF-8.",
    "oversize": "The message is longer than the engine takes.",
    "too_deep": "The message is nested deeper than the engine takes.",
    "invalid_text": "The message has text that no database takes: U+0000, or half of a surrogate pair.",
    "invalid_event": "A field that every event has is missing or wrong; the detail names it.",
    "contract": "The payload breaks the contract that the rules declare for its type; the detail names the field.",
    "tenant_mismatch": "The event names another tenant than the subject that it came on.",
    "user_mismatch": "The event names another user than the subject that it came on.",
    "from_the_future": "The event occurs later than the clock allows.",
    "id_conflict": "The id of the event is known with another body.",
    "refused": "The database refuses the event; the detail quotes it.",
    "defect": "The engine itself failed on the event: a bug to report.",
}
"""What each reason means to the people who send events."""


class Tally(NamedTuple):
    """Dead letters that wait, of one reason."""

    reason: str
    meaning: str
    letters: int
    last_at: int
    tenants: list[tuple[str, str, int]]
    """Token, name and number of letters, by tenant."""


def mailbox(person: Person, prefix: str) -> Mailbox:
    """Return the dead letters that a person may see."""
    tokens = None if person.tenants is None else sorted({name_token(tenant) for tenant in person.tenants})
    return Mailbox(prefix, tokens)


def tallies(counts: list[LetterCount]) -> list[Tally]:
    """Return counts by reason, the most first."""
    found: dict[str, Tally] = {}
    for one in counts:
        tenant = (one.tenant_token, tenant_name(one.tenant_token), one.letters)
        known = found.get(one.reason)
        if known is None:
            found[one.reason] = Tally(one.reason, meaning(one.reason), one.letters, one.last_at, [tenant])
        else:
            known.tenants.append(tenant)
            at = max(known.last_at, one.last_at)
            found[one.reason] = known._replace(letters=known.letters + one.letters, last_at=at)
    return sorted(found.values(), key=lambda one: (-one.letters, one.reason))


def meaning(reason: Reason | str) -> str:
    """Return what a reason means; nothing of one that is unknown here."""
    return MEANINGS.get(str(reason), "")


def tenant_name(token: str) -> str:
    """Return the tenant that a token of NATS subjects stands for; the token itself where that is a hash."""
    name = name_of(token)
    return token if name is None else name


def tenant_of(letter: StoredDeadLetter, prefix: str) -> str:
    """Return the tenant on whose subject a letter came; "" where that says none."""
    return tenant_name(bound_by(prefix, letter.nats_subject).tenant or "")


class Body(NamedTuple):
    """A body as a page shows it."""

    text: str
    mendable: bool
    """Whether the text is the whole body, so that it can be mended here."""
    note: str


def body_of(letter: StoredDeadLetter, *, cut: bool) -> Body:
    """Return a body: JSON set out, other text as it is, bytes that are no text in hexadecimal."""
    if letter.erased_at is not None:
        return Body("", mendable=False, note="It has lost its body: a user that it named was erased.")
    raw = letter.body
    if len(raw) > MOST_SHOWN:
        text = raw[:MOST_SHOWN].decode("utf-8", "backslashreplace")
        return Body(text, mendable=False, note=f"The first 64 KiB of {len(raw):,} bytes.")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        byte = f"byte {error.start:,} is 0x{raw[error.start]:02x}"
        note = f"It is no UTF-8: {byte}. Bytes that are no text are written \\xNN."
        return Body(raw.decode("utf-8", "backslashreplace"), mendable=False, note=note)
    if cut:
        return Body(text, mendable=False, note="Only the first MiB of it is kept.")
    return Body(_set_out(text), mendable=True, note="")


def _set_out(text: str) -> str:
    """Return JSON set out over lines, where that changes nothing of what it says."""
    try:
        value = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        pairs: list[object] = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return text
    if not value or len(pairs) != len(value):  # a key that is there twice is what the letter may have died of
        return text
    lines = [f"  {json.dumps(key, ensure_ascii=False)}: {bytes(one).decode().strip()}" for key, one in value.items()]
    return "{\n" + ",\n".join(lines) + "\n}"
