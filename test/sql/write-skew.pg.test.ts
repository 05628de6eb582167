// Two sessions that change one patient at once, one its row and one its identifiers: the last event never lacks the other's half.

import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { insertPatient } from './outbox-events.ts';

const rounds = 1_000;

let db: TestDatabase;
let sessions: [pg.Client, pg.Client];
beforeAll(async () => {
  db = await createDatabase();
  sessions = [new pg.Client(db.config), new pg.Client(db.config)];
  await Promise.all(sessions.map((session) => session.connect()));
});
afterAll(async () => {
  await Promise.all(sessions.map((session) => session.end()));
  await db.drop();
});

/** Runs the statement in a transaction of its own; false when PostgreSQL asked to repeat it (40001). */
async function commits(session: pg.Client, isolation: string, statement: string): Promise<boolean> {
  await session.query(`BEGIN ISOLATION LEVEL ${isolation}`);
  try {
    await session.query(statement);
    await session.query('COMMIT');
    return true;
  } catch (error) {
    await session.query('ROLLBACK');
    if (error instanceof pg.DatabaseError && error.code === '40001') return false;
    throw error;
  }
}

test.each(['READ COMMITTED', 'REPEATABLE READ'])(
  `under %s, in ${rounds} rounds, the event with the highest revision holds what both committed`,
  async (isolation) => {
    const patient = await insertPatient(db.pool, ['start']);
    const [a, b] = sessions;
    let given: unknown = null;
    let other: unknown = 'start';
    let refused = 0;
    for (let round = 1; round <= rounds; round += 1) {
      const value = `r${round}`;
      const [rowCommitted, identifierCommitted] = await Promise.all([
        commits(a, isolation, `UPDATE patient SET name_given = '${value}' WHERE id = ${patient.id}`),
        commits(
          b,
          isolation,
          `UPDATE patient_other_identifiers SET identifier_value = '${value}' WHERE patient_id = ${patient.id}`,
        ),
      ]);
      if (rowCommitted) given = value;
      if (identifierCommitted) other = value;
      refused += [rowCommitted, identifierCommitted].filter((committed) => !committed).length;

      const { rows } = await db.pool.query(
        `SELECT payload_json -> 'name_given' AS given, payload_json #> '{other_identifiers,0,identifier_value}' AS other
         FROM fhir_outbox WHERE patient_id = $1 AND id > (SELECT max(id) - 4 FROM fhir_outbox)
         ORDER BY patient_revision DESC LIMIT 1`,
        [patient.id],
      );
      expect(rows[0], `round ${round}`).toEqual({ given, other });
    }
    if (isolation === 'READ COMMITTED') expect(refused).toBe(0);
    // If no round ever collided, this test would have shown nothing.
    else expect(refused).toBeGreaterThan(0);
  },
);

test.each([
  { change: 'patient', before: 'identifiers' },
  { change: 'identifiers', before: 'patient' },
] as const)(
  'a change of the $change waits for the other half of a transaction that is not committed yet, and then holds both',
  async ({ change, before }) => {
    const patient = await insertPatient(db.pool, ['start']);
    const set = changesOf(patient.id, 'both');
    const [a, b] = sessions;
    await a.query('BEGIN');
    await a.query(set[before]);
    let ended = false;
    const changed = b.query(set[change]).then(() => {
      ended = true;
    });
    await expect.poll(async () => ended || (await waiters()) === 1, { timeout: 20_000 }).toBe(true);
    await a.query('COMMIT');
    await changed;
    expect(await lastEvent(patient.id)).toEqual({ given: 'both', other: 'both' });
  },
);

test.each([
  { change: 'patient', since: 'identifiers' },
  { change: 'identifiers', since: 'patient' },
] as const)(
  'under REPEATABLE READ, a change of the $change is refused (40001) when the $since changed since its snapshot',
  async ({ change, since }) => {
    const patient = await insertPatient(db.pool, ['start']);
    const [a, b] = sessions;
    await a.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
    await a.query('SELECT FROM patient LIMIT 1');
    await b.query(changesOf(patient.id, 'newer')[since]);
    const ended = await a.query(changesOf(patient.id, 'stale')[change]).catch((error: pg.DatabaseError) => error.code);
    await a.query('ROLLBACK');
    expect(ended).toBe('40001');
  },
);

test('revisions of a patient rise in the order of the WAL, whichever session writes them', async () => {
  const slot = `${db.name}_order`;
  await db.pool.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [slot]);
  const patient = await insertPatient(db.pool, ['start']);
  const write = async (session: pg.Client, statement: string) => {
    for (let round = 0; round < 200; round += 1) await commits(session, 'READ COMMITTED', statement);
  };
  await Promise.all([
    write(sessions[0], `UPDATE patient SET name_given = 'w' WHERE id = ${patient.id}`),
    write(sessions[1], `UPDATE patient_other_identifiers SET identifier_value = 'w' WHERE patient_id = ${patient.id}`),
  ]);

  const { rows } = await db.pool.query<{ data: Buffer }>(
    "SELECT data FROM pg_logical_slot_get_binary_changes($1, NULL, NULL, 'proto_version', '1', 'publication_names', 'fhir_outbox_pub')",
    [slot],
  );
  const position = await db.pool.query<{ position: number }>(
    `SELECT array_position(attnames, 'patient_revision') AS position FROM pg_publication_tables
      WHERE pubname = 'fhir_outbox_pub'`,
  );
  const revisions = rows
    .filter((row) => row.data.toString('latin1', 0, 1) === 'I')
    .map((row) => Number(insertedColumns(row.data)[(position.rows[0]?.position ?? 0) - 1]));
  expect(revisions).toHaveLength(402);
  expect(revisions).toEqual(revisions.toSorted((x, y) => x - y));
  expect(new Set(revisions).size).toBe(402);
});

function changesOf(id: number, value: string) {
  return {
    patient: `UPDATE patient SET name_given = '${value}' WHERE id = ${id}`,
    identifiers: `UPDATE patient_other_identifiers SET identifier_value = '${value}' WHERE patient_id = ${id}`,
  };
}

/** The column values of pgoutput's Insert message: https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html */
function insertedColumns(message: Buffer): (string | null)[] {
  const columns: (string | null)[] = [];
  let at = 8;
  for (let count = message.readUInt16BE(6); count > 0; count -= 1) {
    if (message.toString('latin1', at, at + 1) === 'n') {
      columns.push(null);
      at += 1;
      continue;
    }
    const length = message.readUInt32BE(at + 1);
    columns.push(message.toString('utf8', at + 5, at + 5 + length));
    at += 5 + length;
  }
  return columns;
}

/** How many of the sessions wait for a lock. */
async function waiters(): Promise<number | null> {
  const sql = `SELECT FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock'`;
  return (await db.pool.query(sql, [db.name])).rowCount;
}

/** What the patient's event with the highest revision holds. */
async function lastEvent(patientId: number): Promise<unknown> {
  const { rows } = await db.pool.query(
    `SELECT payload_json -> 'name_given' AS given, payload_json #> '{other_identifiers,0,identifier_value}' AS other
       FROM fhir_outbox WHERE patient_id = $1 ORDER BY patient_revision DESC LIMIT 1`,
    [patientId],
  );
  return rows[0];
}
