"""Checks of the two servers themselves: versions, clocks, rights, settings. Pure."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Final

from worker.doctor.finding import Check, Verdict, error, ok, warning
from worker.doctor.mends import alter_system

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.doctor.facts import Account, DatabaseSeen, Lacking, Rights, Server, Skew

LEAST_NATS: Final = (2, 10)
LEAST_POSTGRESQL: Final = 140_000
CLOSE: Final = 2.0
"""Seconds that clocks may differ."""
FAR: Final = 60.0
"""Seconds from which on `settle`, `from_the_future` and the times of unlocks are wrong."""
FULL: Final = 90
"""Percent of a limit."""
WRITERS_BESIDE: Final = 4
"""Connections of a worker beside those of its writers, at most."""
_NUMBERS: Final = re.compile(r"(\d+)\.(\d+)")


def _nats_version(server: Server) -> Verdict:
    found = _NUMBERS.match(server.version)
    if found is None or (int(found[1]), int(found[2])) >= LEAST_NATS:
        return ok(f"nats-server {server.version}")
    return warning(f"nats-server {server.version}: tested with 2.10 and later")


SERVER_CHECKS: Final[tuple[Check[Server], ...]] = (Check("server", _nats_version),)


def _skew(skew: Skew) -> Verdict:
    if abs(skew.seconds) <= CLOSE + skew.give:
        return ok(f"within {abs(skew.seconds) + skew.give:.1f} s of this machine's")
    side = "ahead of" if skew.seconds > 0 else "behind"
    said = f"its clock is {abs(skew.seconds):.0f} s {side} this machine's"
    mend = "timedatectl set-ntp true"
    if abs(skew.seconds) < FAR:
        return warning(said, mend)
    return error(f"{said}: settling and `from_the_future` go by the worker's clock", mend)


CLOCK_CHECKS: Final[tuple[Check[Skew], ...]] = (Check("clock", _skew, refuses=False),)


def _account(account: Account) -> Verdict:
    limit = -1 if account.limits is None else account.limits.max_storage
    if limit <= 0:
        return ok("no limit on storage")
    percent = account.storage * 100 // limit
    if percent >= FULL:
        return warning(f"{percent} % of the account's storage is in use: soon no event is stored", "nats account info")
    return ok(f"{percent} % of the account's storage is in use")


ACCOUNT_CHECKS: Final[tuple[Check[Account], ...]] = (Check("account", _account),)


def _rights(rights: Rights) -> Verdict:
    if not rights.denied:
        return ok("all that a worker needs")
    named = ", ".join(rights.denied)
    said = f"this login may not publish on {named}"
    return error(said, f"permissions: {{ publish: {{ allow: [{', '.join(map(_quoted, rights.denied))}] }} }}")


def _quoted(text: str) -> str:
    return f'"{text}"'


RIGHTS_CHECKS: Final[tuple[Check[Rights], ...]] = (Check("rights", _rights),)


# -- PostgreSQL --------------------------------------------------------------------------------------------------------


def _version(seen: DatabaseSeen) -> Verdict:
    number = seen.found.version
    said = f"PostgreSQL {number // 10_000}.{number % 10_000}"
    return ok(said) if number >= LEAST_POSTGRESQL else error(f"{said}: 14 or later is needed")


def _writable(seen: DatabaseSeen) -> Verdict:
    if seen.found.in_recovery:
        said = "a hot standby, where nothing can be written; DATABASE_URL has to name the primary"
        return error(said, 'psql "$DATABASE_URL" -c "SELECT pg_promote()"')
    if seen.found.read_only:
        mend = f'psql "$DATABASE_URL" -c "ALTER DATABASE {seen.found.database} SET default_transaction_read_only = off"'
        return error("transactions are read only", mend)
    return ok("it can be written to")


def _encoding(seen: DatabaseSeen) -> Verdict:
    if seen.found.encoding == "UTF8":
        return ok("UTF8")
    said = f"{seen.found.encoding}: names and payloads in other alphabets become dead letters"
    return error(said, "createdb --encoding UTF8 --template template0 ach")


def _fsync(seen: DatabaseSeen) -> Verdict:
    off = [name for name in ("fsync", "full_page_writes") if getattr(seen.found, name) != "on"]
    if not off:
        return ok("on")
    said = f"{' and '.join(off)} {'is' if len(off) == 1 else 'are'} off: a crash of the machine loses the ledger"
    return error(said, alter_system(off, "on"))


def _synchronous(seen: DatabaseSeen) -> Verdict:
    value = seen.found.synchronous_commit
    if value == "off":
        said = "synchronous_commit is off: a crash loses commits whose messages are acknowledged"
        return error(said, alter_system(["synchronous_commit"], "on"))
    if value == "local" and seen.found.standbys:
        said = "synchronous_commit is local: a failover loses commits whose messages are acknowledged"
        return warning(said, alter_system(["synchronous_commit"], "on"))
    return ok(value)


def _vacuum(seen: DatabaseSeen) -> Verdict:
    if seen.found.autovacuum == "on":
        return ok("on")
    said = "autovacuum is off: `progress` and `partition` are updated all the time, and grow"
    return warning(said, alter_system(["autovacuum"], "on"))


def _connections(seen: DatabaseSeen) -> Verdict:
    found, needed = seen.found, seen.settings.writers + WRITERS_BESIDE
    free = found.max_connections - found.reserved - found.connections
    said = f"{found.connections} of {found.max_connections} in use, and a worker takes {needed}"
    if free < needed:
        more = found.max_connections + needed
        return warning(said, f"{alter_system(['max_connections'], str(more))} # and restart PostgreSQL")
    return ok(said)


def _postgresql_clock(seen: DatabaseSeen) -> Verdict:
    return _skew(seen.skew)


DATABASE_CHECKS: Final[tuple[Check[DatabaseSeen], ...]] = (
    Check("version", _version),
    Check("writable", _writable),
    Check("encoding", _encoding, refuses=False),
    Check("clock", _postgresql_clock, refuses=False),
    Check("fsync", _fsync, refuses=False),
    Check("synchronous commit", _synchronous, refuses=False),
    Check("autovacuum", _vacuum),
    Check("connections", _connections),
)


def _lacking(missing: Sequence[Lacking]) -> Verdict:
    if not missing:
        return ok("all that a worker needs")
    by_right: dict[str, list[str]] = {}
    for one in missing:
        by_right.setdefault(one.right, []).append(one.table)
    grants = [f"GRANT {right} ON {', '.join(tables)} TO {missing[0].role}" for right, tables in by_right.items()]
    said = "; ".join(f"no {right} on {', '.join(tables)}" for right, tables in by_right.items())
    commands = " ".join(f"-c {shlex.quote(grant)}" for grant in grants)
    return error(f"{missing[0].role} has {said}", f"psql --username OWNER {commands}")


TABLE_CHECKS: Final[tuple[Check[Sequence[Lacking]], ...]] = (Check("rights", _lacking),)
