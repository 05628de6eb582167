// Every way in which SQL can change the tables is seen: COPY, MERGE, upsert, CTE, cascade, two-phase commit, savepoint, TRUNCATE.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { eventsOf, inShort, insertPatient, otherValues } from './outbox-events.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

test('COPY writes an event a row', async () => {
  const events = await eventsOf(
    db.pool,
    'COPY patient (identifier_system, identifier_value) FROM PROGRAM \'printf "urn:copy,c1\\nurn:copy,c2\\n"\' WITH (FORMAT csv)',
  );
  expect(events.map((event) => [event.operation, event.identifier_value, event.sequence_in_tx])).toEqual([
    ['I', 'c1', 1],
    ['I', 'c2', 2],
  ]);
});

test('MERGE that inserts, updates and deletes writes the event of each', async () => {
  const updated = await insertPatient(db.pool);
  const deleted = await insertPatient(db.pool);
  const events = await eventsOf(
    db.pool,
    `MERGE INTO patient p USING (VALUES ('${updated.mrn}', 'U'), ('${deleted.mrn}', 'D'), ('merged', 'I')) AS s (mrn, what)
       ON p.identifier_system = 'urn:mrn' AND p.identifier_value = s.mrn
     WHEN MATCHED AND s.what = 'D' THEN DELETE
     WHEN MATCHED THEN UPDATE SET name_given = 'Merged'
     WHEN NOT MATCHED THEN INSERT (identifier_system, identifier_value) VALUES ('urn:mrn', s.mrn)`,
  );

  const byValue = Object.fromEntries(events.map((event) => [event.identifier_value, event.operation]));
  expect(byValue).toEqual({ [updated.mrn]: 'U', [deleted.mrn]: 'D', merged: 'I' });
  expect(events.map((event) => event.sequence_in_tx)).toEqual([1, 2, 3]);
});

test('INSERT … ON CONFLICT DO UPDATE writes the insert of the new row and the update of the old one', async () => {
  const old = await insertPatient(db.pool);
  const events = await eventsOf(
    db.pool,
    `INSERT INTO patient (identifier_system, identifier_value) VALUES ('urn:mrn', '${old.mrn}'), ('urn:mrn', 'upserted')
     ON CONFLICT (identifier_system, identifier_value) DO UPDATE SET email = 'again'`,
  );
  expect(Object.fromEntries(events.map((event) => [event.identifier_value, event.operation]))).toEqual({
    [old.mrn]: 'U',
    upserted: 'I',
  });

  const nothing = await eventsOf(
    db.pool,
    `INSERT INTO patient (identifier_system, identifier_value) VALUES ('urn:mrn', '${old.mrn}') ON CONFLICT DO NOTHING`,
  );
  expect(nothing).toEqual([]);
});

test('a patient that two foreign keys change in one statement has its events, the last with the state after both', async () => {
  await db.pool.query(`ALTER TABLE patient ADD mother_id integer REFERENCES patient ON DELETE SET NULL,
                                            ADD guardian_id integer REFERENCES patient ON DELETE SET NULL`);
  const [mother, child] = [await insertPatient(db.pool), await insertPatient(db.pool)];
  await db.pool.query(`UPDATE patient SET mother_id = ${mother.id}, guardian_id = ${mother.id} WHERE id = ${child.id}`);
  const events = await eventsOf(db.pool, `DELETE FROM patient WHERE id = ${mother.id}`);
  expect(events.filter(({ patient_id }) => patient_id === mother.id).map(({ operation }) => operation)).toEqual(['D']);
  const ofChild = events.filter(({ patient_id }) => patient_id === child.id);
  expect(new Set(ofChild.map(({ operation }) => operation))).toEqual(new Set(['U']));
  expect(new Set(ofChild.map(({ patient_revision }) => patient_revision)).size).toBe(ofChild.length);
  for (const { payload_json } of ofChild) expect(payload_json).toMatchObject({ mother_id: null, guardian_id: null });
  await db.pool.query('ALTER TABLE patient DROP mother_id, DROP guardian_id');
});

test('a data-modifying CTE over both tables: each event carries the patient as it is after the statement', async () => {
  const patient = await insertPatient(db.pool, ['before']);
  const events = await eventsOf(
    db.pool,
    `WITH p AS (UPDATE patient SET name_given = 'Cte' WHERE id = ${patient.id} RETURNING id)
     UPDATE patient_other_identifiers o SET identifier_value = 'after' FROM p WHERE o.patient_id = p.id`,
  );

  expect(inShort(events).sort()).toEqual([`patient U ${patient.id}`, `patient_other_identifiers U ${patient.id}`]);
  for (const event of events) {
    expect(event.payload_json.name_given).toBe('Cte');
    expect(otherValues(event)).toEqual(['after']);
  }
});

test('COMMIT PREPARED commits the events, ROLLBACK PREPARED none', async () => {
  const patient = await insertPatient(db.pool);
  const prepare = (name: string) =>
    db.pool.query(
      `BEGIN; UPDATE patient SET email = '${name}' WHERE id = ${patient.id}; PREPARE TRANSACTION '${db.name}_${name}'`,
    );

  const rolledBack = await eventsOf(db.pool, async () => {
    await prepare('no');
    await db.pool.query(`ROLLBACK PREPARED '${db.name}_no'`);
  });
  expect(rolledBack).toEqual([]);

  const committed = await eventsOf(db.pool, async () => {
    await prepare('yes');
    await db.pool.query(`COMMIT PREPARED '${db.name}_yes'`);
  });
  expect(committed.map((event) => [event.operation, event.payload_json.email])).toEqual([['U', 'yes']]);
});

test('ROLLBACK TO SAVEPOINT takes its events and their numbers and revisions back', async () => {
  const patient = await insertPatient(db.pool);
  const events = await eventsOf(
    db.pool,
    `BEGIN;
     UPDATE patient SET name_given = 'kept' WHERE id = ${patient.id};
     SAVEPOINT s; UPDATE patient SET name_family = 'undone' WHERE id = ${patient.id}; ROLLBACK TO s;
     UPDATE patient SET email = 'kept too' WHERE id = ${patient.id};
     COMMIT`,
  );

  expect(events.map((event) => [event.sequence_in_tx, event.patient_revision])).toEqual([
    [1, '2'],
    [2, '3'],
  ]);
  expect(events[1]?.payload_json).toMatchObject({ name_given: 'kept', name_family: 'Curie', email: 'kept too' });
});

test('a rolled back transaction writes nothing', async () => {
  const patient = await insertPatient(db.pool);
  expect(await eventsOf(db.pool, `BEGIN; DELETE FROM patient WHERE id = ${patient.id}; ROLLBACK`)).toEqual([]);
});

test("a change by the application's own trigger is in the last event", async () => {
  const patient = await insertPatient(db.pool);
  await db.pool.query(
    `CREATE FUNCTION derive() RETURNS trigger LANGUAGE plpgsql AS $$
     BEGIN UPDATE patient SET name_text = NEW.name_given || ' derived' WHERE id = NEW.id AND name_text IS NULL; RETURN NULL; END $$;
     CREATE TRIGGER derive AFTER UPDATE OF name_given ON patient FOR EACH ROW EXECUTE FUNCTION derive()`,
  );
  const events = await eventsOf(db.pool, `UPDATE patient SET name_given = 'Marie' WHERE id = ${patient.id}`);
  await db.pool.query('DROP FUNCTION derive CASCADE');

  const last = events.toSorted((a, b) => Number(a.patient_revision) - Number(b.patient_revision)).at(-1);
  expect(last?.payload_json).toMatchObject({ name_given: 'Marie', name_text: 'Marie derived' });
});

test('a column that the application adds is in the payload', async () => {
  await db.pool.query("ALTER TABLE patient ADD COLUMN ward text DEFAULT 'east'");
  const patient = await insertPatient(db.pool);
  const [event] = await eventsOf(db.pool, `UPDATE patient SET ward = 'west' WHERE id = ${patient.id}`);
  expect(event?.payload_json.ward).toBe('west');
});

test('with ON DELETE CASCADE the delete goes through: the patient first, then its identifiers without a patient to read', async () => {
  const cascading = await createDatabase();
  try {
    await cascading.pool.query(
      `ALTER TABLE patient_other_identifiers DROP CONSTRAINT patient_other_identifiers_patient_id_fkey,
         ADD CONSTRAINT patient_other_identifiers_patient_id_fkey
             FOREIGN KEY (patient_id) REFERENCES patient ON DELETE CASCADE ON UPDATE CASCADE`,
    );
    const patient = await insertPatient(cascading.pool, ['c1', 'c2']);
    const events = await eventsOf(cascading.pool, `DELETE FROM patient WHERE id = ${patient.id}`);

    expect(inShort(events)).toEqual([
      `patient D ${patient.id}`,
      `patient_other_identifiers D ${patient.id}`,
      `patient_other_identifiers D ${patient.id}`,
    ]);
    expect(events[0]?.payload_json).toMatchObject({ id: patient.id, name_family: 'Curie' });
    expect(events.slice(1).map((event) => event.payload_json)).toEqual([{}, {}]);
    expect(events[1]?.previous_identifiers).toEqual(
      ['c1', 'c2'].map((value) => ({ system: 'urn:other', value, primary: false })),
    );

    const renumbered = await insertPatient(cascading.pool, ['follows']);
    const moved = await eventsOf(cascading.pool, `UPDATE patient SET id = 9000 WHERE id = ${renumbered.id}`);
    const lastOf = (id: number) =>
      moved.filter((event) => event.patient_id === id && event.table_name === 'patient').at(-1);
    expect(lastOf(renumbered.id)?.operation).toBe('D');
    expect(lastOf(9000)?.operation).toBe('I');
    expect(otherValues(moved.filter((event) => event.patient_id === 9000).at(-1))).toEqual(['follows']);
  } finally {
    await cascading.drop();
  }
});

describe('TRUNCATE', () => {
  let one: Awaited<ReturnType<typeof insertPatient>>;
  let other: Awaited<ReturnType<typeof insertPatient>>;
  beforeEach(async () => {
    await db.pool.query('TRUNCATE patient CASCADE');
    one = await insertPatient(db.pool, ['t1', 't2']);
    other = await insertPatient(db.pool);
  });

  test('of the identifiers writes one event for each patient that had some, without them', async () => {
    const events = await eventsOf(db.pool, 'TRUNCATE patient_other_identifiers');

    expect(inShort(events)).toEqual([`patient_other_identifiers D ${one.id}`]);
    expect(events[0]?.payload_json).toMatchObject({ id: one.id, name_family: 'Curie', other_identifiers: [] });
    expect(events[0]?.previous_identifiers?.map((identifier) => identifier.value)).toEqual([one.mrn, 't1', 't2']);
  });

  test('of the patients with CASCADE deletes each of them, whatever comes after', async () => {
    const events = await eventsOf(db.pool, 'TRUNCATE patient CASCADE');

    const patients = events.filter((event) => event.table_name === 'patient');
    expect(inShort(patients)).toEqual([`patient D ${one.id}`, `patient D ${other.id}`]);
    expect(patients[0]?.payload_json).toMatchObject({ id: one.id, identifier_value: one.mrn });
    expect(otherValues(patients[0])).toEqual(['t1', 't2']);
    expect(patients[0]?.previous_identifiers?.map((identifier) => identifier.value)).toEqual([one.mrn, 't1', 't2']);
  });

  test('of an empty table writes nothing', async () => {
    await db.pool.query('TRUNCATE patient CASCADE');
    expect(await eventsOf(db.pool, 'TRUNCATE patient CASCADE')).toEqual([]);
  });

  test.each(['patient CASCADE', 'patient_other_identifiers'])(
    'of %s under REPEATABLE READ is refused with a reason',
    async (what) => {
      await expect(
        db.pool.query(`BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1; TRUNCATE ${what}; COMMIT`),
      ).rejects.toThrow(/READ COMMITTED only/);
      const { rows } = await db.pool.query('SELECT count(*)::int AS left FROM patient');
      expect(rows[0].left).toBe(2);
    },
  );
});
