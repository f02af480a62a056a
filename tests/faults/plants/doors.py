"""Planted bugs: who may publish what, what reaches a terminal, and what a message may say of secrets."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

PERMISSIONS: Final = "integration/test_permissions.py"
BOUND: Final = "worker/contract/test_strict_reader.py::test_a_subject_binds_the_tenant_and_the_user"
PLAIN: Final = "worker/contract/test_bulk_reader.py"
TERMINAL: Final = "worker/report/test_screen.py"
URLS: Final = "worker/test_urls.py"

_SUBJECTS: Final = (
    Bug(
        "short_subjects_bind_nothing",
        "a subject of any shape below the prefix binds the tenant",
        at="bound_by",
        old="return Bound(tenant,",
        new="""
            if len(rest) < 2:
                return UNBOUND
            return Bound(tenant,
            """,
        tests=(f"{PERMISSIONS}::test_a_tenants_producer_reaches_no_other_tenant", BOUND),
    ),
    Bug(
        "a_tenant_called_raw_writes_for_all",
        "exactly one subject is exempt",
        at="bound_by",
        old="if subject == raw_subject(prefix):",
        new="if subject.startswith(raw_subject(prefix)):",
        tests=(BOUND,),
    ),
    Bug(
        "subjects_elsewhere_bind_nothing",
        "what is outside of the prefix is of no tenant",
        at="bound_by",
        old="return ELSEWHERE",
        new="return UNBOUND",
        tests=(BOUND,),
    ),
    Bug(
        "users_called_by_a_hash_are_unbound",
        "a token that stands for a user's name binds that user",
        at="_is_reserved",
        old='return user.startswith("~") and _HASH.fullmatch(user) is None',
        new='return user.startswith("~")',
        tests=(f"{PERMISSIONS}::test_a_users_producer_reaches_no_other_user", BOUND),
    ),
    Bug(
        "user_of_the_subject_ignored",
        "a user's producer writes for no other user",
        at="Contract._judge",
        old="if not bound.fits_user(wire.user_id):",
        new="if not bound.fits_user(wire.user_id) and not bound.tenant:",
        tests=(f"{PERMISSIONS}::test_a_users_producer_reaches_no_other_user", BOUND),
    ),
    Bug(
        "names_compared_with_tokens",
        "another spelling of a name is another name",
        at="Bound.fits_user",
        old="return self.user is None or self.user == token(user)",
        new="return self.user is None or self.user in {user, token(user)}",
        tests=(f"{PLAIN}::test_however_it_is_read_nothing_gets_past_its_subject",),
    ),
    Bug(
        "names_taken_for_tokens",
        "the quick way reads what the closer look would",
        at="are_tokens",
        old='return joined.isalnum() or joined.replace("-", "").replace("_", "").isalnum()',
        new="return True",
        tests=("worker/contract/test_partition.py::test_names_that_are_tokens_as_they_are", PLAIN),
    ),
    Bug(
        "first_element_speaks_for_an_array",
        "every element of an array is bound",
        at="PlainReader._addressed",
        old="if subject is anyones and name is tenant:",
        new="if subject is anyones:",
        tests=("worker/contract/test_strict_reader.py::test_every_element_of_an_array_is_bound", PLAIN),
    ),
    Bug(
        "a_users_array_is_anybodys",
        "every element of an array is bound",
        at="PlainReader._addressed",
        old='anyones = "" if bound.user is not None else subject',
        new="anyones = subject",
        tests=(f"{PLAIN}::test_however_it_is_read_nothing_gets_past_its_subject",),
    ),
    Bug(
        "an_answer_taken_for_an_announcement",
        "nothing but an unlock's announcement keeps it from being announced",
        at="Announcer._behind",
        old="or MESSAGE_ID in parse_headers",
        new="or MESSAGE_ID not in parse_headers",
        tests=(f"{PERMISSIONS}::test_no_answer_of_the_broker_takes_the_place_of_an_unlock",),
    ),
)

_PRINTED: Final = (
    Bug(
        "c1_printed",
        "a terminal obeys nothing that was received",
        at="DANGEROUS",
        old=r"""
            r"\x00-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890-\u0891\u08e2\u115f-\u1160"
            """,
        new=r'r"\x00-\x1f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890-\u0891\u08e2\u115f-\u1160"',
        tests=(f"{TERMINAL}::test_how_it_is_seen",),
    ),
    Bug(
        "bidi_printed",
        "what stands beside a text is not turned by it",
        at="DANGEROUS",
        old=r"""
            r"\u17b4-\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f\u3164\ud800-\udfff\ufeff"
            """,
        new=r"""
            r"\u17b4-\u17b5\u180e\u200b-\u200f\u2028-\u2029\u2060-\u2064\u2066-\u206f\u3164\ud800-\udfff\ufeff"
            """,
        tests=(f"{TERMINAL}::test_how_it_is_seen",),
    ),
    Bug(
        "markup_of_others",
        "what was received is no markup",
        at="Paper.__init__",
        old="highlight=False, markup=False, emoji=False",
        new="highlight=False, markup=True, emoji=False",
        tests=(f"{TERMINAL}::test_no_markup_and_no_emoji_of_others",),
    ),
    Bug(
        "cells_of_several_lines",
        "a row of a table is one line",
        at="table",
        old="cells = [[visible(str(cell)) for cell in row] for row in rows]",
        new="cells = [[str(cell) for cell in row] for row in rows]",
        tests=(f"{TERMINAL}::test_a_row_is_one_line",),
    ),
    Bug(
        "json_as_it_is",
        "a terminal obeys nothing in JSON either",
        at="screen:json_of",
        old="""
            return DANGEROUS.sub(lambda found: found[0] if found[0] in LINES else _escaped_json(found[0]), text)
            """,
        new="return text",
        tests=(f"{TERMINAL}::test_json_says_the_same_and_nothing_that_is_obeyed",),
    ),
    Bug(
        "logs_as_they_are",
        "a terminal obeys nothing in a log",
        at="configure",
        old="*([] if form is LogFormat.JSON else [_visible]),",
        new="",
        tests=(f"{TERMINAL}::test_log_lines",),
    ),
    Bug(
        "bytes_handed_to_a_terminal",
        "bytes as received are for pipes and files",
        at="hand_on",
        old="if sys.stdout.isatty():",
        new="if sys.stdout.closed:",
        tests=(f"{TERMINAL}::test_a_terminal_is_not_handed_anything_it_obeys",),
    ),
    Bug(
        "printed_past_the_terminal",
        "all that is printed goes one way",
        at="list_dead_letters",
        old="screen.say_json([letter_json(letter) for letter in letters])",
        new="print([letter_json(letter) for letter in letters])",
        tests=(f"{TERMINAL}::test_all_that_is_printed_goes_through_the_terminal",),
    ),
)

_SECRETS: Final = (
    Bug(
        "password_with_an_at",
        "nothing of a URL is shown whose password may go on",
        at="_parts_of",
        old='if "@" in rest[end:] or _HOSTS.fullmatch(hosts) is None:',
        new="if _HOSTS.fullmatch(hosts) is None:",
        tests=(f"{URLS}::test_what_is_shown",),
    ),
    Bug(
        "password_taken_for_a_port",
        "a host is shown only where it is certain to be one",
        at="_parts_of",
        old='if "@" in rest[end:] or _HOSTS.fullmatch(hosts) is None:',
        new='if "@" in rest[end:]:',
        tests=(f"{URLS}::test_what_is_shown",),
    ),
    Bug(
        "comma_in_a_password",
        "a comma of a password begins no server",
        at="servers_of",
        old="return [url.strip() for url in _NEXT_SERVER.split(urls)]",
        new='return [url.strip() for url in urls.split(",")]',
        tests=(f"{URLS}::test_a_comma_of_a_password_begins_no_server",),
    ),
    Bug(
        "client_quoted",
        "no error of the database's client tells a secret",
        at="Store._acquire",
        old="except (ValueError, OverflowError, TypeError, LookupError):",
        new="except ZeroDivisionError:",
        tests=(f"{URLS}::test_no_error_of_the_database_tells",),
    ),
    Bug(
        "server_quoted",
        "no error of the database tells a secret",
        at="Store._acquire",
        old="kind(redacted(in_words(error), self._url))",
        new="UnavailableError(in_words(error))",
        tests=("integration/test_store.py::test_what_a_server_says_of_a_url_is_redacted",),
    ),
    Bug(
        "parameters_not_secret",
        "what is no name of a host or a user is a secret",
        at="urls:_written",
        old='for parameter in re.split(r"[?&;#]", parts.rest)[1:]:',
        new='for parameter in re.split(r"[?&;#]", parts.rest)[:0]:',
        tests=(f"{URLS}::test_what_is_no_secret_stays", f"{URLS}::test_what_libraries_say_is_redacted"),
    ),
    Bug(
        "unclear_url_tried",
        "a password with an @ is not sent to a host made of the rest of it",
        at="worker.settings:_check",
        old="if not all(map(is_clear, urls)):",
        new="if not any(map(is_clear, [*urls, 'nats://a'])):",
        tests=("worker/test_settings.py::test_errors_name_the_variable",),
    ),
    Bug(
        "prefix_with_a_line_end",
        "a value that is checked by a pattern does not end with a line end",
        at="worker.settings:Subject",
        old=r'''r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\Z"''',
        new=r'''r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$"''',
        tests=("worker/test_settings.py::test_errors_name_the_variable",),
    ),
)

BUGS: Final[tuple[Bug, ...]] = (*_SUBJECTS, *_PRINTED, *_SECRETS)
