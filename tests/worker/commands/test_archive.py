"""What `--older-than` means, and what it does not take."""

from __future__ import annotations

import click
import pytest

from worker.commands.archive import span_of

DAY = 86_400_000_000


@pytest.mark.parametrize(("text", "days"), [("1d", 1), ("400d", 400), ("13mo", 403), ("2y", 732)])
def test_a_span_is_never_shorter_than_it_says(text: str, days: int) -> None:
    assert span_of(text) == days * DAY


@pytest.mark.parametrize("text", ["", "0d", "0mo", "13", "13m", "-1d", "1.5y", "13 mo", "1h", "999999d"])
def test_what_is_no_span_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(click.UsageError, match="--older-than: expected"):
        span_of(text)
