// Every change of a patient or of its identifiers writes one whole, ordered event.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { eventsOf, inShort, insertPatient, otherValues } from './outbox-events.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

describe('a change of the patient', () => {
  test('an insert writes the whole row and says that there was no identifier before', async () => {
    const [event, ...more] = await eventsOf(
      db.pool,
      `INSERT INTO patient (name_family, birth_date, identifier_system, identifier_value)
       VALUES ('Noether', '1882-03-23', 'urn:mrn', 'first')`,
    );
    const { rows } = await db.pool.query("SELECT to_jsonb(p) AS row FROM patient p WHERE identifier_value = 'first'");

    expect(more).toEqual([]);
    expect(event).toMatchObject({ table_name: 'patient', operation: 'I', sequence_in_tx: 1, patient_revision: '1' });
    expect(event).toMatchObject({ identifier_system: 'urn:mrn', identifier_value: 'first', previous_identifiers: [] });
    expect(event?.payload_json).toEqual({ ...rows[0].row, other_identifiers: [] });
    expect([event?.record_id, event?.patient_id]).toEqual([rows[0].row.id, rows[0].row.id]);
  });

  test('an update that leaves the identifiers alone carries them all and says so with null', async () => {
    const patient = await insertPatient(db.pool, ['b', 'a']);
    const [event, ...more] = await eventsOf(db.pool, `UPDATE patient SET email = 'm@c' WHERE id = ${patient.id}`);

    expect(more).toEqual([]);
    expect(event).toMatchObject({ operation: 'U', patient_id: patient.id, previous_identifiers: null });
    expect(event?.payload_json).toMatchObject({ name_family: 'Curie', email: 'm@c', identifier_value: patient.mrn });
    expect(event?.payload_json.other_identifiers).toEqual([
      { id: patient.others[0], identifier_system: 'urn:other', identifier_value: 'b' },
      { id: patient.others[1], identifier_system: 'urn:other', identifier_value: 'a' },
    ]);
  });

  test('a changed primary identifier comes with all identifiers from before, the primary first', async () => {
    const patient = await insertPatient(db.pool, ['x']);
    const [event] = await eventsOf(
      db.pool,
      `UPDATE patient SET identifier_value = 'new-${patient.mrn}' WHERE id = ${patient.id}`,
    );

    expect(event?.identifier_value).toBe(`new-${patient.mrn}`);
    expect(event?.previous_identifiers).toEqual([
      { system: 'urn:mrn', value: patient.mrn, primary: true },
      { system: 'urn:other', value: 'x', primary: false },
    ]);
  });

  test('a delete carries the row as it was', async () => {
    const patient = await insertPatient(db.pool);
    const [event, ...more] = await eventsOf(db.pool, `DELETE FROM patient WHERE id = ${patient.id}`);

    expect(more).toEqual([]);
    expect(event).toMatchObject({ operation: 'D', patient_id: patient.id, identifier_value: patient.mrn });
    expect(event?.payload_json).toMatchObject({ id: patient.id, name_family: 'Curie', other_identifiers: [] });
    expect(event?.previous_identifiers).toEqual([{ system: 'urn:mrn', value: patient.mrn, primary: true }]);
  });

  test('a changed id is a delete of the old patient and an insert of the new one', async () => {
    const patient = await insertPatient(db.pool);
    const events = await eventsOf(db.pool, `UPDATE patient SET id = id + 500000 WHERE id = ${patient.id}`);

    expect(inShort(events)).toEqual([`patient D ${patient.id}`, `patient I ${patient.id + 500_000}`]);
    expect(events[0]?.payload_json).toMatchObject({ id: patient.id, identifier_value: patient.mrn });
    expect(events[1]?.payload_json).toMatchObject({ id: patient.id + 500_000, identifier_value: patient.mrn });
    expect(events[1]?.previous_identifiers).toEqual([]);
  });

  test('delete and insert of one id in one transaction end in an insert with the higher revision', async () => {
    const patient = await insertPatient(db.pool, ['y']);
    const events = await eventsOf(
      db.pool,
      `BEGIN;
       DELETE FROM patient_other_identifiers WHERE patient_id = ${patient.id};
       DELETE FROM patient WHERE id = ${patient.id};
       INSERT INTO patient (id, name_family, identifier_system, identifier_value) VALUES (${patient.id}, 'Again', 'urn:mrn', '${patient.mrn}');
       COMMIT`,
    );

    expect(
      events.map((event) => [event.table_name, event.operation, event.sequence_in_tx, event.patient_revision]),
    ).toEqual([
      ['patient_other_identifiers', 'D', 1, '3'],
      ['patient', 'D', 2, '4'],
      ['patient', 'I', 3, '5'],
    ]);
    expect(new Set(events.map((event) => event.txid)).size).toBe(1);
    expect(events[2]?.payload_json).toMatchObject({ name_family: 'Again' });
  });

  test('delete and insert of one id in one statement leave the patient alive', async () => {
    const patient = await insertPatient(db.pool);
    const events = await eventsOf(
      db.pool,
      `WITH gone AS (DELETE FROM patient WHERE id = ${patient.id} RETURNING *)
       INSERT INTO patient (id, name_family, identifier_system, identifier_value)
       SELECT id, 'Anew', identifier_system, identifier_value FROM gone`,
    );

    expect(events).toHaveLength(2);
    expect(events.map((event) => event.operation)).not.toContain('D');
    expect(events.at(-1)?.payload_json).toMatchObject({ id: patient.id, name_family: 'Anew' });
  });
});

describe('a change of another identifier', () => {
  test('names the patient, not the row, and carries the whole patient', async () => {
    const patient = await insertPatient(db.pool, ['one']);
    const [added, ...more] = await eventsOf(
      db.pool,
      `INSERT INTO patient_other_identifiers (patient_id, identifier_system, identifier_value) VALUES (${patient.id}, 'urn:other', 'two')`,
    );

    expect(more).toEqual([]);
    expect(added).toMatchObject({ table_name: 'patient_other_identifiers', operation: 'I', patient_id: patient.id });
    expect(added).toMatchObject({
      identifier_value: patient.mrn,
      payload_json: { id: patient.id, name_family: 'Curie' },
    });
    expect(added?.record_id).toBe((patient.others[0] ?? 0) + 1);
    expect(otherValues(added)).toEqual(['one', 'two']);
    expect(added?.previous_identifiers).toEqual([
      { system: 'urn:mrn', value: patient.mrn, primary: true },
      { system: 'urn:other', value: 'one', primary: false },
    ]);
  });

  test('an update carries the values from before; one that changes none says null', async () => {
    const patient = await insertPatient(db.pool, ['old', 'kept']);
    const [changed] = await eventsOf(
      db.pool,
      `UPDATE patient_other_identifiers SET identifier_value = 'new' WHERE id = ${patient.others[0]}`,
    );
    const [unchanged] = await eventsOf(
      db.pool,
      `UPDATE patient_other_identifiers SET identifier_value = identifier_value WHERE id = ${patient.others[0]}`,
    );

    expect(otherValues(changed)).toEqual(['new', 'kept']);
    expect(changed?.previous_identifiers?.map((identifier) => identifier.value).sort()).toEqual(
      [patient.mrn, 'old', 'kept'].sort(),
    );
    expect(changed?.previous_identifiers?.[0]).toEqual({ system: 'urn:mrn', value: patient.mrn, primary: true });
    expect(unchanged).toMatchObject({ operation: 'U', previous_identifiers: null });
  });

  test('a delete carries the patient without it', async () => {
    const patient = await insertPatient(db.pool, ['first', 'second']);
    const [event] = await eventsOf(db.pool, `DELETE FROM patient_other_identifiers WHERE id = ${patient.others[0]}`);

    expect(event).toMatchObject({ operation: 'D', patient_id: patient.id, record_id: patient.others[0] });
    expect(otherValues(event)).toEqual(['second']);
    expect(event?.previous_identifiers).toContainEqual({ system: 'urn:other', value: 'first', primary: false });
  });

  test('several rows of one patient in one statement: one event each, all with the state after it', async () => {
    const patient = await insertPatient(db.pool, ['p', 'q', 'r']);
    const events = await eventsOf(
      db.pool,
      `UPDATE patient_other_identifiers SET identifier_value = identifier_value || '2' WHERE patient_id = ${patient.id}`,
    );

    expect(events.map((event) => event.record_id)).toEqual(patient.others);
    expect(events.map((event) => event.sequence_in_tx)).toEqual([1, 2, 3]);
    expect(events.map((event) => event.patient_revision)).toEqual(['5', '6', '7']);
    for (const event of events) {
      expect(otherValues(event)).toEqual(['p2', 'q2', 'r2']);
      expect(event.previous_identifiers?.map((identifier) => identifier.value)).toEqual([patient.mrn, 'p', 'q', 'r']);
    }
  });

  test('moved to another patient, it is an event for both, lower id first', async () => {
    const from = await insertPatient(db.pool, ['moved', 'stays']);
    const to = await insertPatient(db.pool, ['own']);
    const events = await eventsOf(
      db.pool,
      `UPDATE patient_other_identifiers SET patient_id = ${to.id} WHERE id = ${from.others[0]}`,
    );

    expect(inShort(events)).toEqual([from.id, to.id].map((id) => `patient_other_identifiers U ${id}`));
    expect(events.map(otherValues)).toEqual([['stays'], ['moved', 'own']]);
    expect(events.map((event) => event.previous_identifiers?.map((identifier) => identifier.value))).toEqual([
      [from.mrn, 'stays', 'moved'],
      [to.mrn, 'own'],
    ]);
  });
});

test('an insert of a patient with its identifiers in one statement says that there were none before', async () => {
  // The foreign key is checked at the end of the statement, when both triggers see both rows.
  const events = await eventsOf(
    db.pool,
    `WITH p AS (INSERT INTO patient (identifier_system, identifier_value) VALUES ('urn:mrn', 'together') RETURNING id)
     INSERT INTO patient_other_identifiers (patient_id, identifier_value) SELECT id, 'along' FROM p`,
  );

  expect(events.map((event) => event.table_name).sort()).toEqual(['patient', 'patient_other_identifiers']);
  for (const event of events) expect(otherValues(event)).toEqual(['along']);
  expect(events.find((event) => event.table_name === 'patient')?.previous_identifiers).toEqual([]);
});

test('events of one transaction are numbered 1, 2, 3 across statements and patients, in the order of patient ids', async () => {
  const a = await insertPatient(db.pool);
  const b = await insertPatient(db.pool);
  const events = await eventsOf(
    db.pool,
    `BEGIN;
     UPDATE patient SET name_given = 'n' WHERE id IN (${b.id}, ${a.id});
     INSERT INTO patient_other_identifiers (patient_id, identifier_value) VALUES (${b.id}, 'v');
     COMMIT`,
  );

  expect(events.map((event) => [event.patient_id, event.sequence_in_tx])).toEqual([
    [a.id, 1],
    [b.id, 2],
    [b.id, 3],
  ]);
  const { rows } = await db.pool.query('SELECT pg_current_xact_id()::text::bigint AS txid');
  expect(Number(events[0]?.txid)).toBeLessThan(Number(rows[0].txid));
});

test('a statement that changes no row writes no event', async () => {
  const events = await eventsOf(
    db.pool,
    `UPDATE patient SET active = false WHERE id = -1; DELETE FROM patient WHERE id = -1;
     INSERT INTO patient (id) SELECT 1 WHERE false;
     UPDATE patient_other_identifiers SET identifier_value = 'z' WHERE id = -1; DELETE FROM patient_other_identifiers WHERE id = -1`,
  );
  expect(events).toEqual([]);
});

test('a statement over more patients than one batch holds gives each one event, with its own state', async () => {
  const events = await eventsOf(
    db.pool,
    "INSERT INTO patient (identifier_system, identifier_value) SELECT 'urn:bulk', n::text FROM generate_series(1, 4500) n",
  );

  expect(events).toHaveLength(4500);
  expect(events.map((event) => event.sequence_in_tx)).toEqual(Array.from({ length: 4500 }, (_, index) => index + 1));
  expect(events.every((event) => event.payload_json.identifier_value === event.identifier_value)).toBe(true);
});

test('what the application put into the counter setting does no harm', async () => {
  const patient = await insertPatient(db.pool);
  for (const junk of ['junk', '1:7', '1:x', '1:999999999999', ':', '']) {
    const events = await eventsOf(
      db.pool,
      `BEGIN; SET LOCAL fhir.sequence_in_tx = '${junk}'; UPDATE patient SET email = 'a' WHERE id = ${patient.id};
       UPDATE patient SET email = 'b' WHERE id = ${patient.id}; COMMIT`,
    );
    expect(events.map((event) => event.sequence_in_tx)).toEqual([1, 2]);
  }
});

test('updated_at is the time of the last update', async () => {
  const patient = await insertPatient(db.pool);
  await db.pool.query("UPDATE patient SET updated_at = '2001-01-01' WHERE id = $1", [patient.id]);
  const { rows } = await db.pool.query('SELECT updated_at > created_at AS kept FROM patient WHERE id = $1', [
    patient.id,
  ]);
  expect(rows[0].kept).toBe(true);
});
