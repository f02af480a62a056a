"""Why something is a dead letter: the closed set of reasons.

A message has one of three outcomes. It is acknowledged once its batch is committed. It is terminated with a reason if
it held nothing but dead letters. If its batch could not be committed, the broker hears nothing and delivers it again.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why something became a dead letter. The values are stored and counted; they never change their meaning."""

    MALFORMED_JSON = "malformed_json"
    """Not JSON text in UTF-8."""
    OVERSIZE = "oversize"
    """Longer than MAX_MESSAGE_BYTES."""
    TOO_DEEP = "too_deep"
    """Nested deeper than MAX_DEPTH."""
    INVALID_TEXT = "invalid_text"
    """JSON, but with text that no database takes: U+0000, or half of a surrogate pair."""
    INVALID_EVENT = "invalid_event"
    """Not an event by the contract; the detail names the field."""
    CONTRACT = "contract"
    """The payload breaks the declared contract of its type; the detail names the field."""
    TENANT_MISMATCH = "tenant_mismatch"
    """The subject it came on belongs to another tenant, or to none."""
    USER_MISMATCH = "user_mismatch"
    """The subject it came on belongs to another user of the tenant."""
    FROM_THE_FUTURE = "from_the_future"
    """It occurs later than the clock and the skew allow."""
    ID_CONFLICT = "id_conflict"
    """The ledger knows the id with another body."""
    REFUSED = "refused"
    """The database refuses it; the detail quotes its message."""
    DEFECT = "defect"
    """The engine itself fails on it; the detail says where. A bug to report; other events go on."""
