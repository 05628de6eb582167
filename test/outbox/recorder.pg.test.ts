// The record of a delivery: committed with its outbox rows, or not at all.
import { randomBytes } from 'node:crypto';
import pino from 'pino';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createMetrics } from '../../src/metrics/metrics.ts';
import { deliveriesOf } from '../../src/outbox/delivery/delivery.ts';
import { parseEvent } from '../../src/outbox/delivery/event.ts';
import type { Database } from '../../src/outbox/tables/database.ts';
import type { Ending } from '../../src/outbox/tables/ending.ts';
import { Recorder } from '../../src/outbox/tables/recorder.ts';
import { parseLsn } from '../../src/postgres/lsn.ts';
import { figureOf } from '../support/connector-state.ts';
import { createDatabase, kyselyOf, type TestDatabase } from '../support/database.ts';

const DELIVERED: Ending = {
  kind: 'delivered',
  fhirId: 'r1',
  versionId: '1',
  deleted: false,
  identifiers: [{ system: 'urn:t', value: 'X' }],
  firstContact: true,
};

let database: TestDatabase;
let db: Database;
/** The statements that record, answered so far. */
let tries: number;

beforeEach(async () => {
  database = await createDatabase();
  tries = 0;
  db = kyselyOf(database, (sql) => {
    if (sql.includes('UPDATE fhir_outbox')) tries += 1;
  });
});

afterEach(async () => {
  await db.destroy();
  await database.drop();
});

it('waits for a transaction that the slot told of before others can see it, and then records it with its rows', async () => {
  const metrics = createMetrics();
  const recorder = new Recorder(db, metrics, pino({ enabled: false }), new AbortController().signal);
  const writer = await database.pool.connect();
  // Between the WAL record of a commit and its visibility stands the same as before its commit: nobody else sees it.
  await writer.query('BEGIN');
  await writer.query(`INSERT INTO patient (identifier_system, identifier_value) VALUES ('urn:t', 'X')`);
  const { rows } = await writer.query('SELECT * FROM fhir_outbox');
  const fromSlot = { committedAt: new Date(), endLsn: parseLsn('1/0') };
  const [delivery] = deliveriesOf(
    rows.map((row) => parseEvent(row)),
    fromSlot,
    () => null,
  );
  if (!delivery) throw new Error('One patient makes one delivery.');

  let recorded = false;
  const recording = recorder.record(delivery, DELIVERED).then(() => {
    recorded = true;
  });
  await expect.poll(() => recorded || tries >= 3, { timeout: 20_000 }).toBe(true);
  const [early, before] = [recorded, await records()];
  await writer.query('COMMIT');
  writer.release();
  expect(early).toBe(false);
  expect(before).toEqual({ processed: null, events: 0, links: 0 });
  await recording;
  expect(await records()).toEqual({ processed: true, events: 1, links: 1 });
  expect(await figureOf(metrics.removedRows)).toBe(0);
});

it('what is too long for an index of PostgreSQL is a dead letter, and keeps nobody else from being recorded', async () => {
  const recorder = new Recorder(db, createMetrics(), pino({ enabled: false }), new AbortController().signal);
  await database.pool.query(
    `INSERT INTO patient (identifier_system, identifier_value) VALUES ('urn:t', 'X'), ('urn:t', 'Y')`,
  );
  const { rows } = await database.pool.query('SELECT * FROM fhir_outbox ORDER BY id');
  const deliveries = deliveriesOf(
    rows.map((row) => parseEvent(row)),
    { committedAt: null, endLsn: null },
    () => null,
  );
  const [long, other] = deliveries;
  if (!long || !other) throw new Error('Two patients make two deliveries.');
  const value = randomBytes(5000).toString('hex');
  const [recorded, beside] = await Promise.all([
    recorder.record(long, { ...DELIVERED, identifiers: [{ system: 'urn:t', value }] }),
    recorder.record(other, { ...DELIVERED, fhirId: 'r2' }),
  ]);
  expect(recorded).toMatchObject({ kind: 'dead', reason: expect.stringContaining('SQLSTATE 54000') });
  expect(beside).toMatchObject({ kind: 'delivered' });
  expect(await records()).toMatchObject({ processed: true, links: 1 });
});

async function records(): Promise<unknown> {
  const { rows } = await database.pool.query(`
    SELECT (SELECT bool_and(processed) FROM fhir_outbox) AS processed,
           (SELECT count(*)::int FROM fhir_processed_event) AS events, (SELECT count(*)::int FROM fhir_link) AS links`);
  return rows[0];
}
