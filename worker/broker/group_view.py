"""The groups of a stream as an operator sees them: who has which partitions, and what waits in each."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from worker.broker.api import ApiError, ask, last_message
from worker.broker.errors import OUT_OF_REACH, BrokerAwayError, in_words
from worker.broker.shares import BUCKET, MARK, MODULI, group_stream, read_sheet, sheet_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.broker.client import BrokerClient
    from worker.settings import Settings

PAGES: Final = 10
"""Of 100,000 subjects each that are counted; behind them a count is a lower bound."""
_MOST_GROUPS: Final = 32


class Dealt(NamedTuple):
    """A group: the shares of its members, and the messages that are not acknowledged, by partition."""

    name: str
    shares: dict[str, tuple[int, ...]]
    waiting: dict[int, int]
    rest: int
    """Messages that are not dealt out, as they may carry any users."""
    whole: bool
    """Whether all were counted."""


class _State(msgspec.Struct):
    subjects: dict[str, int] = {}


class _Info(msgspec.Struct):
    state: _State
    total: int = 0


async def groups_of(client: BrokerClient, settings: Settings) -> list[Dealt]:
    """Return the groups of the input stream, by name.

    Raises:
        BrokerAwayError: the broker does not answer, or refuses.
    """
    try:
        keys = await _subjects(client, f"KV_{BUCKET}", f"$KV.{BUCKET}.{settings.input_stream}.*", 0)
        names = sorted(key.rpartition(".")[2] for key in keys.state.subjects)[:_MOST_GROUPS]
        found = [await _group(client, settings, name) for name in names]
    except (ApiError, *OUT_OF_REACH) as error:
        raise BrokerAwayError(in_words(error)) from error
    return [one for one in found if one is not None]


async def _group(client: BrokerClient, settings: Settings, name: str) -> Dealt | None:
    stored = await last_message(client, f"KV_{BUCKET}", f"$KV.{BUCKET}.{sheet_key(settings.input_stream, name)}")
    sheet = None if stored is None else read_sheet(stored.data)
    if sheet is None:
        return None
    counts, read, total = Counter[int](), 0, 0
    for _ in range(PAGES):
        page = await _subjects(client, group_stream(settings.input_stream, name), ">", read)
        counts.update(waiting_of(page.state.subjects))
        read, total = read + len(page.state.subjects), page.total
        if read >= total or not page.state.subjects:
            break
    rest = counts.pop(_REST, 0)
    return Dealt(name, sheet.shares, dict(counts), rest, read >= total)


_REST: Final = -1


def waiting_of(subjects: Mapping[str, int]) -> Counter[int]:
    """Return the messages of each partition; those of none under -1."""
    found = Counter[int]()
    for subject, number in subjects.items():
        tokens = subject.split(".", len(MODULI) + 1)
        dealt = tokens[0] == MARK and len(tokens) > len(MODULI) and tokens[len(MODULI)].isdigit()
        found[int(tokens[len(MODULI)]) if dealt else _REST] += number
    return found


async def _subjects(client: BrokerClient, stream: str, pattern: str, offset: int) -> _Info:
    """Return a page of the subjects of a stream, empty where there is no such stream."""
    try:
        asked = {"subjects_filter": pattern, "offset": offset}
        return await ask(client, f"STREAM.INFO.{stream}", _Info, asked)
    except ApiError as error:
        if error.is_missing:
            return _Info(_State())
        raise
