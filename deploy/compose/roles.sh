#!/bin/bash
# The worker's role, made when the database is. What it may do is given by `ach grants`: docs/deploying.md.
set -euo pipefail
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
    --set password="$(cat /run/secrets/postgres-worker)" <<'SQL'
CREATE ROLE ach_worker LOGIN PASSWORD :'password' NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION;
REVOKE ALL ON DATABASE ach FROM PUBLIC;
GRANT CONNECT ON DATABASE ach TO ach_worker;
SQL
