// A patient that a statement changes alone has its event written in a shorter way, which must not be seen in the event.

import type pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { eventsOf, insertPatient, type OutboxEvent, otherValues } from './outbox-events.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

test.each([
  { what: 'a name', set: `name_given = 'Maria'`, others: ['o1', 'o2'] },
  { what: 'nothing', set: 'name_given = name_given', others: [] },
  { what: 'the identifier', set: `identifier_value = identifier_value || '-new'`, others: ['o1', 'o2'] },
  { what: 'the identifier, which becomes empty', set: 'identifier_value = NULL', others: ['o1'] },
  { what: 'the system of the identifier', set: `identifier_system = 'urn:other'`, others: [] },
])(
  'an update of $what by a statement of one patient and by one of two gives the same event',
  async ({ set, others }) => {
    const [alone, beside, second] = [
      await insertPatient(db.pool, others),
      await insertPatient(db.pool, others),
      await insertPatient(db.pool),
    ];
    const [single] = await eventsOf(db.pool, `UPDATE patient SET ${set} WHERE id = ${alone.id}`);
    const [one] = await eventsOf(db.pool, `UPDATE patient SET ${set} WHERE id IN (${beside.id}, ${second.id})`);
    expect(alike(single, alone)).toEqual(alike(one, beside));
  },
);

test('an insert by a statement of one patient and by one of two gives the same event', async () => {
  const insert = (...values: string[]) =>
    eventsOf(
      db.pool,
      `INSERT INTO patient (name_family, identifier_system, identifier_value) VALUES ${values.map((value) => `('Curie', 'urn:new', '${value}')`).join(', ')}`,
    );
  const [single] = await insert('new-alone');
  const [one] = await insert('new-beside', 'new-second');
  const idOf = (event: OutboxEvent | undefined, mrn: string) => ({ id: event?.patient_id ?? 0, mrn, others: [] });
  expect(single?.operation).toBe('I');
  expect(alike(single, idOf(single, 'new-alone'))).toEqual(alike(one, idOf(one, 'new-beside')));
});

test('one and many in one transaction are counted on', async () => {
  const [one, two] = [await insertPatient(db.pool), await insertPatient(db.pool)];
  const events = await eventsOf(
    db.pool,
    `BEGIN; UPDATE patient SET email = '1' WHERE id = ${one.id}; UPDATE patient SET email = '2' WHERE id IN (${one.id}, ${two.id});
     UPDATE patient SET email = '3' WHERE id = ${one.id}; COMMIT`,
  );
  expect(
    events.map(({ sequence_in_tx, patient_id, patient_revision }) => [sequence_in_tx, patient_id, patient_revision]),
  ).toEqual([
    [1, one.id, '2'],
    [2, one.id, '3'],
    [3, two.id, '2'],
    [4, one.id, '4'],
  ]);
});

test('an update of one patient that changes its id is a delete of the old one and an insert of the new one', async () => {
  const { id } = await insertPatient(db.pool);
  const events = await eventsOf(db.pool, `UPDATE patient SET id = id + 1000000 WHERE id = ${id}`);
  expect(events.map(({ operation, patient_id }) => [operation, patient_id])).toEqual([
    ['D', id],
    ['I', id + 1_000_000],
  ]);
});

test('a patient that another trigger removes as soon as it is changed is a delete, with nothing to read', async () => {
  const { id } = await insertPatient(db.pool);
  const client: pg.PoolClient = await db.pool.connect();
  // By its name it comes before ours.
  await client.query(`
    CREATE FUNCTION gone() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN DELETE FROM patient WHERE email = ''gone''; RETURN NULL; END';
    CREATE TRIGGER a_gone AFTER UPDATE ON patient FOR EACH STATEMENT EXECUTE FUNCTION gone()`);
  const events = await eventsOf(db.pool, `UPDATE patient SET email = 'gone' WHERE id = ${id}`);
  await client.query('DROP FUNCTION gone CASCADE');
  client.release();
  expect(events.map(({ operation, payload_json }) => [operation, Object.keys(payload_json).length > 0])).toEqual([
    ['D', true],
    ['D', false],
  ]);
});

/** The event without what tells the patients and the moments apart. */
function alike(event: OutboxEvent | undefined, patient: { id: number; mrn: string; others: number[] }): unknown {
  if (!event) return undefined;
  const { id: _id, txid: _txid, record_id, patient_id, payload_json, ...rest } = event;
  const { id, other_identifiers, ...columns } = payload_json;
  const whose = [record_id, patient_id, id].map((value) => value === patient.id);
  const listed = (other_identifiers as { id: number }[]).map((other) => ({
    ...other,
    id: patient.others.indexOf(other.id),
  }));
  const text = JSON.stringify({ rest, columns, listed, whose })
    .replaceAll(/"(created_at|updated_at)":"[^"]*"/g, '"$1":"…"')
    .replaceAll(patient.mrn, 'MRN');
  return JSON.parse(text);
}

test('a column of the application is taken for nothing of ours, whatever its name', async () => {
  const names =
    `changed_by changed_id had current_txid counted new_revision source_table changes emptied of_patient changed_ids
      single listed unchanged whole others other_identifiers`
      .split(/\s+/)
      .map((name) => `ADD ${name} text DEFAULT 'theirs'`)
      .join(', ');
  await db.pool.query(`ALTER TABLE patient ${names}; ALTER TABLE patient_other_identifiers ${names}`);
  const [one, two] = [await insertPatient(db.pool, ['o1']), await insertPatient(db.pool)];
  for (const ids of [one.id, `${one.id}, ${two.id}`]) {
    const [event] = await eventsOf(db.pool, `UPDATE patient SET changed_by = 'me' WHERE id IN (${ids})`);
    expect(event).toMatchObject({ operation: 'U', patient_id: one.id, payload_json: { changed_by: 'me' } });
    expect(otherValues(event)).toEqual(['o1']);
  }
});
