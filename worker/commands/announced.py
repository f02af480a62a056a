"""What `--announce` means: `all`, `none`, or `since` with a span or an instant."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import click

from worker.commands.options import microseconds, seconds_of
from worker.engine.change import Announced, Policy
from worker.report import screen

if TYPE_CHECKING:
    from collections.abc import Sequence

_SINCE: Final = re.compile(r"since[ =:](.+)")
_SPAN: Final = re.compile(r"[0-9]+[a-z]")
_OPTION: Final = "--announce"


class Announces(click.Command):
    """A command that takes `--announce since 7d` without quotes."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read options and arguments."""
        return super().parse_args(ctx, since_joined(args))


def since_joined(args: Sequence[str]) -> list[str]:
    """Return the arguments of a command with `--announce since D` as one option with one value."""
    joined: list[str] = []
    rest = iter(args)
    for arg in rest:
        opened = arg == "since" and bool(joined) and joined[-1] == _OPTION
        span = next(rest, None) if opened or arg == f"{_OPTION}=since" else None
        joined.append(arg if span is None else f"{arg} {span}")
    return joined


def policy_of(text: str, *, now: int) -> Policy:
    """Return what a value of `--announce` means; `now` in microseconds.

    Raises:
        click.UsageError: it is none.
    """
    if text in {Announced.ALL, Announced.NONE}:
        return Policy(Announced(text))
    found = _SINCE.fullmatch(text)
    if found is None:
        raise screen.usage(f"{_OPTION}: expected none, all, or since with a span or an instant, got {text!r}")
    if _SPAN.fullmatch(found[1]):
        return Policy(Announced.SINCE, now - seconds_of(_OPTION, found[1]) * 1_000_000)
    return Policy(Announced.SINCE, microseconds(found[1], f"{_OPTION} {text}", "span such as 7d, and no instant"))
