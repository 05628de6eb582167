// A login that fails leaves nothing behind: pg itself leaves the connection open where it cannot answer the server.
import pg from 'pg';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { PostgresClient } from '../../src/postgres/client.ts';
import { Hosts } from '../../src/postgres/hosts.ts';
import { runCommand } from '../support/command.ts';
import { connectorEnvironment } from '../support/connector.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';

let database: TestDatabase;
let proxy: TcpProxy;

beforeAll(async () => {
  database = await createDatabase('empty');
  proxy = await TcpProxy.start(database.config.host, database.config.port);
});
afterAll(async () => {
  await proxy.stop();
  await database.drop();
});

/** The server of the tests asks for SCRAM. */
function withoutPassword() {
  const { user, database: name } = database.config;
  return { host: '127.0.0.1', port: proxy.port, user, database: name };
}

/** Far below authentication_timeout, after which PostgreSQL itself would end them. */
const AT_ONCE = { timeout: 10_000 };

test('a missing password is named by a code, and no connection stays open', async () => {
  for (let tries = 0; tries < 3; tries += 1)
    await expect(new PostgresClient(withoutPassword()).connect()).rejects.toMatchObject({ code: 'PASSWORD_MISSING' });
  await vi.waitUntil(() => proxy.clients === 0, AT_ONCE);
});

test('so it is of a pool, whose clients are connected with a callback', async () => {
  const pool = new pg.Pool({ ...withoutPassword(), Client: PostgresClient });
  for (let tries = 0; tries < 3; tries += 1)
    await expect(pool.query('SELECT 1')).rejects.toMatchObject({ code: 'PASSWORD_MISSING' });
  await vi.waitUntil(() => proxy.clients === 0, AT_ONCE);
  await pool.end();
});

test('of several hosts no other is asked, for none would be told a password', async () => {
  const { host, port } = withoutPassword();
  const hosts = new Hosts(
    [
      { host, port },
      { host, port: 1 },
    ],
    'any',
  );
  await expect(new PostgresClient({ ...withoutPassword(), hosts }).connect()).rejects.toMatchObject({
    code: 'PASSWORD_MISSING',
  });
  await vi.waitUntil(() => proxy.clients === 0, AT_ONCE);
});

test('a wrong password stays what it is', async () => {
  const client = new PostgresClient({ ...withoutPassword(), password: 'wrong' });
  await expect(client.connect()).rejects.toMatchObject({ code: '28P01' });
});

test('doctor says it, and ends', { timeout: 30_000 }, async () => {
  const { DB_PASSWORD: _, ...rest } = connectorEnvironment(database, 'http://127.0.0.1:1/fhir');
  const { status, stdout } = await runCommand(rest, 'doctor');
  expect(status).toBe(1);
  expect(stdout).toContain('PostgreSQL asks for a password, and DB_PASSWORD is not set');
});
