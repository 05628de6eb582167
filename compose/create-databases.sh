#!/bin/bash
# Run once by the postgres image, on an empty data directory: the logins, each in its role, and HAPI's database. What is there
# already stays, so on a volume of before it can be run again:
#   docker compose exec postgres bash /docker-entrypoint-initdb.d/create-databases.sh
# Passwords go in as psql variables, quoted by :'name' and %L, so that any character is safe.
set -euo pipefail

psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
  --set=owner_password="$OWNER_PASSWORD" --set=application_password="$APPLICATION_PASSWORD" \
  --set=connector_password="$CONNECTOR_PASSWORD" --set=operator_password="$OPERATOR_PASSWORD" \
  --set=hapi_password="$HAPI_PASSWORD" <<'SQL'
-- The migration gives these their rights; a login has its role's, and the connector's REPLICATION beside.
SELECT format('CREATE ROLE %I NOLOGIN', name) FROM unnest(ARRAY['fhir_app', 'fhir_connector', 'fhir_operator']) AS name
WHERE to_regrole(name) IS NULL \gexec
SELECT format('CREATE ROLE application LOGIN PASSWORD %L IN ROLE fhir_app', :'application_password')
WHERE to_regrole('application') IS NULL \gexec
SELECT format('CREATE ROLE connector LOGIN REPLICATION PASSWORD %L IN ROLE fhir_connector', :'connector_password')
WHERE to_regrole('connector') IS NULL \gexec
SELECT format('CREATE ROLE operator LOGIN PASSWORD %L IN ROLE fhir_operator', :'operator_password')
WHERE to_regrole('operator') IS NULL \gexec

-- Who owns the database may make the tables and the publication in it; `migrate` does, and need be no superuser.
SELECT format('CREATE ROLE owner LOGIN PASSWORD %L', :'owner_password') WHERE to_regrole('owner') IS NULL \gexec
SELECT format('ALTER DATABASE %I OWNER TO owner', current_database()) \gexec
-- For sql/test_events.sql, whose changes are the application's.
SELECT 'GRANT fhir_app TO owner' \gexec
-- On a volume of before, when `migrate` was the superuser: what that made. (Sequences go with their tables.)
SELECT format('ALTER %s OWNER TO owner', object) FROM (
  SELECT CASE relkind WHEN 'c' THEN 'TYPE ' ELSE 'TABLE ' END || oid::regclass FROM pg_class
  WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'c') AND relowner = current_user::regrole
  UNION ALL
  SELECT 'FUNCTION ' || oid::regprocedure FROM pg_proc
  WHERE pronamespace = 'public'::regnamespace AND proowner = current_user::regrole
  UNION ALL
  SELECT format('PUBLICATION %I', pubname) FROM pg_publication WHERE pubowner = current_user::regrole
) AS made (object) \gexec

-- HAPI in a database of its own, in the same server: it outlives a restart, as what the connector remembers of it does.
SELECT format('CREATE ROLE hapi LOGIN PASSWORD %L', :'hapi_password') WHERE to_regrole('hapi') IS NULL \gexec
SELECT 'CREATE DATABASE hapi OWNER hapi' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'hapi') \gexec
SQL
