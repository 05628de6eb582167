// Bad input: one clear sentence on stderr, exit status 1, no stack trace; for `run` and, where it applies, for `migrate`.
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startEmbeddedPostgres } from '../../demo/embedded-postgres.ts';
import { connectorEnvironment, type DatabaseTarget, spawnConnector } from '../support/connector.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { FhirSink } from '../support/fhir-sink.ts';

const ROLE = { user: 'connector_without_replication', password: 'not-a-secret' };

let database: TestDatabase;
let empty: TestDatabase;
let sink: FhirSink;
let environment: Record<string, string>;

beforeAll(async () => {
  database = await createDatabase();
  empty = await createDatabase('empty');
  sink = await FhirSink.start();
  environment = connectorEnvironment(database, sink.url);
  await database.pool.query(`CREATE ROLE ${ROLE.user} LOGIN PASSWORD '${ROLE.password}' IN ROLE fhir_connector`);
});

afterAll(async () => {
  await database.pool.query(`DROP ROLE ${ROLE.user}`);
  await database.drop();
  await empty.drop();
  await sink.stop();
});

/** Runs the command until it ends by itself, and returns what it wrote to stderr. */
async function refusal(variables: Record<string, string>, command: 'run' | 'migrate' = 'run'): Promise<string[]> {
  const connector = spawnConnector(variables, command);
  const status = await connector.exited;
  expect({ status, stderr: connector.stderr }).toMatchObject({ status: 1 });
  const everything = [...connector.stderr, ...connector.log.map((line) => JSON.stringify(line))];
  expect(everything.filter((line) => /^\s+at |Error:|node:internal/.test(line))).toEqual([]);
  return connector.stderr;
}

function onDatabase(target: DatabaseTarget): Record<string, string> {
  return connectorEnvironment(target, sink.url);
}

describe.each(['run', 'migrate'] as const)('%s', (command) => {
  it('refuses a wrong password', async () => {
    expect(await refusal({ ...environment, DB_PASSWORD: 'wrong' }, command)).toEqual([
      expect.stringMatching(/refused the password.*DB_USER and DB_PASSWORD/),
    ]);
  });

  it('refuses a missing password where the server asks for one', async () => {
    const { DB_PASSWORD: _, ...rest } = environment;
    expect(await refusal(rest, command)).toEqual([
      'PostgreSQL asks for a password, and DB_PASSWORD is not set: set it, or DB_PASSWORD_FILE.',
    ]);
  });

  it('refuses a database that does not exist', async () => {
    expect(await refusal({ ...environment, DB_NAME: 'no_such_database' }, command)).toEqual([
      expect.stringMatching(/database does not exist.*DB_NAME/),
    ]);
  });

  it('names all bad variables at once', async () => {
    const { DB_NAME: _, ...rest } = environment;
    const bad = { ...rest, DB_PORT: 'abc', DB_SSLMODE: 'prefer', FHIR_SERVER: 'ftp://fhir', SLOT_NAME: 'Bad-Name' };
    const lines = await refusal(bad, command);
    expect(lines.slice(0, 3)).toEqual([
      'The configuration is wrong:',
      '  - DB_PORT must be a number.',
      '  - DB_NAME is not set: Database with the health tables.',
    ]);
    const named = lines.slice(1).map((line) => line.split(' ')[3]);
    // `migrate` speaks to the database alone.
    const others = command === 'run' ? ['FHIR_SERVER', 'SLOT_NAME'] : [];
    expect(named).toEqual(['DB_PORT', 'DB_NAME', 'DB_SSLMODE', ...others]);
    expect(lines.join()).not.toContain('ftp://fhir');
  });
});

describe('run, on a database that is not ready for it', () => {
  it('names the statement for a missing REPLICATION right', async () => {
    expect(await refusal({ ...environment, DB_USER: ROLE.user, DB_PASSWORD: ROLE.password })).toEqual([
      expect.stringContaining(`ALTER ROLE "${ROLE.user}" REPLICATION`),
    ]);
  });

  it('names the command for a missing schema', async () => {
    expect(await refusal(onDatabase(empty))).toEqual([
      expect.stringMatching(/no table fhir_outbox.*npm run connector -- migrate/),
    ]);
  });

  it('names the command for a schema that is older than the program', async () => {
    const old = await createDatabase();
    await old.pool.query('DROP FUNCTION fhir_ensure_publication(text, integer, integer)');
    expect(await refusal(onDatabase(old))).toEqual([
      expect.stringMatching(/schema is older than this connector.*npm run connector -- migrate/),
    ]);
    await old.drop();
  });

  it('names the setting for a wal_level that is not logical', { timeout: 120_000 }, async () => {
    const server = await startEmbeddedPostgres({ fsync: false, settings: { wal_level: 'replica' } });
    const { host, port, user, password } = server;
    const target = { name: 'postgres', config: { host, port, user, password, database: 'postgres' } };
    expect(await refusal(onDatabase(target))).toEqual([
      expect.stringMatching(/wal_level=replica.*ALTER SYSTEM SET wal_level = 'logical'.*restart/),
    ]);
    // The schema does not need it.
    const migrated = spawnConnector(onDatabase(target), 'migrate');
    expect(await migrated.exited).toBe(0);
    expect(migrated.log.map(({ msg }) => String(msg)).filter((line) => line.includes('wal_level'))).toEqual([
      expect.stringMatching(/^PostgreSQL runs with a wal_level.*ALTER SYSTEM SET wal_level = 'logical'.*restart/),
    ]);
    await server.stop('immediate');
  });
});

describe('migrate, by a user that may not', () => {
  it('names the statement that gives the right', async () => {
    const variables = { ...onDatabase(empty), DB_USER: ROLE.user, DB_PASSWORD: ROLE.password };
    expect(await refusal(variables, 'migrate')).toEqual([
      expect.stringContaining(`GRANT CREATE ON SCHEMA public TO ${ROLE.user};`),
    ]);
  });
});

describe('run, with a base URL', () => {
  const servers: Server[] = [];

  afterAll(() => {
    for (const server of servers) server.close();
  });

  /** An HTTP server that answers everything alike. */
  async function answering(status: number, type: string, body: string): Promise<string> {
    const server = createServer((_, response) => response.writeHead(status, { 'content-type': type }).end(body));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    servers.push(server);
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}/fhir`;
  }

  it.each([
    { what: 'a web page', status: 200, type: 'text/html', body: '<html><body>Welcome</body></html>' },
    { what: 'a web server that does not know the address', status: 404, type: 'text/html', body: '<html></html>' },
    { what: 'some JSON', status: 200, type: 'application/json', body: '{"status":"ok"}' },
    { what: 'another FHIR resource', status: 200, type: 'application/fhir+json', body: '{"resourceType":"Patient"}' },
  ])('refuses what is no FHIR server: $what', async ({ status, type, body }) => {
    expect(await refusal({ ...environment, FHIR_SERVER: await answering(status, type, body) })).toEqual([
      expect.stringMatching(/no FHIR server.*FHIR_SERVER/),
    ]);
  });

  it.each(['3.0.2', '5.0.0'])('refuses a FHIR server of version %s', async (fhirVersion) => {
    const statement = JSON.stringify({ resourceType: 'CapabilityStatement', fhirVersion, rest: [] });
    expect(
      await refusal({ ...environment, FHIR_SERVER: await answering(200, 'application/fhir+json', statement) }),
    ).toEqual([expect.stringMatching(/another version of FHIR.*R4/)]);
  });
});

describe('run, with a metrics port that is taken', () => {
  it('names the variable', async () => {
    expect(await refusal({ ...environment, METRICS_PORT: String(sink.port) })).toEqual([
      expect.stringMatching(`${sink.port}.*taken.*METRICS_PORT`),
    ]);
  });
});

describe('a command that does not exist', () => {
  it('is named, with a hint where the list is; nothing is begun', async () => {
    const connector = spawnConnector(environment, 'no-such-command');
    expect(await connector.exited).toBe(1);
    expect(connector.stderr).toEqual([
      'error: there is no command “no-such-command”, and run takes no argument.',
      '(--help says what there is)',
    ]);
  });
});
