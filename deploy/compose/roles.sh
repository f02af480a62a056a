#!/bin/bash
# The roles of worker and operator, made when the database is. `ach grants` gives them their rights: docs/deploying.md.
set -euo pipefail
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
    --set worker="$(cat /run/secrets/postgres-worker)" --set operator="$(cat /run/secrets/postgres-operator)" <<'SQL'
CREATE ROLE ach_worker LOGIN PASSWORD :'worker' NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION;
CREATE ROLE ach_operator LOGIN PASSWORD :'operator' NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION;
REVOKE ALL ON DATABASE ach FROM PUBLIC;
GRANT CONNECT ON DATABASE ach TO ach_worker, ach_operator;
SQL
