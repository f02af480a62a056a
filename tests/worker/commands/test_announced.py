"""What `--announce` means."""

from __future__ import annotations

import click
import pytest

from worker.commands.announced import policy_of, since_joined
from worker.engine.change import Announced, Policy

NOW = 1_000_000_000_000_000
DAY = 86_400_000_000


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("all", Policy()),
        ("none", Policy(Announced.NONE)),
        ("since 7d", Policy(Announced.SINCE, NOW - 7 * DAY)),
        ("since=30s", Policy(Announced.SINCE, NOW - 30_000_000)),
        ("since 1970-01-02T00:00:00Z", Policy(Announced.SINCE, DAY)),
    ],
)
def test_a_policy_is_read(text: str, policy: Policy) -> None:
    assert policy_of(text, now=NOW) == policy


@pytest.mark.parametrize("text", ["", "some", "since", "since ", "since 7", "since 7y", "since yesterday", "7d"])
def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(click.UsageError, match="--announce"):
        policy_of(text, now=NOW)


@pytest.mark.parametrize(
    ("args", "joined"),
    [
        (["rules", "--announce", "since", "7d"], ["rules", "--announce", "since 7d"]),
        (["--announce=since", "7d", "rules"], ["--announce=since 7d", "rules"]),
        (["--announce", "none", "since"], ["--announce", "none", "since"]),
        (["--announce", "since"], ["--announce", "since"]),
        (["since", "7d"], ["since", "7d"]),
    ],
)
def test_since_needs_no_quotes(args: list[str], joined: list[str]) -> None:
    assert since_joined(args) == joined
