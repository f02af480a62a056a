"""Where the examples keep progress: one row a user, written in one transaction."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from threading import Lock
from typing import TYPE_CHECKING

import ach

if TYPE_CHECKING:
    from pathlib import Path

    from ach import Event, Grant, Progress, Rules, Session


class ProgressTable:
    """Sessions in a table. In your application this is a table beside the users."""

    def __init__(self, path: Path, rules: Rules) -> None:
        self._path = path
        self._rules = rules
        self._lock = Lock()  # one request of this process at a time; with PostgreSQL: SELECT ... FOR UPDATE
        with closing(self._connect()) as db, db:
            db.execute(
                "CREATE TABLE IF NOT EXISTS progress (tenant TEXT, user TEXT, state BLOB, PRIMARY KEY (tenant, user))"
            )

    def feed(self, event: Event) -> list[Grant]:
        """Take an event of a user; return what to celebrate now."""
        with self._lock, closing(self._connect()) as db, db:
            me = self._session(db, event.tenant_id, event.user_id)
            try:
                grants = me.feed(event)
            except ach.LateEventError:
                return []  # the worker decides it, and the toast comes from there
            db.execute("REPLACE INTO progress VALUES (?, ?, ?)", (event.tenant_id, event.user_id, me.state()))
            return [grant for grant in grants if grant.settles_at is None]

    def progress(self, tenant: str, user: str, languages: list[str]) -> list[Progress]:
        """Return where a user stands."""
        with closing(self._connect()) as db:
            return self._session(db, tenant, user).progress(languages)

    def _session(self, db: sqlite3.Connection, tenant: str, user: str) -> Session:
        row = db.execute("SELECT state FROM progress WHERE tenant = ? AND user = ?", (tenant, user)).fetchone()
        try:
            return self._rules.user(tenant, user, state=row[0] if row else None)
        except ach.StateError:
            # Other rules were deployed: begin again. To keep what was counted, feed the user's events once more.
            return self._rules.user(tenant, user)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path)
