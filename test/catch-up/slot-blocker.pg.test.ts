// Whose transaction the making of a slot waits for is told: PostgreSQL waits for each one that was open when it began.
import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { EmbeddedPostgres } from '../../demo/embedded-postgres.ts';
import { slotFacts } from '../../src/metrics/facts.ts';
import { startConnector } from '../support/connector.ts';
import { linesWith, streaming } from '../support/connector-state.ts';
import { FhirSink } from '../support/fhir-sink.ts';
import { PATIENCE } from '../support/patience.ts';
import { migrated, startServer } from '../support/servers.ts';
import { run } from '../support/with-client.ts';

let server: EmbeddedPostgres;
let sink: FhirSink;

beforeAll(async () => {
  server = await startServer({ max_prepared_transactions: '2' });
  sink = await FhirSink.start();
});
afterAll(async () => {
  await sink.stop();
  await server.stop('immediate');
});

it('the log names the process whose transaction is open, and the transaction that is prepared and no process’s, each once', async () => {
  const database = await migrated(server, 'held_up');
  await run(database, "BEGIN; CREATE TABLE prepared (); PREPARE TRANSACTION 'for later'");
  const open = new pg.Client(database.config);
  await open.connect();
  await open.query('BEGIN; CREATE TABLE opened ()');
  const { rows } = await open.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
  const db = new Kysely<unknown>({ dialect: new PostgresDialect({ pool: new pg.Pool(database.config) }) });
  const connector = startConnector(database, sink.url);
  const ofTheProcess = () => linesWith(connector, 'PostgreSQL waits for the transaction of this process');
  const ofThePrepared = () => linesWith(connector, 'PostgreSQL waits for a prepared transaction');
  try {
    // Nothing can be read from it yet, whatever its row in pg_replication_slots says.
    await expect
      .poll(async () => slotFacts(db, connector.slot), PATIENCE)
      .toMatchObject({ state: 'missing', active: true });
    await expect.poll(() => [...ofTheProcess(), ...ofThePrepared()], PATIENCE).toHaveLength(1);
    // It waits for one after the other.
    if (ofThePrepared().length === 0) await open.query('ROLLBACK');
    else await run(database, "COMMIT PREPARED 'for later'");
    await expect.poll(() => [ofTheProcess().length, ofThePrepared().length], PATIENCE).toEqual([1, 1]);
    expect(ofTheProcess()).toEqual([
      expect.objectContaining({ process: rows[0]?.pid, role: database.config.user, openSeconds: expect.any(Number) }),
    ]);
  } finally {
    await open.query('ROLLBACK');
    await open.end();
    await run(database, "ROLLBACK PREPARED 'for later'").catch(() => undefined);
    await streaming(connector);
    expect(await slotFacts(db, connector.slot)).toMatchObject({ state: 'reserved', active: true });
    await connector.stop();
    await db.destroy();
  }
  expect([ofTheProcess().length, ofThePrepared().length]).toEqual([1, 1]);
});
