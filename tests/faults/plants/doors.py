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
        "worker/contract/partition.py",
        "    user = rest[0] if rest else None\n    return Bound(tenant,",
        "    user = rest[0] if rest else None\n    if len(rest) < 2:\n        return ANYBODY\n    return Bound(tenant,",
        (f"{PERMISSIONS}::test_a_tenants_producer_reaches_no_other_tenant", BOUND),
    ),
    Bug(
        "a_tenant_called_raw_writes_for_all",
        "exactly one subject is exempt",
        "worker/contract/partition.py",
        "    if subject == raw_subject(prefix):",
        "    if subject.startswith(raw_subject(prefix)):",
        (BOUND,),
    ),
    Bug(
        "subjects_elsewhere_bind_nothing",
        "what is outside of the prefix is of no tenant",
        "worker/contract/partition.py",
        '    if not subject.startswith(f"{prefix}."):\n        return ELSEWHERE',
        '    if not subject.startswith(f"{prefix}."):\n        return ANYBODY',
        (BOUND,),
    ),
    Bug(
        "users_called_by_a_hash_are_anybody",
        "a token that stands for a user's name binds that user",
        "worker/contract/partition.py",
        'return user.startswith("~") and _HASH.fullmatch(user) is None',
        'return user.startswith("~")',
        (f"{PERMISSIONS}::test_a_users_producer_reaches_no_other_user", BOUND),
    ),
    Bug(
        "user_of_the_subject_ignored",
        "a user's producer writes for no other user",
        "worker/contract/strict_reader.py",
        "        if not bound.fits_user(wire.user_id):",
        "        if not bound.fits_user(wire.user_id) and not bound.tenant:",
        (f"{PERMISSIONS}::test_a_users_producer_reaches_no_other_user", BOUND),
    ),
    Bug(
        "names_compared_with_tokens",
        "another spelling of a name is another name",
        "worker/contract/partition.py",
        "        return self.user is None or self.user == token(user)",
        "        return self.user is None or self.user in {user, token(user)}",
        (f"{PLAIN}::test_however_it_is_read_nothing_gets_past_its_subject",),
    ),
    Bug(
        "names_taken_for_tokens",
        "the quick way reads what the closer look would",
        "worker/contract/partition.py",
        '    return joined.isalnum() or joined.replace("-", "").replace("_", "").isalnum()',
        "    return True",
        ("worker/contract/test_partition.py::test_names_that_are_tokens_as_they_are", PLAIN),
    ),
    Bug(
        "first_element_speaks_for_an_array",
        "every element of an array is bound",
        "worker/contract/bulk_reader.py",
        "            if subject is anyones and name is tenant:",
        "            if subject is anyones:",
        ("worker/contract/test_strict_reader.py::test_every_element_of_an_array_is_bound", PLAIN),
    ),
    Bug(
        "a_users_array_is_anybodys",
        "every element of an array is bound",
        "worker/contract/bulk_reader.py",
        '                anyones = "" if bound.user is not None else subject',
        "                anyones = subject",
        (f"{PLAIN}::test_however_it_is_read_nothing_gets_past_its_subject",),
    ),
    Bug(
        "an_answer_taken_for_an_announcement",
        "nothing but an unlock's announcement keeps it from being announced",
        "worker/broker/streams.py",
        "        if api.Header.MSG_ID.value in (there.headers or {}):",
        "        if api.Header.MSG_ID.value not in (there.headers or {}):",
        (f"{PERMISSIONS}::test_no_answer_of_the_broker_takes_the_place_of_an_unlock",),
    ),
)

_PRINTED: Final = (
    Bug(
        "c1_printed",
        "a terminal obeys nothing that was received",
        "worker/report/screen.py",
        r'    r"\x00-\x1f\x7f-\x9f',
        r'    r"\x00-\x1f',
        (f"{TERMINAL}::test_how_it_is_seen",),
    ),
    Bug(
        "bidi_printed",
        "what stands beside a text is not turned by it",
        "worker/report/screen.py",
        r"\u2028-\u202e",
        r"\u2028-\u2029",
        (f"{TERMINAL}::test_how_it_is_seen",),
    ),
    Bug(
        "markup_of_others",
        "what was received is no markup",
        "worker/report/screen.py",
        "highlight=False, markup=False, emoji=False",
        "highlight=False, markup=True, emoji=False",
        (f"{TERMINAL}::test_no_markup_and_no_emoji_of_others",),
    ),
    Bug(
        "cells_of_several_lines",
        "a row of a table is one line",
        "worker/report/screen.py",
        "cells = [[visible(str(cell)) for cell in row] for row in rows]",
        "cells = [[str(cell) for cell in row] for row in rows]",
        (f"{TERMINAL}::test_a_row_is_one_line",),
    ),
    Bug(
        "json_as_it_is",
        "a terminal obeys nothing in JSON either",
        "worker/report/screen.py",
        "    return _DANGEROUS.sub(lambda found: found[0] if found[0] in _KEPT else _escaped_json(found[0]), text)",
        "    return text",
        (f"{TERMINAL}::test_json_says_the_same_and_nothing_that_is_obeyed",),
    ),
    Bug(
        "logs_as_they_are",
        "a terminal obeys nothing in a log",
        "worker/process/logs.py",
        "            *([] if form is LogFormat.JSON else [_visible]),\n",
        "",
        (f"{TERMINAL}::test_log_lines",),
    ),
    Bug(
        "bytes_handed_to_a_terminal",
        "bytes as received are for pipes and files",
        "worker/report/screen.py",
        "    if sys.stdout.isatty():\n        say(",
        "    if sys.stdout.closed:\n        say(",
        (f"{TERMINAL}::test_a_terminal_is_not_handed_anything_it_obeys",),
    ),
    Bug(
        "printed_past_the_terminal",
        "all that is printed goes one way",
        "worker/commands/tending.py",
        "        screen.say_json([_as_json(letter) for letter in letters])\n",
        "        print([_as_json(letter) for letter in letters])\n",
        (f"{TERMINAL}::test_all_that_is_printed_goes_through_the_terminal",),
    ),
)

_SECRETS: Final = (
    Bug(
        "password_with_an_at",
        "nothing of a URL is shown whose password may go on",
        "worker/urls.py",
        '    if "@" in rest[end:] or _HOSTS.fullmatch(hosts) is None:',
        "    if _HOSTS.fullmatch(hosts) is None:",
        (f"{URLS}::test_what_is_shown",),
    ),
    Bug(
        "password_taken_for_a_port",
        "a host is shown only where it is certain to be one",
        "worker/urls.py",
        '    if "@" in rest[end:] or _HOSTS.fullmatch(hosts) is None:',
        '    if "@" in rest[end:]:',
        (f"{URLS}::test_what_is_shown",),
    ),
    Bug(
        "comma_in_a_password",
        "a comma of a password begins no server",
        "worker/urls.py",
        "    return [url.strip() for url in _NEXT_SERVER.split(urls)]",
        '    return [url.strip() for url in urls.split(",")]',
        (f"{URLS}::test_a_comma_of_a_password_begins_no_server",),
    ),
    Bug(
        "client_quoted",
        "no error of the database's client tells a secret",
        "worker/store.py",
        "        except (ValueError, OverflowError, TypeError, LookupError):\n",
        "        except ZeroDivisionError:\n",
        (f"{URLS}::test_no_error_of_the_database_tells",),
    ),
    Bug(
        "server_quoted",
        "no error of the database tells a secret",
        "worker/store.py",
        'UnavailableError(redacted(f"{type(error).__name__}: {_first_line(error)}", self._url))',
        'UnavailableError(f"{type(error).__name__}: {_first_line(error)}")',
        ("integration/test_store.py::test_what_a_server_says_of_a_url_is_redacted",),
    ),
    Bug(
        "parameters_not_secret",
        "what is no name of a host or a user is a secret",
        "worker/urls.py",
        '    for parameter in re.split(r"[?&;#]", parts.rest)[1:]:',
        '    for parameter in re.split(r"[?&;#]", parts.rest)[:0]:',
        (f"{URLS}::test_what_is_no_secret_stays", f"{URLS}::test_what_libraries_say_is_redacted"),
    ),
    Bug(
        "unclear_url_tried",
        "a password with an @ is not sent to a host made of the rest of it",
        "worker/settings.py",
        "        if not all(map(is_clear, urls)):",
        "        if not any(map(is_clear, [*urls, 'nats://a'])):",
        ("worker/test_settings.py::test_errors_name_the_variable",),
    ),
)

BUGS: Final[tuple[Bug, ...]] = (*_SUBJECTS, *_PRINTED, *_SECRETS)
