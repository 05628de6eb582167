// The slot is gone, or its connection, in the middle of thousands of unfinished deliveries.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type RunningConnector, slotOf, startConnector } from '../support/connector.ts';
import { catchUps, figureOf, linesWith, streaming } from '../support/connector-state.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { FhirLedger } from '../support/fhir-ledger.ts';
import { Hospital } from '../support/hospital.ts';
import { unprocessed } from '../support/outbox.ts';
import { PATIENCE } from '../support/patience.ts';

const CONCURRENCY = 16;
const MADE_ANEW = 'making it';

let database: TestDatabase;
let fhir: FhirLedger;
let hospital: Hospital;
let puts: Map<string, number>;
let sent: number;
let allowed: number;
let more: PromiseWithResolvers<void>;

beforeEach(async () => {
  database = await createDatabase();
  fhir = await FhirLedger.start();
  hospital = new Hospital(500);
  puts = new Map();
  sent = 0;
  more = Promise.withResolvers();
});

afterEach(async () => {
  await database.drop();
  await fhir.stop();
});

/** 5,000 outbox rows: of each patient five changes, two rows each. */
async function write5000Rows(): Promise<void> {
  await hospital.open(database);
  for (let rounds = 0; rounds < 4; rounds += 1) await hospital.change(database);
  expect((await database.pool.query('SELECT FROM fhir_outbox')).rowCount).toBe(5000);
}

/** Counts how often each state is sent, and holds every PUT beyond the first `count` until more are allowed. */
function allowPuts(count: number): void {
  allowed = count;
  fhir.fault = ({ method, body }) => {
    if (method !== 'PUT') return undefined;
    const state = JSON.stringify(body);
    puts.set(state, (puts.get(state) ?? 0) + 1);
    sent += 1;
    const turn = sent;
    return { delay: untilAllowed(turn) };
  };
  const waiting = more;
  more = Promise.withResolvers();
  waiting.resolve();
}

async function untilAllowed(turn: number): Promise<void> {
  while (turn > allowed) await more.promise;
}

async function endWalsender(): Promise<void> {
  await database.pool.query(
    'SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots WHERE slot_name = $1',
    [slotOf(database)],
  );
}

/** Whoever holds it is ended; a connector that is quick may hold it again before it can be dropped. */
async function dropSlot(): Promise<void> {
  await expect
    .poll(
      async () => {
        await endWalsender();
        return database.pool.query('SELECT pg_drop_replication_slot($1)', [slotOf(database)]).then(
          () => 'dropped',
          ({ code }) => code,
        );
      },
      { ...PATIENCE, interval: 1 },
    )
    .toBe('dropped');
}

async function deliveredAtLeast(count: number): Promise<void> {
  await expect.poll(() => fhir.writes.length, { ...PATIENCE, interval: 5 }).toBeGreaterThanOrEqual(count);
}

/** Nothing was sent twice but what may have been on its way, each time that the slot was lost. */
function expectRepeatsAtMost(losses: number): void {
  const repeats = [...puts.values()].reduce((sum, times) => sum + times - 1, 0);
  expect(repeats).toBeLessThanOrEqual(losses * CONCURRENCY);
}

async function reconnects(connector: RunningConnector): Promise<number | undefined> {
  return figureOf(connector.metrics.reconnects);
}

describe('a slot that was dropped, with 5,000 rows undelivered', () => {
  it('while the connector was away, is made anew, and all is delivered in order', async () => {
    const first = startConnector(database, fhir.url);
    await streaming(first);
    await first.stop();
    await write5000Rows();
    await hospital.passIdentifiersOn(database);
    await dropSlot();
    const connector = startConnector(database, fhir.url);
    await hospital.expectDelivered(database, fhir);
    await streaming(connector);
    expect(await catchUps(connector)).toBe(1);
    expect(linesWith(connector, MADE_ANEW)).toHaveLength(1);
    expect(linesWith(connector, 'Caught up.')).toEqual([expect.objectContaining({ rows: 5050 })]);
    await connector.stop();
  });

  it('while the connector runs, is made anew, and all is delivered in order, nothing twice', async () => {
    const connector = startConnector(database, fhir.url, { concurrency: CONCURRENCY });
    await streaming(connector);
    allowPuts(300);
    await write5000Rows();
    await hospital.passIdentifiersOn(database);
    await deliveredAtLeast(300);
    await dropSlot();
    expect(await unprocessed(database)).toBeGreaterThan(3000);
    allowPuts(Number.POSITIVE_INFINITY);
    await expect.poll(() => catchUps(connector), PATIENCE).toBe(2);
    // Written while it catches up.
    await hospital.change(database);
    await hospital.expectDelivered(database, fhir);
    await streaming(connector);
    expectRepeatsAtMost(0);
    expect(linesWith(connector, MADE_ANEW)).toHaveLength(2);
    await connector.stop();
  });
});

describe('a connection that is lost, with 5,000 rows unfinished', () => {
  it('again and again, and the slot with it, sends nothing old after what is newer, and nothing twice', async () => {
    const connector = startConnector(database, fhir.url, { concurrency: CONCURRENCY });
    await streaming(connector);
    allowPuts(0);
    await write5000Rows();
    for (let losses = 1; losses <= 3; losses += 1) {
      allowPuts(losses * 300);
      await deliveredAtLeast(losses * 300);
      await endWalsender();
      await expect.poll(() => reconnects(connector), PATIENCE).toBe(losses);
      await streaming(connector);
    }
    expect(await unprocessed(database)).toBeGreaterThan(1000);
    await dropSlot();
    allowPuts(Number.POSITIVE_INFINITY);
    await hospital.expectDelivered(database, fhir);
    expect(await catchUps(connector)).toBe(2);
    expectRepeatsAtMost(0);
    await connector.stop();
  });
});
