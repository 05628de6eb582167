// What a login of each role may do in the database is what docs/roles.md lists, and nothing else.
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { rowsOf, sectionOf } from '../docs/document.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { createLogins, type Kind, type Logins, ROLES } from '../support/logins.ts';
import { withClient } from '../support/with-client.ts';

let db: TestDatabase;
let logins: Logins;
beforeAll(async () => {
  db = await createDatabase('sample', ['Patient', 'Encounter', 'Observation']);
  logins = await createLogins(db);
});
afterAll(async () => {
  await logins.drop();
  await db.drop();
});

const SECTIONS: Readonly<Record<Kind, string>> = {
  application: 'The application: `fhir_app`',
  connector: 'The connector: `fhir_connector`',
  operator: 'An operator: `fhir_operator`',
};
const kinds = Object.keys(SECTIONS) as Kind[];

/** Of PostgreSQL itself, not of a role: a trigger function that anybody may call, and that does nothing without a trigger. */
const EVERYBODYS = ['update_updated_at_column(): EXECUTE'];

/** `object: rights`, as docs/roles.md has them. */
function listed(kind: Kind): string[] {
  return rowsOf(sectionOf('docs/roles.md', SECTIONS[kind])).flatMap(([objects = '', rights]) =>
    [...objects.matchAll(/`([^`]+)`/g)].map(([, object]) => `${object}: ${rights}`),
  );
}

/** The same of everything in the schema, as PostgreSQL would decide it for this user. */
async function held(user: string): Promise<string[]> {
  const { rows } = await db.pool.query<{ held: string }>(RIGHTS, [user]);
  return rows.map((row) => row.held);
}

const RIGHTS = `
  WITH asked AS (
    SELECT c.oid, c.relname, c.relkind, r.no, r.name FROM pg_class c
      JOIN (VALUES ('r', 1, 'SELECT'), ('r', 2, 'INSERT'), ('r', 3, 'UPDATE'), ('r', 4, 'DELETE'), ('r', 5, 'TRUNCATE'),
                   ('r', 6, 'REFERENCES'), ('r', 7, 'TRIGGER'), ('r', 8, 'MAINTAIN'),
                   ('S', 1, 'SELECT'), ('S', 2, 'USAGE'), ('S', 3, 'UPDATE')) AS r(kind, no, name)
        ON r.kind = CASE c.relkind WHEN 'S' THEN 'S' ELSE 'r' END
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind NOT IN ('i', 'I', 'c', 't')
       AND (r.name <> 'MAINTAIN' OR current_setting('server_version_num')::int >= 170000)),
  answered AS (
    SELECT a.relname, a.no, a.name, CASE
      WHEN a.relkind = 'S' THEN CASE WHEN has_sequence_privilege($1, a.oid, a.name) THEN a.name END
      WHEN has_table_privilege($1, a.oid, a.name) THEN a.name
      WHEN a.name IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES') THEN (
        SELECT a.name || ' (' || string_agg(c.attname, ', ' ORDER BY c.attname COLLATE "C") || ')' FROM pg_attribute c
         WHERE c.attrelid = a.oid AND c.attnum > 0 AND NOT c.attisdropped AND has_column_privilege($1, a.oid, c.attnum, a.name))
      END AS granted FROM asked a)
  SELECT relname || ': ' || string_agg(granted, ', ' ORDER BY no) AS held FROM answered WHERE granted IS NOT NULL GROUP BY relname
  UNION ALL
  SELECT p.proname || '(' || array_to_string(ARRAY(SELECT format_type(type, NULL) FROM unnest(p.proargtypes) AS type), ', ') || '): EXECUTE'
    FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND has_function_privilege($1, p.oid, 'EXECUTE')`;

describe.each(kinds)('the login of the %s', (kind) => {
  test('has every right that docs/roles.md lists, and no other', async () => {
    expect(listed(kind).length).toBeGreaterThan(5);
    expect((await held(logins.as(kind).user)).toSorted()).toEqual([...listed(kind), ...EVERYBODYS].toSorted());
  });

  test('has no more by attribute, membership, ownership, schema or database', async () => {
    const { rows } = await db.pool.query(
      `SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls AS attributes, rolreplication AS replication,
              ARRAY(SELECT g.rolname::text FROM pg_roles g WHERE g.rolname <> r.rolname AND pg_has_role(r.oid, g.oid, 'MEMBER')) AS roles,
              EXISTS (SELECT FROM pg_shdepend d WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = r.oid AND d.deptype = 'o') AS owns,
              ARRAY(SELECT n.nspname::text FROM pg_namespace n
                     WHERE n.nspname !~ '^pg_temp|^pg_toast_temp' AND has_schema_privilege(r.oid, n.oid, 'CREATE')) AS may_create_in,
              ARRAY(SELECT n.nspname::text FROM pg_namespace n
                     WHERE n.nspname !~ '^pg_' AND has_schema_privilege(r.oid, n.oid, 'USAGE') ORDER BY 1) AS schemas,
              has_database_privilege(r.oid, current_database(), 'CREATE') AS may_create
         FROM pg_roles r WHERE r.rolname = $1`,
      [logins.as(kind).user],
    );
    expect(rows).toEqual([
      {
        attributes: false,
        replication: kind === 'connector',
        roles: [ROLES[kind]],
        owns: false,
        may_create_in: [],
        schemas: ['information_schema', 'public'],
        may_create: false,
      },
    ]);
  });

  test('is in a role that has no login, attribute or membership of its own', async () => {
    const { rows } = await db.pool.query(
      `SELECT rolcanlogin OR rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls AS more,
              EXISTS (SELECT FROM pg_auth_members m WHERE m.member = r.oid) AS member FROM pg_roles r WHERE rolname = $1`,
      [ROLES[kind]],
    );
    expect(rows).toEqual([{ more: false, member: false }]);
  });
});

describe('by its own login', () => {
  const PATIENTS = ['patient', 'patient_other_identifiers', 'form', 'blood_pressure', 'pulse'];
  const refused: readonly { readonly kind: Kind; readonly what: string; readonly sql: readonly string[] }[] = [
    {
      kind: 'application',
      what: "look at the connector's tables, emit, settle or skip an event",
      sql: [
        'SELECT FROM fhir_outbox',
        'UPDATE fhir_outbox SET processed = true',
        "INSERT INTO fhir_outbox (txid, table_name, record_id, operation, payload_json, patient_revision) VALUES (1, 'patient', 1, 'U', '{}', 9)",
        'SELECT FROM fhir_dlq',
        'SELECT FROM vw_fhir_pending_txids',
        "SELECT fhir_emit('patient', '{1}')",
        'SELECT fhir_emit_patient(1)',
        "SELECT fhir_move_outbox_to_dlq(1, 'hidden')",
        'SELECT fhir_cleanup_old(1)',
        'TRUNCATE patient CASCADE',
        'ALTER TABLE patient DISABLE TRIGGER ALL',
        "SET session_replication_role = 'replica'",
        'CREATE TABLE public.mine ()',
        "SELECT pg_create_logical_replication_slot('mine', 'pgoutput')",
      ],
    },
    {
      kind: 'connector',
      what: "read or change a patient's row, a payload or a decision, remove an event, or play the operator",
      sql: [
        ...PATIENTS.flatMap((table) => [
          `SELECT FROM ${table}`,
          `UPDATE ${table} SET id = id`,
          `DELETE FROM ${table}`,
          `INSERT INTO ${table} DEFAULT VALUES`,
          `TABLE ${table}`,
        ]),
        "UPDATE fhir_outbox SET payload_json = '{}'",
        'UPDATE fhir_outbox SET patient_revision = 9',
        'DELETE FROM fhir_outbox',
        'SELECT payload_json FROM fhir_dlq',
        "INSERT INTO fhir_dlq (error_text) VALUES ('made up')",
        "UPDATE fhir_dlq SET resolved_by = 'somebody'",
        'DELETE FROM fhir_dlq',
        "SELECT fhir_discard_dead_letters('{1}', 'made up')",
        "SELECT fhir_replay_dead_letters('{1}', 'made up')",
        "SELECT fhir_verify_read('patient', '{1}')",
        'SELECT fhir_cleanup_old(1)',
        'CREATE PUBLICATION mine FOR TABLE patient',
      ],
    },
    {
      kind: 'operator',
      what: "read or change a patient's row, change a payload or settle an event, or touch what was decided",
      sql: [
        ...PATIENTS.flatMap((table) => [`SELECT FROM ${table}`, `UPDATE ${table} SET id = id`, `DELETE FROM ${table}`]),
        'SELECT previous_identifiers FROM fhir_outbox',
        "UPDATE fhir_outbox SET payload_json = '{}'",
        'TABLE fhir_outbox',
        'TABLE fhir_link_identifier',
        'UPDATE fhir_outbox SET processed = true',
        "SELECT fhir_move_outbox_to_dlq(1, 'hidden')",
        'SELECT fhir_cleanup_old(1)',
        'SELECT fhir_cleanup_step(1, 1000, 0, 0)',
        'UPDATE fhir_dlq SET resolved_at = NULL',
        "UPDATE fhir_dlq SET resolved_by = 'somebody'",
        'DELETE FROM fhir_dlq',
        "INSERT INTO fhir_verification (scope) VALUES ('all')",
        'DELETE FROM fhir_verification',
        "UPDATE fhir_backfill SET started_by = 'somebody'",
        'SELECT fhir_grant_roles()',
        "SELECT pg_create_logical_replication_slot('mine', 'pgoutput')",
      ],
    },
  ];

  test.each(refused)('the $kind may not $what', async ({ kind, sql }) => {
    await withClient(logins.as(kind), async (client) => {
      for (const statement of sql) {
        const answer = await client.query(statement).then(
          () => 'done',
          (error: pg.DatabaseError) => error.code,
        );
        expect(`${answer}: ${statement}`).toBe(`42501: ${statement}`);
      }
    });
  });
});

describe('what a person decided', () => {
  async function decided(): Promise<{ id: string; client: pg.Client }> {
    const { rows } = await db.pool.query<{ id: string }>(
      "SELECT fhir_move_outbox_to_dlq(max(id), 'refused') AS id FROM fhir_outbox WHERE NOT processed",
    );
    const client = new pg.Client(logins.as('operator'));
    await client.connect();
    return { id: rows[0]?.id ?? '', client };
  }
  const record = async (id: string) =>
    (await db.pool.query('SELECT resolution, resolution_reason, resolved_by FROM fhir_dlq WHERE id = $1', [id]))
      .rows[0];

  test('is recorded by the login, whatever role the session has taken', async () => {
    const { id, client } = await decided();
    try {
      await client.query('SET ROLE fhir_operator');
      await client.query(`SELECT fhir_discard_dead_letters(ARRAY[$1::bigint], 'registered twice')`, [id]);
      expect(await record(id)).toEqual({
        resolution: 'discarded',
        resolution_reason: 'registered twice',
        resolved_by: logins.as('operator').user,
      });
      // A second decision changes nothing of the first.
      await client.query(`SELECT fhir_replay_dead_letters(ARRAY[$1::bigint], 'after all')`, [id]);
      expect(await record(id)).toMatchObject({ resolution: 'discarded', resolution_reason: 'registered twice' });
    } finally {
      await client.end();
    }
  });

  test('the connector cannot undo, nor decide in its place; a dead letter that is open it settles', async () => {
    const { id, client: operator } = await decided();
    const connector = new pg.Client(logins.as('connector'));
    await connector.connect();
    try {
      await expect(
        connector.query("UPDATE fhir_dlq SET resolved_at = now(), resolution = 'discarded' WHERE resolved_at IS NULL"),
      ).rejects.toMatchObject({ code: '42501' });
      await operator.query(`SELECT fhir_discard_dead_letters(ARRAY[$1::bigint], 'registered twice')`, [id]);
      await expect(
        connector.query('UPDATE fhir_dlq SET resolved_at = NULL WHERE source_id IS NOT NULL'),
      ).rejects.toMatchObject({ code: '42501' });
      expect(await record(id)).toMatchObject({ resolution: 'discarded' });
      const open = await decided();
      await open.client.end();
      const { rowCount } = await connector.query(
        "UPDATE fhir_dlq SET resolved_at = now(), resolution = 'superseded' WHERE resolved_at IS NULL",
      );
      expect(rowCount).toBe(1);
      expect(await record(open.id)).toEqual({ resolution: 'superseded', resolution_reason: null, resolved_by: null });
    } finally {
      await operator.end();
      await connector.end();
    }
  });
});
