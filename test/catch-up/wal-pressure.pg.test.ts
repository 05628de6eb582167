// The slot is lost to real WAL during an outage of the FHIR server: other tables write more than max_slot_wal_keep_size
// lets the slot keep, so PostgreSQL ends whoever reads the slot, and invalidates it.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { EmbeddedPostgres } from '../../demo/embedded-postgres.ts';
import { type DatabaseTarget, type RunningConnector, slotOf, startConnector } from '../support/connector.ts';
import { catchUps, linesWith, streaming } from '../support/connector-state.ts';
import { FhirLedger } from '../support/fhir-ledger.ts';
import { Hospital } from '../support/hospital.ts';
import { unprocessed } from '../support/outbox.ts';
import { PATIENCE } from '../support/patience.ts';
import { migrated, startServer } from '../support/servers.ts';
import { ask, run } from '../support/with-client.ts';

let server: EmbeddedPostgres;
let fhir: FhirLedger;
let database: DatabaseTarget;
let connector: RunningConnector;
let hospital: Hospital;
let tests = 0;

beforeAll(async () => {
  server = await startServer({ max_slot_wal_keep_size: '1MB' });
});
afterAll(() => server.stop('immediate'));

beforeEach(async () => {
  tests += 1;
  database = await migrated(server, `lost_${tests}`);
  await run(database, 'CREATE TABLE something_else (what text)');
  fhir = await FhirLedger.start();
  connector = startConnector(database, fhir.url);
  await streaming(connector);
  fhir.fault = () => ({ status: 503 });
});
afterEach(async () => {
  await connector.stop();
  await run(database, `SELECT pg_drop_replication_slot('${slotOf(database)}')`);
  await fhir.stop();
});

/** So many rows that nobody takes, ten a patient; `bytes` is the size of the patients' last states. */
async function writeRows(count: number, bytes = 0): Promise<void> {
  hospital = new Hospital(count / 10);
  await hospital.open(database);
  for (let rounds = 0; rounds < 3; rounds += 1) await hospital.change(database);
  await hospital.change(database, { bytes });
  expect(await unprocessed(database)).toBe(count);
}

/** What the server process that sends us the WAL waits for. */
async function walsenderWaitsFor(): Promise<string | undefined> {
  const [row] = await ask<{ wait_event: string }>(
    database,
    `SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'walsender'`,
  );
  return row?.wait_event;
}

/** Until PostgreSQL has given up the slot that is there now. (A connector that runs may have made a new one by then.) */
async function loseSlot(): Promise<void> {
  const lost = async () => {
    await run(database, `INSERT INTO something_else SELECT repeat('x', 1000) FROM generate_series(1, 20000)`);
    // It waits until the process that reads the slot is gone.
    await run(database, 'CHECKPOINT');
    const [slot] = await ask<{ wal_status: string }>(
      database,
      `SELECT wal_status FROM pg_replication_slots WHERE slot_name = '${slotOf(database)}'`,
    );
    return slot?.wal_status === 'lost' || linesWith(connector, 'making it').length > 1;
  };
  await expect.poll(lost, PATIENCE).toBe(true);
}

async function expectCaughtUp(): Promise<void> {
  fhir.fault = undefined;
  await hospital.expectDelivered(database, fhir);
  await streaming(connector);
  expect(linesWith(connector, 'making it').at(-1)).toMatchObject({ slotState: 'lost' });
  await hospital.change(database);
  await hospital.expectDelivered(database, fhir);
}

describe('a slot that is lost to WAL during an outage of the FHIR server', () => {
  it('while the connector was away, with 5,000 rows undelivered, is made anew, and all is delivered in order', async () => {
    await writeRows(5000);
    await hospital.passIdentifiersOn(database);
    await connector.stop();
    await loseSlot();
    connector = startConnector(database, fhir.url);
    await expectCaughtUp();
    expect(await catchUps(connector)).toBe(1);
  });

  it('while the connector runs, is made anew, and all is delivered in order', async () => {
    await writeRows(500);
    await hospital.passIdentifiersOn(database);
    await loseSlot();
    await expectCaughtUp();
    expect(await catchUps(connector)).toBe(2);
    expect(linesWith(connector, 'The replication connection was lost')).toHaveLength(1);
  });

  // PostgreSQL's last words to its reader find no room in the socket, and until they are said the slot is not let go.
  it('while 5,000 rows wait and the connector reads no more, keeps no checkpoint from ending, and all is delivered', async () => {
    await writeRows(5000, 20_000);
    await expect.poll(walsenderWaitsFor, PATIENCE).toBe('WalSenderWriteData');
    await loseSlot();
    await expectCaughtUp();
    expect(await catchUps(connector)).toBe(2);
  });
});
