// The user: may it read a slot, and do with the connector's tables and functions what `run` does?
import type pg from 'pg';
import { type Finding, fault, ok } from './finding.ts';

/** What `run` needs, as fhir_role_right lists it for the role fhir_connector. */
export const TABLE_RIGHTS: Readonly<Record<string, string>> = {
  fhir_outbox: 'SELECT, UPDATE',
  fhir_dlq: 'SELECT, INSERT, UPDATE',
  fhir_link: 'SELECT, INSERT, UPDATE',
  fhir_link_identifier: 'SELECT, INSERT, UPDATE, DELETE',
  fhir_processed_event: 'SELECT, INSERT',
  fhir_slot: 'SELECT, INSERT, UPDATE',
  fhir_verification: 'SELECT',
  fhir_schema_migration: 'SELECT',
};

interface Facts {
  user_name: string;
  may_replicate: boolean;
  is_member: boolean;
  role_exists: boolean;
  lacking: string[];
}

/** `hasSchema`: the connector's tables are there, so that rights on them can be asked for. */
export async function rightsFindings(client: pg.Client, hasSchema: boolean): Promise<Finding[]> {
  const wanted = hasSchema
    ? Object.entries(TABLE_RIGHTS).flatMap(([table, rights]) => rights.split(', ').map((right) => ({ table, right })))
    : [];
  const { rows } = await client.query<Facts>(
    `SELECT quote_ident(current_user) AS user_name,
            (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user) AS may_replicate,
            to_regrole('fhir_connector') IS NOT NULL AS role_exists,
            CASE WHEN to_regrole('fhir_connector') IS NULL THEN false ELSE pg_has_role(current_user, 'fhir_connector', 'USAGE') END AS is_member,
            ARRAY(SELECT format('%s on %s', w."right", w."table")
                    FROM jsonb_to_recordset($1::jsonb) AS w("table" text, "right" text)
                   WHERE to_regclass('public.' || w."table") IS NULL
                      OR NOT has_table_privilege(to_regclass('public.' || w."table"), w."right")) AS lacking`,
    [JSON.stringify(wanted)],
  );
  const [facts] = rows;
  if (!facts) throw new Error('PostgreSQL gave no row.');
  return [replication(facts), ...(hasSchema ? [tables(facts)] : [])];
}

/** https://www.postgresql.org/docs/current/logical-replication-security.html */
function replication({ user_name: user, may_replicate: may }: Facts): Finding {
  const check = 'REPLICATION';
  if (may) return ok(check, `${user} may read a replication slot.`);
  return fault(check, `${user} may not read a replication slot.`, {
    say: 'As a superuser, run this (no membership passes this attribute on).',
    sql: `ALTER ROLE ${user} REPLICATION;`,
  });
}

function tables({ user_name: user, lacking, is_member: isMember, role_exists: exists }: Facts): Finding {
  const check = 'Rights';
  if (lacking.length === 0) return ok(check, `${user} may do all that the connector does with its tables.`);
  const found = `${user} lacks ${lacking.join(', ')}.`;
  if (isMember) {
    return fault(check, found, {
      say: "As the tables' owner, run this: it gives the roles all that they need.",
      sql: 'SELECT public.fhir_grant_roles();',
    });
  }
  const make = exists ? '' : 'CREATE ROLE fhir_connector NOLOGIN; SELECT public.fhir_grant_roles(); ';
  return fault(check, found, { say: 'As a superuser, run this.', sql: `${make}GRANT fhir_connector TO ${user};` });
}
