"""Planted bugs: the console, which shows much to some and lets few act; and the counts of minutes that it shows."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

PAGES: Final = "integration/test_console.py"
TENANT: Final = (f"{PAGES}::test_who_sees_one_tenant_sees_no_other",)
ACTS: Final = (f"{PAGES}::test_actions_take_the_role_the_form_and_a_reason",)
MINUTES: Final = "worker/engine/test_minutes.py"

NUMBERS: Final = "integration/test_console_numbers.py"
DEVELOPMENT: Final = ("acceptance/test_local_pages.py::test_development_ends_in_the_browser",)

BUGS: Final = (
    Bug(
        "form_without_its_token",
        "an action takes a form of the operator's own session",
        at="Console._deed",
        old='or form.get("form_token") != session.form_token',
        new="",
        tests=ACTS,
    ),
    Bug(
        "viewers_act",
        "an action takes the role operator",
        at="Console._deed",
        old="session.person.role is not Role.OPERATOR",
        new="not session.person.name",
        tests=ACTS,
    ),
    Bug(
        "subjects_of_all_tenants",
        "a person of some tenants sees no subject of others",
        at="asked_subject",
        old="or not person.sees(subject.tenant_id)",
        new="",
        tests=TENANT,
    ),
    Bug(
        "unlocks_of_all_tenants",
        "a person of some tenants revokes nothing of others",
        at="deeds:_unlock",
        old="or not person.sees(unlock.tenant_id)",
        new="",
        tests=TENANT,
    ),
    Bug(
        "letters_of_all_tenants",
        "a person of some tenants sees no dead letter of others",
        at="mailbox",
        old="None if person.tenants is None else sorted({name_token(tenant) for tenant in person.tenants})",
        new="None",
        tests=TENANT,
    ),
    Bug(
        "minutes_of_all_tenants",
        "a person of some tenants sees no numbers of others",
        at="mine",
        old="if key[1] in tenants and key[1] != NO_TENANT",
        new="",
        tests=TENANT,
    ),
    Bug(
        "header_from_anywhere",
        "the header of a proxy is believed from its address alone",
        at="Entrance._of_proxy",
        old="or address_of(request) not in self.door.proxies",
        new="",
        tests=(f"{PAGES}::test_a_proxy_names_persons_where_it_is_believed",),
    ),
    Bug(
        "query_for_every_viewer",
        "all viewers of the first page share a query a second",
        at="Pulse.snapshot",
        old="self._latest is None or monotonic() - self._read_at >= EVERY_SECONDS",
        new="monotonic() > 0",
        tests=(f"{PAGES}::test_a_hundred_viewers_cost_a_query_a_second",),
    ),
    Bug(
        "session_for_ever",
        "a session ends after twelve hours",
        at="Sessions.read",
        old="said.until <= now or",
        new="",
        tests=("worker/console/test_access.py::test_a_session_is_its_own_and_ends",),
    ),
    Bug(
        "counts_lost_while_away",
        "what could not be written down is counted later",
        at="Minutes.put_back",
        old="self._waiting.setdefault(key, Counts()).add(counts)",
        new="self._waiting[key] = counts",
        tests=(f"{MINUTES}::test_what_could_not_be_written_is_kept",),
    ),
    Bug(
        "backfill_counted_as_live",
        "unlocks that a backfill found are counted apart",
        at="Minutes.count_announced",
        old="origin == Origin.BACKFILL",
        new="not origin",
        tests=(f"{MINUTES}::test_a_backfill_is_counted_apart_and_not_timed",),
    ),
    Bug(
        "histogram_overwritten",
        "histograms of several workers add up",
        at="sql:add_minutes",
        old="coalesce(had, 0) + coalesce(more, 0)",
        new="coalesce(more, had)",
        tests=(f"{PAGES}::test_counts_of_workers_and_minutes_add_up",),
    ),
    Bug(
        "names_unseen",
        "what turns a line is written out",
        at="render:name",
        old='seen(text or "")',
        new='text or ""',
        tests=("worker/console/test_render.py::test_names_are_escaped_seen_and_isolated",),
    ),
    Bug(
        "each_viewer_asks",
        "all viewers of the first page share one query a second",
        at="Pulse.snapshot",
        old="self._latest is None or monotonic() - self._read_at >= EVERY_SECONDS",
        new="True",
        tests=(f"{NUMBERS}::test_a_hundred_streams_cost_the_database_what_one_costs",),
    ),
    Bug(
        "revoked_ones_have_it",
        "who was revoked counts no longer among those that have it",
        at="sql:unlocks_by_achievement",
        old="granted_at IS NOT NULL AND revoked_at IS NULL AND (by_hand OR contested_at IS NULL)",
        new="granted_at IS NOT NULL AND (by_hand OR contested_at IS NULL)",
        tests=(f"{NUMBERS}::test_shares_are_those_of_the_api",),
    ),
    Bug(
        "near_the_first_tier_alone",
        "who has a tier may be near the next one",
        at="rules:_near",
        old="continue",
        new="return None",
        tests=(f"{NUMBERS}::test_near_misses_are_those_of_every_standing",),
    ),
    Bug(
        "keys_of_the_newest_tenants_alone",
        "a key that was printed stays good when a further tenant comes",
        at="pages:_show_api",
        old="keys |= {sample.tenant: new_key() for sample in fresh}",
        new="keys = {sample.tenant: new_key() for sample in fresh}",
        tests=DEVELOPMENT,
    ),
    Bug(
        "a_users_name_in_a_shell",
        "a printed command has nothing in it that a producer could have written for a shell",
        at="pages:_print_api",
        old="""path = f"/v1/tenants/{quote(tenant, safe='')}/users/{quote(user, safe='')}/achievements\"""",
        new="""path = f"/v1/tenants/{quote(tenant, safe='')}/users/{user}/achievements\"""",
        tests=DEVELOPMENT,
    ),
    Bug(
        "token_sent_with_the_link",
        "the token of a link stays in the browser, out of requests and their logs",
        at="pages:Console.link",
        old='f"{self.address}{path}{query}#token={self.token}"',
        new='f"{self.address}{path}{query}?token={self.token}"',
        tests=DEVELOPMENT,
    ),
)
