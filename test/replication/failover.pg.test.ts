// The slot is one that standbys may have, too, wherever PostgreSQL has such slots: from 17 on.
import { afterEach, beforeEach, expect, it } from 'vitest';
import { startConnector } from '../support/connector.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { FhirSink } from '../support/fhir-sink.ts';

const SOON = { timeout: 20_000 };

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

/** Null where PostgreSQL has no such slots. */
async function failover(): Promise<boolean | null | undefined> {
  const { rows } = await database.pool.query<{ failover: boolean | null }>(
    "SELECT (to_jsonb(s) ->> 'failover')::bool AS failover FROM pg_replication_slots s WHERE database = current_database()",
  );
  return rows[0]?.failover;
}

async function expected(): Promise<boolean | null> {
  const { rows } = await database.pool.query<{ version: number }>(
    "SELECT current_setting('server_version_num')::int AS version",
  );
  return (rows[0]?.version ?? 0) >= 170_000 ? true : null;
}

async function register(identifier: string): Promise<void> {
  await database.pool.query("INSERT INTO patient (identifier_system, identifier_value) VALUES ('urn:t', $1)", [
    identifier,
  ]);
}

it('a slot that the connector makes is a failover slot', async () => {
  const connector = startConnector(database, sink.url);
  await register('one');
  await expect.poll(() => sink.values, SOON).toContain('one');
  expect(await failover()).toBe(await expected());
  await connector.stop();
});

it('a slot of before is made one when it is taken, and what waits in it is delivered', async () => {
  const first = startConnector(database, sink.url);
  await expect.poll(() => first.metrics.connectorState.get(), SOON).toBe('streaming');
  await first.stop();
  await database.pool.query('SELECT pg_drop_replication_slot($1)', [first.slot]);
  await database.pool.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [first.slot]);
  expect(await failover()).not.toBe(true);
  await register('waits');
  const second = startConnector(database, sink.url);
  await expect.poll(() => sink.values, SOON).toContain('waits');
  expect(await failover()).toBe(await expected());
  expect(second.log.some(({ msg }) => msg.includes('making it'))).toBe(false);
  await second.stop();
});
