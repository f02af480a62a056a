"""Planted bugs: webhooks about unlocks."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

NOTIFY: Final = "integration/test_notify.py"
MESSAGE: Final = "worker/notify/test_message.py"
HTTP: Final = "worker/notify/test_http_client.py"

BUGS: Final[tuple[Bug, ...]] = (
    Bug(
        "backfills_are_sent",
        "a backfill sends nothing that was not asked for",
        at="notify.message:is_wanted",
        old="said.kind not in wanted.kinds or (said.origin is not None and said.origin not in wanted.origins)",
        new="said.kind not in wanted.kinds",
        tests=(f"{MESSAGE}::test_what_an_endpoint_wants",),
    ),
    Bug(
        "grants_by_hand_are_silent",
        "a grant by hand is sent unless it was asked not to be",
        at="notify.endpoints:_Chosen",
        old="[Origin.LIVE, Origin.SETTLED, Origin.BY_HAND]",
        new="[Origin.LIVE, Origin.SETTLED]",
        tests=("integration/test_notify.py::test_a_grant_by_hand_is_sent_and_one_of_a_dead_letter_is_not",),
    ),
    Bug(
        "endpoints_see_other_tenants",
        "an endpoint gets the unlocks of its tenants alone",
        at="notify.message:is_wanted",
        old="if wanted.tenants is not None and said.tenant_id not in wanted.tenants:",
        new="if wanted.tenants is not None and not said.tenant_id:",
        tests=(f"{MESSAGE}::test_what_an_endpoint_wants",),
    ),
    Bug(
        "announcements_count_on_any_subject",
        "permission to publish for one tenant sends nothing for another",
        at="notify.message:read_item",
        old='if message.subject != (own if said.revision == 1 else f"{own}.{said.revision}"):',
        new="if not message.subject.startswith(prefix):",
        tests=(f"{MESSAGE}::test_an_announcement_on_another_subject_counts_for_nothing",),
    ),
    Bug(
        "revisions_share_an_id",
        "a correction has an id of its own",
        at="notify.message:webhook_id",
        old='return said.unlock_id if said.revision == 1 else f"{said.unlock_id}_{said.revision}"',
        new="return said.unlock_id",
        tests=(f"{MESSAGE}::test_a_correction_has_an_id_of_its_own",),
    ),
    Bug(
        "digest_windows_overlap",
        "a digest holds the same unlocks after a crash",
        at="notify.message:window_of",
        old="return begin, begin + size",
        new="return item.stored_at, item.stored_at + size",
        tests=(f"{MESSAGE}::test_windows_lie_side_by_side",),
    ),
    Bug(
        "one_secret_signs",
        "while a secret is rotated, a receiver with either of two can verify",
        at="signed_headers",
        old="for key in keys]",
        new="for key in keys[:1]]",
        tests=("worker/notify/test_signature.py::test_either_of_two_secrets_verifies",),
    ),
    Bug(
        "failures_are_acknowledged",
        "a delivery that failed is tried again",
        at="schedule:decide",
        old="return Decision(done=False, delay=delay)",
        new="return Decision(done=True, delay=delay)",
        tests=("worker/notify/test_schedule.py::test_anything_else_is_tried_again",),
    ),
    Bug(
        "failures_are_tried_again_at_once",
        "a receiver that is down is left alone for a while",
        at="DurableConsumer.delay",
        old="""b'-NAK {"delay": %d}' % (milliseconds * 1_000_000) if milliseconds else b"-NAK\"""",
        new='b"-NAK"',
        tests=(f"{NOTIFY}::test_a_receiver_that_fails_is_left_alone_for_a_while",),
    ),
    Bug(
        "acknowledged_before_it_is_sent",
        "a notifier that dies loses nothing",
        at="Courier._begin",
        old="self._held[message.reply] = message",
        new="self._held[message.reply] = message\nawait self._consumer.ack(message)",
        tests=(f"{NOTIFY}::test_a_failure_is_tried_again_with_the_same_id_and_body",),
    ),
    Bug(
        "mapped_addresses_pass",
        "no request goes to a loopback address, however it is written",
        at="_why_refused_v6",
        old='return what or ("" if found in _PUBLIC_V6 else "reserved")',
        new='return "" if found.ipv4_mapped else what or ("" if found in _PUBLIC_V6 else "reserved")',
        tests=("worker/notify/test_addresses.py",),
    ),
    Bug(
        "the_name_is_connected_to",
        "a name that resolves to something else a moment later gets nothing",
        at="Requester._send_to",
        old="_url_at(call.url, address)",
        new="call.url",
        tests=(f"{HTTP}::test_it_connects_to_the_address_and_says_the_name",),
    ),
    Bug(
        "the_first_address_is_judged_alone",
        "every address of a name is judged",
        at="Requester._addresses",
        old="for address in addresses:",
        new="for address in addresses[:1]:",
        tests=(f"{HTTP}::test_one_refused_address_among_several_refuses_all",),
    ),
    Bug(
        "deliveries_outlive_an_erasure",
        "an erasure removes what names its user",
        at="erasure:_erase",
        old='await session.run("erase_deliveries", tenant_id=tenant, user_id=name)',
        new="pass",
        tests=(f"{NOTIFY}::test_an_erasure_takes_the_deliveries_of_its_user",),
    ),
    Bug(
        "an_erased_user_is_logged",
        "what is sent after an erasure names no one in the log",
        at="sql:insert_deliveries",
        old="CASE WHEN erasure.user_id IS NULL THEN rows.subject END",
        new="rows.subject",
        tests=(f"{NOTIFY}::test_an_erasure_takes_the_deliveries_of_its_user",),
    ),
    Bug(
        "what_disabled_it_is_forgotten",
        "an endpoint that is disabled stays so when the notifier starts again",
        at="Health.disable",
        old='await self._remember({DISABLED: f"{format_instant(now * 1000)} {why}"})',
        new="pass",
        tests=(f"{NOTIFY}::test_an_endpoint_that_only_fails_is_disabled",),
    ),
)
