"""Roles of the database, what analysts see, poolers, and which releases run side by side."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

ROLES: Final = "integration/test_roles.py"
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
)
