"""The size of rewards: every announcement of an unlock carries one, and brokers limit the size of messages."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

import msgspec

from dsl.check.problems import Problems
from dsl.expand import settled
from dsl.syntax import Achievement

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dsl.diagnostics import Diagnostic
    from dsl.syntax import File, Json, Reward

MAX_REWARD_BYTES: Final = 64 * 1024
"""Of one reward as JSON; the usual broker takes messages of a megabyte, and other limits are the operator's."""


def check_rewards(files: Sequence[File]) -> list[Diagnostic]:
    """Return an error for each reward that is too large, in files without families.

    Not a part of `check`: rules that were applied before there was a bound are still read.
    """
    problems = Problems()
    for file in files:
        report = problems.of(file.source)
        for node in file.declarations:
            for reward in _rewards(node) if isinstance(node, Achievement) else ():
                size = reward_bytes(reward)
                if size > MAX_REWARD_BYTES:
                    message = f"the reward has {size:,} bytes; the limit is {MAX_REWARD_BYTES:,}"
                    hint = "keep the data elsewhere and put its name into the reward"
                    report.error("ACH423", reward.span, message, hint)
    return settled(problems.found)


def _rewards(version: Achievement) -> Iterator[Reward]:
    for reward in (version.reward, *(tier.reward for tier in version.tiers)):
        if reward is not None:
            yield reward


def reward_bytes(reward: Reward | None) -> int:
    """Return the bytes of a reward as the ledger writes it: JSON with a space behind each colon and comma."""
    return _size({} if reward is None else reward.values)


def _size(value: Json) -> int:
    match value:
        case dict():
            return 2 + sum(_size(name) + 2 + _size(part) for name, part in value.items()) + 2 * max(0, len(value) - 1)
        case list():
            return 2 + sum(map(_size, value)) + 2 * max(0, len(value) - 1)
        case Decimal():
            return len(f"{value:f}")
        case _:
            return len(msgspec.json.encode(value))
