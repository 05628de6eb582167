// The migrations: once each, over what a database already holds, with a sentence when they cannot; the sample; test_events.sql.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type pg from 'pg';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { statementsOf } from '../../demo/script.ts';
import { migrate } from '../../src/schema/migrate.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { eventsOf, insertPatient } from './outbox-events.ts';

let db: TestDatabase;
beforeEach(async () => {
  db = await createDatabase('empty');
});
afterEach(() => db.drop());

/** Runs the migrations as a role, or as the superuser, and returns the files run and the lines logged. */
async function run(options: { sample?: boolean; role?: string } = {}): Promise<{ files: string[]; lines: string[] }> {
  const client: pg.PoolClient = await db.pool.connect();
  const lines: string[] = [];
  try {
    if (options.role !== undefined) await client.query(`SET ROLE ${options.role}`);
    const files = await migrate(client, { sample: options.sample ?? false }, (line) => lines.push(line));
    return { files, lines };
  } finally {
    client.release(true);
  }
}

async function count(table: string): Promise<number> {
  const { rows } = await db.pool.query(`SELECT count(*)::int AS n FROM ${table}`);
  return rows[0].n;
}

test('applies each file once, in order, and says so', async () => {
  const first = await run();
  expect(first.files).toEqual(first.files.toSorted());
  expect(first.files[0]).toBe('001_health_tables.sql');
  expect(first.lines).toEqual(first.files.map((name) => `Applied ${name}`));
  expect(await run()).toEqual({ files: [], lines: [] });
});

test('two at a time apply each file once', async () => {
  const [a, b] = await Promise.all([run(), run()]);
  expect([...a.files, ...b.files].toSorted()).toEqual([...new Set([...a.files, ...b.files])].toSorted());
  expect(await count('fhir_schema_migration')).toBe(a.files.length + b.files.length);
});

test('every file can be run over its own result', async () => {
  const { files } = await run();
  const patient = await insertPatient(db.pool, ['kept']);
  await db.pool.query('DELETE FROM fhir_schema_migration');
  expect((await run()).files).toEqual(files);
  const events = await eventsOf(db.pool, `UPDATE patient SET email = 'still one' WHERE id = ${patient.id}`);
  expect(events).toHaveLength(1);
});

test('refuses a file that was changed after it had been applied', async () => {
  await run();
  await db.pool.query("UPDATE fhir_schema_migration SET checksum = 'other' WHERE version = '003_write_events.sql'");
  await expect(run()).rejects.toThrow(/^003_write_events\.sql was changed after it had been applied/);
});

test('tells a user without the right to create tables what to ask for', async () => {
  await db.pool.query(`CREATE ROLE ${db.name}_nobody`);
  try {
    await expect(run({ role: `${db.name}_nobody` })).rejects.toThrow(
      `GRANT CREATE ON SCHEMA public TO ${db.name}_nobody;`,
    );
  } finally {
    await db.pool.query(`DROP ROLE ${db.name}_nobody`);
  }
});

test('goes on without a publication where the user may not create one, and says how to get it', async () => {
  const role = `${db.name}_tables`;
  await db.pool.query(`CREATE ROLE ${role}; GRANT CREATE ON SCHEMA public TO ${role}`);
  try {
    const { lines } = await run({ role });
    expect(lines.filter((line) => line.includes(`GRANT CREATE ON DATABASE ${db.name} TO ${role}`))).toHaveLength(1);
    expect(await count('pg_publication')).toBe(0);
    await db.pool.query(`GRANT CREATE ON DATABASE ${db.name} TO ${role}`);
    await db.pool.query(`SELECT fhir_ensure_publication('fhir_outbox_pub')`);
    expect(await count('pg_publication')).toBe(1);
  } finally {
    await db.pool.query(`REASSIGN OWNED BY ${role} TO CURRENT_USER; DROP OWNED BY ${role}; DROP ROLE ${role}`);
  }
});

test('tells a server before PostgreSQL 15 that it is too old, and touches nothing', async () => {
  const statements: string[] = [];
  const old = {
    on: () => old,
    off: () => old,
    query: async (sql: string) => {
      statements.push(sql);
      return { rows: [{ number: 140_011, version: '14.11' }] };
    },
  };
  await expect(migrate(old as unknown as pg.ClientBase, { sample: false })).rejects.toThrow(
    'PostgreSQL 15 or newer is needed; this server is 14.11.',
  );
  expect(statements).toHaveLength(1);
});

test('takes over tables that hold data, more columns, duplicate identifiers and the triggers of the earlier connector', async () => {
  await db.pool.query(
    `CREATE TABLE patient (id serial PRIMARY KEY, active boolean NOT NULL DEFAULT true, birth_date date, deceased boolean NOT NULL DEFAULT false,
       name_family text, name_given text, name_text text, identifier_value text, identifier_system text, phone_number text, email text,
       address_line text, address_city text, address_state text, address_postal_code text, address_country text, gender text,
       created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now(), ward text);
     INSERT INTO patient (identifier_system, identifier_value, ward) VALUES ('s', 'twice-secret', 'east'), ('s', 'twice-secret', 'west');
     CREATE TABLE fhir_outbox (id bigserial PRIMARY KEY, txid bigint NOT NULL, sequence_in_tx integer NOT NULL DEFAULT 1, table_name text NOT NULL,
       record_id integer NOT NULL, operation char(1) NOT NULL, payload_json jsonb NOT NULL, patient_id integer, identifier_system text,
       identifier_value text, created_at timestamptz NOT NULL DEFAULT now(), processed boolean NOT NULL DEFAULT false, processed_at timestamptz,
       attempts integer NOT NULL DEFAULT 0, next_retry_at timestamptz, locked_by text, lock_expires_at timestamptz, fhir_resource_id text,
       fhir_version text, last_error text);
     CREATE FUNCTION fhir_move_outbox_to_dlq(outbox_id bigint, error_text text) RETURNS void LANGUAGE sql AS '';
     CREATE FUNCTION fhir_outbox_write_notify() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'the earlier trigger fired'; END $$;
     CREATE TRIGGER earlier AFTER UPDATE ON patient FOR EACH ROW EXECUTE FUNCTION fhir_outbox_write_notify()`,
  );
  const { lines } = await run();

  expect(lines.filter((line) => line.includes('the same identifier more than once'))).toHaveLength(1);
  expect(lines.filter((line) => line.includes('Removed the trigger earlier'))).toHaveLength(1);
  expect(lines.join()).not.toContain('twice-secret');
  const [event] = await eventsOf(db.pool, "UPDATE patient SET email = 'new' WHERE ward = 'east'");
  expect(event?.payload_json).toMatchObject({ ward: 'east', email: 'new' });
  await db.pool.query("SELECT fhir_move_outbox_to_dlq($1, 'two arguments')", [event?.id]);
  expect(await count('fhir_dlq')).toBe(1);
});

test('makes a trigger that somebody dropped anew, says so, and its changes are seen again', async () => {
  await run();
  await db.pool.query(`SELECT fhir_watch('pulse');
    DROP TRIGGER fhir_patient_update ON patient; DROP TRIGGER fhir_other_identifier_delete ON patient_other_identifiers;
    DROP TRIGGER fhir_record_insert ON pulse`);
  expect((await run()).lines).toEqual([
    'Made what was missing: fhir_patient_update on patient, fhir_record_insert on pulse, fhir_other_identifier_delete on patient_other_identifiers. ' +
      'What was changed meanwhile verify --repair finds and sends.',
  ]);
  const { id } = await insertPatient(db.pool, ['other']);
  expect(await eventsOf(db.pool, `UPDATE patient SET email = 'seen' WHERE id = ${id}`)).toHaveLength(1);
  expect(await eventsOf(db.pool, 'DELETE FROM patient_other_identifiers')).toHaveLength(1);
  expect(await eventsOf(db.pool, `INSERT INTO pulse (patient_id) VALUES (${id})`)).toHaveLength(1);
  expect((await run()).lines).toEqual([]);
});

test('leaves a trigger that somebody disabled, names it, and does not say that all is well', async () => {
  await run();
  await db.pool.query('ALTER TABLE patient DISABLE TRIGGER fhir_patient_update');
  await expect(run()).rejects.toThrow(
    'The schema is up to date, but fhir_patient_update on patient is disabled: such changes reach no FHIR server. What mends it says: npm run connector -- doctor',
  );
});

test('gives the roles what they lack, also where no file is to be applied', async () => {
  await run();
  const may = "SELECT has_table_privilege('fhir_connector', 'fhir_link', 'INSERT') AS may";
  await db.pool.query('REVOKE ALL ON fhir_link FROM fhir_connector');
  expect((await db.pool.query(may)).rows).toEqual([{ may: false }]);
  expect(await run()).toEqual({ files: [], lines: [] });
  expect((await db.pool.query(may)).rows).toEqual([{ may: true }]);
});

test('patients may not share a primary identifier in the schema that it makes', async () => {
  await run();
  const { mrn } = await insertPatient(db.pool);
  const second = db.pool.query("INSERT INTO patient (identifier_system, identifier_value) VALUES ('urn:mrn', $1)", [
    mrn,
  ]);
  await expect(second).rejects.toMatchObject({ code: '23505' });
});

test('the sample comes when asked for, through the triggers, and once', async () => {
  await run();
  expect(await count('patient')).toBe(0);

  await run({ sample: true });
  const tables = ['patient', 'patient_other_identifiers', 'form', 'blood_pressure', 'pulse', 'fhir_outbox'];
  const counts = async () =>
    Object.fromEntries(await Promise.all(tables.map(async (table) => [table, await count(table)])));
  const expected = { patient: 5, patient_other_identifiers: 5, form: 7, blood_pressure: 9, pulse: 7, fhir_outbox: 10 };
  expect(await counts()).toEqual(expected);
  const { rows } = await db.pool.query(
    'SELECT id, name_text, birth_date::text, address_city FROM patient ORDER BY id LIMIT 1',
  );
  expect(rows[0]).toEqual({ id: 1, name_text: 'John Smith', birth_date: '1990-01-15', address_city: 'Boston' });

  await run({ sample: true });
  expect(await counts()).toEqual(expected);
});

test("test_events.sql runs as the tables' owner, and its changes as the application, as often as one likes", async () => {
  const owner = `${db.name}_owner`;
  await db.pool.query(`CREATE ROLE ${owner}; GRANT CREATE ON SCHEMA public TO ${owner}`);
  try {
    await run({ sample: true, role: owner });
    await db.pool.query(`GRANT fhir_app TO ${owner}`);
    const statements = statementsOf(await readFile(join(import.meta.dirname, '../../sql/test_events.sql'), 'utf8'));
    for (let time = 1; time <= 2; time += 1) {
      const events = await eventsOf(db.pool, async () => {
        const client = await db.pool.connect();
        try {
          await client.query(`SET SESSION AUTHORIZATION ${owner}`);
          for (const statement of statements) await client.query(statement);
        } finally {
          await client.query('RESET SESSION AUTHORIZATION');
          client.release();
        }
      });
      expect(events.map((event) => event.operation).join('')).toBe('IIUUUUUDDID');
      // One transaction has three events, the rest one or two.
      const perTransaction = Map.groupBy(events, (event) => event.txid);
      expect([...perTransaction.values()].map((ones) => ones.length)).toEqual([1, 1, 1, 1, 3, 2, 1, 1]);
      expect(events.some((event) => event.payload_json.name_family === 'Never')).toBe(false);
      expect(await count('fhir_dlq')).toBe(time);
      expect(await count('patient')).toBe(5);
    }
  } finally {
    await db.pool.query(`DROP OWNED BY ${owner} CASCADE; DROP ROLE ${owner}`);
  }
});

test('what a superuser brings up to date works for the triggers of the role that made them', async () => {
  const role = `${db.name}_owner`;
  await db.pool.query(`CREATE ROLE ${role}; GRANT CREATE ON SCHEMA public TO ${role}`);
  try {
    await run({ role });
    const later = ['010_single_changes.sql', '011_sets_of_patients.sql', '013_fewer_statements.sql'];
    // As it was before those files.
    await db.pool.query(`DELETE FROM fhir_schema_migration WHERE version IN ('${later.join("', '")}');
      DROP FUNCTION fhir_write_event, fhir_count_events, fhir_other_identifiers, fhir_write_patient_events,
        fhir_write_single_event`);
    expect((await run()).files).toEqual(later);
    const patients = [await insertPatient(db.pool, ['other']), await insertPatient(db.pool)];
    const events = await eventsOf(db.pool, `UPDATE patient SET email = 'one' WHERE id = ${patients[0]?.id}`);
    expect(events).toHaveLength(1);
    expect(await eventsOf(db.pool, `UPDATE patient SET email = 'all'`)).toHaveLength(patients.length);

    // The functions that stay the role's read what the superuser makes.
    await db.pool.query(`DELETE FROM fhir_schema_migration WHERE version IN ('016_records.sql', '017_every_table.sql');
      DROP TABLE fhir_source, fhir_own_system, fhir_record_revision;
      DROP FUNCTION fhir_write_record_events, fhir_emit, fhir_own_uri, fhir_revision`);
    expect((await run()).files).toEqual(['016_records.sql', '017_every_table.sql']);
    const { rows } = await db.pool.query<{ id: string }>(
      `SELECT fhir_move_outbox_to_dlq(id, 'refused') AS id FROM fhir_outbox ORDER BY id LIMIT 1`,
    );
    expect(
      (await db.pool.query(`SELECT result FROM fhir_replay_dead_letters(ARRAY[$1::bigint], 'test')`, [rows[0]?.id]))
        .rows,
    ).toEqual([{ result: 'replayed' }]);
    await db.pool.query(`SELECT fhir_watch('form')`);
    expect(await eventsOf(db.pool, `INSERT INTO form (patient_id) VALUES (${patients[0]?.id})`)).toHaveLength(1);
  } finally {
    await db.pool.query(`REASSIGN OWNED BY ${role} TO CURRENT_USER; DROP OWNED BY ${role}; DROP ROLE ${role}`);
  }
});
