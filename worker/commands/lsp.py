"""`ach lsp`: the language server, for editors."""

from __future__ import annotations

import sys

import click

from worker.distribution import install
from worker.report import screen
from worker.rulefiles import without_collector


@click.command("lsp")
def command() -> None:
    """Serve an editor over standard input and output: problems, hover, completion and more (docs/editors.md)."""
    try:
        with without_collector():  # some thousand classes of the protocol, and no garbage
            from worker.lsp.server import serve
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in {"lsprotocol", "pygls"}:
            raise
        screen.fail("the language server needs pygls, which is not installed", install("lsp"))
        sys.exit(1)
    serve()
