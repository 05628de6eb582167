// compose/create-databases.sh on a server of its own: with the logins that it makes all of the compose file works, on a new volume and on one of before.
import { readFileSync } from 'node:fs';
import type pg from 'pg';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../demo/embedded-postgres.ts';
import { statementsOf } from '../demo/script.ts';
import { migrate } from '../src/schema/migrate.ts';
import { runCommand } from './support/command.ts';
import { FhirSink } from './support/fhir-sink.ts';
import { withClient } from './support/with-client.ts';

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');
/** The defaults of the compose file. */
const passwords = Object.fromEntries(
  [...read('.env.example').matchAll(/^(\w+_PASSWORD)=(.*)$/gm)].map(([, name = '', value = '']) => [name, value]),
);

let server: EmbeddedPostgres;
let sink: FhirSink;
beforeEach(async () => {
  server = await startEmbeddedPostgres({ fsync: false, settings: { max_slot_wal_keep_size: '1GB' } });
  await asSuperuser('postgres', (client) => client.query('CREATE DATABASE health'));
  sink = await FhirSink.start();
});
afterEach(async () => {
  await sink.stop();
  await server.stop('immediate');
});

function asSuperuser<T>(database: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const { host, port, user, password } = server;
  return withClient({ host, port, user, password, database }, work);
}

function as<T>(user: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const { host, port } = server;
  const password = passwords[`${user.toUpperCase()}_PASSWORD`] ?? '';
  return withClient({ host, port, user, password, database: 'health' }, work);
}

/** As psql runs the script's statements: \gexec executes what they give. */
async function createDatabases(client: pg.Client): Promise<void> {
  const [, script = ''] = /<<'SQL'\n(.*)\nSQL\n/s.exec(read('compose/create-databases.sh')) ?? [];
  const set = new Map(
    [...read('compose/create-databases.sh').matchAll(/--set=(\w+)="\$(\w+)"/g)].map(([, name, variable]) => [
      name,
      passwords[variable ?? ''] ?? '',
    ]),
  );
  const commands = script
    .replace(/^--.*$/gm, '')
    .split('\\gexec')
    .filter((text) => text.trim() !== '');
  expect(commands.length).toBeGreaterThan(7);
  for (const command of commands) {
    const sql = command.replace(/:'(\w+)'/g, (_, name: string) => client.escapeLiteral(set.get(name) ?? ''));
    const { rows } = await client.query<string[]>({ text: sql, rowMode: 'array' });
    for (const [statement = ''] of rows) await client.query(statement);
  }
}

function environment(user: string): Record<string, string> {
  return {
    DB_HOST: server.host,
    DB_PORT: String(server.port),
    DB_NAME: 'health',
    DB_SSLMODE: 'disable',
    DB_USER: user,
    DB_PASSWORD: passwords[`${user.toUpperCase()}_PASSWORD`] ?? '',
    FHIR_SERVER: sink.url,
  };
}

async function expectAllToWork(): Promise<void> {
  const migration = await runCommand(environment('owner'), 'migrate', '--sample');
  expect(migration).toMatchObject({ status: 0, stderr: '' });
  expect(migration.stdout).not.toContain('PostgreSQL says');
  await as('owner', async (client) => {
    for (const statement of statementsOf(read('sql/test_events.sql'))) await client.query(statement);
  });
  const doctor = await runCommand(environment('connector'), 'doctor');
  expect(doctor.stdout).toMatch(/\n0 faults, 0 warnings\.\n$/);
  // It has no superuser's rights, nor those to give itself any.
  const { rows } = await asSuperuser('health', (client) =>
    client.query(
      `SELECT rolname AS name FROM pg_roles WHERE rolcanlogin AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls)`,
    ),
  );
  expect(rows).toEqual([{ name: 'postgres' }]);
}

test('every login works on a new volume, also when it is set up twice', async () => {
  await asSuperuser('health', createDatabases);
  await asSuperuser('health', createDatabases);
  await expectAllToWork();
});

test('every login works on a volume whose schema a superuser had made, and which lacks some of the logins', async () => {
  await asSuperuser('health', async (client) => {
    await client.query(
      `CREATE ROLE fhir_connector NOLOGIN; CREATE ROLE fhir_operator NOLOGIN;
       CREATE ROLE connector LOGIN REPLICATION PASSWORD 'connector' IN ROLE fhir_connector;
       CREATE ROLE operator LOGIN PASSWORD 'operator' IN ROLE fhir_operator`,
    );
    await migrate(client, { sample: true });
    // As before 019_least_privilege.sql.
    await client.query(
      `DELETE FROM fhir_schema_migration WHERE version = '019_least_privilege.sql';
       CREATE TABLE allergy (); CREATE TABLE dropped_since ();
       INSERT INTO fhir_role_right VALUES ('fhir_connector', 'SELECT ON public.patient, public.allergy'),
         ('fhir_connector', 'SELECT ON public.dropped_since');
       SELECT fhir_grant_roles(); DROP TABLE dropped_since`,
    );
  });
  await asSuperuser('health', createDatabases);
  await expectAllToWork();
  await as('connector', async (client) => {
    for (const table of ['patient', 'allergy'])
      await expect(client.query(`SELECT FROM ${table}`)).rejects.toMatchObject({ code: '42501' });
  });
});
