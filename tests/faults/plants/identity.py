"""Planted bugs: identities for the broker that are not read again, not checked, or shown."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

_IDENTITY: Final = "integration/test_identity.py"
_SETTINGS: Final = "worker/test_identity.py"
_WRONG: Final = "worker/test_wrong_settings.py"
_PLAIN: Final = f"{_IDENTITY}::test_nothing_of_ours_goes_to_a_server_without_tls_where_it_is_wanted"

BUGS: Final[tuple[Bug, ...]] = (
    Bug(
        "identity_read_once",
        "a file of an identity that was replaced is read at the next connection",
        at="Connection._attempt",
        old="self._login = login = self._read_login()",
        new="login = self._login = self._login or self._read_login()",
        tests=(f"{_IDENTITY}::test_a_file_that_was_replaced_is_read_at_the_next_connection",),
    ),
    Bug(
        "secret_in_plain_text",
        "no secret goes to a server without TLS where TLS is wanted",
        at="BrokerClient._once_secure",
        old="self.check_secure()",
        new="pass",
        tests=(_PLAIN,),
    ),
    Bug(
        "greeting_without_tls_taken",
        "a connection without TLS is not used where TLS is wanted",
        at="BrokerClient.open",
        old="self.check_secure()",
        new="pass",
        tests=(_PLAIN,),
    ),
    Bug(
        "domain_left_out",
        "requests to JetStream go to the domain of the identity",
        at="Identity.api",
        old='f"$JS.{self.js_domain}.API"',
        new="DEFAULT_API",
        tests=(f"{_IDENTITY}::test_a_domain_behind_a_leaf_node",),
    ),
    Bug(
        "pull_ignores_the_prefix",
        "a worker pulls where the identity has JetStream",
        at="Puller.__init__",
        old="_Way(settings.identity.api,",
        new='_Way("$JS.API",',
        tests=(f"{_IDENTITY}::test_each_identity_does_all",),
    ),
    Bug(
        "inbox_prefix_left_out",
        "answers come below the prefix of the identity",
        at="BrokerClient.new_inbox",
        old='f"{self.identity.inbox_prefix}.{token_hex(11)}"',
        new='f"_INBOX.{token_hex(11)}"',
        tests=(f"{_IDENTITY}::test_each_identity_does_all",),
    ),
    Bug(
        "two_identities_taken",
        "two identities at once are an error",
        at="_contradictions",
        old="len(logins) > 1",
        new="len(logins) > 9",
        tests=(f"{_SETTINGS}::test_what_is_refused",),
    ),
    Bug(
        "checksum_of_a_seed_ignored",
        "a seed with a wrong character is noticed before it signs anything",
        at="read_seed",
        old="_checksum(raw[:-_SUM]) != raw[-_SUM:]",
        new="not raw",
        tests=("worker/broker/test_nkeys.py::test_one_wrong_character_is_noticed",),
    ),
    Bug(
        "identity_shown",
        "no repr of an identity has a secret",
        at="Identity.__repr__",
        old="""f"Identity({', '.join(_given(self))})\"""",
        new='f"Identity({[getattr(self, name) for name in _given(self)]})"',
        tests=(f"{_SETTINGS}::test_a_login_shows_nothing_of_itself",),
    ),
    Bug(
        "refused_for_ever",
        "a first start with a certificate that is not trusted ends",
        at="Connection._check_refusal",
        old="case Kind.TLS:",
        new="case Kind.PAYLOAD:",
        tests=(f"{_IDENTITY}::test_what_is_refused_ends_in_one_sentence",),
    ),
    Bug(
        "a_seed_for_a_path",
        "a seed that stands in the place of a path is not shown",
        at="worker.identity:_check",
        old='if name in {"creds", "nkey"} and _NO_PATH.match(value):',
        new='if name in {"creds"} and _NO_PATH.match(value):',
        tests=(f"{_WRONG}::test_a_wrong_setting_is_one_sentence",),
    ),
    Bug(
        "a_url_for_a_path",
        "a URL that stands in the place of its file is not shown",
        at="with_files",
        old='if "://" in path:',
        new='if "://" in name:',
        tests=(f"{_WRONG}::test_a_wrong_setting_is_one_sentence",),
    ),
    Bug(
        "any_jwt_bears",
        "a JWT without its seed has to be a bearer token",
        at="read_user",
        old='.get("bearer_token") is not True',
        new='.get("bearer_token") is False',
        tests=(f"{_SETTINGS}::test_a_jwt_without_a_seed_is_a_bearer_token_or_refused",),
    ),
    Bug(
        "secrets_of_contexts_shown",
        "a seed of a context is a secret",
        at="worker.environment:_SECRETS",
        old='"NATS_USER_SEED"',
        new='"NATS_USER"',
        tests=(f"{_SETTINGS}::test_a_context_may_hold_jwt_and_seed_or_say_where_they_are",),
    ),
    Bug(
        "parameters_of_a_url_unread",
        "a wrong word in DATABASE_URL is named at once",
        at="_check_choices",
        old="value not in _CHOICES.get(name, (value,))",
        new="not value",
        tests=(f"{_WRONG}::test_a_wrong_setting_is_one_sentence",),
    ),
)
