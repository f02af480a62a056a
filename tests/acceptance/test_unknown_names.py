"""What no one knows, what is no number, and empty windows: refused alike by every command that takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.integration.engine import Engine, event
from worker.settings import Settings

if TYPE_CHECKING:
    from tests.acceptance.conftest import Shell

pytestmark = pytest.mark.anyio

RULES: Final = """event a.done { team: string? }
achievement x { title "X" when count(event=a.done, >= 2) }
achievement crew { title "C" scope team when count(event=a.done, >= 2) }
"""
HUGE: Final = "9" * 20
UNLOCK: Final = "68adee72-3f69-8a5d-a138-a755ca804731"
WHY: Final = ("--reason", "r", "--yes")
LEDGER: Final = ("replay", "--from-ledger")
ACME: Final = ("-t", "acme")

UNKNOWN: Final = (
    *((("change", verb, "99"), "there is no change 99: `ach change list`") for verb in ("show", "pause", "resume")),
    *((("change", verb, "99"), "there is no change 99: `ach change list`") for verb in ("cancel", "announce")),
    (("reconcile", "99"), "there is no change 99: `ach change list`"),
    (("revoke", "--change", "99", *WHY), "there is no change 99: `ach change list`"),
    (("rollback", "99", "--yes"), "there is no epoch 99; nothing was done", "`ach rules history` lists epochs"),
    (("rollback", "1", "--yes"), "epoch 1 is in force; nothing was done", "`ach rules history` lists epochs"),
    (("revoke", UNLOCK, *WHY), "nothing was done", "`ach unlocks` lists"),
    (("revoke", "-a", "zzz", *WHY), "nothing was done", "`ach unlocks` lists"),
    (("revoke", "-a", "x", "-t", "nope", *WHY), "nothing was done", "`ach unlocks` lists"),
    (("dead", "show", "99"), "there is no dead letter 99", "ach dead list"),
    (("dead", "replay", "99"), "there is no dead letter 99", "ach dead list"),
    (("rules", "show", "zzz"), "zzz was ever in force", "`ach rules list`"),
    (("rules", "history", "zzz"), "zzz was ever in force", "`ach rules list`"),
    (("rules", "retire", "zzz", "--reason", "r"), "zzz is in force", "`ach rules list`"),
    (("rebuild", "--aggregate", "zzz"), "zzz is in force"),
    (
        ("explain", "--from-ledger", "-u", "ann", *ACME, "-a", "zzz"),
        "there is no achievement zzz",
        "there are: crew, x",
    ),
    (("grant", "ann", "zzz", *ACME, "--reason", "r"), "there is no achievement zzz", "there are: crew, x"),
    (("progress", "ann", *ACME, "--scope", "zzz"), "no rule in force is of the scope zzz", "there are: team, user"),
    (("rebuild", "-t", "nope"), "nothing was done", "is the name right?"),
    (("rebuild", *ACME, "-u", "zoe"), "nothing was done", "is the name right?"),
    (("rebuild", *ACME, "-u", "zoe", "--dry-run"), "nothing was done", "is the name right?"),
    (("export", *ACME, "-u", "zoe"), "nothing is stored of 'zoe' in tenant 'acme'", "is the name right?"),
    (("erase", "zoe", *ACME), "nothing was done", "is the name right?"),
    (("erase", "zoe", *ACME, "--undo", *WHY), "nothing was done", "is the name right?"),
    ((*LEDGER, "-t", "nope"), "nothing was folded", "is the name right?"),
    ((*LEDGER, *ACME, "-u", "zoe"), "nothing was folded", "is the name right?"),
    ((*LEDGER, "--since", "2036-01-01T00:00:00Z"), "nothing was folded"),
)
"""Exit code 1, what is unknown, and where to look."""
LISTS: Final = (
    (("reconcile", "--user", "zoe", *ACME), "no change of rules has decided anything about zoe of acme"),
    (("progress", "zoe", *ACME), "is not known: the rules have heard no event of it"),
    (("explain", "--from-ledger", "-u", "zoe", *ACME, "-a", "x"), "have heard no event of user 'zoe'"),
    (("unlocks", "-t", "nope"), "0 unlocks"),
)
"""Exit code 0: a user that no event has named yet may come at any time, and the command says that none has."""
_TOO_LARGE: Final = "is larger than"
_EMPTY: Final = "expected a name, got an empty text"
MALFORMED: Final = (
    *((("change", verb, HUGE), _TOO_LARGE) for verb in ("show", "pause", "resume", "cancel", "announce")),
    (("reconcile", HUGE), _TOO_LARGE),
    (("rollback", HUGE, "--yes"), _TOO_LARGE),
    (("revoke", "--change", HUGE, *WHY), _TOO_LARGE),
    (("revoke", "-a", "x", "--version", "2147483648", *WHY), _TOO_LARGE),
    *((("dead", verb, HUGE), _TOO_LARGE) for verb in ("show", "replay", "purge")),
    (("unlocks", "--limit", HUGE), _TOO_LARGE),
    (("rules", "history", "--limit", HUGE), _TOO_LARGE),
    (("apply", "rules.ach", "--rate", "2147483648"), _TOO_LARGE),
    (("apply", "rules.ach", "--max-lag", "2147483648"), _TOO_LARGE),
    (("rebuild", "--rate", "2147483648"), _TOO_LARGE),
    (("rollback", "0", "--yes"), "0 is not in the range x>=1"),
    (("change", "show", "x"), "not a valid integer"),
    (("archive", "--older-than", "99999y"), "expected at most 100y"),
    (("archive", "--older-than", "0d"), "expected at least 1d"),
    ((*LEDGER, "--since", "2026-05-01T00:00:00Z", "--until", "2026-04-01T00:00:00Z"), "the window is empty"),
    ((*LEDGER, "--since", "2026-05-01T00:00:00Z", "--until", "2026-05-01T00:00:00Z"), "the window is empty"),
    ((*LEDGER, "--since", "yesterday"), "no RFC 3339 instant"),
    ((*LEDGER, "--day", "2026-99-99"), "no date, such as"),
    (("rules", "retire", "x", "--reason", ""), "--reason: expected a text"),
    *(
        (command, _EMPTY)
        for command in (
            ("erase", "", *ACME, "--yes"),
            ("export", "-u", "", *ACME),
            ("rebuild", "-t", ""),
            ("rebuild", "--aggregate", ""),
            ("reconcile", "--user", "", *ACME),
            (*LEDGER, "-t", ""),
            ("revoke", "-a", "", *WHY),
            ("revoke", "-a", "x", "-s", "", *WHY),
            ("progress", "", *ACME),
            ("unlocks", "-s", ""),
            ("grant", "", "x", *ACME, "--reason", "r"),
            ("explain", "--from-ledger", "-u", "", *ACME, "-a", "x"),
            ("rules", "show", ""),
            ("rules", "retire", "", "--reason", "r"),
            ("mirror", "--to", "there", "-t", ""),
        )
    ),
)
"""Exit code 2."""


async def test_what_is_not_known_is_said_alike(on_servers: Shell, nats_url: str, database_url: str) -> None:
    engine = Engine(Settings(nats_url=nats_url, database_url=database_url))
    on_servers.write("rules.ach", RULES)
    await engine.apply(RULES)
    await engine.backfill()
    await engine.publish([event(number, user="ann", tenant="acme") for number in range(3)])
    await engine.drain()
    before = await engine.rows("SELECT * FROM unlock")
    for cases, code in ((UNKNOWN, 1), (LISTS, 0), (MALFORMED, 2)):
        for (args, *words), ran in zip(cases, on_servers.ach_all([(args, {}) for args, *_ in cases]), strict=True):
            said = f"$ {' '.join(args)}\n{ran.out}{ran.err}"
            assert ran.code == code, said
            assert "Traceback" not in said
            for one in words:
                assert one in said
    assert await engine.rows("SELECT * FROM unlock") == before
