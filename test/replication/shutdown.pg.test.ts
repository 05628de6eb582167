// PostgreSQL's own shutdown is over within five seconds whatever the connector is at, and what was unfinished is delivered
// once it is back.
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import type { EmbeddedPostgres } from '../../demo/embedded-postgres.ts';
import { type DatabaseTarget, type RunningConnector, slotOf, startConnector } from '../support/connector.ts';
import { linesWith, streaming } from '../support/connector-state.ts';
import { FhirLedger } from '../support/fhir-ledger.ts';
import { FhirSink } from '../support/fhir-sink.ts';
import { Hospital } from '../support/hospital.ts';
import { unprocessed } from '../support/outbox.ts';
import { PATIENCE } from '../support/patience.ts';
import { migrated, startServer } from '../support/servers.ts';
import { ask, run } from '../support/with-client.ts';

const SHUTDOWN_MS = 5000;

let server: EmbeddedPostgres;
let database: DatabaseTarget;
let fhir: FhirLedger;
let hospital: Hospital;
let connectors: RunningConnector[];
let tests = 0;

beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server.stop('immediate'));

beforeEach(async () => {
  tests += 1;
  database = await migrated(server, `shutdown_${tests}`);
  fhir = await FhirLedger.start();
  hospital = new Hospital(200);
  connectors = [];
});

afterEach(async () => {
  await Promise.all(connectors.map((connector) => connector.stop()));
  await run(database, `SELECT pg_drop_replication_slot('${slotOf(database)}')`);
  await fhir.stop();
});

function start(): RunningConnector {
  const connector = startConnector(database, fhir.url);
  connectors.push(connector);
  return connector;
}

function fhirIsAway(): void {
  fhir.fault = () => ({ status: 503 });
}

async function becomes(connector: RunningConnector, state: 'catching-up' | 'standby'): Promise<void> {
  await expect.poll(() => connector.metrics.connectorState.get(), PATIENCE).toBe(state);
}

/** Each in a transaction of its own, with a large state. */
async function addPatients(prefix: string, count: number): Promise<void> {
  await run(
    database,
    `DO $$
     BEGIN
       FOR n IN 1..${count} LOOP
         INSERT INTO patient (identifier_system, identifier_value, address_line)
         VALUES ('urn:t', '${prefix}' || n, repeat('x', 60000));
         COMMIT;
       END LOOP;
     END $$`,
  );
}

/** What the server process that sends us the WAL waits for. */
async function walsenderWaitsFor(): Promise<string | undefined> {
  const [walsender] = await ask<{ wait_event: string }>(
    database,
    `SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'walsender'`,
  );
  return walsender?.wait_event;
}

/** Stops the server while nothing can be finished, starts it again, and lets the FHIR server come back. */
async function expectQuickStopAndNothingLost(): Promise<void> {
  const started = performance.now();
  await server.pause('fast');
  expect(performance.now() - started).toBeLessThan(SHUTDOWN_MS);
  await server.start();
  fhir.fault = undefined;
  await hospital.expectDelivered(database, fhir);
  await expect
    .poll(() => connectors.filter(({ metrics }) => metrics.connectorState.get() === 'streaming').length, PATIENCE)
    .toBe(1);
}

describe(`a fast stop of PostgreSQL while the FHIR server is away is over within ${SHUTDOWN_MS / 1000} s, and everything is delivered after its start,`, () => {
  it('while the connector catches up', async () => {
    await hospital.open(database);
    await hospital.change(database);
    await hospital.passIdentifiersOn(database);
    const connector = start();
    // It starts only once the FHIR server answers.
    await expect.poll(() => linesWith(connector, 'The FHIR server answers.'), PATIENCE).toHaveLength(1);
    fhirIsAway();
    await becomes(connector, 'catching-up');
    await expectQuickStopAndNothingLost();
  });

  it('while a huge transaction is being read', async () => {
    const connector = start();
    await streaming(connector);
    await hospital.open(database);
    await hospital.expectDelivered(database, fhir);
    fhirIsAway();
    // 6,000 rows of 10 kB.
    await hospital.changeAtOnce(database, { times: 30, bytes: 10_000 });
    // While a transaction is sent, this position is before its commit.
    const [row] = await ask<{ unsent: boolean }>(
      database,
      'SELECT sent_lsn < pg_current_wal_lsn() AS unsent FROM pg_stat_replication',
    );
    expect(row).toEqual({ unsent: true });
    await expectQuickStopAndNothingLost();
  });

  it('while another connector stands by', async () => {
    const first = start();
    await streaming(first);
    await becomes(start(), 'standby');
    fhirIsAway();
    await hospital.open(database);
    await hospital.change(database);
    await expectQuickStopAndNothingLost();
  });

  it('while the slot is being made and waits for a transaction of somebody else', async () => {
    await hospital.open(database);
    const other = new pg.Client(database.config);
    other.on('error', () => undefined);
    await other.connect();
    await other.query('BEGIN; SELECT pg_current_xact_id()');
    const connector = start();
    const waits = `SELECT FROM pg_stat_activity WHERE backend_type = 'walsender' AND wait_event = 'transactionid'`;
    await expect.poll(async () => (await ask(database, waits)).length, PATIENCE).toBe(1);
    await expectQuickStopAndNothingLost();
    expect(linesWith(connector, 'making it').length).toBeGreaterThan(1);
  });
});

describe.each([
  { stop: 'fast', work: 'one held PUT', count: 1 },
  // More than the connector and the kernel's socket buffers take in: it has stopped reading, so it hears nothing of the shutdown on the stream.
  { stop: 'fast', work: 'a backlog that keeps the socket paused', count: 1000 },
  { stop: 'immediate', work: 'one held PUT, by a crash', count: 1 },
] as const)('a stop of PostgreSQL ($stop), with $work unfinished', ({ stop, work, count }) => {
  it(`is over within ${SHUTDOWN_MS / 1000} s, and everything is delivered after its start`, {
    timeout: 120_000,
  }, async () => {
    const sink = await FhirSink.start();
    onTestFinished(() => sink.stop());
    const connector = startConnector(database, sink.url);
    connectors.push(connector);
    await streaming(connector);
    const release = Promise.withResolvers<undefined>();
    let held = 0;
    sink.script(() => {
      held += 1;
      return release.promise;
    });
    await addPatients(`${work} `, count);
    await expect.poll(() => held, PATIENCE).toBe(Math.min(count, 16));
    if (count > 1) await expect.poll(walsenderWaitsFor, PATIENCE).toBe('WalSenderWriteData');

    const started = performance.now();
    await server.pause(stop);
    expect(performance.now() - started).toBeLessThan(SHUTDOWN_MS);
    await expect.poll(() => connector.metrics.connectorState.get(), PATIENCE).toBe('reconnecting');
    release.resolve(undefined);
    // Applied while PostgreSQL is away: the records wait for it.
    await expect.poll(() => sink.puts.length, PATIENCE).toBeGreaterThan(0);

    await server.start();
    await streaming(connector);
    await expect.poll(() => unprocessed(database), PATIENCE).toBe(0);
    expect(sink.puts.filter(({ version }) => version === 1)).toHaveLength(count);
    expect(sink.puts).toHaveLength(count);
  });
});
