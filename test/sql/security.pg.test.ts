// The triggers work for users without rights on the outbox, and cannot be misled by a search_path or by row security.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { migrate } from '../../src/schema/migrate.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { eventsOf, insertPatient } from './outbox-events.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await createDatabase();
  await db.pool.query(`CREATE ROLE ${db.name}_app IN ROLE fhir_app`);
});
afterAll(async () => {
  await db.pool.query(`DROP OWNED BY ${db.name}_app; DROP ROLE ${db.name}_app`);
  await db.drop();
});

const asApp = (sql: string) => `BEGIN; SET LOCAL ROLE ${db.name}_app; ${sql}; COMMIT`;

test('the application role changes patients, and each change is an event', async () => {
  const events = await eventsOf(
    db.pool,
    asApp(
      "INSERT INTO patient (identifier_value) VALUES ('app'); UPDATE patient SET email = 'x' WHERE identifier_value = 'app'",
    ),
  );
  expect(events.map((event) => event.operation)).toEqual(['I', 'U']);
});

test('PUBLIC may execute no fhir_* function, and each one runs with a fixed search_path', async () => {
  const { rows } = await db.pool.query<{ name: string; public_execute: boolean; fixed: boolean }>(
    `SELECT p.proname AS name, has_function_privilege('fhir_app', p.oid, 'EXECUTE') AS public_execute,
            coalesce('search_path=pg_catalog, pg_temp' = ANY (p.proconfig), false) AS fixed
     FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.proname LIKE 'fhir\\_%' ORDER BY p.proname`,
  );
  expect(rows.length).toBeGreaterThan(12);
  expect(rows.filter((row) => row.public_execute)).toEqual([]);
  // Called by functions that have one, alone: a setting of their own would prevent inlining, or cost each event some time.
  expect(rows.filter((row) => !row.fixed).map((row) => row.name)).toEqual([
    'fhir_count_events',
    'fhir_identifier',
    'fhir_other_identifiers',
    'fhir_own_identifier',
    'fhir_write_single_event',
  ]);
});

test('fhir_grant_roles gives each role all that any migration has listed for it', async () => {
  const { rows: listed } = await db.pool.query<{ role_name: string; granted: string }>('SELECT * FROM fhir_role_right');
  expect(new Set(listed.map(({ role_name }) => role_name))).toEqual(
    new Set(['fhir_app', 'fhir_connector', 'fhir_operator']),
  );
  const may = async () => {
    const { rows } = await db.pool.query(
      `SELECT has_function_privilege('fhir_operator', 'fhir_replay_dead_letters(bigint[], text)', 'EXECUTE') AS replay,
              has_column_privilege('fhir_connector', 'fhir_outbox', 'processed', 'UPDATE') AS record,
              has_sequence_privilege('fhir_app', 'patient_id_seq', 'USAGE') AS register`,
    );
    return rows[0];
  };
  expect(await may()).toEqual({ replay: true, record: true, register: true });
  // As if the roles had been made after the migration.
  for (const { role_name, granted } of listed) await db.pool.query(`REVOKE ${granted} FROM ${role_name}`);
  await db.pool.query('REVOKE USAGE ON SEQUENCE patient_id_seq FROM fhir_app');
  expect(await may()).toEqual({ replay: false, record: false, register: false });
  await db.pool.query('SELECT fhir_grant_roles()');
  expect(await may()).toEqual({ replay: true, record: true, register: true });
});

test('objects of the same names earlier in the search_path are not used', async () => {
  const patient = await insertPatient(db.pool, ['real']);
  await db.pool.query(
    `CREATE SCHEMA evil; GRANT ALL ON SCHEMA evil TO ${db.name}_app;
     CREATE TABLE evil.fhir_outbox (LIKE public.fhir_outbox); CREATE TABLE evil.fhir_patient_revision (LIKE public.fhir_patient_revision);
     CREATE FUNCTION evil.pg_current_xact_id() RETURNS xid8 LANGUAGE sql AS $$ SELECT '42'::xid8 $$;
     CREATE FUNCTION evil.to_jsonb(anyelement) RETURNS jsonb LANGUAGE sql AS $$ SELECT '{"evil": true}'::jsonb $$`,
  );
  const [event] = await eventsOf(
    db.pool,
    asApp(
      `SET LOCAL search_path = evil, pg_temp, pg_catalog, public;
       CREATE TEMP TABLE patient_other_identifiers (id int, patient_id int, identifier_system text, identifier_value text) ON COMMIT DROP;
       UPDATE public.patient SET email = 'safe' WHERE id = ${patient.id}`,
    ),
  );

  expect(event?.payload_json).toMatchObject({ email: 'safe', other_identifiers: [{ identifier_value: 'real' }] });
  expect(event?.txid).not.toBe('42');
  expect((await db.pool.query('SELECT FROM evil.fhir_outbox')).rowCount).toBe(0);
});

test('a policy that hides rows from the application does not hide them from the event', async () => {
  const patient = await insertPatient(db.pool, ['visible', 'hidden']);
  await db.pool.query(
    `ALTER TABLE patient_other_identifiers ENABLE ROW LEVEL SECURITY;
     CREATE POLICY part ON patient_other_identifiers TO ${db.name}_app USING (identifier_value = 'visible')`,
  );
  const [event] = await eventsOf(db.pool, asApp(`UPDATE patient SET email = 'rls' WHERE id = ${patient.id}`));
  await db.pool.query(
    'DROP POLICY part ON patient_other_identifiers; ALTER TABLE patient_other_identifiers DISABLE ROW LEVEL SECURITY',
  );

  expect(event?.payload_json.other_identifiers).toHaveLength(2);
});

describe('in a database whose owner is no superuser', () => {
  let own: TestDatabase;
  beforeAll(async () => {
    own = await createDatabase('empty');
    await own.pool.query(`CREATE ROLE ${own.name}_owner; ALTER DATABASE ${own.name} OWNER TO ${own.name}_owner`);
    const client = await own.pool.connect();
    await client.query(`SET ROLE ${own.name}_owner`);
    await migrate(client, { sample: false });
    client.release(true);
  });
  afterAll(async () => {
    await own.pool.query(`REASSIGN OWNED BY ${own.name}_owner TO CURRENT_USER; DROP OWNED BY ${own.name}_owner`);
    await own.pool.query(`DROP ROLE ${own.name}_owner`);
    await own.drop();
  });

  test('the migration makes the publication and the events', async () => {
    expect((await own.pool.query('SELECT FROM pg_publication')).rowCount).toBe(1);
    expect((await eventsOf(own.pool, 'INSERT INTO patient DEFAULT VALUES')).map((event) => event.operation)).toEqual([
      'I',
    ]);
  });

  test('a policy that binds the owner too makes the change fail instead of writing half a patient', async () => {
    const patient = await insertPatient(own.pool, ['one']);
    await own.pool.query(
      'ALTER TABLE patient_other_identifiers ENABLE ROW LEVEL SECURITY; ALTER TABLE patient_other_identifiers FORCE ROW LEVEL SECURITY',
    );
    const update = own.pool.query("UPDATE patient SET email = 'half' WHERE id = $1", [patient.id]);
    await expect(update).rejects.toMatchObject({ code: '42501' });
    const { rows } = await own.pool.query('SELECT email FROM patient WHERE id = $1', [patient.id]);
    expect(rows[0].email).toBeNull();
  });
});
