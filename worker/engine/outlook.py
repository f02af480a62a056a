"""What would become of a message under the rules in force, if it were sent again. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.contract.message import Message
from worker.engine.decoding import decode

if TYPE_CHECKING:
    from worker.engine.rule_set import Deployed

ACCEPTED: Final = "would be accepted"


def outcomes(rules: Deployed, subject: str, body: bytes, *, now: int, block: bytes = b"") -> list[tuple[str, str]]:
    """Return (outcome, detail) of each event of a message, in order, as far as the contract decides it. Pure.

    `block` is its block of headers.
    What the ledger decides, such as a conflict with an event of the same id, is only known when the message is sent.
    """
    batch = decode((Message(subject, body, block, 1, ""),), rules, now=now)
    lives = [(item.element, ACCEPTED, "") for item in batch.items]
    dies = [(one.element, f"would die again: {one.reason.value}", one.detail) for one in batch.letters]
    return [(outcome, detail) for _, outcome, detail in sorted(lives + dies)]
