#!/bin/bash
# Run once by the postgres image, on an empty data directory: HAPI's database, and the logins of the connector, of its
# operator and of HAPI.
# Passwords go in as psql variables, quoted by :'name', so that any character is safe.
set -euo pipefail

psql --no-psqlrc --set=ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
  --set=connector_password="$CONNECTOR_PASSWORD" --set=operator_password="$OPERATOR_PASSWORD" \
  --set=hapi_password="$HAPI_PASSWORD" <<'SQL'
-- The migration gives fhir_connector its rights; a login with them and REPLICATION is all that the connector needs.
CREATE ROLE fhir_connector NOLOGIN;
CREATE ROLE connector LOGIN REPLICATION PASSWORD :'connector_password' IN ROLE fhir_connector;
CREATE ROLE fhir_operator NOLOGIN;
CREATE ROLE operator LOGIN PASSWORD :'operator_password' IN ROLE fhir_operator;

-- HAPI in a database of its own, in the same server: it outlives a restart, as what the connector remembers of it does.
CREATE ROLE hapi LOGIN PASSWORD :'hapi_password';
CREATE DATABASE hapi OWNER hapi;
SQL
