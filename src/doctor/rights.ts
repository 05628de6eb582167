// The user: may it read a slot, and do with the connector's tables and functions what `run` does?
import type pg from 'pg';
import { giveReplication, MAY_REPLICATE } from '../replication/may-replicate.ts';
import { type Finding, fault, ok } from './finding.ts';

/** What `run` needs, and fhir_role_right lists for the role fhir_connector. */
export const TABLE_RIGHTS: Readonly<Record<string, string>> = {
  fhir_outbox: 'SELECT, UPDATE',
  fhir_dlq: 'SELECT, INSERT, UPDATE',
  fhir_link: 'SELECT, INSERT, UPDATE',
  fhir_link_identifier: 'SELECT, INSERT, UPDATE, DELETE',
  fhir_processed_event: 'SELECT, INSERT',
  fhir_slot: 'SELECT, INSERT, UPDATE',
  fhir_verification: 'SELECT',
  fhir_schema_migration: 'SELECT',
  fhir_source: 'SELECT',
  fhir_record_revision: 'SELECT',
};

const FUNCTIONS = [
  'fhir_ensure_publication(text, integer, integer)',
  'fhir_drop_publication(text)',
  'fhir_align_sequences()',
  'fhir_cleanup_step(integer, integer, bigint, bigint)',
  'fhir_emit(text, integer[])',
  'fhir_replay_waiting(bigint, integer)',
  'fhir_move_outbox_to_dlq(bigint, text, integer, jsonb, integer, text, bigint)',
];
const SEQUENCES = ['fhir_dlq_id_seq', 'fhir_processed_event_id_seq'];

interface Facts {
  user_name: string;
  version: number;
  may_replicate: boolean;
  on_rds: boolean;
  is_member: boolean;
  inherits: boolean;
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
            ${MAY_REPLICATE} AS may_replicate,
            to_regrole('rds_replication') IS NOT NULL AS on_rds,
            to_regrole('fhir_connector') IS NOT NULL AS role_exists,
            current_setting('server_version_num')::int AS version,
            CASE WHEN to_regrole('fhir_connector') IS NULL THEN false ELSE pg_has_role(current_user, 'fhir_connector', 'MEMBER') END AS is_member,
            CASE WHEN to_regrole('fhir_connector') IS NULL THEN false ELSE pg_has_role(current_user, 'fhir_connector', 'USAGE') END AS inherits,
            ARRAY(SELECT format('%s on %s', w."right", w."table")
                    FROM jsonb_to_recordset($1::jsonb) AS w("table" text, "right" text)
                   WHERE to_regclass('public.' || w."table") IS NULL
                      OR NOT has_table_privilege(to_regclass('public.' || w."table"), w."right")
                  UNION ALL
                  SELECT 'USAGE on ' || name FROM unnest($2::text[]) AS name
                   WHERE to_regclass('public.' || name) IS NULL OR NOT has_sequence_privilege(to_regclass('public.' || name), 'USAGE')
                  UNION ALL
                  SELECT 'EXECUTE on ' || name FROM unnest($3::text[]) AS name
                   WHERE to_regprocedure('public.' || name) IS NULL OR NOT has_function_privilege(to_regprocedure('public.' || name), 'EXECUTE')
                 ) AS lacking`,
    [JSON.stringify(wanted), hasSchema ? SEQUENCES : [], hasSchema ? FUNCTIONS : []],
  );
  const [facts] = rows;
  if (!facts) throw new Error('PostgreSQL gave no row.');
  return [replication(facts), ...(hasSchema ? [tables(facts)] : [])];
}

/** https://www.postgresql.org/docs/current/logical-replication-security.html */
function replication({ user_name: user, may_replicate: may, on_rds: onRds }: Facts): Finding {
  const check = 'REPLICATION';
  if (may) return ok(check, `${user} may read a replication slot.`);
  const give = giveReplication(user);
  const found = `${user} may not read a replication slot: it has neither the attribute REPLICATION nor, on Amazon RDS and Aurora, the role rds_replication.`;
  if (onRds) return fault(check, found, { say: "As the database's administrator, run this.", sql: `${give.onRds};` });
  return fault(check, found, {
    say: 'As a superuser, run this (no membership passes this attribute on).',
    sql: `${give.attribute};`,
  });
}

function tables({
  user_name: user,
  lacking,
  is_member: isMember,
  inherits,
  role_exists: exists,
  version,
}: Facts): Finding {
  const check = 'Rights';
  if (lacking.length === 0) return ok(check, `${user} may do all that the connector does.`);
  const found = `${user} lacks ${lacking.join('; ')}.`;
  if (inherits) {
    return fault(check, found, {
      say: "As the tables' owner, run this: it gives the roles all that they need. If it has no effect, run: npm run connector -- migrate",
      sql: 'SELECT public.fhir_grant_roles();',
    });
  }
  const make = exists ? [] : ['CREATE ROLE fhir_connector NOLOGIN;', 'SELECT public.fhir_grant_roles();'];
  // https://www.postgresql.org/docs/current/role-membership.html
  const grant =
    isMember && version >= 160_000
      ? `GRANT fhir_connector TO ${user} WITH INHERIT TRUE;`
      : isMember
        ? `ALTER ROLE ${user} INHERIT;`
        : `GRANT fhir_connector TO ${user};`;
  return fault(check, found, { say: 'As a superuser, run this.', sql: [...make, grant].join('\n') });
}
