// PostgreSQL's own shutdown is not held up by unfinished work, and what was unfinished is delivered once it is back.
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../demo/embedded-postgres.ts';
import { migrate } from '../../src/schema/migrate.ts';
import { type DatabaseTarget, startConnector } from '../support/connector.ts';
import { FhirSink } from '../support/fhir-sink.ts';

const PATIENCE = { timeout: 30_000 };
const SHUTDOWN_MS = 5000;

// A server of its own, because it is stopped.
let server: EmbeddedPostgres;
let sink: FhirSink;
let database: DatabaseTarget;

beforeAll(async () => {
  server = await startEmbeddedPostgres({ fsync: false });
  sink = await FhirSink.start();
  const { host, port, user, password } = server;
  database = { name: 'shutdown', config: { host, port, user, password, database: 'postgres' } };
  await withClient((client) => migrate(client, { sample: false }));
});

afterAll(async () => {
  await sink.stop();
  await server.stop('immediate');
});

/** A connection for this work only: one that stays open would not survive the shutdown. */
async function withClient<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(database.config);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** Each in a transaction of its own, with a large state. */
async function addPatients(prefix: string, count: number): Promise<void> {
  await withClient((client) =>
    client.query(`
      DO $$
      BEGIN
        FOR n IN 1..${count} LOOP
          INSERT INTO patient (identifier_system, identifier_value, address_line)
          VALUES ('urn:t', '${prefix}' || n, repeat('x', 60000));
          COMMIT;
        END LOOP;
      END $$`),
  );
}

/** What the server process that sends us the WAL waits for. */
async function walsenderWaitsFor(): Promise<string | undefined> {
  const { rows } = await withClient((client) =>
    client.query<{ wait_event: string }>(`SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'walsender'`),
  );
  return rows[0]?.wait_event;
}

async function unprocessed(): Promise<number | undefined> {
  const { rows } = await withClient((client) =>
    client.query<{ n: number }>('SELECT count(*)::int AS n FROM fhir_outbox WHERE NOT processed'),
  );
  return rows[0]?.n;
}

describe.each([
  { stop: 'fast', work: 'one held PUT', count: 1 },
  // More than the connector and the kernel's socket buffers take in: it has stopped reading, so it hears nothing of the shutdown on the stream.
  { stop: 'fast', work: 'a backlog that keeps the socket paused', count: 1000 },
  { stop: 'immediate', work: 'one held PUT, by a crash', count: 1 },
] as const)('a stop of PostgreSQL ($stop), with $work unfinished', ({ stop, work, count }) => {
  it(`is over within ${SHUTDOWN_MS / 1000} s, and everything is delivered after its start`, {
    timeout: 120_000,
  }, async () => {
    const connector = startConnector(database, sink.url);
    await expect.poll(() => connector.metrics.connectorState.get(), PATIENCE).toBe('streaming');
    const release = Promise.withResolvers<undefined>();
    let held = 0;
    sink.script(() => {
      held += 1;
      return release.promise;
    });
    const putsBefore = sink.puts.length;
    await addPatients(`${work} `, count);
    await expect.poll(() => held, PATIENCE).toBe(Math.min(count, 16));
    if (count > 1) await expect.poll(walsenderWaitsFor, PATIENCE).toBe('WalSenderWriteData');

    const started = performance.now();
    await server.pause(stop);
    expect(performance.now() - started).toBeLessThan(SHUTDOWN_MS);
    await expect.poll(() => connector.metrics.connectorState.get(), PATIENCE).toBe('reconnecting');
    release.resolve(undefined);
    // Applied while PostgreSQL is away: the records wait for it.
    await expect.poll(() => sink.puts.length, PATIENCE).toBeGreaterThan(putsBefore);

    await server.start();
    await expect.poll(() => connector.metrics.connectorState.get(), PATIENCE).toBe('streaming');
    await expect.poll(unprocessed, { timeout: 60_000 }).toBe(0);
    expect(sink.puts.slice(putsBefore).filter(({ version }) => version === 1)).toHaveLength(count);
    expect(sink.puts).toHaveLength(putsBefore + count);
    await connector.stop();
  });
});
