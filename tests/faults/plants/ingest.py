"""Planted bugs: events over HTTP, from what is taken to what is answered."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

HTTP: Final = "integration/test_ingest.py"
CROSSING: Final = "integration/test_ingest_crossing.py"
BODIES: Final = "worker/ingest/test_bodies.py"

BUGS: Final = (
    Bug(
        "accepted_without_a_stream",
        "202 means that the broker has every event",
        at="publisher:_STORED",
        old="frozenset({Fate.NEW, Fate.COPY})",
        new="frozenset({Fate.NEW, Fate.COPY, Fate.UNHEARD})",
        tests=(f"{HTTP}::test_without_a_stream_nothing_is_accepted",),
    ),
    Bug(
        "one_event_of_another_tenant",
        "a key sends events of its tenant alone",
        at="reading:messages_of",
        old="shared_subject(naming.prefix, tenant)",
        new='f"{naming.prefix}.raw"',
        tests=(f"{CROSSING}::test_a_key_is_good_for_its_tenant_alone",),
    ),
    Bug(
        "message_ids_that_others_can_make",
        "no producer of another tenant makes the broker drop an event that was answered with 202",
        at="worker.ingest.reading:messages_of",
        old="naming.message_id(tenant, event.id)",
        new='f"{tenant}:{event.id}"',
        tests=(f"{CROSSING}::test_a_producer_cannot_use_up_the_ids_of_others",),
    ),
    Bug(
        "one_id_for_two_events",
        "no event of a request is dropped as a copy of another one",
        at="reading:_check_ids",
        old="elements[before] != elements[place]",
        new="len(elements) != len(events)",
        tests=(f"{HTTP}::test_what_is_sent_twice_is_stored_once",),
    ),
    Bug(
        "old_webhooks",
        "a webhook that was signed long ago is refused",
        at="webhooks:verified_id",
        old="abs(int(timestamp) - now)",
        new="int(timestamp) - now",
        tests=(f"{HTTP}::test_webhooks_that_are_not_signed_are_refused",),
    ),
    Bug(
        "bodies_of_two_lengths",
        "a request with two lengths is refused",
        at="IngestGate.check_method",
        old='if "transfer-encoding" in headers and "content-length" in headers:',
        new='if "transfer-encoding" in headers and "content-range" in headers:',
        tests=(f"{CROSSING}::test_requests_that_pass_for_others",),
    ),
    Bug(
        "requests_in_place_of_events",
        "a key's rate is in events",
        at="Endpoints.events",
        old="self._take(sender, len(elements) - 1)",
        new="self._take(sender, 0)",
        tests=(f"{HTTP}::test_a_key_has_its_rate_in_events",),
    ),
    Bug(
        "memory_of_bodies_not_given_back",
        "a body that is done leaves its memory to others",
        at="Memory.hold",
        old="self.taken -= size",
        new="self.taken -= size // 2",
        tests=(f"{BODIES}::test_callers_share_the_memory",),
    ),
    Bug(
        "more_behind_gzip",
        "a body is one whole stream of gzip",
        at="bodies:inflated",
        old="if not unpacking.eof or unpacking.unused_data:",
        new="if not unpacking.eof:",
        tests=(f"{BODIES}::test_what_is_no_gzip",),
    ),
    Bug(
        "memory_for_webhooks_alone",
        "who has no key keeps no one out who has one",
        at="worker.ingest.endpoints:Endpoints.webhook",
        old=', "webhooks": UNVERIFIED_SHARE}',
        new="}",
        tests=(f"{HTTP}::test_webhooks_without_a_signature_leave_memory_to_keys",),
    ),
)
