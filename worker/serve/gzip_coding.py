"""Answers in fewer bytes, for clients that take them with `gzip` (RFC 9110, 8.4.1.3 and 12.5.3).

Tags of answers are weak, so one stands for both forms. What a compressed length could tell a listener (BREACH) takes a
secret, a text of the listener's choice beside it, and many requests with the victim's credential: a page of another
origin cannot send that, as it is no cookie. Explanations are left as they are all the same: they have what producers
wrote, which others may have chosen.
"""

from __future__ import annotations

import re
import zlib
from typing import Final

SMALLEST: Final = 1024
"""Bytes: fewer fit into a packet as they are."""
LONGEST_AT_ONCE: Final = 64 * 1024
"""Bytes that are compressed between two other requests; more go to a thread."""
LEVEL: Final = 1
"""The names of fields come again in each item, which the lowest level finds as well as any."""
_GZIP: Final = 16 + zlib.MAX_WBITS
_REFUSED: Final = re.compile(r"q=0(\.0{0,3})?")


def takes_gzip(header: str | None) -> bool:
    """Tell whether `Accept-Encoding` names gzip, or anything, without refusing it."""
    if header is None:
        return False
    given: dict[str, bool] = {}
    for part in header.lower().split(","):
        coding, _, weight = part.partition(";")
        given[coding.strip()] = not _REFUSED.fullmatch(weight.strip())
    return given.get("gzip", given.get("x-gzip", given.get("*", False)))


def compressed(body: bytes) -> bytes:
    """Return a body in the form of gzip, the same for the same body."""
    packing = zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP)
    return packing.compress(body) + packing.flush()
