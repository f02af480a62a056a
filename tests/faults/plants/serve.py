"""Planted bugs: who may read what over HTTP, live and on NATS."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

CROSSING: Final = "integration/test_serve_crossing.py"
ACCESS: Final = "worker/serve/test_access.py"
CONFIG: Final = "worker/serve/test_config.py"
LEAKS: Final = "integration/test_serve_leaks.py::test_no_route_says_what_is_hidden_or_another_s"
HTTP: Final = "integration/test_serve.py"
HUB: Final = "worker/serve/test_hub.py"
OTHERS: Final = (f"{CROSSING}::test_others_are_refused_before_anything_is_read",)
FORGED: Final = (f"{CROSSING}::test_without_a_good_credential_nothing_is_said",)

BUGS: Final = (
    Bug(
        "key_for_every_tenant",
        "a tenant's key opens nothing of another tenant",
        at="Caller.check_tenant",
        old="if tenant != self.tenant:",
        new="if tenant != self.tenant and self.subject is not None:",
        tests=OTHERS,
    ),
    Bug(
        "token_for_every_subject",
        "a token is good for its one subject",
        at="Caller.check_subject",
        old="subject != self.subject",
        new="subject.scope != self.subject.scope",
        tests=OTHERS,
    ),
    Bug(
        "token_without_its_algorithm",
        "the algorithm of tokens is pinned",
        at="Access._keys_for",
        old="if head.alg == SHARED:",
        new='if head.alg in {SHARED, "HS512"}:',
        tests=FORGED,
    ),
    Bug(
        "public_key_as_a_secret",
        "a public key verifies no signature but its own",
        at="Access._keys_for",
        old="return self._secrets.get(tenant, ())",
        new="""return [
            *self._secrets.get(tenant, ()),
            *(key.public_bytes_raw() for key in self._public.get(tenant, {}).values()),
        ]""",
        tests=FORGED,
    ),
    Bug(
        "any_key_of_the_application",
        "a token that names a key is verified with that key alone",
        at="Access._keys_for",
        old="if head.kid is None:",
        new="if head.kid not in keys:",
        tests=(*FORGED, f"{ACCESS}::test_applications_sign_with_keys_of_their_own_while_they_rotate"),
    ),
    Bug(
        "public_key_among_secrets",
        "what all may know is refused as a secret",
        at="config:_check",
        old="_as_public_key(secret) in known",
        new="secret in known",
        tests=(f"{CONFIG}::test_what_cannot_be_used_is_refused_without_its_secrets",),
    ),
    Bug(
        "key_of_small_order",
        "a key for which anyone can sign is refused",
        at="public_key_of",
        old="in _SMALL_ORDER",
        new="in ()",
        tests=(f"{CONFIG}::test_what_cannot_be_used_is_refused_without_its_secrets",),
    ),
    Bug(
        "token_that_lives_on",
        "a token lives an hour at most",
        at="access:_caller",
        old="claims.exp - min(claims.iat, time())",
        new="0 * claims.exp",
        tests=FORGED,
    ),
    Bug(
        "token_in_the_address",
        "a credential in the query string is refused, with what to do",
        at="requests:parameters",
        old="if name.lower() in _SECRETIVE:",
        new="if name in _SECRETIVE and not name:",
        tests=(f"{CROSSING}::test_a_credential_in_the_query_is_refused",),
    ),
    Bug(
        "any_origin_may_read",
        "pages of known origins alone may read",
        at="Gate._dress",
        old="if origin in self._origins:",
        new="if origin is not None:",
        tests=(f"{HTTP}::test_pages_of_known_origins_may_read",),
    ),
    Bug(
        "live_to_all_of_the_name",
        "a live stream has the events of its subject alone, of its scope and tenant",
        at="Hub.deliver",
        old="subject = Subject(said.tenant_id, said.scope, said.subject)",
        new='subject = Subject(said.tenant_id, "user", said.subject)',
        tests=(f"{HUB}::test_a_live_event_is_of_one_scope",),
    ),
    Bug(
        "said_twice_on_resuming",
        "nothing is said twice to a client that resumes",
        at="Client.take",
        old="if not 0 < seq <= behind",
        new="if True",
        tests=(f"{HUB}::test_what_was_sent_already_is_left_out",),
    ),
    Bug(
        "stale_answer_passes_for_fresh",
        "an earlier answer says that it is one",
        at="_aged",
        old="if age is None",
        new="if not age or age < 3600",
        tests=(f"{HTTP}::test_without_postgresql_earlier_answers_say_their_age",),
    ),
    Bug(
        "erased_user_at_the_beginning",
        "an erased user is gone, also from what is kept",
        at="Answers._standing",
        old="if standing.presence is Presence.ERASED:",
        new="if standing.presence is Presence.ERASED and family is not None:",
        tests=(f"{HTTP}::test_an_erased_user_is_gone",),
    ),
    Bug(
        "replica_behind_passes_for_fresh",
        "an answer of a replica that is behind says so",
        at="Answers._now",
        old="_aged(kept.body, age)",
        new="_aged(kept.body, None)",
        tests=("integration/test_serve_replica.py::test_a_replica_answers_and_says_how_far_it_is_behind",),
    ),
    Bug(
        "gzip_for_all",
        "answers come compressed to those who take it, and to no others",
        at="takes_gzip",
        old='given.get("*", False)',
        new='given.get("*", True)',
        tests=("worker/serve/test_gzip_coding.py::test_gzip_is_for_those_who_name_it",),
    ),
    Bug(
        "tenant_takes_all_streams",
        "one tenant's live streams leave room for those of others",
        at="Hub.join",
        old="self._of_tenant[subject.tenant_id] >= self._most_of_tenant",
        new="self._of_tenant[subject.subject] >= self._most_of_tenant",
        tests=(f"{HUB}::test_no_tenant_takes_the_places_of_others",),
    ),
    Bug(
        "catalogue_with_tiers_to_come",
        "the catalogue names no tier that is hidden",
        at="worker.view.catalogue:_next",
        old='if behind is None or behind.reveal.kind == "always":',
        new="if behind is None or behind.achievement:",
        tests=(LEAKS,),
    ),
    Bug(
        "broken_connection_is_lent_again",
        "a connection that something went wrong on is not lent again unseen",
        at="_Shared._connection",
        old="_is_gone(self._idle[-1])",
        new="not self._idle[-1]",
        tests=("integration/test_store.py::test_one_that_the_server_has_ended_is_replaced_without_an_error",),
    ),
    Bug(
        "kept_connection_that_has_ended",
        "a connection that the server has ended costs no use its result",
        at="_Kept._connection",
        old="connection is not None and _is_gone(connection)",
        new="connection is not None and connection.is_closed()",
        tests=("integration/test_store.py::test_one_that_the_server_has_ended_is_replaced_without_an_error",),
    ),
    Bug(
        "redirect_to_the_host_of_a_request",
        "no answer leads to a host that a request has named",
        at="worker.serve.endpoints:Endpoints.app",
        old="made.router.redirect_slashes = False",
        new="",
        tests=(f"{CROSSING}::test_no_path_leads_to_another_host",),
    ),
)
