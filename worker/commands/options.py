"""Options and arguments that several commands have, and what their texts mean."""

from __future__ import annotations

import re
from pathlib import Path
from time import time_ns
from typing import Final, cast

import click

from dsl.payload import instant
from worker.mirror.place import Bucket, Place, PlaceNameError, place_of
from worker.report import screen

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

PATHS: Final = click.Path(path_type=Path)
EXISTING_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


class _Named(click.ParamType[str]):
    """A tenant or a user: a variable that a script has not set gives an empty text, which is nothing's name."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name.

        Raises:
            click.BadParameter: it is empty, or cannot be kept.
        """
        if not value:
            self.fail("expected a name, got an empty text", param, ctx)
        try:
            value.encode()
        except UnicodeEncodeError:
            self.fail(f"{value!r} is no Unicode text", param, ctx)
        if "\0" in value:
            self.fail(f"{value!r} has a character that cannot be kept", param, ctx)
        return value


NAMED: Final = _Named()


class _Number(click.IntRange):
    """A whole number that the database can keep: a larger one is the number of nothing."""

    def __init__(self, least: int, most: int) -> None:
        super().__init__(min=least)
        self._most = most

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number.

        Raises:
            click.BadParameter: it is none, or out of range.
        """
        number: int = super().convert(cast("int", value), param, ctx)
        if number > self._most:
            self.fail(f"{value} is larger than {self._most}", param, ctx)
        return number


NUMBER: Final = _Number(1, 2**63 - 1)
"""Of a change, an epoch or a dead letter; or how many of something at the most."""
SMALL_NUMBER: Final = _Number(1, 2**31 - 1)
"""Of a version; or how many a second at the most."""


class _Place(click.ParamType[Place]):
    """Where a mirror lies: a folder, or `s3://BUCKET/PREFIX`. One to write to is no file."""

    name = "place"

    def __init__(self, *, to_write: bool) -> None:
        self._to_write = to_write

    def convert(self, value: str | Path | Bucket, param: click.Parameter | None, ctx: click.Context | None) -> Place:
        """Return the place.

        Raises:
            click.BadParameter: the text names none, or a file.
        """
        if not isinstance(value, str):
            return value
        try:
            place = place_of(value)
        except PlaceNameError as error:
            self.fail(str(error), param, ctx)
        if self._to_write and isinstance(place, Path) and place.is_file():
            self.fail(f"{str(place)!r} is a file", param, ctx)
        return place


PLACE: Final = _Place(to_write=False)
TARGET: Final = _Place(to_write=True)

change_argument = click.argument("change_id", metavar="ID", type=NUMBER)
rules_argument = click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=PATHS)
json_option = click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
json_object_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
json_format_option = click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
message_option = click.option("--message", "-m", default="", metavar="TEXT", help="Why, for `ach change list`.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
quiet_option = click.option("--quiet", "-q", is_flag=True, help="Draw no progress on the terminal.")
rate_option = click.option(
    "--rate", type=SMALL_NUMBER, metavar="N", help="Read N events of the history a second at the most."
)
lag_option = click.option(
    "--max-lag",
    type=_Number(0, 2**31 - 1),
    metavar="N",
    help="Wait while more than N messages wait for workers, or an unlock has waited long to be announced.",
)
limit_option = click.option("--limit", default=100, show_default=True, type=NUMBER)


def must_not_ask(*, as_json: bool, yes: bool) -> None:
    """Check that a command whose output is JSON has no question to ask.

    Raises:
        click.UsageError: it has one.
    """
    if as_json and not yes:
        raise screen.usage("--json goes with --yes: it cannot ask")


def microseconds(
    text: str, given: str | None = None, expected: str = "RFC 3339 instant, such as 2026-05-01T00:00:00Z"
) -> int:
    """Return the instant that a text means, in microseconds since the epoch.

    Raises:
        click.UsageError: it is not RFC 3339; the message shows what was `given` in its place.
    """
    moment = instant(text)
    if moment is None:
        raise click.UsageError(f"{given or text!r} is no {expected}")
    return moment[0]


def wall_clock() -> int:
    """Return the time, in microseconds since the epoch."""
    return time_ns() // 1000


def seconds_of(option: str, span: str) -> int:
    """Return the seconds of a span such as `30s`, `1m`, `1h` or `2d`.

    Raises:
        click.UsageError: it is none.
    """
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", span)
    if found is None or not int(found[1]):
        raise screen.usage(f"{option}: expected a span such as 30s, 1m or 1h, got {span!r}")
    return int(found[1]) * _UNITS[found[2]]


def memory_of(text: str) -> str:
    """Return a size of memory as DuckDB reads it.

    Raises:
        click.UsageError: it is none.
    """
    if re.fullmatch(r"[1-9][0-9]{0,6}(MB|GB|MiB|GiB)", text) is None:
        raise screen.usage(f"--memory: expected a size such as 512MB or 2GB, got {text!r}")
    return text
