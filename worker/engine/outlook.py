"""What would become of a message under the rules in force, if it were sent again. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.contract.message import Message
from worker.engine.batch import decode

if TYPE_CHECKING:
    from worker.engine.rule_set import Deployed

ACCEPTED: Final = "would be accepted"


def outcomes(rules: Deployed, subject: str, body: bytes, *, now: int) -> list[tuple[str, str]]:
    """Return what would become of a message's events, one after the other, as far as the contract can tell. Pure.

    What the ledger says, such as that it knows the id with another body, is found out when it is sent.
    """
    batch = decode((Message(subject, body, b"", 1, ""),), rules, now=now)
    lives = [(item.element, ACCEPTED, "") for item in batch.items]
    dies = [(one.element, f"would die again: {one.reason.value}", one.detail) for one in batch.letters]
    return [(outcome, detail) for _, outcome, detail in sorted(lives + dies)]
