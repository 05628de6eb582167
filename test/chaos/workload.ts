// The application: several writers, each committing random changes of a few dozen patients, their forms and readings as fast as it may.
import { setTimeout as pause } from 'node:timers/promises';
import pg from 'pg';
import type { Dice } from '../support/dice.ts';

const PATIENTS = 60;

/** Every change is told apart by a number of its own, in the phone number. */
let changeNumber = 0;

type Query = (text: string, values?: unknown[]) => Promise<unknown>;

const ISOLATION = ['READ COMMITTED', 'READ COMMITTED', 'READ COMMITTED', 'REPEATABLE READ'];
/** What a writer must expect and does: give up the transaction and go on with another. */
const EXPECTED = new Set(['23505', '23503', '40001', '40P01', '25P02']);

/** Writes until `signal` is aborted; a lost connection is made again. Resolves to the number of commits it knows of. */
export async function writer(config: pg.ClientConfig, dice: Dice, signal: AbortSignal): Promise<number> {
  let commits = 0;
  while (!signal.aborted) {
    const client = new pg.Client(config);
    client.on('error', () => undefined);
    try {
      await client.connect();
      while (!signal.aborted) {
        if (await transaction((text, values) => client.query(text, values), dice)) commits += 1;
        await pause(dice.int(0, 40));
      }
    } catch (error) {
      if (error instanceof TypeError) throw error;
      // PostgreSQL is away: a fault struck.
      await pause(100);
    } finally {
      await client.end().catch(() => undefined);
    }
  }
  return commits;
}

async function transaction(query: Query, dice: Dice): Promise<boolean> {
  await query(`BEGIN ISOLATION LEVEL ${dice.pick(ISOLATION)}`);
  try {
    // Commit records follow each other the closer, the less the commits wait for.
    if (dice.chance(30)) await query('SET LOCAL synchronous_commit = off');
    for (let changes = dice.int(1, 4); changes > 0; changes -= 1) {
      if (dice.chance(10)) {
        await query('SAVEPOINT here');
        await change(query, dice);
        await query(dice.chance(50) ? 'ROLLBACK TO SAVEPOINT here' : 'RELEASE SAVEPOINT here');
      } else await change(query, dice);
    }
    const keep = !dice.chance(10);
    await query(keep ? 'COMMIT' : 'ROLLBACK');
    return keep;
  } catch (error) {
    if (!EXPECTED.has((error as { code?: string }).code ?? '')) throw error;
    await query('ROLLBACK');
    return false;
  }
}

async function change(query: Query, dice: Dice): Promise<unknown> {
  const id = dice.int(1, PATIENTS);
  const other = dice.int(1, PATIENTS);
  const throws = dice.int(1, 140);
  if (throws > 100) return changeRecord(query, dice, id, other);
  if (throws <= 25) return update(query, id);
  if (throws <= 45) return register(query, dice, id);
  if (throws <= 55) return changeOtherIdentifier(query, dice, id);
  if (throws <= 63)
    return query('UPDATE patient SET identifier_value = $2, phone_number = $3 WHERE id = $1', [id, fresh(), phone()]);
  if (throws <= 70) return moveIdentifier(query, id, other);
  if (throws <= 76) return swapIdentifiers(query, id, other);
  if (throws <= 88) return remove(query, id);
  if (throws <= 93) {
    await remove(query, id);
    return insert(query, id, dice.chance(50) ? home(id) : fresh());
  }
  if (throws <= 96) return query('UPDATE patient SET active = active WHERE id = $1', [id]);
  return query('UPDATE patient SET phone_number = $1 WHERE id % 7 = $2', [phone(), dice.int(0, 6)]);
}

/** Registered again under its own number, under a new one, or under the number of somebody who may be gone. */
async function register(query: Query, dice: Dice, id: number): Promise<unknown> {
  const mrn = dice.pick([home(id), fresh(), home(dice.int(1, PATIENTS))]);
  await insert(query, id, mrn);
  if (!dice.chance(40)) return;
  return query(
    `INSERT INTO patient_other_identifiers (patient_id, identifier_system, identifier_value)
     SELECT id, 'urn:insurance', $2 FROM patient WHERE id = $1`,
    [id, dice.chance(30) ? '000-00-0000' : fresh()],
  );
}

function insert(query: Query, id: number, mrn: string): Promise<unknown> {
  return query(
    `INSERT INTO patient (id, identifier_system, identifier_value, name_text, phone_number)
     SELECT $1, 'urn:mrn', $2, $3, $4
      WHERE NOT EXISTS (SELECT FROM patient WHERE id = $1 OR identifier_value = $2)`,
    [id, mrn, owner(id), phone()],
  );
}

function update(query: Query, id: number): Promise<unknown> {
  return query('UPDATE patient SET phone_number = $2 WHERE id = $1', [id, phone()]);
}

async function changeRecord(query: Query, dice: Dice, id: number, other: number): Promise<unknown> {
  const reading = dice.pick(['blood_pressure', 'pulse']);
  const value = reading === 'pulse' ? 'rate' : 'systolic_pressure';
  const one = (table: string) => `id = (SELECT min(id + 0) FROM ${table} WHERE patient_id = $1)`;
  const throws = dice.int(1, 100);
  if (throws <= 15)
    return query('INSERT INTO form (patient_id, name) SELECT id, $2 FROM patient WHERE id = $1', [id, phone()]);
  if (throws <= 50)
    return query(
      `INSERT INTO ${reading} (patient_id, form_id, ${value}) SELECT p.id, (SELECT max(id) FROM form WHERE patient_id = p.id), $2
         FROM patient AS p WHERE p.id = $1`,
      [id, number()],
    );
  if (throws <= 70) return query(`UPDATE ${reading} SET ${value} = $2 WHERE ${one(reading)}`, [id, number()]);
  if (throws <= 78) return query(`UPDATE form SET name = $2 WHERE ${one('form')}`, [id, phone()]);
  if (throws <= 88) return query(`DELETE FROM ${reading} WHERE ${one(reading)}`, [id]);
  // A form goes to another patient; its readings stay with the first one.
  if (throws <= 94)
    return query(`UPDATE form SET patient_id = p.id FROM patient AS p WHERE p.id = $2 AND form.${one('form')}`, [
      id,
      other,
    ]);
  return query(`UPDATE ${reading} SET comment = $2 WHERE patient_id = $1`, [id, phone()]);
}

async function remove(query: Query, id: number): Promise<unknown> {
  for (const reading of ['blood_pressure', 'pulse'])
    await query(
      `DELETE FROM ${reading} WHERE patient_id = $1 OR form_id IN (SELECT id FROM form WHERE patient_id = $1)`,
      [id],
    );
  await query('DELETE FROM form WHERE patient_id = $1', [id]);
  await query('DELETE FROM patient_other_identifiers WHERE patient_id = $1', [id]);
  return query('DELETE FROM patient WHERE id = $1', [id]);
}

function changeOtherIdentifier(query: Query, dice: Dice, id: number): Promise<unknown> {
  const which = 'WHERE id = (SELECT min(id) FROM patient_other_identifiers WHERE patient_id = $1)';
  if (dice.chance(30)) return query(`DELETE FROM patient_other_identifiers ${which}`, [id]);
  if (dice.chance(30)) {
    return query(
      `UPDATE patient_other_identifiers SET patient_id = p.id FROM patient AS p
        WHERE p.id = $2 AND patient_other_identifiers.id = (SELECT min(id) FROM patient_other_identifiers WHERE patient_id = $1)`,
      [id, dice.int(1, PATIENTS)],
    );
  }
  return query(`UPDATE patient_other_identifiers SET identifier_value = $2 ${which}`, [id, fresh()]);
}

/** The identifier of one patient becomes the other's; the first one gets a new one. */
async function moveIdentifier(query: Query, from: number, to: number): Promise<unknown> {
  const { rows } = (await query('SELECT identifier_value FROM patient WHERE id = $1', [from])) as pg.QueryResult;
  if (from === to || rows.length === 0) return;
  await query('UPDATE patient SET identifier_value = $2, phone_number = $3 WHERE id = $1', [from, fresh(), phone()]);
  return query('UPDATE patient SET identifier_value = $2, phone_number = $3 WHERE id = $1', [
    to,
    rows[0].identifier_value,
    phone(),
  ]);
}

async function swapIdentifiers(query: Query, a: number, b: number): Promise<unknown> {
  const { rows } = (await query('SELECT id, identifier_value FROM patient WHERE id IN ($1, $2) ORDER BY id', [
    a,
    b,
  ])) as pg.QueryResult;
  const [one, two] = rows;
  if (!one || !two) return;
  await query('UPDATE patient SET identifier_value = $2 WHERE id = $1', [one.id, fresh()]);
  await query('UPDATE patient SET identifier_value = $2 WHERE id = $1', [two.id, one.identifier_value]);
  return query('UPDATE patient SET identifier_value = $2 WHERE id = $1', [one.id, two.identifier_value]);
}

function owner(id: number): string {
  return whoIs('patient', id);
}

/** As Patient 7, or pulse 3. */
export function whoIs(table: string, id: number): string {
  return `${table === 'patient' ? 'Patient' : table} ${id}`;
}

function home(id: number): string {
  return `M${id}`;
}

function fresh(): string {
  changeNumber += 1;
  return `F${changeNumber}`;
}

function phone(): string {
  return `+${number()}`;
}

function number(): number {
  changeNumber += 1;
  return changeNumber;
}
