// An idle outbox while other tables are busy: the slot follows, so that it does not keep WAL until the disk is full.
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../demo/embedded-postgres.ts';
import { migrate } from '../../src/schema/migrate.ts';
import { type RunningConnector, startConnector } from '../support/connector.ts';
import { FhirSink } from '../support/fhir-sink.ts';

const MB = 1024 * 1024;
const ROUND_BYTES = 100 * MB;
/** The promise is for 100 MB in a minute; a third of that time leaves the server fewer chances, and the test is shorter. */
const ROUND_MS = 20_000;
const TRANSACTION_BYTES = 9600;
const WITHIN_MS = 45_000;
const BEHIND_BYTES = 32 * MB;

// A server of its own, with PostgreSQL's own settings: nobody else's checkpoints or slots help.
let server: EmbeddedPostgres;
let client: pg.Client;
let sink: FhirSink;
let connector: RunningConnector;

beforeAll(async () => {
  server = await startEmbeddedPostgres({ fsync: false });
  sink = await FhirSink.start();
  const config = { host: server.host, port: server.port, user: server.user, password: server.password };
  const database = { name: 'idle', config: { ...config, database: 'postgres' } };
  client = new pg.Client(database.config);
  await client.connect();
  await migrate(client, { sample: false });
  await client.query('CREATE TABLE busy (content text)');
  connector = startConnector(database, sink.url);
});

afterAll(async () => {
  await connector.stop();
  await client.end();
  await sink.stop();
  await server.stop('immediate');
});

async function walPosition(): Promise<string> {
  return (await client.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn')).rows[0]?.lsn ?? '';
}

async function bytesSince(lsn: string): Promise<number> {
  const sql = 'SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), $1)::float8 AS bytes';
  return (await client.query<{ bytes: number }>(sql, [lsn])).rows[0]?.bytes ?? Number.NaN;
}

/** Small transactions on another table, in the server itself, spread over the round. Returns how long it took. */
async function busyRound(): Promise<number> {
  const [start, startedAt] = [await walPosition(), performance.now()];
  const transactions = Math.ceil(ROUND_BYTES / TRANSACTION_BYTES);
  await client.query(`
    DO $$
    DECLARE
      started timestamptz := clock_timestamp();
    BEGIN
      FOR n IN 1..${transactions} LOOP
        INSERT INTO busy SELECT string_agg(md5(random()::text), '') FROM generate_series(1, ${TRANSACTION_BYTES / 32});
        COMMIT;
        PERFORM pg_sleep(greatest(0, ${ROUND_MS / 1000} * n / ${transactions}::float8
                                     - extract(epoch FROM clock_timestamp() - started)));
      END LOOP;
    END $$`);
  expect(await bytesSince(start)).toBeGreaterThan(ROUND_BYTES);
  return performance.now() - startedAt;
}

async function bytesBehind(): Promise<number> {
  const { rows } = await client.query<{ behind: number }>(
    `SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), restart_lsn)::float8 AS behind
       FROM pg_replication_slots WHERE slot_name = $1`,
    [connector.slot],
  );
  return rows[0]?.behind ?? Number.NaN;
}

describe('restart_lsn, while the outbox is idle', () => {
  it('is less than 32 MB behind within 45 seconds after 100 MB of other WAL, twice', { timeout: 300_000 }, async () => {
    await expect.poll(() => connector.metrics.connectorState.get(), { timeout: 30_000 }).toBe('streaming');
    for (const _round of ['first', 'second']) {
      expect(await busyRound()).toBeLessThan(60_000);
      await expect.poll(bytesBehind, { timeout: WITHIN_MS, interval: 200 }).toBeLessThan(BEHIND_BYTES);
    }
    expect(sink.puts).toEqual([]);
  });
});
