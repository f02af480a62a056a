"""The command line: the table of its commands, and what happens to an error that none of them expects.

Exit codes: 0 good, 1 something is wrong (with the rules, the events, a server), 2 used wrongly.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from worker import commands
from worker.commands.lazy_group import LazyGroup
from worker.distribution import NAME
from worker.process.first import end_on_sigterm
from worker.process.streams import lose_nothing
from worker.report.escape import LINES, visible

if TYPE_CHECKING:
    from collections.abc import Iterable

WIDTH: Final = 100
"""Of help, on a terminal that is as wide or wider."""
NARROW: Final = 60
NARROWEST: Final = 30
SUMMARIES: Final = {
    "alerts": "Print the alert rules for Prometheus, to be named in its `rule_files`.",
    "analyze": "Answer a question of product or operations from a mirror (docs/analyze.md); without a NAME, list them.",
    "apply": "Put rule files into force, all of them together, and bring all users up to date.",
    "archive": "Pack old events into a tenth of the room; nothing is forgotten. Without SPAN, say what is packed.",
    "backfill": "Continue a backfill that was interrupted (`ach apply` runs it by itself).",
    "change": "See the changes of rules: who applied what and why, how far each is built; pause, resume, cancel.",
    "check": "Check rule files: every problem in one run, with its place and a hint.",
    "console": "Serve pages about what the engine does: now, rules, users, dead letters, changes.",
    "contract": "Write the contracts of declared events for producers: JSON Schema, AsyncAPI 3, TypeScript and Python.",
    "dead": "List, inspect, mend, send again and purge dead letters.",
    "demo": "See it work: two recorded histories through private servers and a worker, and what was earned.",
    "dev": "Run private servers, a worker with these rules, the console and the API; Ctrl-C ends everything.",
    "digest": "Print a hash of all supported unlocks and progress in the database: equal where the results are equal.",
    "docs": "Write a page that shows a rule set to people: achievements in words, tiers, rewards, events.",
    "doctor": "Check a setup: servers, rights, clocks, streams, schema, rules, outbox; print what mends each.",
    "emit": "Publish recorded events (JSON Lines, also .gz and .zst; `-` is standard input) to the input stream.",
    "erase": "Erase a user for good: events, progress, unlocks.",
    "explain": "Explain why a user has an achievement, or what is missing, event by event.",
    "export": "Print all that is stored about one person as one JSON document (docs/export.schema.json).",
    "fmt": "Format rule files in place: one layout, comments kept.",
    "grant": "Grant an achievement by hand, whatever the events say; it is announced, and no late event contests it.",
    "grants": "Print the SQL that makes roles and gives them their rights; run it as the owner of the tables.",
    "init": "Write the first files of a folder of rules: rules with an example, events to send, a check for CI.",
    "ingest": "Take events over HTTP (our envelope, CloudEvents, webhooks) and publish them to the input stream.",
    "lsp": "Serve an editor over standard input and output: problems, hover, completion and more (docs/editors.md).",
    "migrate": "Bring the database's schema up to date (a worker does so by itself at its start).",
    "mirror": "Keep a copy of the books as Parquet files, for warehouses and for `ach analyze` (docs/mirror.md).",
    "notify": "Send webhooks, e-mail and chat messages about unlocks, and see what became of them (docs/notify.md).",
    "plan": "Print what rule files would change if they came into force; nothing is written.",
    "progress": "Print where a user stands with every achievement (or a team or a tenant that is named SUBJECT).",
    "reapply": "Do again what operators decided since a backup that was restored (erasures, revocations, rules).",
    "rebuild": "Throw states away and fold them again from the ledger, beside live workers.",
    "reconcile": "Print what a change of rules has decided, by rule version; without CHANGE, the latest one.",
    "replay": "Fold recorded streams (JSON Lines, also .gz and .zst; `-` is standard input) and print what comes out.",
    "revoke": "Revoke unlocks, by their ids (`ach unlocks` lists them), by achievement or by change.",
    "rollback": "Put the rule files of an earlier epoch into force again, as a new epoch.",
    "rules": "See the rules in force and those before them; take an achievement out of force.",
    "run": "Run a worker: events from NATS_URL, progress in DATABASE_URL, unlocks back to NATS.",
    "schema": "Print the JSON Schema of announcements (`unlock`), or of what `ach plan --json` or `ach export` prints.",
    "serve": "Serve achievements to apps and pages: a read API over HTTP with live events, and a service on NATS.",
    "status": "Print what happens now: lag, rates, outbox, dead letters, workers, rules and running changes.",
    "test": "Run the examples in rule files: in order, shuffled, doubled and in batches.",
    "top": "Watch what happens now in the terminal: what `ach status` prints, once a second; q ends it.",
    "unlocks": "List unlocks with their status, those earned last first.",
    "workers": "List the workers of the last day, their groups and partitions, and what waits for each.",
}


INTERRUPTED: Final = 130
"""What a shell says of a process that Ctrl-C has ended."""


class _Help(click.HelpFormatter):
    """Help that fits a terminal of 40 characters; click's own takes 50, and 30 of them for the names of options."""

    def __init__(self, indent_increment: int = 2, width: int | None = None, max_width: int | None = None) -> None:
        from shutil import get_terminal_size  # noqa: PLC0415 - of help alone

        columns = get_terminal_size().columns
        fits = max(min(columns, max_width or WIDTH) - 2, NARROWEST) if width is None else width
        super().__init__(indent_increment, fits, max_width)

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write names and what they mean; on a narrow terminal the names get a third of it."""
        super().write_dl(rows, col_max if self.width >= NARROW else self.width // 3, col_spacing)


click.Context.formatter_class = _Help


class _Commands(LazyGroup):
    """All commands. No secret, and nothing that a terminal would obey, is printed of an error that ends one."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,  # noqa: ANN401 - click's own
    ) -> click.Context:
        """Begin: whatever is printed or read comes later."""
        end_on_sigterm()
        lose_nothing()
        return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> object:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            vars(error)["message"] = visible(error.message, kept="\n")
            raise
        except (click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)  # click would say 1, as of an error
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # the reader of a pipe has gone, and click knows what to do
            if isinstance(error, OSError) and isinstance(error.filename, str):
                from worker.report import screen  # noqa: PLC0415 - as in _print_defect

                screen.fail(f"{error.filename}: {error.strerror or error}")
                sys.exit(1)
            _print_defect(error)
            sys.exit(1)


def _print_defect(error: Exception) -> None:
    import traceback  # noqa: PLC0415 - what follows is of defects alone, and takes time to import

    from worker.environment import secrets_of  # noqa: PLC0415
    from worker.urls import redacted  # noqa: PLC0415

    urls = [os.environ[name] for name in ("NATS_URL", "DATABASE_URL") if name in os.environ]
    trace = redacted("".join(traceback.format_exception(error)), *urls, secrets=secrets_of(os.environ))
    # Not by `screen`, which may be what is broken.
    click.echo(visible(trace, kept=LINES), nl=False, err=True)


@click.group(
    cls=_Commands,
    package=commands.__name__,
    summaries=SUMMARIES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": WIDTH},
)
@click.version_option(package_name=NAME, prog_name="ach")
def main() -> None:
    """Grant achievements from event streams, exactly once.

    Rules are text files (*.ach). Start with `ach demo`, then write a rule file, `ach check` it, and try it on a
    recorded stream with `ach replay`. A worker takes NATS_URL and DATABASE_URL from the environment.
    """
