// One connector at a time: who lost the slot keeps its successor waiting until its own requests have ended, and no longer.
import pg from 'pg';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { startConnector } from '../support/connector.ts';
import { figureOf } from '../support/connector-state.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { FhirLedger } from '../support/fhir-ledger.ts';
import { allProcessed } from '../support/outbox.ts';

const SOON = { timeout: 20_000 };
/** Several times as long as a connector that stands by takes to see that the slot is free. */
const LONG_ENOUGH_MS = 1200;

let database: TestDatabase;
let fhir: FhirLedger;

beforeEach(async () => {
  database = await createDatabase();
  fhir = await FhirLedger.start();
});

afterEach(async () => {
  await database.drop();
  await fhir.stop();
});

it('nobody takes the slot again while a request of the one that lost the slot is on its way', async () => {
  const first = startConnector(database, fhir.url);
  await expect.poll(() => first.metrics.connectorState.get(), SOON).toBe('streaming');
  const second = startConnector(database, fhir.url);
  await expect.poll(() => second.metrics.connectorState.get(), SOON).toBe('standby');
  const answer = Promise.withResolvers<void>();
  const arrived = Promise.withResolvers<void>();
  fhir.fault = ({ method }) => {
    if (method !== 'PUT') return undefined;
    arrived.resolve();
    return { delay: answer.promise };
  };
  await database.pool.query(`INSERT INTO patient (identifier_system, identifier_value) VALUES ('t', 'X')`);
  await arrived.promise;
  const lost = performance.now();
  let taken = false;
  await database.pool.query(
    'SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots WHERE slot_name = $1',
    [first.slot],
  );
  await expect
    .poll(async () => {
      const { rows } = await database.pool.query('SELECT active FROM pg_replication_slots WHERE slot_name = $1', [
        first.slot,
      ]);
      taken ||= rows[0].active;
      return taken || performance.now() - lost > LONG_ENOUGH_MS;
    }, SOON)
    .toBe(true);
  expect(taken).toBe(false);
  answer.resolve();
  await expect
    .poll(() => [first, second].filter(({ metrics }) => metrics.connectorState.get() === 'streaming').length, SOON)
    .toBe(1);
  await allProcessed(database);
  expect(fhir.writes).toHaveLength(1);
  await Promise.all([first.stop(), second.stop()]);
});

it('who has to stand by keeps nothing of what it had read, and delivers it once when its turn comes again', async () => {
  const connector = startConnector(database, fhir.url);
  await expect.poll(() => connector.metrics.connectorState.get(), SOON).toBe('streaming');
  fhir.fault = () => ({ status: 503 });
  await database.pool.query(`INSERT INTO patient (identifier_system, identifier_value)
    SELECT 't', n FROM generate_series(1, 500) AS n`);
  const queued = () => figureOf(connector.metrics.deliveriesQueued);
  await expect.poll(queued, SOON).toBeGreaterThan(100);
  // Another connector gets the turn as soon as this one gives it up.
  const other = new pg.Client({ ...database.config, ...database.connector });
  await other.connect();
  const turn = other.query('SELECT pg_advisory_lock($1, hashtext($2))', [0x46484952, connector.slot]);
  await database.pool.query(
    'SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots WHERE slot_name = $1',
    [connector.slot],
  );
  await turn;
  await expect.poll(() => connector.metrics.connectorState.get(), SOON).toBe('standby');
  await expect.poll(queued, SOON).toBe(0);
  fhir.fault = undefined;
  await other.end();
  await allProcessed(database);
  expect(fhir.writes).toHaveLength(500);
  await connector.stop();
});

it('a session that holds the turn and has been silent for longer than its lease is ended', {
  timeout: 60_000,
}, async () => {
  const first = startConnector(database, fhir.url);
  await expect.poll(() => first.metrics.connectorState.get(), SOON).toBe('streaming');
  await first.stop();
  // As a process that was stopped in its tracks: its session is there, and asks nothing.
  const frozen = new pg.Client({ ...database.config, ...database.connector });
  let ended = false;
  frozen.on('error', () => {
    ended = true;
  });
  await frozen.connect();
  await frozen.query('SELECT pg_advisory_lock($1, hashtext($2))', [0x46484952, first.slot]);
  const successor = startConnector(database, fhir.url);
  await expect.poll(() => successor.metrics.connectorState.get(), SOON).toBe('standby');
  await expect.poll(() => successor.metrics.connectorState.get(), { timeout: 30_000 }).toBe('streaming');
  expect(ended).toBe(true);
  expect(successor.log.some(({ msg }) => msg.includes('Ended the session'))).toBe(true);
  await successor.stop();
});
