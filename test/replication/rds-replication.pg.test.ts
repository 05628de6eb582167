// On Amazon RDS nobody has the attribute REPLICATION: membership in the role rds_replication stands for it.
// The server here is PostgreSQL's own, which refuses replication to such a login all the same: only what is asked before is tried.
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { EmbeddedPostgres } from '../../demo/embedded-postgres.ts';
import { rightsFindings } from '../../src/doctor/rights.ts';
import { preflight } from '../../src/replication/slot/preflight.ts';
import type { DatabaseTarget } from '../support/connector.ts';
import { migrated, startServer } from '../support/servers.ts';
import { run } from '../support/with-client.ts';

const LOGIN = { user: 'connector', password: 'not-a-secret' };

let server: EmbeddedPostgres;
let database: DatabaseTarget;
let client: pg.Client;

beforeAll(async () => {
  server = await startServer();
  database = await migrated(server, 'health');
  await run(database, `CREATE ROLE ${LOGIN.user} LOGIN PASSWORD '${LOGIN.password}' IN ROLE fhir_connector`);
  client = new pg.Client({ ...database.config, ...LOGIN });
  await client.connect();
});

afterAll(async () => {
  await client.end();
  await server.stop('immediate');
});

const replication = async () => (await rightsFindings(client, true)).find(({ check }) => check === 'REPLICATION');
const both = /ALTER ROLE "connector" REPLICATION;.*GRANT rds_replication TO "connector"/;

it('without such a role the attribute is asked for, and the message names both', async () => {
  await expect(preflight(client)).rejects.toThrow(both);
  expect(await replication()).toMatchObject({
    verdict: 'fault',
    found: expect.stringMatching(/REPLICATION.*rds_replication/),
    fix: { sql: 'ALTER ROLE connector REPLICATION;' },
  });
});

it('a login without the role is refused where there is one, and let through by what is said of it', async () => {
  await run(database, 'CREATE ROLE rds_replication NOLOGIN');
  await expect(preflight(client)).rejects.toThrow(both);
  const refused = await replication();
  expect(refused).toMatchObject({ verdict: 'fault', fix: { sql: 'GRANT rds_replication TO connector;' } });
  await run(database, refused?.fix?.sql ?? '');
  expect(await preflight(client)).toBe(true);
  expect(await replication()).toMatchObject({ verdict: 'ok', fix: null });
});
