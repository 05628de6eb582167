// The triggers of forms and readings: every way to change a row is an event of its own with the row as it is then, and none of the patient.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { eventsOf, inShort, insertPatient, type OutboxEvent } from './outbox-events.ts';

const RESOURCES = ['Patient', 'Encounter', 'Observation'];

let db: TestDatabase;
let patient: number;
beforeAll(async () => {
  db = await createDatabase('migrated', RESOURCES);
});
beforeEach(async () => {
  ({ id: patient } = await insertPatient(db.pool));
});
afterAll(() => db.drop());

async function insert(sql: string): Promise<number> {
  const { rows } = await db.pool.query<{ id: number }>(`${sql} RETURNING id`);
  return rows[0]?.id ?? Number.NaN;
}

const addForm = (of = patient) => insert(`INSERT INTO form (patient_id, name) VALUES (${of}, 'Physical')`);
const addPulse = (form: number | null = null) =>
  insert(`INSERT INTO pulse (patient_id, form_id, rate) VALUES (${patient}, ${form}, 60)`);

const shortly = (event: OutboxEvent | undefined) => [event?.operation, event?.record_id, event?.payload_json.rate];

describe('a row', () => {
  it('that is inserted, updated and deleted has an event each, with the whole row, its patient and numbers of its own', async () => {
    const events = await eventsOf(db.pool, async () => {
      const id = await addPulse();
      await db.pool.query('UPDATE pulse SET rate = 61 WHERE id = $1', [id]);
      await db.pool.query('DELETE FROM pulse WHERE id = $1', [id]);
    });
    const id = events[0]?.record_id;
    expect(events.map(shortly)).toEqual([
      ['I', id, 60],
      ['U', id, 61],
      ['D', id, 61],
    ]);
    expect(
      events.map(({ table_name, patient_id, patient_revision }) => [table_name, patient_id, patient_revision]),
    ).toEqual(['1', '2', '3'].map((revision) => ['pulse', patient, revision]));
    expect(events[0]?.payload_json).toMatchObject({
      id,
      patient_id: patient,
      form_id: null,
      regularity: null,
      fhir_identifier: { system: expect.stringMatching(/^urn:uuid:[0-9a-f-]{36}$/), value: `pulse/${id}` },
    });
    expect(events.every(({ previous_identifiers }) => previous_identifiers === null)).toBe(true);
  });

  it('keeps the number that it had when its id comes again', async () => {
    await db.pool.query(`INSERT INTO pulse (id, patient_id) VALUES (1000001, ${patient})`);
    await db.pool.query('DELETE FROM pulse WHERE id = 1000001');
    const [again] = await eventsOf(db.pool, `INSERT INTO pulse (id, patient_id) VALUES (1000001, ${patient})`);
    expect([again?.operation, again?.patient_revision]).toEqual(['I', '3']);
  });

  it('has what a column holds that the application added, whatever its name', async () => {
    await db.pool.query('ALTER TABLE form ADD COLUMN c text, ADD COLUMN source_row text, ADD COLUMN position text');
    const [event] = await eventsOf(
      db.pool,
      `INSERT INTO form (patient_id, c, source_row, position) VALUES (${patient}, 'x', 'y', 'z')`,
    );
    expect(event?.payload_json).toMatchObject({ patient_id: patient, c: 'x', source_row: 'y', position: 'z' });
    await db.pool.query('ALTER TABLE form DROP COLUMN c, DROP COLUMN source_row, DROP COLUMN position');
  });

  it('that goes to another patient is an event of that one', async () => {
    const form = await addForm();
    const other = await insertPatient(db.pool);
    const events = await eventsOf(db.pool, `UPDATE form SET patient_id = ${other.id} WHERE id = ${form}`);
    expect(inShort(events)).toEqual([`form U ${other.id}`]);
  });

  it('whose id changes is a delete of the old one and an insert of the new one', async () => {
    const id = await addPulse();
    const events = await eventsOf(db.pool, `UPDATE pulse SET id = ${id + 2_000_000} WHERE id = ${id}`);
    expect(events.map(shortly)).toEqual([
      ['D', id, 60],
      ['I', id + 2_000_000, 60],
    ]);
  });

  it('that a trigger of the application changes again has the state after both in its last event', async () => {
    await db.pool.query(`
      CREATE FUNCTION app_doubles() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN UPDATE pulse SET rate = rate * 2 WHERE id = NEW.id; RETURN NULL; END $$;
      CREATE TRIGGER app_doubles AFTER INSERT ON pulse FOR EACH ROW EXECUTE FUNCTION app_doubles()`);
    const events = await eventsOf(db.pool, () => addPulse());
    await db.pool.query('DROP TRIGGER app_doubles ON pulse');
    const latest = events.toSorted((a, b) => Number(a.patient_revision) - Number(b.patient_revision)).at(-1);
    expect(latest?.payload_json.rate).toBe(120);
  });
});

describe('a statement', () => {
  it('that changes thousands of rows writes an event for each, once, in the order of their ids', async () => {
    const events = await eventsOf(
      db.pool,
      `INSERT INTO pulse (patient_id, rate) SELECT ${patient}, n FROM generate_series(1, 5000) AS n`,
    );
    expect(events).toHaveLength(5000);
    expect(events.map(({ sequence_in_tx }) => sequence_in_tx)).toEqual(events.map((_, index) => index + 1));
    const changed = await eventsOf(db.pool, `UPDATE pulse SET comment = 'all' WHERE patient_id = ${patient}`);
    expect(new Set(changed.map(({ record_id }) => record_id)).size).toBe(5000);
    expect(changed).toHaveLength(5000);
  });

  it('that changes nothing writes nothing', async () => {
    expect(await eventsOf(db.pool, 'UPDATE pulse SET rate = 1 WHERE false')).toEqual([]);
  });

  it('that deletes by ON DELETE CASCADE or sets NULL by a foreign key is seen at each row, once', async () => {
    await db.pool.query(`
      ALTER TABLE pulse DROP CONSTRAINT pulse_form_id_fkey,
        ADD CONSTRAINT pulse_form_id_fkey FOREIGN KEY (form_id) REFERENCES form (id) ON DELETE SET NULL`);
    const form = await addForm();
    const pulse = await addPulse(form);
    const events = await eventsOf(db.pool, `DELETE FROM form WHERE id = ${form}`);
    expect(events.map(({ table_name, operation, record_id }) => [table_name, operation, record_id])).toEqual(
      expect.arrayContaining([
        ['form', 'D', form],
        ['pulse', 'U', pulse],
      ]),
    );
    expect(events).toHaveLength(2);
    expect(events.find(({ table_name }) => table_name === 'pulse')?.payload_json.form_id).toBe(null);
  });

  it('TRUNCATE is a delete of each row; under REPEATABLE READ it is refused', async () => {
    await db.pool.query('TRUNCATE pulse');
    const ids = [await addPulse(), await addPulse()];
    const events = await eventsOf(db.pool, 'TRUNCATE pulse');
    expect(events.map(({ operation, record_id, payload_json }) => [operation, record_id, payload_json.rate])).toEqual(
      ids.map((id) => ['D', id, 60]),
    );
    await expect(
      db.pool.query('BEGIN ISOLATION LEVEL REPEATABLE READ; TRUNCATE pulse').finally(() => db.pool.query('ROLLBACK')),
    ).rejects.toThrow('works under READ COMMITTED only');
  });
});

describe('two that write readings of the same patients, in opposite orders', () => {
  it('neither wait for each other nor deadlock', async () => {
    const { id: other } = await insertPatient(db.pool);
    const [one, two] = [await db.pool.connect(), await db.pool.connect()];
    try {
      for (const client of [one, two]) await client.query("BEGIN; SET LOCAL lock_timeout = '2s'");
      await one.query(`INSERT INTO pulse (patient_id) VALUES (${patient})`);
      await two.query(`INSERT INTO pulse (patient_id) VALUES (${other})`);
      await one.query(`INSERT INTO pulse (patient_id) VALUES (${other})`);
      await two.query(`INSERT INTO pulse (patient_id) VALUES (${patient})`);
      for (const client of [one, two]) await client.query('COMMIT');
    } finally {
      for (const client of [one, two]) client.release(true);
    }
  });
});

describe('fhir_emit', () => {
  it('writes the current state of rows, and of one that is gone a delete', async () => {
    const id = await addPulse();
    const events = await eventsOf(db.pool, `SELECT fhir_emit('pulse', ARRAY[${id}, 999999, ${id}])`);
    expect(
      events.map(({ operation, record_id, payload_json }) => [operation, record_id, payload_json.rate ?? null]),
    ).toEqual([
      ['U', id, 60],
      ['D', 999_999, null],
    ]);
  });

  it('reads no table but those that are sent', async () => {
    await expect(db.pool.query(`SELECT fhir_emit('fhir_slot', ARRAY[1])`)).rejects.toThrow(
      'does not have the table fhir_slot',
    );
    await expect(db.pool.query(`SELECT * FROM fhir_verify_read('pg_authid', ARRAY[1])`)).rejects.toThrow(
      'does not have the table pg_authid',
    );
  });
});

describe('fhir_watch', () => {
  it('is what FHIR_RESOURCES asks for: without it nothing is written, and with it from then on', async () => {
    const bare = await createDatabase();
    try {
      const { id } = await insertPatient(bare.pool);
      const form = `INSERT INTO form (patient_id) VALUES (${id})`;
      expect(await eventsOf(bare.pool, form)).toEqual([]);
      const { rows } = await bare.pool.query(`SELECT fhir_watch('form') AS first, fhir_watch('form') AS second`);
      expect(rows).toEqual([{ first: true, second: false }]);
      expect(inShort(await eventsOf(bare.pool, form))).toEqual([`form I ${id}`]);
      await bare.pool.query(`SELECT fhir_unwatch('form')`);
      expect(await eventsOf(bare.pool, form)).toEqual([]);
    } finally {
      await bare.drop();
    }
  });

  it.each([
    [
      'a table that nobody named',
      'CREATE TABLE allergy (id int, patient_id int)',
      'it has to be in public, and in public.fhir_source',
    ],
    [
      'a table without patient_id',
      `CREATE TABLE allergy (id int); INSERT INTO fhir_source VALUES ('allergy', 'AllergyIntolerance')`,
      'it needs the columns id and patient_id, both of type integer',
    ],
    [
      'a table with ids that are too large',
      `CREATE TABLE allergy (id bigint, patient_id int); INSERT INTO fhir_source VALUES ('allergy', 'AllergyIntolerance')`,
      'it needs the columns id and patient_id, both of type integer',
    ],
  ])('refuses %s', async (_, sql, sentence) => {
    const client = await db.pool.connect();
    try {
      await client.query('BEGIN');
      await client.query(sql);
      await expect(client.query(`SELECT fhir_watch('allergy')`)).rejects.toThrow(sentence);
    } finally {
      await client.query('ROLLBACK');
      client.release();
    }
  });
});
