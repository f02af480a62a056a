"""`ach alerts`: the alert rules for Prometheus, with links to playbooks that open."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click

from worker.report import screen

_WORKER: Final = Path(__file__).parents[1]
_FILES: Final = (_WORKER / "deploy" / "alerts.yml", _WORKER.parent / "deploy" / "alerts.yml")
"""An installed package has the rules in `worker`, the project has them beside everything else that is deployed."""
PAGE: Final = "{page}"
"""In a URL: the name of the playbook, such as `no-worker`."""
_LINK: Final = re.compile(r"^( +runbook_url: )docs/playbooks/([a-z-]+)\.md$", re.MULTILINE)
_UNFIT: Final = re.compile(r"[^!-~]|[{}\"\\]")
"""What no URL has; a brace would begin a template of Prometheus."""


@click.command("alerts")
@click.option(
    "--runbooks",
    metavar="URL",
    help="Where your copy of docs/playbooks is served; with {page} in it, where the name of a page goes.",
)
def command(runbooks: str | None) -> None:
    """Print the alert rules for Prometheus, to be named in its `rule_files`.

    Each rule links its playbook in `runbook_url`. Without --runbooks that is a path in the repository of this project,
    which opens nowhere: name the folder where your people read docs/playbooks, such as
    https://git.example.com/ach/blob/main/docs/playbooks, or a pattern such as https://wiki.example.com/ach/{page}.
    """
    rules = next(path for path in _FILES if path.is_file()).read_text(encoding="utf-8")
    screen.hand_on(rules if runbooks is None else linked(rules, _pattern(runbooks)))


def linked(rules: str, pattern: str) -> str:
    """Return rules whose links go to a pattern with `{page}` in it."""
    return _LINK.sub(lambda found: found[1] + json.dumps(pattern.replace(PAGE, found[2])), rules)


def _pattern(url: str) -> str:
    """Return a URL with `{page}` in it: as it is, or of the files in a folder.

    Raises:
        click.BadParameter: it is none that a browser opens.
    """
    try:
        parts = urlsplit(url)
        opens = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        opens = False
    if not opens or _UNFIT.search(url.replace(PAGE, "")):
        raise click.BadParameter(
            "expected http://... or https://..., with {page} where the name of a page goes, or without",
            param_hint="--runbooks",
        )
    return url if PAGE in url else f"{url.rstrip('/')}/{PAGE}.md"
