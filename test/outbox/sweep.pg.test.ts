// Rows that the slot skipped, and rows from before a new slot: read from the table in chunks, each patient's in order.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type RunningConnector, startConnector } from '../support/connector.ts';
import { figureOf } from '../support/connector-state.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { FhirSink } from '../support/fhir-sink.ts';
import { allProcessed } from '../support/outbox.ts';

const QUICK = { timeout: 60_000 };
/** More than two chunks. */
const PATIENTS = 1200;

let database: TestDatabase;
let sink: FhirSink;

beforeEach(async () => {
  database = await createDatabase();
  sink = await FhirSink.start();
});

afterEach(async () => {
  await database.drop();
  await sink.stop();
});

async function streaming(): Promise<RunningConnector> {
  const connector = startConnector(database, sink.url);
  await expect.poll(() => connector.metrics.connectorState.get(), QUICK).toBe('streaming');
  return connector;
}

/** Each patient is inserted and then changed twice, in transactions of their own. */
async function writePatients(): Promise<void> {
  await database.pool.query(
    `INSERT INTO patient (identifier_system, identifier_value, name_family)
     SELECT 'urn:t', 'p' || n, 'first' FROM generate_series(1, $1) AS n`,
    [PATIENTS],
  );
  for (const name of ['second', 'third']) await database.pool.query('UPDATE patient SET name_family = $1', [name]);
}

async function expectAllDelivered(): Promise<void> {
  await allProcessed(database);
  const namesOf = new Map<string, unknown[]>();
  for (const { id, body } of sink.puts) {
    const [name] = body.name as { family: string }[];
    namesOf.set(id, [...(namesOf.get(id) ?? []), name?.family]);
  }
  expect(namesOf.size).toBe(PATIENTS);
  for (const names of namesOf.values()) expect(names).toEqual(['first', 'second', 'third']);
}

describe('rows that the slot skipped because it was advanced by hand', () => {
  it('are delivered all, in order, told and counted', async () => {
    await (await streaming()).stop();
    await writePatients();
    await database.pool.query(
      'SELECT pg_replication_slot_advance(slot_name, pg_current_wal_lsn()) FROM pg_replication_slots WHERE database = $1',
      [database.name],
    );
    const connector = await streaming();
    await expectAllDelivered();
    expect(await figureOf(connector.metrics.skippedRows)).toBe(3 * PATIENTS);
    expect(connector.log.filter(({ msg }) => msg.includes('skipped outbox rows'))).toHaveLength(1);
    await connector.stop();
  });
});

describe('rows from before the slot', () => {
  it('are delivered all, in order, and before anything is read from the slot', async () => {
    await writePatients();
    const connector = await streaming();
    await expectAllDelivered();
    expect(await figureOf(connector.metrics.skippedRows)).toBe(0);
    expect((await database.pool.query('SELECT caught_up_at FROM fhir_slot')).rows[0].caught_up_at).toBeInstanceOf(Date);
    await connector.stop();
  });
});
