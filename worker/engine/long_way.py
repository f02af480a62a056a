"""Why a batch, or a user of one, cannot take the fast path. Pure."""

from __future__ import annotations

from enum import StrEnum


class LongWay(StrEnum):
    """A reason for the long way; the values are labels of the metric `ach_long_way`.

    Those of the first part are about one user, who takes the long way while the rest of the batch need not.
    """

    PARTITION_NOT_OURS = "partition_not_ours"
    """We are not the last that wrote the user's partition, as far as we know."""
    UNKNOWN_USER = "unknown_user"
    """We do not know the user's state, and looking it up has failed."""
    ERASED = "erased"
    """The user was erased: the events are to be left out."""
    SHARED_SUBJECT = "shared_subject"
    """A plan of another scope hears an event, too: a team's or a tenant's."""
    OTHER_RULES = "other_rules"
    """Other rules have folded the user's state."""
    DUPLICATE = "duplicate"
    """An event is twice in the batch, or is the latest one that we know of."""
    LATE_WITHOUT_TRUST = "late_without_trust"
    """An event comes late, and late events have proved to be copies a short time ago."""
    TOO_MANY_REFOLDS = "too_many_refolds"
    """Late events may move grants of more users than the fast path folds again."""
    UNFOLDABLE = "unfoldable"
    """The fold failed on an event."""

    NOT_WORTH_IT = "not_worth_it"
    """Less than half of a batch could take the fast path."""
    LONG_HISTORY = "long_history"
    """Too much has happened since the last checkpoint before a late event."""
    UNREADABLE_CHECKPOINT = "unreadable_checkpoint"
    """Another version has written the last checkpoint before a late event."""
    ARCHIVED = "archived"
    """An id may be that of an archived event, or a late event lies before one: the archive has to be read."""
    REVOKES = "revokes"
    """A late event takes a grant away."""
    PARTITION_MOVED = "partition_moved"
    """Another worker or operator has written a partition since, or other rules are in force."""
    EVENT_KNOWN = "event_known"
    """The ledger has an event that was taken to be new, or the database refuses one."""
    UNLOCK_KNOWN = "unlock_known"
    """An unlock that was taken to be the first one is there already."""
    UNLOCK_MOVED = "unlock_moved"
    """An operator has revoked an unlock that was to be amended."""
    UNAVAILABLE = "unavailable"
    """The database went away, and it is not known what it has done."""


class LongWayError(Exception):
    """A batch has to leave the fast path; nothing of it has happened."""

    def __init__(self, reason: LongWay) -> None:
        super().__init__(reason.value)
        self.reason = reason
