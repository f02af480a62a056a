"""Commands that mend, in the syntax of the `nats` command line (natscli) and of SQL. Pure.

What `nats stream edit` cannot change is changed in a copy: back the stream up, remove it, restore it otherwise. Workers
may run meanwhile: they wait for the stream, and producers get no acknowledgement until it is back.
"""

from __future__ import annotations

import shlex


def edit_stream(name: str, *flags: str) -> str:
    """Return the command that edits a stream."""
    return f"nats stream edit {name} {' '.join(flags)} --force"


def edit_stream_by_file(name: str, change: str) -> str:
    """Return the command that edits what has no flag of its own (or, such as `--no-republish`, one without effect).

    `change` is a filter of jq.
    """
    config = shlex.quote(f".config | {change}")
    return (
        f"nats stream info {name} --json | jq {config} > {name}.json"
        f" && nats stream edit {name} --config {name}.json --force"
    )


def edit_consumer(stream: str, name: str, *flags: str) -> str:
    """Return the command that edits a consumer."""
    return f"nats consumer edit {stream} {name} {' '.join(flags)} --force"


def remake_consumer(stream: str, name: str) -> str:
    """Return the command after which a worker makes the consumer again, and reads the stream from its beginning."""
    return f"nats consumer rm {stream} {name} --force"


def remake_stream(name: str, change: str) -> str:
    """Return the commands that restore a stream with another configuration; `change` is a filter of jq."""
    config = shlex.quote(f".config | {change}")
    return (
        f"nats stream backup {name} {name}.backup && nats stream info {name} --json | jq {config} > {name}.json"
        f" && nats stream rm {name} --force && nats stream restore {name}.backup --config {name}.json"
    )


def add_stream(name: str, subjects: str, *flags: str) -> str:
    """Return the command that makes a stream as the guarantees assume."""
    more = "".join(f" {flag}" for flag in flags)
    return f"nats stream add {name} --subjects '{subjects}' --storage file --retention limits{more} --defaults"


def alter_system(settings: list[str], value: str) -> str:
    """Return the statements that change settings of PostgreSQL for good."""
    changes = "".join(f' -c "ALTER SYSTEM SET {one} = {value}"' for one in settings)
    return f'psql "$DATABASE_URL"{changes} -c "SELECT pg_reload_conf()"'
