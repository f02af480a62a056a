"""The help of every command, as it is kept in tests/acceptance/help: one file a command.

`python -m tests.acceptance.help_pages` writes the files anew; look at the difference before you keep it.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import click
from click.testing import CliRunner

from worker.cli import main
from worker.commands.lazy_group import LazyGroup

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER: Final = Path(__file__).with_name("help")
WIDTH: Final = 98


class Named(NamedTuple):
    """A command with the words that call it; none for `ach` itself."""

    words: tuple[str, ...]
    command: click.Command

    @property
    def file(self) -> Path:
        return FOLDER / f"{'-'.join(('ach', *self.words))}.txt"

    @property
    def options(self) -> set[str]:
        """The long and short names of its options."""
        return {name for one in self.command.params if isinstance(one, click.Option) for name in one.opts}


def commands(group: click.Command = main, words: tuple[str, ...] = ()) -> Iterator[Named]:
    """Yield every command, also groups."""
    yield Named(words, group)
    if not isinstance(group, click.Group):
        return
    for name, listed in sorted(group.commands.items()):
        lazy = isinstance(group, LazyGroup)
        command: click.Command = import_module(f"{group.package}.{name}").command if lazy else listed
        yield from commands(command, (*words, name))


def help_of(words: tuple[str, ...], width: int | None = WIDTH) -> str:
    """Return what `--help` prints; without a width, for the terminal."""
    done = CliRunner().invoke(main, [*words, "--help"], prog_name="ach", terminal_width=width)
    assert done.exit_code == 0, done.output
    return done.output


def write() -> None:
    """Write the files anew."""
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.txt"):
        old.unlink()
    for one in commands():
        one.file.write_text(help_of(one.words), encoding="utf-8")


if __name__ == "__main__":
    write()
