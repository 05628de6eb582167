// A position in the stream that something on the way has changed.
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type Lsn, parseLsn } from '../../src/postgres/lsn.ts';
import { type RunningConnector, startConnector } from '../support/connector.ts';
import { figureOf } from '../support/connector-state.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { FhirSink } from '../support/fhir-sink.ts';
import { MutatingProxy } from '../support/mutating-proxy.ts';

const PATIENCE = { timeout: 40_000 };
/** In a frame: its type, its length, the k of a keepalive, and the position. */
const [KIND, KEEPALIVE, POSITION] = [5, 0x6b, 6];

let database: TestDatabase;
let sink: FhirSink;
let proxy: MutatingProxy;
let connector: RunningConnector;

beforeEach(async () => {
  database = await createDatabase();
  sink = await FhirSink.start();
  proxy = await MutatingProxy.start(database.config.host, database.config.port);
  const config = { ...database.config, host: '127.0.0.1', port: proxy.port };
  connector = startConnector({ name: database.name, config }, sink.url);
  await expect.poll(() => connector.metrics.connectorState.get(), PATIENCE).toBe('streaming');
});

afterEach(async () => {
  await connector.stop();
  await proxy.stop();
  await database.drop();
  await sink.stop();
});

async function insert(mrn: string): Promise<void> {
  await database.pool.query(`INSERT INTO patient (identifier_system, identifier_value) VALUES ('urn:t', $1)`, [mrn]);
}

async function walEnd(): Promise<Lsn> {
  const { rows } = await database.pool.query<{ wal: string }>('SELECT pg_current_wal_insert_lsn()::text AS wal');
  return parseLsn(rows[0]?.wal ?? '');
}

it('a keepalive whose position the WAL has not reached is not acknowledged, and the slot goes on where it was', async () => {
  let changed = 0;
  proxy.mutate = (frame) => {
    if (frame[KIND] !== KEEPALIVE) return frame;
    changed += 1;
    const wild = Buffer.from(frame);
    wild[POSITION] = 0x7f;
    return wild;
  };
  await insert('first');
  const reconnects = async () => (await figureOf(connector.metrics.reconnects)) ?? 0;
  await expect.poll(async () => (await reconnects()) > 0 || proxy.acknowledged > (await walEnd()), PATIENCE).toBe(true);
  expect(proxy.acknowledged).toBeLessThanOrEqual(await walEnd());
  proxy.mutate = null;
  expect(changed).toBeGreaterThan(0);
  await insert('second');
  await expect.poll(() => new Set(sink.values), PATIENCE).toEqual(new Set(['first', 'second']));
  expect(proxy.acknowledged).toBeLessThanOrEqual(await walEnd());
  expect(connector.log).toContainEqual(expect.objectContaining({ code: 'UNREADABLE_STREAM' }));
});
