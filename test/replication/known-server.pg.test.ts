// Whether a connection leads to the server that is meant: not to one that is behind where that one was, and not to one that was left.
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Lsn, parseLsn } from '../../src/postgres/lsn.ts';
import { KnownServer, mustBe } from '../../src/replication/server/known-server.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;
let client: pg.Client;
let server: KnownServer;

beforeAll(async () => {
  database = await createDatabase('empty');
  client = new pg.Client(database.config);
  await client.connect();
});
afterAll(async () => {
  await client.end();
  await database.drop();
});
beforeEach(async () => {
  const { rows } = await client.query(
    `SELECT system_identifier::text AS system, timeline_id AS timeline, pg_current_wal_flush_lsn()::text AS flushed
       FROM pg_control_system(), pg_control_checkpoint()`,
  );
  server = new KnownServer({ systemIdentifier: rows[0].system, timeline: rows[0].timeline }, parseLsn(rows[0].flushed));
});

const LATER = (1n << 60n) as Lsn;
const ANOTHER = { code: 'ANOTHER_SERVER' };

test('a server is taken for itself', async () => {
  await mustBe(server, client);
});

test('a server that is behind where it was is not', async () => {
  server.saw(LATER);
  await expect(mustBe(server, client)).rejects.toMatchObject(ANOTHER);
});

test('what is seen of it while it is asked does not count', async () => {
  const asked = mustBe(server, client);
  server.saw(LATER);
  await asked;
});

test('a server that was left is not, however far it is', async () => {
  const asked = mustBe(server, client);
  server.retire();
  await expect(asked).rejects.toMatchObject(ANOTHER);
});

test.each([
  { systemIdentifier: '1', timeline: 0 },
  { systemIdentifier: '', timeline: 99 },
])('another cluster or timeline is not: %o', async ({ systemIdentifier, timeline }) => {
  const { identity, reached } = server;
  const other = {
    systemIdentifier: systemIdentifier || identity.systemIdentifier,
    timeline: timeline || identity.timeline,
  };
  await expect(mustBe(new KnownServer(other, reached), client)).rejects.toMatchObject(ANOTHER);
});
