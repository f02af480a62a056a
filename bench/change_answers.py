"""Who gains what and when: the answers of a plan, of a build, and of SQL by hand, to be compared."""

from __future__ import annotations

import re
from datetime import datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple

import duckdb
import msgspec

from bench.change_rules import FIVE
from bench.change_sql import IN_DUCKDB

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FIVE_NAMES: Final = re.findall(r"achievement (\w+)", FIVE)
BUILT: Final = """
SELECT tenant_id, subject, achievement, (extract(epoch FROM earned_at) * 1000000)::bigint
FROM unlock WHERE achievement = ANY ($1)
"""
BY_HAND: Final = (
    "SELECT tenant_id, user_id, achievement, (extract(epoch FROM earned_at) * 1000000)::bigint FROM by_hand"
)
_DIGEST_BYTES: Final = 16

Unlock = tuple[str, str, str, int]
"""Tenant, user, achievement, and the instant in microseconds."""


class Answer(NamedTuple):
    """Unlocks in any order, as a number of them and a sum of digests."""

    unlocks: int
    digest: int


def answer(unlocks: Iterable[Unlock]) -> Answer:
    """Return what says that some unlocks are the same as others."""
    number = digest = 0
    for unlock in unlocks:
        text = "\0".join(map(str, unlock)).encode()
        digest += int.from_bytes(blake2b(text, digest_size=_DIGEST_BYTES).digest(), "big")
        number += 1
    return Answer(number, digest)


class _Listed(msgspec.Struct):
    """A line of `ach plan --list --json`."""

    achievement: str
    decision: str
    tenant_id: str
    subject: str
    earned_at: datetime


def planned(printed: bytes) -> Iterable[Unlock]:
    """Yield what a plan lists; before that comes the plan, on a line of its own."""
    decoder = msgspec.json.Decoder(_Listed)
    for line in printed.splitlines()[1:]:
        one = decoder.decode(line)
        if one.decision != "granted":
            raise AssertionError(line)
        yield one.tenant_id, one.subject, one.achievement, round(one.earned_at.timestamp() * 1_000_000)


def ask_duckdb(archive: str, found: str) -> None:
    """Let DuckDB find what the five rules say in Parquet, and write it as Parquet."""
    connection = duckdb.connect(config={"threads": 2})
    asked = IN_DUCKDB.replace("$file", f"'{archive}'")
    connection.execute(f"COPY ({asked}) TO '{found}' (FORMAT parquet)")


def read_found(found: Path) -> list[Unlock]:
    """Return what `ask_duckdb` has found."""
    return duckdb.connect().read_parquet(str(found)).select("tenant, u, achievement, epoch_us(t)").fetchall()
