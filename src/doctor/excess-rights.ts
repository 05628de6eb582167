// Rights that nobody needs: the connector's on the patients' tables, and other people's on the connector's.
import type pg from 'pg';
import { onlyRow } from '../postgres/only-row.ts';
import { type Finding, listed, ok, warning } from './finding.ts';

export const PATIENTS = "Patients' tables";
export const OTHERS = 'Rights of others';

interface PatientsFacts {
  user_name: string;
  /** By no grant, and so by no REVOKE: a superuser, or the tables' owner. */
  by_nature: 'a superuser' | 'their owner' | null;
  tables: string[];
  /** Statements. */
  revoke: string[];
}

/** What is sent is in the outbox: `run` reads no patients' table. */
export async function patientsFinding(client: pg.Client): Promise<Finding> {
  const facts = onlyRow(await client.query<PatientsFacts>(PATIENTS_FACTS));
  const { user_name: user, by_nature: nature, tables, revoke } = facts;
  if (tables.length === 0) return ok(PATIENTS, `${user} may neither read nor change them.`);
  const found = `${user} may read or change ${listed(tables)}${nature ? `, as it is ${nature}` : ''}: the connector needs no right there.`;
  if (nature !== null) {
    return warning(PATIENTS, found, {
      say: 'Have the connector use a login of its own: as a superuser run this, and set DB_USER and DB_PASSWORD to it.',
      sql: "CREATE ROLE connector LOGIN REPLICATION PASSWORD 'choose-one' IN ROLE fhir_connector;",
    });
  }
  return warning(PATIENTS, found, {
    say: "As the tables' owner, or a superuser, run this. Where an application lives by a right of PUBLIC, grant it fhir_app first.",
    sql: revoke.join('\n'),
  });
}

interface OthersFacts {
  grantee: string;
  objects: string[];
  /** Statements. */
  revoke: string[];
}

/** The outbox is as confidential as the patients' tables, and whoever writes there writes to the FHIR server. */
export async function othersFinding(client: pg.Client): Promise<Finding> {
  const { rows } = await client.query<OthersFacts>(OTHERS_FACTS);
  if (rows.length === 0) return ok(OTHERS, "Nobody else has a right on the connector's tables and functions.");
  const who = rows.map(({ grantee, objects }) => `${grantee} has rights on ${listed(objects)}`).join('; ');
  return warning(OTHERS, `${who}: the application needs none, and people have theirs by fhir_operator.`, {
    say: "As the tables' owner, run this.",
    sql: rows.flatMap(({ revoke }) => revoke).join('\n'),
  });
}

/** A right may come from PUBLIC, from a grant to the login or to fhir_connector, or from another role that the login is in. */
const PATIENTS_FACTS = `
  WITH patients AS (
    SELECT c.oid, c.relname, c.relowner, c.relacl FROM pg_class c
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v')
       AND c.relname IN (SELECT table_name FROM public.fhir_source UNION ALL SELECT 'patient_other_identifiers')),
  reached AS (
    SELECT p.* FROM patients p
     WHERE has_any_column_privilege(p.oid, 'SELECT, INSERT, UPDATE, REFERENCES') OR has_table_privilege(p.oid, 'DELETE, TRUNCATE, TRIGGER')),
  by AS (
    SELECT DISTINCT r.relname, a.grantee FROM reached r, aclexplode(r.relacl) a
    UNION SELECT r.relname, a.grantee FROM reached r JOIN pg_attribute c ON c.attrelid = r.oid, aclexplode(c.attacl) a),
  statements AS (
    SELECT 0 AS no, format('REVOKE ALL ON public.%I FROM %s;', relname, CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE grantee::regrole::text END) AS text
      FROM by WHERE grantee IN (0, current_user::regrole, coalesce(to_regrole('fhir_connector'), 0))
    UNION SELECT 1, format('REVOKE %s FROM %I;', r.oid::regrole, current_user) FROM pg_roles r
     WHERE (r.oid IN (SELECT grantee FROM by WHERE grantee <> 0) OR r.rolname IN ('pg_read_all_data', 'pg_write_all_data'))
       AND r.rolname NOT IN (current_user, 'fhir_connector') AND pg_has_role(current_user, r.oid, 'USAGE'))
  SELECT quote_ident(current_user) AS user_name,
         CASE WHEN (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN 'a superuser'
              WHEN EXISTS (SELECT FROM reached WHERE pg_has_role(relowner, 'USAGE')) THEN 'their owner' END AS by_nature,
         ARRAY(SELECT relname::text FROM reached ORDER BY 1) AS tables,
         ARRAY(SELECT text FROM statements ORDER BY no, text) AS revoke`;

/** Owners of some of the objects may be given rights on the others, where several roles ran `migrate`. */
const OTHERS_FACTS = `
  WITH objects AS (
    SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind, c.relname::text AS name, format('public.%I', c.relname) AS written,
           c.relowner AS owner, coalesce(c.relacl, acldefault((CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END)::"char", c.relowner)) AS acl
      FROM pg_class c
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v', 'S') AND c.relname ~ '^(vw_)?fhir_'
    UNION ALL
    SELECT 'TABLE', c.relname, format('public.%I', c.relname), c.relowner, a.attacl
      FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attacl IS NOT NULL
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v') AND c.relname ~ '^(vw_)?fhir_'
    UNION ALL
    SELECT 'FUNCTION', p.proname, format('public.%I(%s)', p.proname, pg_get_function_identity_arguments(p.oid)), p.proowner,
           coalesce(p.proacl, acldefault('f', p.proowner))
      FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.proname ~ '^fhir_'),
  granted AS (
    SELECT DISTINCT o.kind, o.name, o.written, CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS grantee
      FROM objects o, aclexplode(o.acl) a
     WHERE a.grantee NOT IN (SELECT owner FROM objects)
       AND a.grantee NOT IN (SELECT oid FROM pg_roles WHERE rolsuper OR rolname IN ('fhir_connector', 'fhir_operator'))),
  statements AS (
    SELECT grantee, kind, format('REVOKE ALL ON %s %s FROM %s;', kind, string_agg(written, ', ' ORDER BY written), grantee) AS text
      FROM granted GROUP BY grantee, kind)
  SELECT g.grantee, array_agg(DISTINCT g.name) AS objects,
         ARRAY(SELECT s.text FROM statements s WHERE s.grantee = g.grantee ORDER BY s.kind) AS revoke
    FROM granted g GROUP BY g.grantee ORDER BY g.grantee`;
