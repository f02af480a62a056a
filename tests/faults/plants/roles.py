"""Roles of the database, what analysts see, poolers, and which releases run side by side."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

ROLES: Final = "integration/test_roles.py"
FILES: Final = "worker/test_url_files.py"
BINS: Final = "migration/test_bins.py"
MIGRATIONS: Final = "migration/test_migrations.py"

BUGS: Final = (
    Bug(
        "view_without_a_barrier",
        "a function of an analyst is never asked about another tenant's rows",
        at="sql:0016_tenant_views",
        old="CREATE VIEW v_tenant_event WITH (security_barrier) AS",
        new="CREATE VIEW v_tenant_event AS",
        tests=(f"{ROLES}::test_a_function_of_an_analyst_is_not_asked_about_rows_of_others",),
    ),
    Bug(
        "tenant_of_any_role",
        "an analyst sees the tenants of the own roles alone",
        at="sql:0016_tenant_views",
        old="WHERE pg_has_role(pg_roles.oid, 'USAGE')",
        new="WHERE pg_roles.oid IS NOT NULL",
        tests=(f"{ROLES}::test_an_analyst_sees_one_tenant",),
    ),
    Bug(
        "incompatible_schema_accepted",
        "a release that may not run beside a newer schema refuses it",
        at="sql.record:compared",
        old="if one.compatible_from is None or one.compatible_from > max(checksums)",
        new="if one.compatible_from is None",
        tests=(f"{MIGRATIONS}::test_an_older_release_runs_beside_a_schema_that_says_so",),
    ),
    Bug(
        "start_always_writes",
        "a start needs no right to make tables where nothing is missing",
        at="Store.migrate",
        old="if not lacking:",
        new="if not lacking and not books.made:",
        tests=(f"{MIGRATIONS}::test_a_start_needs_no_right_to_make_tables",),
    ),
    Bug(
        "index_dropped_beside_workers_of_another_release",
        "an index goes only once no worker needs it",
        at="drop_superseded",
        old="if not others:",
        new="if True:",
        tests=(f"{BINS}::test_the_index_before_stays_for_workers_of_the_release_before",),
    ),
    Bug(
        "index_built_behind_a_lock",
        "events are written while a migration builds an index over them",
        at="build_ahead",
        old='f"CREATE INDEX CONCURRENTLY {name} ON {table} (tenant_id, user_id, bin_of(occurred_at))"',
        new='f"CREATE INDEX {name} ON {table} (tenant_id, user_id, bin_of(occurred_at))"',
        tests=(f"{BINS}::test_events_are_written_while_the_index_is_built",),
    ),
    Bug(
        "bound_of_time_without_its_bin",
        "what lies behind a position is found without reading all events of a user",
        at="sql:events_of_users",
        old="AND bin_of(event.occurred_at) >= bin_of(asked.after_at)",
        new="",
        tests=("migration/test_index_by_user.py::test_a_bound_of_time_bounds_the_index",),
    ),
    Bug(
        "identifier_not_quoted",
        "a name stays a name in the script of rights",
        at="_identifier",
        old="""name.replace('"', '""')""",
        new="name",
        tests=(f"{ROLES}::test_names_are_names_whatever_they_look_like",),
    ),
    Bug(
        "tag_in_a_name",
        "a name cannot end the block that it stands in",
        at="_tag",
        old="while tag in text:",
        new="while not tag:",
        tests=(f"{ROLES}::test_names_are_names_whatever_they_look_like",),
    ),
    Bug(
        "settings_left_in_a_session",
        "a transaction through a pooler leaves no setting behind",
        at="beginning",
        old="""f"SET LOCAL {name} = '{value}'\"""",
        new="""f"SET {name} = '{value}'\"""",
        tests=("integration/test_poolers.py::test_settings_hold_in_each_transaction_and_stay_in_none",),
    ),
    Bug(
        "files_of_the_url_unread",
        "a file that DATABASE_URL names and that cannot be used is no server that is away",
        at="worker.store.pool:_connect",
        old="check_files(database_url, os.environ, _home())",
        new="_home()",
        tests=(f"{FILES}::test_a_store_says_so_before_it_connects",),
    ),
    Bug(
        "tls_for_sockets",
        "files of TLS are nothing for a connection without it",
        at="_Asked.mode",
        old='"disable" if self.local else "prefer"',
        new='"prefer"',
        tests=(f"{FILES}::test_what_counts_where_the_url_names_no_file",),
    ),
    Bug(
        "a_locked_key_is_garbage",
        "a private key with a password is named as such",
        at="load_pair",
        old="asked = True",
        new="asked = False",
        tests=(f"{FILES}::test_pairs_that_do_not_belong_together",),
    ),
    Bug(
        "a_service_waits_for_a_password",
        "a service ends where the database refuses its login",
        at="watch_schema",
        old="if needed:",
        new="if not needed:",
        tests=("integration/test_store.py::test_a_service_ends_where_the_database_cannot_be_used",),
    ),
    Bug(
        "a_parameter_that_may_be_right_later",
        "a parameter that the server does not know ends a start",
        at="store.pool:_UNKNOWN_PARAMETER",
        old="asyncpg.exceptions.CantChangeRuntimeParamError",
        new="asyncpg.exceptions.InvalidParameterValueError",
        tests=("integration/test_store.py::test_a_service_ends_where_the_database_cannot_be_used",),
    ),
)
