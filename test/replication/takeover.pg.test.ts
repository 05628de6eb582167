// Two connectors on one slot: how soon the one that stands by goes on when the other one ends, dies or is cut off, and
// that no change is lost, sent twice or overtaken in between.

import pino from 'pino';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { openDatabase } from '../../src/outbox/tables/database.ts';
import { type ConnectorProcess, connectorEnvironment, spawnConnector } from '../support/connector.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { FhirLedger } from '../support/fhir-ledger.ts';
import { allProcessed } from '../support/outbox.ts';
import { COUNT_UP } from '../support/patients.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';

const PATIENCE = { timeout: 60_000, interval: 20 };
const PATIENTS = 20;
/** Changes of each patient that are committed before the one that works ends, and so many more after it. */
const CHANGES = 10;
/** As the connector sets it for its connections. */
const WAL_SENDER_TIMEOUT_MS = 10_000;

let database: TestDatabase;
let fhir: FhirLedger;
let proxy: TcpProxy;
let connectors: Record<'active' | 'standby', ConnectorProcess>;
/** Which of the two sent each PUT that arrived, and when. */
let arrived: { via: string; at: number }[];

beforeEach(async () => {
  database = await createDatabase();
  fhir = await FhirLedger.start();
  proxy = await TcpProxy.start(database.config.host, database.config.port);
  arrived = [];
  fhir.fault = ({ method, via }) => {
    if (method === 'PUT') arrived.push({ via, at: performance.now() });
    return undefined;
  };
  const active = start('active', proxy.port);
  await said(active, /^Streaming\./);
  const standby = start('standby', database.config.port);
  await said(standby, /standing by/);
  connectors = { active, standby };
});

afterEach(async () => {
  for (const { child, exited } of Object.values(connectors)) {
    child.kill('SIGKILL');
    await exited;
  }
  await proxy.stop();
  await database.drop();
  await fhir.stop();
});

function start(via: string, port: number): ConnectorProcess {
  return spawnConnector({
    ...connectorEnvironment(database, `http://127.0.0.1:${fhir.port}/${via}/fhir`),
    DB_PORT: String(port),
    FHIR_CONCURRENCY: '4',
  });
}

function said({ log }: ConnectorProcess, message: RegExp): Promise<boolean> {
  return vi.waitUntil(() => log.some(({ msg }) => message.test(msg)), PATIENCE);
}

it.each([
  { how: 'ends after SIGTERM', end: () => connectors.active.child.kill('SIGTERM'), boundMs: 10_000 },
  { how: 'is killed', end: () => connectors.active.child.kill('SIGKILL'), boundMs: 10_000 },
  { how: 'is cut off', end: () => proxy.fallSilent(), boundMs: WAL_SENDER_TIMEOUT_MS + 15_000 },
])(
  'the standby goes on in time when the other one $how; all is there once and in order',
  {
    timeout: 120_000,
  },
  async ({ end, boundMs }) => {
    await database.pool.query(
      `INSERT INTO patient (identifier_system, identifier_value, phone_number)
     SELECT 'urn:t', 'P-' || n, '0' FROM generate_series(1, $1) AS n`,
      [PATIENTS],
    );
    await allProcessed(database);
    const before = arrived.length;
    const changing = countUp();
    // In the middle of its work.
    await expect.poll(() => arrived.length - before, PATIENCE).toBeGreaterThan(PATIENTS);
    end();
    const endedAt = performance.now();
    await changing;
    await countUp();
    await expect.poll(() => arrived.some(({ via }) => via === 'standby'), PATIENCE).toBe(true);
    const first = arrived.find(({ via }) => via === 'standby')?.at ?? Number.NaN;
    console.log(`The standby's first PUT came ${Math.round(first - endedAt)} ms after the end of the other one.`);
    expect(first - endedAt).toBeLessThan(boundMs);
    await allProcessed(database);
    // Two who send at once would be two who hold the slot.
    const last = arrived.findLast(({ via }) => via === 'active')?.at ?? Number.NaN;
    expect(last).toBeLessThan(first);

    const all = Array.from({ length: 2 * CHANGES + 1 }, (_, count) => String(count));
    expect(fhir.resources.size).toBe(PATIENTS);
    for (const [id, versions] of Map.groupBy(fhir.writes, (write) => write.id))
      expect([id, ...versions.map(({ body }) => phoneIn(body))]).toEqual([id, ...all]);
    expect((await database.pool.query('SELECT FROM fhir_dlq')).rowCount).toBe(0);
  },
);

it('a transaction that it left open keeps its rows from nobody for longer than ten seconds', async () => {
  await database.pool.query(`INSERT INTO patient (identifier_system, identifier_value) VALUES ('urn:t', 'P')`);
  await allProcessed(database);
  const left = openDatabase(database.config, pino({ level: 'silent' }));
  const transaction = await left.startTransaction().execute();
  await transaction.updateTable('fhir_link').set({ version_id: '9' }).execute();
  const begun = performance.now();
  await database.pool.query('UPDATE fhir_link SET version_id = version_id');
  expect(performance.now() - begun).toBeLessThan(30_000);
  const { rows } = await database.pool.query('SELECT version_id FROM fhir_link');
  expect(rows).toEqual([{ version_id: '1' }]);
  await transaction
    .rollback()
    .execute()
    .catch(() => undefined);
  await left.destroy();
});

/** All patients, so many times, each time in a transaction of its own. */
async function countUp(): Promise<void> {
  const ids = Array.from({ length: PATIENTS }, (_, n) => n + 1);
  for (let n = 0; n < CHANGES; n += 1) await database.pool.query(COUNT_UP, [ids]);
}

function phoneIn(body: Record<string, unknown> | null): string {
  return (body?.telecom as { value: string }[] | undefined)?.[0]?.value ?? '';
}
