// The user: may it read a slot, and do with the connector's tables and functions what `run` does?
import type pg from 'pg';
import { onlyRow } from '../postgres/only-row.ts';
import { giveReplication, MAY_REPLICATE } from '../replication/slot/may-replicate.ts';
import { type Finding, fault, ok } from './finding.ts';

/** Columns, or null for the whole table. */
type Columns = readonly string[] | null;

/** What `run` and `doctor` need, and fhir_role_right lists for the role fhir_connector. */
export const TABLE_RIGHTS: Readonly<Record<string, Readonly<Record<string, Columns>>>> = {
  fhir_outbox: {
    SELECT: null,
    UPDATE: [
      'processed',
      'processed_at',
      'attempts',
      'next_retry_at',
      'fhir_resource_id',
      'fhir_version',
      'last_error',
    ],
  },
  fhir_dlq: {
    SELECT: [
      'outbox_id',
      'txid',
      'source_table',
      'source_id',
      'patient_id',
      'patient_revision',
      'first_failed_at',
      'resolved_at',
    ],
    UPDATE: ['resolved_at', 'resolution', 'waits_for_table', 'waits_for_id'],
  },
  fhir_link: {
    SELECT: null,
    INSERT: null,
    UPDATE: ['fhir_id', 'version_id', 'last_revision', 'deleted_at', 'updated_at'],
  },
  fhir_link_identifier: { SELECT: null, INSERT: null, DELETE: null },
  fhir_processed_event: { SELECT: ['event_key'], INSERT: ['event_key'] },
  fhir_slot: { SELECT: null, INSERT: null, UPDATE: ['system_identifier', 'timeline', 'caught_up_at'] },
  fhir_verification: { SELECT: null },
  fhir_schema_migration: { SELECT: null },
  fhir_source: { SELECT: null },
  fhir_patient_revision: { SELECT: null },
  fhir_record_revision: { SELECT: null },
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
const SEQUENCES = ['fhir_processed_event_id_seq'];

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
    ? Object.entries(TABLE_RIGHTS).flatMap(([table, rights]) =>
        Object.entries(rights).map(([right, columns]) => ({ table, right, columns })),
      )
    : [];
  const result = await client.query<Facts>(
    `SELECT quote_ident(current_user) AS user_name,
            ${MAY_REPLICATE} AS may_replicate,
            to_regrole('rds_replication') IS NOT NULL AS on_rds,
            to_regrole('fhir_connector') IS NOT NULL AS role_exists,
            current_setting('server_version_num')::int AS version,
            CASE WHEN to_regrole('fhir_connector') IS NULL THEN false ELSE pg_has_role(current_user, 'fhir_connector', 'MEMBER') END AS is_member,
            CASE WHEN to_regrole('fhir_connector') IS NULL THEN false ELSE pg_has_role(current_user, 'fhir_connector', 'USAGE') END AS inherits,
            ARRAY(SELECT format('%s on %s', w."right", w."table")
                    FROM jsonb_to_recordset($1::jsonb) AS w("table" text, "right" text, columns text[])
                   WHERE CASE WHEN to_regclass('public.' || w."table") IS NULL THEN true
                              WHEN w.columns IS NULL THEN NOT has_table_privilege(to_regclass('public.' || w."table"), w."right")
                              ELSE cardinality(w.columns) > (
                                SELECT count(*) FROM pg_attribute a
                                 WHERE a.attrelid = to_regclass('public.' || w."table") AND a.attname = ANY (w.columns)
                                   AND NOT a.attisdropped AND has_column_privilege(a.attrelid, a.attnum, w."right")) END
                  UNION ALL
                  SELECT 'USAGE on ' || name FROM unnest($2::text[]) AS name
                   WHERE to_regclass('public.' || name) IS NULL OR NOT has_sequence_privilege(to_regclass('public.' || name), 'USAGE')
                  UNION ALL
                  SELECT 'EXECUTE on ' || name FROM unnest($3::text[]) AS name
                   WHERE to_regprocedure('public.' || name) IS NULL OR NOT has_function_privilege(to_regprocedure('public.' || name), 'EXECUTE')
                 ) AS lacking`,
    [JSON.stringify(wanted), hasSchema ? SEQUENCES : [], hasSchema ? FUNCTIONS : []],
  );
  const facts = onlyRow(result);
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
